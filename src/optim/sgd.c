/* sgd.c -- SGD with momentum, PyTorch's form (small_cnns 3.1): lr multiplies at the end. */
#include "optim/rules.h"

/* One piece of a range, already typed for the loop. */
struct sgd {
  float *param, *buffer; /* buffer NULL: no momentum */
  const float *grad;
  float lr, momentum, decay, scale;
  bool first, nesterov;
};

PN_ANY_SIMD static void plain(const struct sgd *s, int64_t n) {
  float lr = s->lr, decay = s->decay, scale = s->scale, *restrict p = s->param;
  const float *restrict grad = s->grad;

#pragma omp simd
  for (int64_t i = 0; i < n; i++) p[i] -= lr * (scale * grad[i] + decay * p[i]);
}

PN_ANY_SIMD static void with_momentum(const struct sgd *s, int64_t n) {
  float lr = s->lr, decay = s->decay, mu = s->momentum, scale = s->scale;
  float keep = s->first ? 0.0f : mu, ahead = s->nesterov ? mu : 0.0f;
  float direct = s->nesterov ? 1.0f : 0.0f, through = s->nesterov ? 0.0f : 1.0f;
  float *restrict p = s->param, *restrict buffer = s->buffer;
  const float *restrict grad = s->grad;

#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    float g = scale * grad[i] + decay * p[i];
    float b = keep * buffer[i] + g;
    buffer[i] = b;
    p[i] -= lr * (direct * g + (through + ahead) * b);
  }
}

static void update(const pn_optim_config *c, int64_t t, double lr, const pn_optim_range *r,
                   int threads) {
  const int64_t piece = 1 << 14;
  int64_t pieces = (r->count + piece - 1) / piece;

#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t k = 0; k < pieces; k++) {
    int64_t at = k * piece, n = r->count - at < piece ? r->count - at : piece;
    struct sgd s = {.param = r->param + at,
                    .grad = r->grad + at,
                    .lr = (float)lr,
                    .momentum = (float)c->momentum,
                    .decay = (float)(r->decay * c->weight_decay),
                    .scale = (float)r->grad_scale,
                    .first = t == 1,
                    .nesterov = c->nesterov};
    if (c->momentum != 0.0) s.buffer = r->state[0] + at;
    if (s.buffer)
      with_momentum(&s, n);
    else
      plain(&s, n);
  }
}

static int n_states(const pn_optim_config *c) {
  return c->momentum != 0.0 ? 1 : 0;
}

const pn_optim_rule pn_optim_sgd = {
    .name = "sgd", .n_states = n_states, .state_name = {"momentum_buffer"}, .update = update};
