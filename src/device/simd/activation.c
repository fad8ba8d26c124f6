/* activation.c -- see activation.h. */
#include "device/simd/activation.h"

#include "device/simd/simd.h"

enum { GRAIN = 4096 }; /* elements one thread takes at a time */

/* 2^k * e^r with |r| <= ln(2)/2, by Taylor to the sixth order; saturates at e^-87 and e^88. */
__attribute__((always_inline)) static inline float fast_exp(float x) {
  union {
    int32_t i;
    float f;
  } power;
  float k, r, p;

  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  k = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the integer nearest is in the low bits */
  k -= 12582912.0f;
  r = x - k * 0.693359375f;
  r -= k * -2.12194440e-4f;
  p = 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  power.i = ((int32_t)k + 127) << 23;
  return p * power.f;
}

__attribute__((always_inline)) static inline float logistic(float x) {
  return 1.0f / (1.0f + fast_exp(-x));
}

PN_CLONES static void add_range(const float *a, const float *b, float *y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

PN_CLONES static void add_range_bf16(const pn_bf16 *a, const pn_bf16 *b, pn_bf16 *y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = pn_bf16_of(pn_bf16_to_f32(a[i]) + pn_bf16_to_f32(b[i]));
}

/* NaN stays NaN: the comparisons of fast_exp would hide it. */
PN_CLONES static void sigmoid_range(const float *x, const float *unused, float *y, int64_t n) {
  (void)unused;
  for (int64_t i = 0; i < n; i++) y[i] = logistic(x[i]) + 0.0f * x[i];
}

PN_CLONES static void sigmoid_back_range(const float *y, const float *dy, float *dx, int64_t n) {
  for (int64_t i = 0; i < n; i++) dx[i] = dy[i] * y[i] * (1.0f - y[i]);
}

PN_CLONES static void silu_range(const float *x, const float *unused, float *y, int64_t n) {
  (void)unused;
  for (int64_t i = 0; i < n; i++) y[i] = x[i] * logistic(x[i]);
}

PN_CLONES static void silu_back_range(const float *x, const float *dy, float *dx, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    float s = logistic(x[i]);
    dx[i] = dy[i] * s * (1.0f + x[i] * (1.0f - s));
  }
}

typedef void range_fn(const float *a, const float *b, float *y, int64_t n);

static void over_ranges(range_fn *f, const float *a, const float *b, float *y, int64_t n,
                        int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < n; i += GRAIN)
    f(a + i, b ? b + i : b, y + i, n - i < GRAIN ? n - i : GRAIN);
}

void pn_simd_add(const float *a, const float *b, float *y, int64_t n, int threads) {
  over_ranges(add_range, a, b, y, n, threads);
}
void pn_simd_add_bf16(const pn_bf16 *a, const pn_bf16 *b, pn_bf16 *y, int64_t n, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < n; i += GRAIN)
    add_range_bf16(a + i, b + i, y + i, n - i < GRAIN ? n - i : GRAIN);
}
void pn_simd_sigmoid(const float *x, float *y, int64_t n, int threads) {
  over_ranges(sigmoid_range, x, NULL, y, n, threads);
}
void pn_simd_sigmoid_back(const float *y, const float *dy, float *dx, int64_t n, int threads) {
  over_ranges(sigmoid_back_range, y, dy, dx, n, threads);
}
void pn_simd_silu(const float *x, float *y, int64_t n, int threads) {
  over_ranges(silu_range, x, NULL, y, n, threads);
}
void pn_simd_silu_back(const float *x, const float *dy, float *dx, int64_t n, int threads) {
  over_ranges(silu_back_range, x, dy, dx, n, threads);
}

/* One row at place p of its step. */
static void softmax_row(const float *x, float *y, int64_t classes, int64_t step) {
  float top = x[0], sum = 0;

  for (int64_t c = 1; c < classes; c++) top = x[c * step] > top ? x[c * step] : top;
  for (int64_t c = 0; c < classes; c++) sum += y[c * step] = fast_exp(x[c * step] - top);
  for (int64_t c = 0; c < classes; c++) y[c * step] = y[c * step] / sum + 0.0f * x[c * step];
}

void pn_simd_softmax(const float *x, float *y, int64_t rows, int64_t classes, int64_t step) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t p = 0; p < step; p++)
      softmax_row(x + i * classes * step + p, y + i * classes * step + p, classes, step);
}

void pn_simd_softmax_back(const float *y, const float *dy, float *dx, int64_t rows, int64_t classes,
                          int64_t step) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t p = 0; p < step; p++) {
      int64_t at = i * classes * step + p;
      float dot = 0;
      for (int64_t c = 0; c < classes; c++) dot += y[at + c * step] * dy[at + c * step];
      for (int64_t c = 0; c < classes; c++)
        dx[at + c * step] = y[at + c * step] * (dy[at + c * step] - dot);
    }
}
