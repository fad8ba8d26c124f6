/* relu.c -- elementwise kernels over flat ranges, and the bias of a dense layer. */
#include "device/simd/simd.h"

#include <string.h>

enum { GRAIN = 4096 }; /* elements one thread takes at a time */

PN_CLONES static void relu_range(const float *x, float *y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

PN_CLONES static void relu_back_range(const float *y, const float *dy, float *dx, int64_t n) {
  for (int64_t i = 0; i < n; i++) dx[i] = y[i] > 0.0f ? dy[i] : 0.0f;
}

void pn_simd_relu(const float *x, float *y, int64_t n, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < n; i += GRAIN) relu_range(x + i, y + i, n - i < GRAIN ? n - i : GRAIN);
}

void pn_simd_relu_back(const float *y, const float *dy, float *dx, int64_t n, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < n; i += GRAIN)
    relu_back_range(y + i, dy + i, dx + i, n - i < GRAIN ? n - i : GRAIN);
}

/* The sign bit, but of a NaN. */
PN_CLONES static void relu_range_bf16(const pn_bf16 *x, pn_bf16 *y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = x[i] > 0x7fffu && x[i] <= 0xff80u ? 0 : x[i];
}

PN_CLONES static void relu_back_range_bf16(const pn_bf16 *y, const pn_bf16 *dy, pn_bf16 *dx,
                                           int64_t n) {
  for (int64_t i = 0; i < n; i++) dx[i] = (int16_t)y[i] > 0 ? dy[i] : 0;
}

void pn_simd_relu_bf16(const pn_bf16 *x, pn_bf16 *y, int64_t n, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < n; i += GRAIN)
    relu_range_bf16(x + i, y + i, n - i < GRAIN ? n - i : GRAIN);
}

void pn_simd_relu_back_bf16(const pn_bf16 *y, const pn_bf16 *dy, pn_bf16 *dx, int64_t n,
                            int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < n; i += GRAIN)
    relu_back_range_bf16(y + i, dy + i, dx + i, n - i < GRAIN ? n - i : GRAIN);
}

void pn_simd_sum_rows_bf16(const pn_bf16 *x, int64_t rows, int64_t cols, float *sum) {
  memset(sum, 0, (size_t)cols * sizeof *sum);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < cols; j++) sum[j] += pn_bf16_to_f32(x[i * cols + j]);
}

void pn_simd_bias_rows(float *y, const float *bias, int64_t rows, int64_t cols, bool relu) {
  for (int64_t i = 0; i < rows; i++) {
    float *row = y + i * cols;
    if (bias)
      for (int64_t j = 0; j < cols; j++) row[j] += bias[j];
    if (relu) relu_range(row, row, cols);
  }
}

void pn_simd_sum_rows(const float *x, int64_t rows, int64_t cols, float *sum) {
  memset(sum, 0, (size_t)cols * sizeof *sum);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < cols; j++) sum[j] += x[i * cols + j];
}
