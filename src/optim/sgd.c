/* sgd.c -- SGD with momentum, PyTorch's form (small_cnns 3.1): lr multiplies at the end. */
#include "optim/rules.h"

#include <stddef.h>

PN_ANY_SIMD static void plain(const pn_flat_update *s, int64_t at, int64_t n) {
  float lr = s->lr, decay = s->decay, scale = s->scale, *restrict p = s->param + at;
  const float *restrict grad = s->grad + at;

#pragma omp simd
  for (int64_t i = 0; i < n; i++) p[i] -= lr * (scale * grad[i] + decay * p[i]);
}

PN_ANY_SIMD static void with_momentum(const pn_flat_update *s, int64_t at, int64_t n) {
  float lr = s->lr, decay = s->decay, scale = s->scale, keep = s->keep;
  float direct = s->direct, through = s->through;
  float *restrict p = s->param + at, *restrict buffer = s->state[0] + at;
  const float *restrict grad = s->grad + at;

#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    float g = scale * grad[i] + decay * p[i];
    float b = keep * buffer[i] + g;
    buffer[i] = b;
    p[i] -= lr * (direct * g + through * b);
  }
}

static void update(const pn_flat_update *s, int64_t at, int64_t n) {
  if (s->state[0])
    with_momentum(s, at, n);
  else
    plain(s, at, n);
}

/* state[0] NULL: no momentum. */
static pn_flat_update describe(const pn_optim_config *c, int64_t t, double lr,
                               const pn_optim_range *r) {
  pn_flat_update u = pn_optim_flat(PN_FLAT_SGD, r);

  if (c->momentum == 0.0) u.state[0] = NULL;
  u.lr = (float)lr;
  u.decay = (float)(r->decay * c->weight_decay);
  u.keep = t == 1 ? 0.0f : (float)c->momentum;
  u.direct = c->nesterov ? 1.0f : 0.0f;
  u.through = c->nesterov ? (float)c->momentum : 1.0f;
  return u;
}

static int n_states(const pn_optim_config *c) {
  return c->momentum != 0.0 ? 1 : 0;
}

const pn_optim_rule pn_optim_sgd = {.name = "sgd",
                                    .n_states = n_states,
                                    .state_name = {"momentum_buffer"},
                                    .describe = describe,
                                    .update = update};
