/* ref_pool.c -- max pooling: padding counts as -inf, the first of equal maxima wins (row-major
 * order in the window), NaN wins over all: PyTorch's rules.  AUX: i32 offset of the maximum in its
 * input plane, per output element. */
#include "device/ref/ref.h"

#include <math.h>
#include <string.h>

/* Offset of the maximum of the window at output (y, x) in `plane`; -1 if it is all padding. */
static int32_t window_argmax(const pn_op_desc *op, const float *plane, int64_t y, int64_t x) {
  const pn_window *w = &op->window;
  int64_t height = op->in.dim[2], width = op->in.dim[3];
  int64_t top = y * w->stride[0] - w->pad_before[0], left = x * w->stride[1] - w->pad_before[1];
  int64_t best = -1;

  for (int64_t r = top < 0 ? 0 : top; r < top + w->kernel[0] && r < height; r++)
    for (int64_t c = left < 0 ? 0 : left; c < left + w->kernel[1] && c < width; c++) {
      float v = plane[r * width + c];
      if (best < 0 || v > plane[best] || isnan(v)) best = r * width + c;
    }
  return (int32_t)best;
}

static pn_status maxpool_forward(void *state, void *const ptr[PN_ROLE_COUNT],
                                 const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  int64_t planes = op->in.dim[0] * op->in.dim[1], in = op->in.dim[2] * op->in.dim[3];
  int64_t oh = op->out.dim[2], ow = op->out.dim[3];
  int32_t *argmax = ((ref_state *)state)->training ? ptr[PN_AUX] : NULL;
  float *dst = ptr[PN_DST];
  (void)ctx;

  for (int64_t i = 0; i < planes * oh * ow; i++) {
    const float *plane = (const float *)ptr[PN_SRC] + i / (oh * ow) * in;
    int32_t best = window_argmax(op, plane, i / ow % oh, i % ow);
    dst[i] = best < 0 ? -INFINITY : plane[best];
    if (argmax) argmax[i] = best;
  }
  return PN_OK;
}

static pn_status maxpool_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  int64_t in = op->in.dim[2] * op->in.dim[3], out = op->out.dim[2] * op->out.dim[3];
  const int32_t *argmax = ptr[PN_AUX];
  const float *ddst = ptr[PN_DDST];
  float *dsrc = ptr[PN_DSRC];
  (void)ctx;

  memset(dsrc, 0, (size_t)pn_shape_count(op->in) * sizeof *dsrc);
  for (int64_t i = 0, n = pn_shape_count(op->out); i < n; i++)
    if (argmax[i] >= 0) dsrc[i / out * in + argmax[i]] += ddst[i];
  return PN_OK;
}

static size_t maxpool_aux(const pn_op_desc *op) {
  return (size_t)pn_shape_count(op->out) * sizeof(int32_t);
}

const ref_op ref_maxpool = {
    .pass[PN_FORWARD] = {maxpool_forward, REF_BIT(PN_SRC) | REF_BIT(PN_DST) | REF_BIT(PN_AUX)},
    .pass[PN_BACKWARD_DATA] = {maxpool_data, REF_BIT(PN_AUX) | REF_BIT(PN_DDST) | REF_BIT(PN_DSRC)},
    .aux_bytes = maxpool_aux,
};
