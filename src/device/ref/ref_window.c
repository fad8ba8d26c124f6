/* ref_window.c -- ops that move or average pixels of a plane: average pools, zero padding,
 * upsampling. */
#include "device/ref/ref.h"

#include <string.h>

static int64_t area(const pn_shape *s) {
  return s->dim[2] * s->dim[3];
}

static pn_status gap_forward(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  const float *src = ptr[PN_SRC];
  int64_t n = area(&op->in);
  (void)ctx;

  for (int64_t k = 0; k < op->in.dim[0] * op->in.dim[1]; k++) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)src[k * n + i];
    ((float *)ptr[PN_DST])[k] = (float)(sum / (double)n);
  }
  return PN_OK;
}

static pn_status gap_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  const float *ddst = ptr[PN_DDST];
  int64_t n = area(&op->in);
  (void)ctx;

  for (int64_t i = 0; i < pn_shape_count(op->in); i++)
    ((float *)ptr[PN_DSRC])[i] = (float)((double)ddst[i / n] / (double)n);
  return PN_OK;
}

/* Rows and columns of the input under one output, and what the sum is divided by. */
struct window {
  int64_t r0, r1, c0, c1;
  double places;
};

static struct window window_at(const pn_op_desc *op, int64_t y, int64_t x) {
  const pn_window *w = &op->window;
  int64_t top = y * w->stride[0] - w->pad_before[0], left = x * w->stride[1] - w->pad_before[1];
  int64_t bottom = top + w->kernel[0], right = left + w->kernel[1];
  struct window a = {top, bottom, left, right, (double)(w->kernel[0] * w->kernel[1])};

  if (a.r0 < 0) a.r0 = 0;
  if (a.c0 < 0) a.c0 = 0;
  if (a.r1 > op->in.dim[2]) a.r1 = op->in.dim[2];
  if (a.c1 > op->in.dim[3]) a.c1 = op->in.dim[3];
  if (!op->pad_counts) a.places = (double)((a.r1 - a.r0) * (a.c1 - a.c0));
  return a;
}

static pn_status avgpool_forward(void *state, void *const ptr[PN_ROLE_COUNT],
                                 const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  int64_t width = op->in.dim[3], ow = op->out.dim[3], out = area(&op->out);
  float *dst = ptr[PN_DST];
  (void)ctx;

  for (int64_t i = 0; i < pn_shape_count(op->out); i++) {
    const float *plane = (const float *)ptr[PN_SRC] + i / out * area(&op->in);
    struct window a = window_at(op, i % out / ow, i % ow);
    double sum = 0;
    for (int64_t r = a.r0; r < a.r1; r++)
      for (int64_t c = a.c0; c < a.c1; c++) sum += (double)plane[r * width + c];
    dst[i] = (float)(sum / a.places);
  }
  return PN_OK;
}

static pn_status avgpool_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  int64_t width = op->in.dim[3], ow = op->out.dim[3], out = area(&op->out);
  const float *ddst = ptr[PN_DDST];
  (void)ctx;

  memset(ptr[PN_DSRC], 0, (size_t)pn_shape_count(op->in) * sizeof(float));
  for (int64_t i = 0; i < pn_shape_count(op->out); i++) {
    float *plane = (float *)ptr[PN_DSRC] + i / out * area(&op->in);
    struct window a = window_at(op, i % out / ow, i % ow);
    for (int64_t r = a.r0; r < a.r1; r++)
      for (int64_t c = a.c0; c < a.c1; c++)
        plane[r * width + c] += (float)((double)ddst[i] / a.places);
  }
  return PN_OK;
}

/* Offset in the larger, padded planes of row r of plane k of the smaller ones. */
static int64_t padded_row(const pn_op_desc *op, int64_t k, int64_t r) {
  return k * area(&op->out) + (r + op->window.pad_before[0]) * op->out.dim[3] +
         op->window.pad_before[1];
}

static pn_status zeropad_forward(void *state, void *const ptr[PN_ROLE_COUNT],
                                 const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  int64_t h = op->in.dim[2], w = op->in.dim[3];
  (void)ctx;

  memset(ptr[PN_DST], 0, (size_t)pn_shape_count(op->out) * sizeof(float));
  for (int64_t i = 0; i < op->in.dim[0] * op->in.dim[1] * h; i++)
    memcpy((float *)ptr[PN_DST] + padded_row(op, i / h, i % h), (float *)ptr[PN_SRC] + i * w,
           (size_t)w * sizeof(float));
  return PN_OK;
}

static pn_status zeropad_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  int64_t h = op->in.dim[2], w = op->in.dim[3];
  (void)ctx;

  for (int64_t i = 0; i < op->in.dim[0] * op->in.dim[1] * h; i++)
    memcpy((float *)ptr[PN_DSRC] + i * w, (float *)ptr[PN_DDST] + padded_row(op, i / h, i % h),
           (size_t)w * sizeof(float));
  return PN_OK;
}

/* Source of output i: rows and columns halved. */
static int64_t half(const pn_op_desc *op, int64_t i) {
  int64_t ow = op->out.dim[3], row = i / ow; /* over all planes: planes have even heights */
  return row / 2 * op->in.dim[3] + i % ow / 2;
}

static pn_status upsample_forward(void *state, void *const ptr[PN_ROLE_COUNT],
                                  const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  const float *src = ptr[PN_SRC];
  (void)ctx;

  for (int64_t i = 0; i < pn_shape_count(op->out); i++)
    ((float *)ptr[PN_DST])[i] = src[half(op, i)];
  return PN_OK;
}

static pn_status upsample_data(void *state, void *const ptr[PN_ROLE_COUNT],
                               const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  const float *ddst = ptr[PN_DDST];
  float *dsrc = ptr[PN_DSRC];
  (void)ctx;

  memset(dsrc, 0, (size_t)pn_shape_count(op->in) * sizeof *dsrc);
  for (int64_t i = 0; i < pn_shape_count(op->out); i++) dsrc[half(op, i)] += ddst[i];
  return PN_OK;
}

#define WINDOW_FORWARD (REF_BIT(PN_SRC) | REF_BIT(PN_DST))
#define WINDOW_DATA    (REF_BIT(PN_DDST) | REF_BIT(PN_DSRC))

const ref_op ref_gap = {.pass[PN_FORWARD] = {gap_forward, WINDOW_FORWARD},
                        .pass[PN_BACKWARD_DATA] = {gap_data, WINDOW_DATA}};
const ref_op ref_avgpool = {.pass[PN_FORWARD] = {avgpool_forward, WINDOW_FORWARD},
                            .pass[PN_BACKWARD_DATA] = {avgpool_data, WINDOW_DATA}};
const ref_op ref_zeropad = {.pass[PN_FORWARD] = {zeropad_forward, WINDOW_FORWARD},
                            .pass[PN_BACKWARD_DATA] = {zeropad_data, WINDOW_DATA}};
const ref_op ref_upsample = {.pass[PN_FORWARD] = {upsample_forward, WINDOW_FORWARD},
                             .pass[PN_BACKWARD_DATA] = {upsample_data, WINDOW_DATA}};
