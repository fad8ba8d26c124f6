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

CU_HD void cu_average(const pn_flat_row *row, float *average, const float *param, size_t at,
                      int lanes) {
  float p[CU_LANES], m[CU_LANES];

  cu_load(param, at, lanes, p);
  cu_load(average, at, lanes, m);
  for (int k = 0; k < lanes; k++) m[k] += row->fresh * (p[k] - m[k]);
  cu_store(average, at, lanes, m);
}

CU_HD void cu_update_some(const pn_flat_list *l, const pn_flat_row *row, const pn_flat_update *u,
                          float *average, uint32_t i, int lanes) {
  if (!row->frozen) {
    if (l->rule == PN_FLAT_SGD) cu_sgd(u, i, lanes);
    if (l->rule == PN_FLAT_ADAM) cu_adam(u, i, lanes);
    if (l->rule == PN_FLAT_LARS) cu_lars(u, i, lanes);
  }
  if (average) cu_average(row, average, u->param, (size_t)i * (size_t)lanes, lanes);
}

CU_HD bool cu_skips(const pn_flat_list *l) {
  return l->skips && !isfinite(l->result[PN_FLAT_NORM]);
}

CU_HD double cu_unscale(const pn_flat_list *l) {
  return l->unscale ? *l->unscale : 1.0;
}

/* The last range that begins at or before this group, or with this partial sum. */
CU_HD int32_t cu_range_of_group(const pn_flat_list *l, int64_t group) {
  int32_t lo = 0, hi = l->n - 1;
  while (lo < hi) {
    int32_t mid = (lo + hi + 1) / 2;
    if (l->range[mid].first <= group)
      lo = mid;
    else
      hi = mid - 1;
  }
  return lo;
}

CU_HD int32_t cu_range_of_part(const pn_flat_list *l, int32_t part) {
  int32_t lo = 0, hi = l->n - 1;
  while (lo < hi) {
    int32_t mid = (lo + hi + 1) / 2;
    if (l->range[mid].part <= part)
      lo = mid;
    else
      hi = mid - 1;
  }
  return lo;
}

/* Four elements of one range, fewer at its end. */
CU_HD void cu_update_body(const pn_flat_list *l, uint32_t i, int lanes) {
  int64_t group = l->first + (int64_t)i, at;
  int32_t k = cu_range_of_group(l, group);
  const pn_flat_range *r = &l->range[k];
  const pn_flat_row *row = &l->row[r->row];
  pn_flat_update u = row->number;
  float *average = NULL;
  (void)lanes;

  if (cu_skips(l)) return;
  at = (group - r->first) * CU_LANES;
  u.param = r->param + at;
  u.grad = r->grad + at;
  for (int j = 0; j < 2; j++) u.state[j] = r->state[j] ? r->state[j] + at : NULL;
  if (r->average) average = r->average + at;
  if (l->result) u.scale = (float)l->result[PN_FLAT_CLIP];
  if (l->trust) u.lr = (float)(row->rate * l->trust[k]);
  if (r->wide && r->count - at >= CU_LANES)
    cu_update_some(l, row, &u, average, 0, CU_LANES);
  else
    for (uint32_t j = 0; j < CU_LANES && (int64_t)j < r->count - at; j++)
      cu_update_some(l, row, &u, average, j, 1);
}

CU_HD void cu_adding_body(const cu_adding *a, uint32_t i, int lanes) {
  size_t at = (size_t)i * CU_LANES;
  float x[CU_LANES], y[CU_LANES];
  (void)lanes;

  if (a->wide && a->count - (int64_t)at >= CU_LANES) {
    cu_load(a->to, at, CU_LANES, x);
    cu_load(a->from, at, CU_LANES, y);
    for (int k = 0; k < CU_LANES; k++) x[k] += y[k];
    cu_store(a->to, at, CU_LANES, x);
  } else
    for (size_t k = at; k < at + CU_LANES && (int64_t)k < a->count; k++) a->to[k] += a->from[k];
}

CU_HD int32_t cu_end_part(const pn_flat_list *l, int32_t k) {
  return k + 1 < l->n ? l->range[k + 1].part : l->parts;
}

CU_HD void cu_load_some(const float *from, int64_t at, int width, bool wide, float x[CU_LANES]) {
  if (wide && width == CU_LANES)
    cu_load(from, (size_t)at, CU_LANES, x);
  else
    for (int j = 0; j < CU_LANES; j++)
      if (j < width) x[j] = from[at + j];
}

/* Elements [at, at + width) to the sums: of the gradient as it is used, and with decay, so
 * `scaled`, of the parameter; clipping alone does not read parameters. */
CU_HD void cu_add_squares(const pn_flat_list *l, const pn_flat_range *r, int64_t at, double scale,
                          double decay, double sum[2][CU_HALF_LANES]) {
  int width = r->count - at < CU_LANES ? (int)(r->count - at) : CU_LANES;
  float p[CU_LANES] = {0}, g[CU_LANES] = {0};

  if (l->scaled) cu_load_some(r->param, at, width, r->wide, p);
  cu_load_some(r->grad, at, width, r->wide, g);
  for (int j = 0; j < CU_LANES; j++) {
    double x = (double)p[j], d = scale * (double)g[j] + decay * x;
    sum[0][0] += x * x;
    sum[1][0] += d * d;
  }
}

