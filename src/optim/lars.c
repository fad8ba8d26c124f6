/* lars.c -- LARS as in SimCLR (small_cnns 3.3): classic momentum with the learning rate, times the
 * trust ratio of the tensor, inside the velocity. */
#include "optim/rules.h"

#include <math.h>

PN_ANY_SIMD static void lars_piece(const pn_flat_update *a, int64_t at, int64_t n) {
  float lr = a->lr, mu = a->momentum, decay = a->decay, scale = a->scale;
  float through = a->through, ahead = a->ahead;
  float *restrict p = a->param + at, *restrict velocity = a->state[0] + at;
  const float *restrict grad = a->grad + at;

#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    float g = lr * (scale * grad[i] + decay * p[i]);
    float v = mu * velocity[i] + g;
    velocity[i] = v;
    p[i] -= through * v + ahead * g;
  }
}

static pn_flat_update describe(const pn_optim_config *c, int64_t t, double lr,
                               const pn_optim_range *r) {
  pn_flat_update u = pn_optim_flat(PN_FLAT_LARS, r);
  (void)t;

  u.lr = (float)lr;
  u.momentum = (float)c->momentum;
  u.decay = (float)(r->decay * c->weight_decay);
  u.through = c->nesterov ? (float)c->momentum : 1.0f;
  u.ahead = c->nesterov ? 1.0f : 0.0f;
  return u;
}

static int n_states(const pn_optim_config *c) {
  (void)c;
  return 1;
}

const pn_optim_rule pn_optim_lars = {.name = "lars",
                                     .n_states = n_states,
                                     .state_name = {"momentum_buffer"},
                                     .wants_norms = true,
                                     .describe = describe,
                                     .update = lars_piece};
