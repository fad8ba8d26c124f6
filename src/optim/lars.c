/* lars.c -- LARS as in SimCLR (small_cnns 3.3): classic momentum with the learning rate, times the
 * trust ratio of the tensor, inside the velocity. */
#include "optim/rules.h"

#include <math.h>

struct lars {
  float *param, *velocity;
  const float *grad;
  float lr, momentum, decay, scale;
  float through, ahead; /* of velocity and new gradient: 1, 0; Nesterov: momentum, 1 */
};

PN_ANY_SIMD static void lars_piece(const struct lars *a, int64_t n) {
  float lr = a->lr, mu = a->momentum, decay = a->decay, scale = a->scale;
  float through = a->through, ahead = a->ahead;
  float *restrict p = a->param, *restrict velocity = a->velocity;
  const float *restrict grad = a->grad;

#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    float g = lr * (scale * grad[i] + decay * p[i]);
    float v = mu * velocity[i] + g;
    velocity[i] = v;
    p[i] -= through * v + ahead * g;
  }
}

static void update(const pn_optim_config *c, int64_t t, double lr, const pn_optim_range *r,
                   int threads) {
  const int64_t piece = 1 << 14;
  int64_t pieces = (r->count + piece - 1) / piece;
  (void)t;

#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t k = 0; k < pieces; k++) {
    int64_t at = k * piece, n = r->count - at < piece ? r->count - at : piece;
    struct lars a = {.param = r->param + at,
                     .velocity = r->state[0] + at,
                     .grad = r->grad + at,
                     .lr = (float)lr,
                     .momentum = (float)c->momentum,
                     .decay = (float)(r->decay * c->weight_decay),
                     .scale = (float)r->grad_scale,
                     .through = c->nesterov ? (float)c->momentum : 1.0f,
                     .ahead = c->nesterov ? 1.0f : 0.0f};
    lars_piece(&a, n);
  }
}

static int n_states(const pn_optim_config *c) {
  (void)c;
  return 1;
}

const pn_optim_rule pn_optim_lars = {.name = "lars",
                                     .n_states = n_states,
                                     .state_name = {"momentum_buffer"},
                                     .wants_norms = true,
                                     .update = update};
