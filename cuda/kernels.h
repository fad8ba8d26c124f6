/* kernels.h -- the own kernels of the CUDA device: their arguments, and how they are started.
 *
 * A kernel is one C function `body(args, i, lanes)` that computes element group i (body_*.h).  On a
 * GPU one thread runs it for one i (gpu/kernels.cu); the emulated device runs it in a loop
 * (emulated.c), so every body is tested on machines without a GPU.  Tensors are channels last: N H
 * W C, rows are images of one pixel.  Those of type `void` are f32, or bf16 or fp16 in the kernels
 * of CU_TYPED_KERNELS, whose bodies take the type as well; what they compute is f32.  Indices are
 * 32-bit: prepare refuses larger tensors. */
#ifndef PN_CUDA_KERNELS_H
#define PN_CUDA_KERNELS_H

#include "base/status.h"
#include "device/flat_update.h"
#include "device/images.h"
#include "device/step_numbers.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__
#define CU_HD __host__ __device__ __forceinline__
#else
#define CU_HD static inline __attribute__((always_inline, unused))
#endif
#ifdef __CUDA_ARCH__ /* before a loop */
#define CU_ROLLED _Pragma("unroll 1")
#else
#define CU_ROLLED
#endif

enum { CU_LANES = 4, CU_HALF_LANES = 8 }; /* elements of one 16-byte access; 16 bits each */
enum { CU_BLOCK = 256 };                  /* threads of a block */
/* Rows that a thread of norm_apply and norm_data takes; channels that a block finds totals of. */
enum { CU_ROWS = 4, CU_TOTALS = 8 };

/* How a kernel is started: by one element or CU_WIDE, and with one type of activations. */
enum { CU_F32 = 0, CU_WIDE = 1, CU_BF16 = 2, CU_FP16 = 4, CU_FORMS = 6 };

/* f of x + bias[c] + z, and its derivative.  Pointers may be NULL where the term is absent. */
typedef enum { CU_COPY, CU_RELU, CU_SIGMOID, CU_SILU } cu_function;
typedef struct {
  cu_function f;
  const void *x, *z;            /* forward: out = f(x + bias[c] + z) */
  const void *y, *d, *d1, *add; /* backward: out = f'(x or y) * (d + d1) + add */
  void *out;
  const float *bias;
  uint32_t channels; /* of bias */
} cu_map;

/* out = x * factor: 0 or 1 / (1 - rate), the mask of device/dropout.h.  A thread takes so many
 * pixels, of which `runs` make an image. */
enum { CU_PIXELS = 8 };
typedef struct {
  const void *x;
  void *out;
  uint64_t *kept; /* one per thread: written, or read on the way `back` */
  const uint64_t *sample_id;
  const pn_step_numbers *numbers; /* NULL: all of it is in key and stream */
  uint32_t key[2], stream;        /* Philox key, counter[1] (without the epoch) */
  uint32_t channels, area, runs;
  float rate, keep;
  int32_t back;
} cu_dropout;

/* Rows of channels.  A block of threads takes `across` groups of channels of `down` rows at a time;
 * `tiles` blocks make a row, and `parts` such rows of blocks take all rows.
 * Sums over rows, per channel: those of part p of channel c at partial[(p * 2 + k) * channels + c],
 * k = 0, 1: of x and x^2 (with `shifted`, of x less what lies at aux[CU_NORM_MEAN]), or of the diff
 * and the diff * (x - mean). */
typedef struct {
  const void *x, *y, *z, *d, *d1, *add; /* y: of the ReLU that norm_post undoes */
  void *out;
  const float *gamma, *beta;
  float *running_mean, *running_var, *dgamma, *dbeta;
  float *aux; /* [CU_NORM_ARRAYS][channels] */
  double *partial;
  const float
      *stats; /* sums of x and of x^2, [2][channels], made by a convolution; NULL: partial */
  uint32_t rows, channels, across, down, tiles, parts;
  float eps, update, unbiased;
  int32_t relu, batch; /* batch: statistics of the batch, else the running ones */
  int32_t shifted;
} cu_norm;
/* y = (x - MEAN) * SCALE + beta; dx = d * SCALE + (x - MEAN) * SLOPE + REST.  INV: 1 / sd. */
enum { CU_NORM_MEAN, CU_NORM_INV, CU_NORM_SCALE, CU_NORM_SLOPE, CU_NORM_REST, CU_NORM_ARRAYS };

