/* pool_grad.h -- gradients of conv 3x3 stride 1 + ReLU + max-pool 2x2 from the pooled diff.  Of the
 * conv's diff three quarters are zeros, and more where the ReLU cut: only the others are computed
 * with.  Sums are those of the dense gradients, without the zeros. */
#ifndef PN_DEVICE_SIMD_POOL_GRAD_H
#define PN_DEVICE_SIMD_POOL_GRAD_H

#include "device/op.h"

enum { PN_GRAD_TAPS = 9 };

/* One image: its input, or the diff of it, carries the convolution's padding:
 * [blocks][rows][cols][lanes]. */
typedef struct {
  int64_t filters, blocks; /* filters: a multiple of lanes; blocks of `lanes` input channels */
  int64_t rows, cols;      /* of a padded plane: at least 2 * out + 2 */
  int64_t out[2];          /* pooled height, width */
  int64_t strip;           /* pooled rows that are worked on at a time, >= 1 */
} pn_pool_grad;

/* A place of the conv's output whose diff is not zero: the first float under its first tap. */
typedef struct {
  int32_t at;
  float diff;
} pn_grad_entry;

/* y, dy, code: [filters / lanes][out0][out1][lanes]; weights and dw: [filters][blocks][9][lanes].
 */
typedef struct {
  const float *y, *dy;
  const uint8_t *code; /* which of the four conv outputs was the largest, row-major */
  float *planes;       /* gradient reads the input; data adds to its diff */
  const float *weight; /* data reads it */
  float *dw, *db;      /* gradient adds this image's share; db: [filters] */
  pn_grad_entry *list; /* room: [filters][strip * out1 + 1] */
  int32_t *count;      /* room: [filters] */
} pn_grad_image;

#endif
