/* body_norm.h -- batch norm over rows of channels, and diffs of a bias. */
#ifndef PN_CUDA_BODY_NORM_H
#define PN_CUDA_BODY_NORM_H

#include "body_rows.h"

/* One array of AUX for the channels from c on. */
CU_HD void cu_norm_aux(const cu_norm *a, int which, uint32_t c, int lanes, float *x) {
  cu_load(a->aux, (size_t)which * a->channels + c, lanes, x);
}

/* Sums of x and x^2, less the first row's x: so they stay exact where means are far from 0. */
CU_HD void cu_norm_statistics(const cu_norm *a, uint32_t block, uint32_t thread, int lanes,
                              int type, float sum[2][CU_HALF_LANES]) {
  cu_seat s = cu_seat_of(a, block, thread, lanes);
  uint32_t first = s.part * a->down + s.line, step = a->parts * a->down;
  float shift[CU_HALF_LANES], x[CU_HALF_LANES];
  cu_raw raw[CU_RUN];

  cu_no_sums(lanes, sum);
  if (!s.inside) return;
  cu_get(type, a->x, s.c, lanes, shift);
  if (first == 0) cu_store(a->aux, (size_t)CU_NORM_MEAN * a->channels + s.c, lanes, shift);
  for (uint32_t r = first; r < a->rows; r += CU_RUN * step) {
    cu_pick p = {s.c, r, step, CU_RUN};
    cu_fetch_rows(a, a->x, &p, lanes, type, raw);
    for (uint32_t j = 0; j < CU_RUN; j++) {
      if (r + j * step >= a->rows) continue;
      cu_open(type, &raw[j], lanes, x);
      for (int k = 0; k < lanes; k++) {
        float t = x[k] - shift[k];
        sum[0][k] += t;
        sum[1][k] += t * t;
      }
    }
  }
}

/* Mean, 1/sd and scale of a channel; running statistics move. */
CU_HD void cu_norm_settle(const cu_norm *a, uint32_t block, uint32_t thread, int lanes,
                          const double *all) {
  double mean, var, total[2], m = (double)a->update, shift;
  float inv;
  uint32_t c;
  (void)lanes;

  if (!cu_total_of(a, block, thread, all, &c, total)) return;
  if (a->batch) {
    for (int k = 0; k < 2 && a->stats; k++)
      total[k] = (double)a->stats[(uint32_t)k * a->channels + c];
    shift = a->shifted ? (double)a->aux[CU_NORM_MEAN * a->channels + c] : 0.0;
    mean = total[0] / (double)a->rows;
    var = total[1] / (double)a->rows - mean * mean;
    mean += shift;
    if (var < 0) var = 0;
    a->running_mean[c] = (float)((1 - m) * (double)a->running_mean[c] + m * mean);
    a->running_var[c] =
        (float)((1 - m) * (double)a->running_var[c] + m * var * (double)a->unbiased);
  } else {
    mean = (double)a->running_mean[c];
    var = (double)a->running_var[c];
  }
  inv = (float)(1.0 / sqrt(var + (double)a->eps));
  a->aux[CU_NORM_MEAN * a->channels + c] = (float)mean;
  a->aux[CU_NORM_INV * a->channels + c] = inv;
  a->aux[CU_NORM_SCALE * a->channels + c] = inv * a->gamma[c];
}

/* One value, forward; what backward passes undo the ReLU by. */
CU_HD float cu_norm_value(float x, float mean, float scale, float beta) {
  return (x - mean) * scale + beta;
}

/* y = (x - mean) * gamma / sd + beta [+ z] [ReLU] */
CU_HD void cu_norm_apply(const cu_norm *a, uint32_t i, int lanes, int type) {
  cu_seat s = cu_seat_of(a, i / CU_BLOCK, i % CU_BLOCK, lanes);
  cu_pick p = {s.c, s.part * CU_ROWS * a->down + s.line, a->down, CU_ROWS};
  float x[CU_HALF_LANES], z[CU_HALF_LANES];
  float mean[CU_HALF_LANES], scale[CU_HALF_LANES], beta[CU_HALF_LANES];
  cu_raw of_x[CU_ROWS], of_z[CU_ROWS];

  if (!s.inside) return;
  cu_fetch_rows(a, a->x, &p, lanes, type, of_x);
  cu_fetch_rows(a, a->z, &p, lanes, type, of_z);
  cu_norm_aux(a, CU_NORM_MEAN, s.c, lanes, mean);
  cu_norm_aux(a, CU_NORM_SCALE, s.c, lanes, scale);
  cu_load(a->beta, s.c, lanes, beta);
  for (uint32_t j = 0; j < CU_ROWS; j++) {
    uint32_t row = p.row + j * p.step;
    if (row >= a->rows) return;
    cu_open(type, &of_x[j], lanes, x);
    cu_open(type, &of_z[j], lanes, z);
    for (int k = 0; k < lanes; k++) {
      float y = cu_norm_value(x[k], mean[k], scale[k], beta[k]) + z[k];
      x[k] = a->relu && y <= 0.0f ? 0.0f : y;
    }
    cu_put(type, a->out, cu_at_row(a, row, s.c), lanes, x);
  }
}

