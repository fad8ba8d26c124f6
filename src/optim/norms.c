/* norms.c -- sums of squares for clipping and LARS, and the average of weights. */
#include "optim/rules.h"

#include <math.h>

enum { PIECES = 64 };

/* A fixed cut into pieces: the order of the sums does not depend on the threads. */
static void piece_of(int64_t count, int k, int64_t *first, int64_t *last) {
  *first = count * k / PIECES;
  *last = count * (k + 1) / PIECES;
}

pn_optim_squares pn_optim_sum_squares(const pn_optim *o, const pn_optim_range *r, int threads) {
  double decay = r->decay * pn_optim_settings(o)->weight_decay, scale = r->grad_scale;
  pn_optim_squares part[PIECES] = {{0, 0}}, sum = {0, 0};

#pragma omp parallel for num_threads(threads) schedule(static)
  for (int k = 0; k < PIECES; k++) {
    int64_t first, last;
    piece_of(r->count, k, &first, &last);
    for (int64_t i = first; i < last; i++) {
      double p = (double)r->param[i], g = scale * (double)r->grad[i] + decay * p;
      part[k].param += p * p;
      part[k].grad += g * g;
    }
  }
  for (int k = 0; k < PIECES; k++) {
    sum.param += part[k].param;
    sum.grad += part[k].grad;
  }
  return sum;
}

void pn_optim_add_squares(const pn_optim *o, const pn_optim_range *r, pn_exact_sum *param,
                          pn_exact_sum *grad) {
  double decay = r->decay * pn_optim_settings(o)->weight_decay, scale = r->grad_scale;

  for (int64_t i = 0; i < r->count; i++) {
    double p = (double)r->param[i], g = scale * (double)r->grad[i] + decay * p;
    if (pn_optim_wants_norms(o)) pn_exact_sum_add(param, p * p);
    pn_exact_sum_add(grad, g * g);
  }
}

double pn_optim_trust_ratio(const pn_optim *o, pn_optim_squares s) {
  if (s.param == 0 || s.grad == 0) return 1;
  return pn_optim_settings(o)->trust * sqrt(s.param) / sqrt(s.grad);
}

double pn_optim_trust(const pn_optim *o) {
  return pn_optim_settings(o)->trust;
}

double pn_optim_weight_decay(const pn_optim *o, const pn_optim_range *r) {
  return r->decay * pn_optim_settings(o)->weight_decay;
}

float pn_ema_factor(double decay, int64_t t) {
  return t == 1 ? 1.0f : (float)(1.0 - decay);
}

void pn_ema_update(const pn_ema_range *r, int64_t t, int threads) {
  float fresh = pn_ema_factor(r->decay, t);
#pragma omp parallel for simd num_threads(threads) schedule(static)
  for (int64_t i = 0; i < r->count; i++) r->average[i] += fresh * (r->param[i] - r->average[i]);
}
