/* amx_conv.h -- convolutions and dense layers by the tile unit (AMX): bf16 in NHWC, f32 sums.
 *
 * A pass that gathers (forward; backward to the data, which is a convolution of the diff) runs over
 * a grid of output pixels: images are first copied with their padding, split by stride, so that the
 * input of any tap is the same list of pixels at an offset, and 32 neighbours in the grid, whatever
 * row they are in, make the rows of two tiles.  1x1 at stride 1 and dense layers read in place. */
#ifndef PN_DEVICE_SIMD_AMX_CONV_H
#define PN_DEVICE_SIMD_AMX_CONV_H

#include "base/bf16.h"
#include "device/op.h"

enum { PN_AMX_TAPS = 49, PN_AMX_GROUPS = 4, PN_AMX_CHANNELS = 32 };

/* Output pixels (i, j) of the grid go to (i * step[0] + at[0], j * step[1] + at[1]). */
typedef struct {
  int taps, tap[PN_AMX_TAPS];  /* which taps of the window */
  int64_t offset[PN_AMX_TAPS]; /* pixels from the grid's to that tap's */
  int64_t rows, at[2];
} pn_amx_group;

typedef struct {
  int64_t images, c, k; /* channels read and made: multiples of PN_AMX_CHANNELS */
  int64_t in[2], out[2];
  bool direct;      /* read in place: an "image" is a block of rows */
  int64_t split[2]; /* phases of the copy: phase a holds the padded rows a, a + stride, ... */
  int64_t stride[2];
  int64_t pad[2];  /* zero rows and columns before */
  int64_t grid[2]; /* height, width of a phase of the copy, and width of the output's grid */
  int64_t step[2];
  int n_groups;
  pn_amx_group group[PN_AMX_GROUPS];
  int64_t window; /* taps of the whole window */
} pn_amx_pass;

/* False: not for the tiles (channels, window). op: a convolution, or a dense layer whose input lies
 * as N I. */
bool pn_amx_forward_make(const pn_op_desc *op, pn_amx_pass *out);
bool pn_amx_data_make(const pn_op_desc *op, pn_amx_pass *out);

/* Not direct: rows of an image's copy, all phases, and one of them with its padding. */
int64_t pn_amx_copy_rows(const pn_amx_pass *p);
void pn_amx_copy_row(const pn_amx_pass *p, const pn_bf16 *x, int64_t row, pn_bf16 *to);

/* Weights O H W I, f32, to tiles; pn_amx_packed elements.  data: for the pass to the data. */
int64_t pn_amx_packed(const pn_amx_pass *p);
void pn_amx_pack(const pn_amx_pass *p, bool data, const float *weight, pn_bf16 *packed,
                 int threads);

/* y = relu(sum * scale + shift + add); all but x, packed, y may be NULL. */
typedef struct {
  const pn_bf16 *x, *packed, *add;
  const float *scale, *shift;
  bool relu;
  pn_bf16 *y;
} pn_amx_gather_io;
size_t pn_amx_gather_scratch(const pn_amx_pass *p, int threads); /* bytes */
void pn_amx_gather(const pn_amx_pass *p, const pn_amx_gather_io *io, void *scratch, int threads);

/* Gradient of the weights, O H W I, from the forward pass's x and the diff of its y; add: to what
 * is there already. */
typedef struct {
  const pn_bf16 *x, *dy;
  float *dweight;
  bool add;
} pn_amx_weight_io;
size_t pn_amx_weight_scratch(const pn_amx_pass *forward);
void pn_amx_weight(const pn_amx_pass *forward, const pn_amx_weight_io *io, void *scratch,
                   int threads);

/* A first convolution, whose channels do not fill tiles: the window under each output pixel becomes
 * a row of a matrix, and the convolution of an image a product. */
typedef struct {
  pn_amx_pass padded;  /* the copy that windows are cut from */
  pn_amx_pass product; /* of `strip` rows of one image's output */
  pn_window window;
  int64_t width; /* numbers of a window; rows are padded with zeros to product.c */
  int64_t strip; /* divides the output's height */
} pn_amx_columns;
bool pn_amx_columns_make(const pn_op_desc *op, pn_amx_columns *out);
size_t pn_amx_columns_bytes(const pn_amx_columns *c); /* of matrix and copy */
/* The strip from output row h on of an image, NHWC; strips of an image in turn, from 0.  Returns
 * the matrix, at the start of `room`. */
pn_bf16 *pn_amx_columns_fill(const pn_amx_columns *c, const pn_bf16 *image, int64_t h, void *room,
                             int threads);

#endif