/* out = the diff without the chain's ReLU, and its sums: what norm_diffs would find in it. */
CU_HD void cu_norm_post(const cu_norm *a, uint32_t block, uint32_t thread, int lanes, int type,
                        float sum[2][CU_HALF_LANES]) {
  cu_seat s = cu_seat_of(a, block, thread, lanes);
  uint32_t first = s.part * a->down + s.line, step = a->parts * a->down;
  float x[CU_HALF_LANES], y[CU_HALF_LANES], d[CU_HALF_LANES], e[CU_HALF_LANES];
  float mean[CU_HALF_LANES];
  cu_raw of_x[CU_RUN_DIFFS], of_y[CU_RUN_DIFFS], of_d[CU_RUN_DIFFS], of_d1[CU_RUN_DIFFS];

  cu_no_sums(lanes, sum);
  if (!s.inside) return;
  cu_fill(0.0f, lanes, mean);
  if (a->x) cu_norm_aux(a, CU_NORM_MEAN, s.c, lanes, mean);
  for (uint32_t r = first; r < a->rows; r += CU_RUN_DIFFS * step) {
    cu_pick p = {s.c, r, step, CU_RUN_DIFFS};
    cu_fetch_rows(a, a->d, &p, lanes, type, of_d);
    cu_fetch_rows(a, a->y, &p, lanes, type, of_y);
    cu_fetch_rows(a, a->x, &p, lanes, type, of_x);
    cu_fetch_rows(a, a->d1, &p, lanes, type, of_d1);
    for (uint32_t j = 0; j < CU_RUN_DIFFS; j++) {
      if (r + j * step >= a->rows) continue;
      cu_open(type, &of_d[j], lanes, d);
      cu_open(type, &of_y[j], lanes, y);
      cu_open(type, &of_x[j], lanes, x);
      cu_open(type, &of_d1[j], lanes, e);
      for (int k = 0; k < lanes; k++) {
        d[k] = y[k] <= 0.0f ? 0.0f : d[k] + e[k];
        sum[0][k] += d[k];
        sum[1][k] += d[k] * (x[k] - mean[k]);
      }
      cu_put(type, a->out, cu_at_row(a, r + j * step, s.c), lanes, d);
    }
  }
}

/* Sums of diff, and of diff * (x - mean); without x of the diffs alone (a bias's gradient). */
CU_HD void cu_norm_diffs(const cu_norm *a, uint32_t block, uint32_t thread, int lanes, int type,
                         float sum[2][CU_HALF_LANES]) {
  cu_seat s = cu_seat_of(a, block, thread, lanes);
  uint32_t first = s.part * a->down + s.line, step = a->parts * a->down;
  float x[CU_HALF_LANES], d[CU_HALF_LANES], e[CU_HALF_LANES];
  float mean[CU_HALF_LANES], scale[CU_HALF_LANES], beta[CU_HALF_LANES];
  cu_raw of_x[CU_RUN_DIFFS], of_d[CU_RUN_DIFFS], of_d1[CU_RUN_DIFFS];

  cu_no_sums(lanes, sum);
  if (!s.inside) return;
  cu_fill(0.0f, lanes, mean);
  cu_fill(0.0f, lanes, scale);
  cu_fill(1.0f, lanes, beta); /* positive: nothing is undone */
  if (a->x) cu_norm_aux(a, CU_NORM_MEAN, s.c, lanes, mean);
  if (a->relu) cu_norm_aux(a, CU_NORM_SCALE, s.c, lanes, scale);
  if (a->relu) cu_load(a->beta, s.c, lanes, beta);
  for (uint32_t r = first; r < a->rows; r += CU_RUN_DIFFS * step) {
    cu_pick p = {s.c, r, step, CU_RUN_DIFFS};
    cu_fetch_rows(a, a->d, &p, lanes, type, of_d);
    cu_fetch_rows(a, a->x, &p, lanes, type, of_x);
    cu_fetch_rows(a, a->d1, &p, lanes, type, of_d1);
    for (uint32_t j = 0; j < CU_RUN_DIFFS; j++) {
      if (r + j * step >= a->rows) continue;
      cu_open(type, &of_d[j], lanes, d);
      cu_open(type, &of_x[j], lanes, x);
      cu_open(type, &of_d1[j], lanes, e);
      for (int k = 0; k < lanes; k++) {
        float t = x[k] - mean[k];
        d[k] = t * scale[k] + beta[k] <= 0.0f ? 0.0f : d[k] + e[k];
        sum[0][k] += d[k];
        sum[1][k] += d[k] * t;
      }
    }
  }
}