/* Pools and nearest upsampling.  where: place of the maximum in its window, CU_NOWHERE: padding. */
enum { CU_NOWHERE = 255 };
typedef struct {
  const void *x, *d;
  void *out;
  uint8_t *where;
  uint32_t c, h, w, oh, ow;
  int32_t kernel[2], stride[2], pad[2];
  int32_t pad_counts;
  int32_t relu; /* max pool behind a ReLU: a maximum of 0 is CU_NOWHERE, its diff has no way back */
} cu_window;

/* The way back of a pool without padding or overlap, and of the ReLU in front of it.  A row is a
 * cell: a window, or what is left of one at the edges. */
typedef struct {
  cu_norm rows;         /* d, d1: of the pool's output; out: of what the ReLU was given */
  const uint8_t *where; /* of max pooling with `relu` */
  uint32_t h, w, oh, ow, cells[2], kernel[2];
} cu_pool_post;

/* out[n][y][x] = in[n][y - top][x - left], or 0 outside: zero padding, and cropping back. */
typedef struct {
  const void *x;
  void *out;
  uint32_t c, h, w, oh, ow;
  int32_t top, left;
} cu_place;

/* Channels [from, from + channels) of rows of `from_pitch` to [to, ...) of rows of `to_pitch`. */
typedef struct {
  const void *x;
  void *out;
  uint32_t channels, from, from_pitch, to, to_pitch;
} cu_slice;

/* out in memory order has dimensions dim; element (i0, i1, i2, i3) is x[sum of i * stride].
 * from_f32, to_f32: that side is f32 where the other is not. */
typedef struct {
  const void *x;
  void *out;
  uint32_t dim[4], stride[4];
  int32_t from_f32, to_f32;
} cu_permute;

/* Images in f32, plane by plane, to the type with channels last, where channels * plane is a
 * multiple of the lanes. */
typedef struct {
  const float *x;
  void *out;
  uint32_t channels, plane;
} cu_interleave;

/* Between f32 and the type, in order. */
typedef struct {
  const void *x;
  void *out;
  int32_t to_f32;
} cu_convert;

/* One row of classes each. */
typedef struct {
  const float *x, *y, *d;
  float *out;
  uint32_t classes;
} cu_softmax;

/* Losses; see pn_step_ctx.  Forward, CU_ROW_THREADS threads take a sample; backward, one an
 * element.
 */
enum { CU_ROW_THREADS = 32 };
typedef struct {
  const float *x;
  float *out;
  double *lse; /* log of the sum of exp of each row: written forward (NULL: not), read backward */
  const int32_t *label, *label2;
  const float *mix, *scale;
  uint32_t rows, classes; /* of the row x; 1: binary cross-entropy */
  float smoothing;
} cu_loss;

/* to += from, CU_LANES elements at a time. */
typedef struct {
  float *to;
  const float *from;
  int64_t count;
  int32_t wide; /* both are multiples of 16 bytes */
} cu_adding;

/* Convolution without a library: weight O KH KW I.  A dense layer is one of a 1x1 image.  The diff
 * of the weight is f32, and a forward result where f32_out says so. */
typedef struct {
  const void *x, *weight, *d;
  const float *bias;
  void *out;
  uint32_t n, c, h, w, o, oh, ow;
  int32_t kernel[2], stride[2], pad[2];
  int32_t relu, f32_out;
} cu_conv;

/* X(kernel, body, argument type, whether there is a form for 16 bytes at a time).  First those with
 * bodies (args, i, lanes, type), then those in f32 only: (args, i, lanes). */
