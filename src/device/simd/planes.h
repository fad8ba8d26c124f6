/* planes.h -- ops over planes [outer][height][width][lanes]: average pools, zero padding,
 * upsampling.  A tensor of one of pn_pool's layouts is such a stack; see pn_pool_make.  Operands of
 * void are f32 or bf16, by the pool. */
#ifndef PN_DEVICE_SIMD_PLANES_H
#define PN_DEVICE_SIMD_PLANES_H

#include "device/simd/simd.h"

/* Mean of each plane, into rows N C; lanes beyond C are left out. */
void pn_gap_forward(const pn_pool *p, int64_t channels, const void *x, void *y, int threads);
/* Every pixel gets its share of the plane's diff; lanes beyond C get 0. */
void pn_gap_backward(const pn_pool *p, int64_t channels, const void *dy, void *dx, int threads);

void pn_avg_forward(const pn_pool *p, bool pad_counts, const float *x, float *y, int threads);
void pn_avg_backward(const pn_pool *p, bool pad_counts, const float *dy, float *dx, int threads);

/* p->window's paddings; `in` is the smaller side. */
void pn_zeropad(const pn_pool *p, const void *x, void *y, int threads);
void pn_zeropad_back(const pn_pool *p, const void *dy, void *dx, int threads);

/* Twice the height and width. */
void pn_upsample(const pn_pool *p, const float *x, float *y, int threads);
void pn_upsample_back(const pn_pool *p, const float *dy, float *dx, int threads);

#endif
