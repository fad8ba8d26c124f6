/* body_norm.h -- batch norm over rows of channels, and sums over rows in general. */
#ifndef PN_CUDA_BODY_NORM_H
#define PN_CUDA_BODY_NORM_H

#include "body.h"

/* Sums of two terms per channel over the rows of one part. */
CU_HD void cu_norm_keep(const cu_norm *a, uint32_t part, uint32_t c, int lanes,
                        double sum[2][CU_HALF_LANES]) {
  double *to = a->partial + (size_t)part * 2 * a->channels + c;
  for (int k = 0; k < lanes; k++) {
    to[k] = sum[0][k];
    to[a->channels + (uint32_t)k] = sum[1][k];
  }
}

/* i: channels first, so that neighbours read neighbours; then the part. */
CU_HD void cu_norm_statistics(const cu_norm *a, uint32_t i, int lanes, int type) {
  uint32_t groups = a->channels / (uint32_t)lanes, part = i / groups;
  uint32_t c = (i - part * groups) * (uint32_t)lanes;
  double sum[2][CU_HALF_LANES] = {{0}};
  float x[CU_HALF_LANES];

  for (uint32_t r = part; r < a->rows; r += a->parts) {
    cu_get(type, a->x, (size_t)r * a->channels + c, lanes, x);
    for (int k = 0; k < lanes; k++) {
      sum[0][k] += (double)x[k];
      sum[1][k] += (double)x[k] * (double)x[k];
    }
  }
  cu_norm_keep(a, part, c, lanes, sum);
}

/* Sum of all parts: [0] of the first terms, [1] of the second. */
CU_HD void cu_norm_total(const cu_norm *a, uint32_t c, double total[2]) {
  total[0] = total[1] = 0.0;
  for (uint32_t p = 0; p < a->parts; p++) {
    total[0] += a->partial[(size_t)p * 2 * a->channels + c];
    total[1] += a->partial[((size_t)p * 2 + 1) * a->channels + c];
  }
}

/* Mean and 1/sd of channel i; running statistics move. */
CU_HD void cu_norm_settle(const cu_norm *a, uint32_t i, int lanes) {
  double mean = 0, var = 0, total[2], m = (double)a->update;
  (void)lanes;

  if (a->batch) {
    cu_norm_total(a, i, total);
    mean = total[0] / (double)a->rows;
    var = total[1] / (double)a->rows - mean * mean;
    if (var < 0) var = 0;
    a->running_mean[i] = (float)((1 - m) * (double)a->running_mean[i] + m * mean);
    a->running_var[i] =
        (float)((1 - m) * (double)a->running_var[i] + m * var * (double)a->unbiased);
  } else {
    mean = (double)a->running_mean[i];
    var = (double)a->running_var[i];
  }
  a->aux[CU_NORM_MEAN * a->channels + i] = (float)mean;
  a->aux[CU_NORM_INV * a->channels + i] = (float)(1.0 / sqrt(var + (double)a->eps));
}

/* One array of AUX for the channels from c on. */
CU_HD void cu_norm_aux(const cu_norm *a, int which, uint32_t c, int lanes, float *x) {
  cu_load(a->aux, (size_t)which * a->channels + c, lanes, x);
}

/* y = (x - mean) * gamma / sd + beta [+ z] [ReLU] */
CU_HD void cu_norm_apply(const cu_norm *a, uint32_t i, int lanes, int type) {
  size_t at = (size_t)i * (size_t)lanes;
  uint32_t c = (uint32_t)(at % a->channels);
  float x[CU_HALF_LANES], mean[CU_HALF_LANES], inv[CU_HALF_LANES], gamma[CU_HALF_LANES],
      beta[CU_HALF_LANES];

  cu_get(type, a->x, at, lanes, x);
  cu_norm_aux(a, CU_NORM_MEAN, c, lanes, mean);
  cu_norm_aux(a, CU_NORM_INV, c, lanes, inv);
  cu_load(a->gamma, c, lanes, gamma);
  cu_load(a->beta, c, lanes, beta);
  for (int k = 0; k < lanes; k++) x[k] = (x[k] - mean[k]) * (inv[k] * gamma[k]) + beta[k];
  cu_add(type, a->z, at, lanes, x);
  if (a->relu)
    for (int k = 0; k < lanes; k++) x[k] = x[k] <= 0.0f ? 0.0f : x[k];
  cu_put(type, a->out, at, lanes, x);
}