#define CU_TYPED_KERNELS(X)                                                                        \
  X(map_forward, cu_map_forward, cu_map, 1)                                                        \
  X(map_backward, cu_map_backward, cu_map, 1)                                                      \
  X(dropout, cu_dropout_body, cu_dropout, 1)                                                       \
  X(norm_apply, cu_norm_apply, cu_norm, 1)                                                         \
  X(norm_data, cu_norm_data, cu_norm, 1)                                                           \
  X(maxpool_forward, cu_maxpool_forward, cu_window, 1)                                             \
  X(maxpool_backward, cu_maxpool_backward, cu_window, 1)                                           \
  X(avgpool_forward, cu_avgpool_forward, cu_window, 1)                                             \
  X(avgpool_backward, cu_avgpool_backward, cu_window, 1)                                           \
  X(upsample_forward, cu_upsample_forward, cu_window, 1)                                           \
  X(upsample_backward, cu_upsample_backward, cu_window, 1)                                         \
  X(place, cu_place_body, cu_place, 1)                                                             \
  X(slice, cu_slice_body, cu_slice, 1)                                                             \
  X(permute, cu_permute_body, cu_permute, 0)                                                       \
  X(interleave, cu_interleave_body, cu_interleave, 1)                                              \
  X(convert, cu_convert_body, cu_convert, 1)                                                       \
  X(conv_forward, cu_conv_forward, cu_conv, 0)                                                     \
  X(conv_data, cu_conv_data, cu_conv, 0)                                                           \
  X(conv_weight, cu_conv_weight, cu_conv, 0)
#define CU_KERNELS(X)                                                                              \
  X(softmax_forward, cu_softmax_forward, cu_softmax, 0)                                            \
  X(softmax_backward, cu_softmax_backward, cu_softmax, 0)                                          \
  X(loss_backward, cu_loss_backward, cu_loss, 0)                                                   \
  X(add, cu_adding_body, cu_adding, 0)                                                             \
  X(update, cu_update_body, pn_flat_list, 0)                                                       \
  X(share, cu_share_body, pn_flat_list, 0)                                                         \
  X(total, cu_total_body, pn_flat_list, 0)                                                         \
  X(trust, cu_trust_body, pn_flat_list, 0)                                                         \
  X(image_table, cu_image_table, pn_image_job, 0)                                                  \
  X(image_pixels, cu_image_pixels, pn_image_job, 1)

/* Two sums per channel and thread, which a block then adds up: X(kernel, body, join, argument type,
 * type of the sums, form for 16 bytes).  body (args, block, thread, lanes, type, sum) makes those
 * of one thread, join (args, block, thread, lanes, sums) sees all of its block's,
 * [2][lanes][CU_BLOCK].  They are launched by n = CU_BLOCK times the number of blocks. */
#define CU_SUM_KERNELS(X)                                                                          \
  X(norm_statistics, cu_norm_statistics, cu_norm_keep, cu_norm, float, 1)                          \
  X(norm_diffs, cu_norm_diffs, cu_norm_keep, cu_norm, float, 1)                                    \
  X(norm_post, cu_norm_post, cu_norm_keep, cu_norm, float, 1)                                      \
  X(pool_post, cu_pool_post_body, cu_pool_post_keep, cu_pool_post, float, 1)                       \
  X(norm_settle, cu_norm_total, cu_norm_settle, cu_norm, double, 0)                                \
  X(norm_gradients, cu_norm_total, cu_norm_gradients, cu_norm, double, 0)                          \
  X(loss_forward, cu_loss_body, cu_loss_keep, cu_loss, double, 0)                                  \
  X(squares, cu_squares_body, cu_squares_keep, pn_flat_list, double, 0)                            \
  X(sums, cu_sums_body, cu_sums_keep, pn_flat_list, double, 0)                                     \
  X(clip, cu_clip_body, cu_clip_keep, pn_flat_list, double, 0)

#define CU_NAME(name, body, args, wide)                   CU_K_##name,
#define CU_SUM_NAME(name, body, join, args, number, wide) CU_K_##name,
typedef enum {
  CU_TYPED_KERNELS(CU_NAME) CU_SUM_KERNELS(CU_SUM_NAME) CU_TYPED_COUNT,
  CU_K_before_plain = CU_TYPED_COUNT - 1,
  CU_KERNELS(CU_NAME) CU_KERNEL_COUNT
} cu_kernel;
#undef CU_NAME
#undef CU_SUM_NAME

#endif
