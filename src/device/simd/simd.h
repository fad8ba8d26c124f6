/* simd.h -- own CPU kernels for what oneDNN lacks or does slowly; 64-byte aligned operands, f32 but
 * where bf16 is said.
 * Every function runs with `threads` OpenMP threads. */
#ifndef PN_DEVICE_SIMD_SIMD_H
#define PN_DEVICE_SIMD_SIMD_H

#include "base/bf16.h"
#include "device/op.h"
#include "tensor/layout.h"

/* One body, compiled for several instruction sets and chosen when the program starts. */
/* The resolver that picks one runs before the sanitizers are ready. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PN_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PN_CLONES
#endif

/* y = max(x, 0); y may be x.  NaN stays NaN. */
void pn_simd_relu(const float *x, float *y, int64_t n, int threads);
void pn_simd_relu_bf16(const pn_bf16 *x, pn_bf16 *y, int64_t n, int threads);
/* dx = y > 0 ? dy : 0; dx may be dy. */
void pn_simd_relu_back(const float *y, const float *dy, float *dx, int64_t n, int threads);
void pn_simd_relu_back_bf16(const pn_bf16 *y, const pn_bf16 *dy, pn_bf16 *dx, int64_t n,
                            int threads);

/* Planes of `lanes` channels that lie side by side: [outer][height][width][lanes].  nChw16c has 16
 * lanes, NHWC has C, plain NCHW has 1. */
typedef struct {
  int64_t outer, lanes;
  int64_t in[2], out[2]; /* height, width */
  pn_window window;
  pn_dtype type; /* PN_F32 or PN_BF16 */
} pn_pool;

/* False where the tag is no such layout, or the window has more than 256 places. */
bool pn_pool_make(const pn_op_desc *op, const pn_layout *l, pn_pool *out);
int64_t pn_pool_out_count(const pn_pool *p); /* elements of y, and bytes of code */
int64_t pn_pool_in_count(const pn_pool *p);
/* code: out_count bytes, for each output the place of its maximum in the window, row-major. */
void pn_pool_forward(const pn_pool *p, const void *x, void *y, uint8_t *code, int threads);
/* dx is overwritten.  y: the forward result where a ReLU came before the pool (diffs of outputs
 * that are not positive are dropped), NULL otherwise. */
void pn_pool_backward(const pn_pool *p, const void *dy, const uint8_t *code, const void *y,
                      void *dx, int threads);

/* y[i][j] += bias[j], then ReLU where asked; y is rows x cols, row-major. */
void pn_simd_bias_rows(float *y, const float *bias, int64_t rows, int64_t cols, bool relu);
/* sum[j] = sum over i of x[i][j]. */
void pn_simd_sum_rows(const float *x, int64_t rows, int64_t cols, float *sum);
void pn_simd_sum_rows_bf16(const pn_bf16 *x, int64_t rows, int64_t cols, float *sum);

#endif
