/* adam.c -- Adam and AdamW, PyTorch's forms (small_cnns 3.1); bias corrections in double. */
#include "optim/rules.h"

#include <math.h>

PN_ANY_SIMD static void adam_piece(const pn_flat_update *a, int64_t at, int64_t n) {
  float *restrict p = a->param + at, *restrict m = a->state[0] + at, *restrict v = a->state[1] + at;
  const float *restrict grad = a->grad + at;
  float b1 = a->beta1, b2 = a->beta2, c1 = a->rest1, c2 = a->rest2;
  float step = a->step, inverse = a->inverse_root, eps = a->eps, decay = a->decay;
  float scale = a->scale, keep = a->keep;

#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    float g = scale * grad[i] + decay * p[i];
    float mi = b1 * m[i] + c1 * g;
    float vi = b2 * v[i] + c2 * g * g;
    m[i] = mi;
    v[i] = vi;
    p[i] = keep * p[i] - step * mi / (sqrtf(vi) * inverse + eps);
  }
}

/* l2: added to the gradient; shrink: 1 - lr * decay on the parameters. */
struct decays {
  double l2, shrink;
};

static pn_flat_update describe(const pn_optim_config *c, int64_t t, double lr,
                               const pn_optim_range *r, struct decays d) {
  double correction1 = 1.0 - pow(c->beta1, (double)t), correction2 = 1.0 - pow(c->beta2, (double)t);
  pn_flat_update u = pn_optim_flat(PN_FLAT_ADAM, r);

  u.step = (float)(lr / correction1);
  u.inverse_root = (float)(1.0 / sqrt(correction2));
  u.beta1 = (float)c->beta1;
  u.rest1 = (float)(1.0 - c->beta1);
  u.beta2 = (float)c->beta2;
  u.rest2 = (float)(1.0 - c->beta2);
  u.eps = (float)c->eps;
  u.decay = (float)d.l2;
  u.keep = (float)(1.0 - d.shrink);
  return u;
}

static pn_flat_update adam(const pn_optim_config *c, int64_t t, double lr,
                           const pn_optim_range *r) {
  return describe(c, t, lr, r, (struct decays){.l2 = r->decay * c->weight_decay});
}

static pn_flat_update adamw(const pn_optim_config *c, int64_t t, double lr,
                            const pn_optim_range *r) {
  return describe(c, t, lr, r, (struct decays){.shrink = lr * r->decay * c->weight_decay});
}

static int n_states(const pn_optim_config *c) {
  (void)c;
  return 2;
}

const pn_optim_rule pn_optim_adam = {.name = "adam",
                                     .n_states = n_states,
                                     .state_name = {"exp_avg", "exp_avg_sq"},
                                     .describe = adam,
                                     .update = adam_piece};

const pn_optim_rule pn_optim_adamw = {.name = "adamw",
                                      .n_states = n_states,
                                      .state_name = {"exp_avg", "exp_avg_sq"},
                                      .describe = adamw,
                                      .update = adam_piece};