/* A part is a block, and takes every so many groups of its range. */
CU_HD void cu_squares_body(const pn_flat_list *l, uint32_t block, uint32_t thread, int lanes,
                           int type, double sum[2][CU_HALF_LANES]) {
  int32_t part = (int32_t)block, k = cu_range_of_part(l, part);
  const pn_flat_range *r = &l->range[k];
  int64_t step = (int64_t)(cu_end_part(l, k) - r->part) * CU_BLOCK * CU_LANES;
  double scale = l->scaled && l->result ? l->result[PN_FLAT_CLIP] : cu_unscale(l);
  double decay = l->scaled ? l->row[r->row].decay : 0.0;
  (void)lanes, (void)type;

  sum[0][0] = sum[1][0] = 0.0;
  for (int64_t at = ((int64_t)(part - r->part) * CU_BLOCK + thread) * CU_LANES; at < r->count;
       at += step)
    cu_add_squares(l, r, at, scale, decay, sum);
}

/* What the threads of a block have of sum k. */
CU_HD double cu_block_sum(const double *all, int k) {
  double sum[4] = {0, 0, 0, 0}; /* four chains of additions */

  for (int t = 0; t < CU_BLOCK; t += 4)
    for (int j = 0; j < 4; j++) sum[j] += all[k * CU_BLOCK + t + j];
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

CU_HD void cu_squares_keep(const pn_flat_list *l, uint32_t block, uint32_t thread, int lanes,
                           const double *all) {
  (void)lanes;
  if (thread < 2) l->partial[2 * (size_t)block + thread] = cu_block_sum(all, (int)thread);
}

CU_HD double cu_trust_ratio(const pn_flat_list *l, const pn_flat_range *r, const double sum[2]) {
  bool adapts = l->row[r->row].adapts && sum[0] > 0.0 && sum[1] > 0.0;
  return adapts ? l->eta * sqrt(sum[0]) / sqrt(sum[1]) : 1.0;
}

/* Range `block`: its parts; what its learning rate is multiplied by. */
CU_HD void cu_sums_body(const pn_flat_list *l, uint32_t block, uint32_t thread, int lanes, int type,
                        double sum[2][CU_HALF_LANES]) {
  int32_t last = cu_end_part(l, (int32_t)block);
  (void)lanes, (void)type;

  sum[0][0] = sum[1][0] = 0.0;
  for (int32_t k = l->range[block].part + (int32_t)thread; k < last; k += CU_BLOCK) {
    sum[0][0] += l->partial[2 * (size_t)k];
    sum[1][0] += l->partial[2 * (size_t)k + 1];
  }
}

CU_HD void cu_sums_keep(const pn_flat_list *l, uint32_t block, uint32_t thread, int lanes,
                        const double *all) {
  double sum[2];
  (void)lanes;

  if (thread != 0) return;
  for (int k = 0; k < 2; k++)
    l->sums[2 * (size_t)block + (size_t)k] = sum[k] = cu_block_sum(all, k);
  if (l->balance && !l->shares) l->trust[block] = cu_trust_ratio(l, &l->range[block], sum);
}

/* Tensor i: its ranges on this rank, in their order. */
CU_HD void cu_share_body(const pn_flat_list *l, uint32_t i, int lanes) {
  double *share = l->shares + (size_t)l->rank * (size_t)l->stride + 2 * (size_t)i;
  double sum[2] = {0, 0};
  (void)lanes;

  for (int32_t k = 0; k < l->n; k++) {
    if (l->range[k].tensor != (int32_t)i || l->row[l->range[k].row].frozen) continue;
    sum[0] += l->sums[2 * k];
    sum[1] += l->sums[2 * k + 1];
  }
  share[0] = sum[0];
  share[1] = sum[1];
}

/* Tensor i: all ranks, in their order. */
CU_HD void cu_total_body(const pn_flat_list *l, uint32_t i, int lanes) {
  double sum[2] = {0, 0};
  (void)lanes;

  for (int32_t r = 0; r < l->ranks; r++) {
    const double *share = l->shares + (size_t)r * (size_t)l->stride + 2 * (size_t)i;
    sum[0] += share[0];
    sum[1] += share[1];
  }
  l->totals[2 * (size_t)i] = sum[0];
  l->totals[2 * (size_t)i + 1] = sum[1];
}

CU_HD void cu_trust_body(const pn_flat_list *l, uint32_t i, int lanes) {
  const pn_flat_range *r = &l->range[i];
  (void)lanes;

  l->trust[i] = cu_trust_ratio(l, r, l->totals + 2 * (size_t)r->tensor);
}

/* torch.nn.utils.clip_grad_norm_, by one block. */
CU_HD void cu_clip_body(const pn_flat_list *l, uint32_t block, uint32_t thread, int lanes, int type,
                        double sum[2][CU_HALF_LANES]) {
  (void)block, (void)lanes, (void)type;

  sum[0][0] = sum[1][0] = 0.0;
  if (l->shares)
    for (int32_t k = (int32_t)thread; k < l->tensors; k += CU_BLOCK)
      sum[0][0] += l->totals[2 * k + 1];
  else
    for (int32_t k = (int32_t)thread; k < l->n; k += CU_BLOCK)
      if (!l->row[l->range[k].row].frozen) sum[0][0] += l->sums[2 * k + 1];
}

CU_HD void cu_clip_keep(const pn_flat_list *l, uint32_t block, uint32_t thread, int lanes,
                        const double *all) {
  double sum, factor;
  (void)block, (void)lanes;

  if (thread != 0) return;
  sum = cu_block_sum(all, 0);
  l->result[PN_FLAT_NORM] = sqrt(sum);
  factor = l->clip_norm > 0 ? l->clip_norm / (sqrt(sum) + 1e-6) : 1.0;
  l->result[PN_FLAT_CLIP] = (factor < 1.0 ? factor : 1.0) * cu_unscale(l);
}

#endif
