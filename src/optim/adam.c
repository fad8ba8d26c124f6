/* adam.c -- Adam and AdamW, PyTorch's forms (small_cnns 3.1); bias corrections in double. */
#include "optim/rules.h"

#include <math.h>

struct adam {
  float *param, *m, *v;
  const float *grad;
  float step, inverse_root;         /* lr / (1 - beta1^t), 1 / sqrt(1 - beta2^t) */
  float beta1, rest1, beta2, rest2; /* rest = 1 - beta, rounded once */
  float eps, scale;
  float decay, keep; /* added to the gradient (Adam); parameters are multiplied first (AdamW) */
};

PN_ANY_SIMD static void adam_piece(const struct adam *a, int64_t n) {
  float *restrict p = a->param, *restrict m = a->m, *restrict v = a->v;
  const float *restrict grad = a->grad;
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

static void run(const pn_optim_config *c, int64_t t, double lr, const pn_optim_range *r,
                struct decays d, int threads) {
  const int64_t piece = 1 << 14;
  int64_t pieces = (r->count + piece - 1) / piece;
  double correction1 = 1.0 - pow(c->beta1, (double)t), correction2 = 1.0 - pow(c->beta2, (double)t);

#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t k = 0; k < pieces; k++) {
    int64_t at = k * piece, n = r->count - at < piece ? r->count - at : piece;
    struct adam a = {.param = r->param + at,
                     .m = r->state[0] + at,
                     .v = r->state[1] + at,
                     .grad = r->grad + at,
                     .step = (float)(lr / correction1),
                     .inverse_root = (float)(1.0 / sqrt(correction2)),
                     .beta1 = (float)c->beta1,
                     .rest1 = (float)(1.0 - c->beta1),
                     .beta2 = (float)c->beta2,
                     .rest2 = (float)(1.0 - c->beta2),
                     .eps = (float)c->eps,
                     .scale = (float)r->grad_scale,
                     .decay = (float)d.l2,
                     .keep = (float)(1.0 - d.shrink)};
    adam_piece(&a, n);
  }
}

static void adam(const pn_optim_config *c, int64_t t, double lr, const pn_optim_range *r,
                 int threads) {
  run(c, t, lr, r, (struct decays){.l2 = r->decay * c->weight_decay}, threads);
}

static void adamw(const pn_optim_config *c, int64_t t, double lr, const pn_optim_range *r,
                  int threads) {
  run(c, t, lr, r, (struct decays){.shrink = lr * r->decay * c->weight_decay}, threads);
}

static int n_states(const pn_optim_config *c) {
  (void)c;
  return 2;
}

const pn_optim_rule pn_optim_adam = {
    .name = "adam", .n_states = n_states, .state_name = {"exp_avg", "exp_avg_sq"}, .update = adam};

const pn_optim_rule pn_optim_adamw = {.name = "adamw",
                                      .n_states = n_states,
                                      .state_name = {"exp_avg", "exp_avg_sq"},
                                      .update = adamw};