/* Gradients of gamma and beta, or of a bias, and what norm_data multiplies by. */
CU_HD void cu_norm_gradients(const cu_norm *a, uint32_t block, uint32_t thread, int lanes,
                             const double *all) {
  double total[2], inv, scale;
  uint32_t c;
  (void)lanes;

  if (!cu_total_of(a, block, thread, all, &c, total)) return;
  if (a->dbeta) a->dbeta[c] = (float)total[0];
  if (!a->aux) return;
  inv = (double)a->aux[CU_NORM_INV * a->channels + c];
  scale = (double)a->aux[CU_NORM_SCALE * a->channels + c];
  if (a->dgamma) a->dgamma[c] = (float)(total[1] * inv);
  a->aux[CU_NORM_SLOPE * a->channels + c] =
      (float)(-scale * inv * inv * total[1] / (double)a->rows);
  a->aux[CU_NORM_REST * a->channels + c] = (float)(-scale * total[0] / (double)a->rows);
}

/* dx = gamma / sd * (d - mean(d) - normal * mean(d * normal)) [+ add] */
CU_HD void cu_norm_data(const cu_norm *a, uint32_t i, int lanes, int type) {
  cu_seat s = cu_seat_of(a, i / CU_BLOCK, i % CU_BLOCK, lanes);
  cu_pick p = {s.c, s.part * CU_ROWS * a->down + s.line, a->down, CU_ROWS};
  float x[CU_HALF_LANES], d[CU_HALF_LANES], e[CU_HALF_LANES], add[CU_HALF_LANES];
  float mean[CU_HALF_LANES], scale[CU_HALF_LANES], beta[CU_HALF_LANES], slope[CU_HALF_LANES],
      rest[CU_HALF_LANES];
  cu_raw of_x[CU_ROWS], of_d[CU_ROWS], of_d1[CU_ROWS], of_add[CU_ROWS];

  if (!s.inside) return;
  cu_fetch_rows(a, a->d, &p, lanes, type, of_d);
  cu_fetch_rows(a, a->x, &p, lanes, type, of_x);
  cu_fetch_rows(a, a->d1, &p, lanes, type, of_d1);
  cu_fetch_rows(a, a->add, &p, lanes, type, of_add);
  cu_norm_aux(a, CU_NORM_MEAN, s.c, lanes, mean);
  cu_norm_aux(a, CU_NORM_SCALE, s.c, lanes, scale);
  cu_fill(0.0f, lanes, slope);
  cu_fill(0.0f, lanes, rest);
  if (a->batch) cu_norm_aux(a, CU_NORM_SLOPE, s.c, lanes, slope);
  if (a->batch) cu_norm_aux(a, CU_NORM_REST, s.c, lanes, rest);
  cu_fill(INFINITY, lanes, beta);
  if (a->relu) cu_load(a->beta, s.c, lanes, beta);
  for (uint32_t j = 0; j < CU_ROWS; j++) {
    uint32_t row = p.row + j * p.step;
    if (row >= a->rows) return;
    cu_open(type, &of_d[j], lanes, d);
    cu_open(type, &of_x[j], lanes, x);
    cu_open(type, &of_d1[j], lanes, e);
    cu_open(type, &of_add[j], lanes, add);
    for (int k = 0; k < lanes; k++) {
      float t = x[k] - mean[k];
      d[k] = t * scale[k] + beta[k] <= 0.0f ? 0.0f : d[k] + e[k];
      d[k] = d[k] * scale[k] + (t * slope[k] + rest[k]) + add[k];
    }
    cu_put(type, a->out, cu_at_row(a, row, s.c), lanes, d);
  }
}

#endif
