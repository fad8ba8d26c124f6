/* body_update.h -- optimizers over flat ranges, the formulas of src/optim. */
#ifndef PN_CUDA_BODY_UPDATE_H
#define PN_CUDA_BODY_UPDATE_H

#include "body.h"

/* The gradient as the rules take it: clipped, with weight decay. */
CU_HD void cu_gradient(const pn_flat_update *a, size_t at, int lanes, const float p[CU_LANES],
                       float g[CU_LANES]) {
  cu_load(a->grad, at, lanes, g);
  for (int k = 0; k < lanes; k++) g[k] = a->scale * g[k] + a->decay * p[k];
}

/* state[0] NULL: no momentum. */
CU_HD void cu_sgd(const pn_flat_update *a, uint32_t i, int lanes) {
  size_t at = (size_t)i * (size_t)lanes;
  float p[CU_LANES], g[CU_LANES], b[CU_LANES];

  cu_load(a->param, at, lanes, p);
  cu_gradient(a, at, lanes, p, g);
  if (a->state[0]) {
    cu_load(a->state[0], at, lanes, b);
    for (int k = 0; k < lanes; k++) b[k] = a->keep * b[k] + g[k];
    cu_store(a->state[0], at, lanes, b);
    for (int k = 0; k < lanes; k++) p[k] -= a->lr * (a->direct * g[k] + a->through * b[k]);
  } else
    for (int k = 0; k < lanes; k++) p[k] -= a->lr * g[k];
  cu_store(a->param, at, lanes, p);
}

CU_HD void cu_adam(const pn_flat_update *a, uint32_t i, int lanes) {
  size_t at = (size_t)i * (size_t)lanes;
  float p[CU_LANES], g[CU_LANES], m[CU_LANES], v[CU_LANES];

  cu_load(a->param, at, lanes, p);
  cu_gradient(a, at, lanes, p, g);
  cu_load(a->state[0], at, lanes, m);
  cu_load(a->state[1], at, lanes, v);
  for (int k = 0; k < lanes; k++) {
    m[k] = a->beta1 * m[k] + a->rest1 * g[k];
    v[k] = a->beta2 * v[k] + a->rest2 * g[k] * g[k];
    p[k] = a->keep * p[k] - a->step * m[k] / (sqrtf(v[k]) * a->inverse_root + a->eps);
  }
  cu_store(a->state[0], at, lanes, m);
  cu_store(a->state[1], at, lanes, v);
  cu_store(a->param, at, lanes, p);
}

CU_HD void cu_lars(const pn_flat_update *a, uint32_t i, int lanes) {
  size_t at = (size_t)i * (size_t)lanes;
  float p[CU_LANES], g[CU_LANES], b[CU_LANES];

  cu_load(a->param, at, lanes, p);
  cu_gradient(a, at, lanes, p, g);
  cu_load(a->state[0], at, lanes, b);
  for (int k = 0; k < lanes; k++) {
    b[k] = a->momentum * b[k] + a->lr * g[k];
    p[k] -= a->through * b[k] + a->ahead * a->lr * g[k];
  }
  cu_store(a->state[0], at, lanes, b);
  cu_store(a->param, at, lanes, p);
}

/* keep, step: factors of the average and of the parameter. */
CU_HD void cu_ema(const pn_flat_update *a, uint32_t i, int lanes) {
  size_t at = (size_t)i * (size_t)lanes;
  float p[CU_LANES], m[CU_LANES];

  cu_load(a->param, at, lanes, p);
  cu_load(a->state[0], at, lanes, m);
  for (int k = 0; k < lanes; k++) m[k] = a->keep * m[k] + a->step * p[k];
  cu_store(a->state[0], at, lanes, m);
}

CU_HD void cu_squares_body(const cu_squares *a, uint32_t i, int lanes) {
  double sum[2] = {0, 0};
  (void)lanes;

  for (uint32_t k = i; k < a->count; k += a->parts) {
    double p = (double)a->param[k], g = a->scale * (double)a->grad[k] + a->decay * p;
    sum[0] += p * p;
    sum[1] += g * g;
  }
  a->partial[2 * (size_t)i] = sum[0];
  a->partial[2 * (size_t)i + 1] = sum[1];
}

#endif
