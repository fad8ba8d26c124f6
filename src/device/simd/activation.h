/* activation.h -- smooth activations and sums over flat ranges; f32.  exp is ours: relative error
 * below 3e-7, so that loops become vector code everywhere. */
#ifndef PN_DEVICE_SIMD_ACTIVATION_H
#define PN_DEVICE_SIMD_ACTIVATION_H

#include "base/bf16.h"
#include "device/op.h"

void pn_simd_add(const float *a, const float *b, float *y, int64_t n, int threads);
void pn_simd_add_bf16(const pn_bf16 *a, const pn_bf16 *b, pn_bf16 *y, int64_t n, int threads);
void pn_simd_sigmoid(const float *x, float *y, int64_t n, int threads);
void pn_simd_sigmoid_back(const float *y, const float *dy, float *dx, int64_t n, int threads);
void pn_simd_silu(const float *x, float *y, int64_t n, int threads);
void pn_simd_silu_back(const float *x, const float *dy, float *dx, int64_t n, int threads);

/* Over `classes` elements that lie `step` apart; rows x classes x step elements, row-major. */
void pn_simd_softmax(const float *x, float *y, int64_t rows, int64_t classes, int64_t step);
void pn_simd_softmax_back(const float *y, const float *dy, float *dx, int64_t rows, int64_t classes,
                          int64_t step);

#endif
