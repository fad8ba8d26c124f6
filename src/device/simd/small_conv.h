/* small_conv.h -- conv 3x3 stride 1 + ReLU + max-pool 2x2 of an image with few channels, where
 * oneDNN is slow (specs/cpu.md).  The convolution's output never exists in memory; its gradient is
 * taken straight from the pooled diff, three quarters of which would be zeros. */
#ifndef PN_DEVICE_SIMD_SMALL_CONV_H
#define PN_DEVICE_SIMD_SMALL_CONV_H

#include "device/op.h"

enum { PN_SMALL_TAPS = 9, PN_SMALL_CHANNELS = 4 }; /* 3x3; most channels that pay */

/* One image.  Its planes carry their zero padding: [channels][rows][cols]. */
typedef struct {
  int64_t channels, blocks; /* blocks of `lanes` filters */
  int64_t rows, cols;       /* of a padded plane */
  int64_t out[2];           /* pooled height, width: 2 * out + 2 <= rows, cols */
  int64_t pixel, block; /* elements of y, dy and code from pixel to pixel, from block to block */
} pn_small_conv;

/* Operands.  Packed weights and dw: [blocks][channels][9][lanes]; bias and db: [blocks][lanes]; y,
 * dy and code: [out0][out1] pixels of `lanes` channels, per block. */
typedef struct {
  const float *planes, *weight, *bias;
  void *y;       /* f32 or bf16, like dy; forward writes it, gradient reads it */
  uint8_t *code; /* likewise: which of the four conv outputs was the largest, row-major */
  const void *dy;
  float *dw, *db; /* gradient adds this image's share */
} pn_small_image;

#endif