/* The diff of the norm's output: through the chain's ReLU. */
CU_HD void cu_norm_diff(const cu_norm *a, size_t at, int lanes, int type, float *d) {
  float y[CU_HALF_LANES];

  cu_get(type, a->d, at, lanes, d);
  cu_add(type, a->d1, at, lanes, d);
  if (!a->relu) return;
  cu_get(type, a->y, at, lanes, y);
  for (int k = 0; k < lanes; k++) d[k] = y[k] <= 0.0f ? 0.0f : d[k];
}

/* Sums of diff, and of diff * normalised x; without x of the diffs alone (a bias's gradient). */
CU_HD void cu_norm_diffs(const cu_norm *a, uint32_t i, int lanes, int type) {
  uint32_t groups = a->channels / (uint32_t)lanes, part = i / groups;
  uint32_t c = (i - part * groups) * (uint32_t)lanes;
  double sum[2][CU_HALF_LANES] = {{0}};
  float x[CU_HALF_LANES], d[CU_HALF_LANES], mean[CU_HALF_LANES], inv[CU_HALF_LANES];

  cu_fill(0.0f, lanes, x);
  cu_fill(0.0f, lanes, mean);
  cu_fill(0.0f, lanes, inv);
  if (a->x) {
    cu_norm_aux(a, CU_NORM_MEAN, c, lanes, mean);
    cu_norm_aux(a, CU_NORM_INV, c, lanes, inv);
  }
  for (uint32_t r = part; r < a->rows; r += a->parts) {
    size_t at = (size_t)r * a->channels + c;
    cu_norm_diff(a, at, lanes, type, d);
    if (a->x) cu_get(type, a->x, at, lanes, x);
    for (int k = 0; k < lanes; k++) {
      sum[0][k] += (double)d[k];
      sum[1][k] += (double)d[k] * ((double)(x[k] - mean[k]) * (double)inv[k]);
    }
  }
  cu_norm_keep(a, part, c, lanes, sum);
}

CU_HD void cu_norm_gradients(const cu_norm *a, uint32_t i, int lanes) {
  double total[2];
  (void)lanes;

  cu_norm_total(a, i, total);
  if (a->dbeta) a->dbeta[i] = (float)total[0];
  if (a->dgamma) a->dgamma[i] = (float)total[1];
  if (!a->aux) return;
  a->aux[CU_NORM_SUM * a->channels + i] = (float)(total[0] / (double)a->rows);
  a->aux[CU_NORM_PRODUCT * a->channels + i] = (float)(total[1] / (double)a->rows);
}

/* dx = gamma / sd * (d - mean(d) - normal * mean(d * normal)) [+ add] */
CU_HD void cu_norm_data(const cu_norm *a, uint32_t i, int lanes, int type) {
  size_t at = (size_t)i * (size_t)lanes;
  uint32_t c = (uint32_t)(at % a->channels);
  float x[CU_HALF_LANES], d[CU_HALF_LANES], mean[CU_HALF_LANES], inv[CU_HALF_LANES],
      gamma[CU_HALF_LANES];
  float sum[CU_HALF_LANES], product[CU_HALF_LANES];

  cu_norm_diff(a, at, lanes, type, d);
  cu_norm_aux(a, CU_NORM_INV, c, lanes, inv);
  cu_load(a->gamma, c, lanes, gamma);
  if (a->batch) {
    cu_get(type, a->x, at, lanes, x);
    cu_norm_aux(a, CU_NORM_MEAN, c, lanes, mean);
    cu_norm_aux(a, CU_NORM_SUM, c, lanes, sum);
    cu_norm_aux(a, CU_NORM_PRODUCT, c, lanes, product);
    for (int k = 0; k < lanes; k++) d[k] = d[k] - sum[k] - (x[k] - mean[k]) * inv[k] * product[k];
  }
  for (int k = 0; k < lanes; k++) d[k] *= gamma[k] * inv[k];
  cu_add(type, a->add, at, lanes, d);
  cu_put(type, a->out, at, lanes, d);
}

CU_HD void cu_fold_body(const cu_fold *a, uint32_t i, int lanes) {
  uint32_t q = i / a->width, column = i - q * a->width;
  uint32_t last = (q + 1) * a->group < a->parts ? (q + 1) * a->group : a->parts;
  double sum = 0;
  (void)lanes;

  for (uint32_t p = q * a->group; p < last; p++) sum += a->in[(size_t)p * a->width + column];
  a->out[i] = sum;
}

#endif
