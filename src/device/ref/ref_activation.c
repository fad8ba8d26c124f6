/* ref_activation.c -- sigmoid, SiLU, softmax over dimension 1. */
#include "device/ref/ref.h"

#include <math.h>

static double logistic(double x) {
  return 1.0 / (1.0 + exp(-x));
}

static pn_status sigmoid_forward(void *state, void *const ptr[PN_ROLE_COUNT],
                                 const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  const float *src = ptr[PN_SRC];
  (void)ctx;

  for (int64_t i = 0, n = pn_shape_count(op->in); i < n; i++)
    ((float *)ptr[PN_DST])[i] = (float)logistic((double)src[i]);
  return PN_OK;
}

static pn_status sigmoid_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  const float *dst = ptr[PN_DST], *ddst = ptr[PN_DDST];
  (void)ctx;

  for (int64_t i = 0, n = pn_shape_count(op->in); i < n; i++)
    ((float *)ptr[PN_DSRC])[i] = ddst[i] * dst[i] * (1 - dst[i]);
  return PN_OK;
}

static pn_status silu_forward(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  const float *src = ptr[PN_SRC];
  (void)ctx;

  for (int64_t i = 0, n = pn_shape_count(op->in); i < n; i++)
    ((float *)ptr[PN_DST])[i] = (float)((double)src[i] * logistic((double)src[i]));
  return PN_OK;
}

static pn_status silu_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  const float *src = ptr[PN_SRC], *ddst = ptr[PN_DDST];
  (void)ctx;

  for (int64_t i = 0, n = pn_shape_count(op->in); i < n; i++) {
    double x = (double)src[i], s = logistic(x);
    ((float *)ptr[PN_DSRC])[i] = (float)((double)ddst[i] * s * (1 + x * (1 - s)));
  }
  return PN_OK;
}

/* Distance between the classes of one row of the softmax, and where row k begins. */
static int64_t class_stride(const pn_op_desc *op) {
  return op->in.n_dims == 4 ? op->in.dim[2] * op->in.dim[3] : 1;
}

static int64_t row_start(const pn_op_desc *op, int64_t k) {
  int64_t stride = class_stride(op);
  return k / stride * op->in.dim[1] * stride + k % stride;
}

static pn_status softmax_forward(void *state, void *const ptr[PN_ROLE_COUNT],
                                 const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  int64_t step = class_stride(op), classes = op->in.dim[1];
  (void)ctx;

  for (int64_t k = 0; k < op->in.dim[0] * step; k++) {
    const float *x = (const float *)ptr[PN_SRC] + row_start(op, k);
    float *y = (float *)ptr[PN_DST] + row_start(op, k);
    double top = (double)x[0], sum = 0;
    for (int64_t c = 1; c < classes; c++)
      if ((double)x[c * step] > top) top = (double)x[c * step];
    for (int64_t c = 0; c < classes; c++) sum += exp((double)x[c * step] - top);
    for (int64_t c = 0; c < classes; c++)
      y[c * step] = (float)(exp((double)x[c * step] - top) / sum);
  }
  return PN_OK;
}

static pn_status softmax_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  int64_t step = class_stride(op), classes = op->in.dim[1];
  (void)ctx;

  for (int64_t k = 0; k < op->in.dim[0] * step; k++) {
    const float *y = (const float *)ptr[PN_DST] + row_start(op, k);
    const float *dy = (const float *)ptr[PN_DDST] + row_start(op, k);
    float *dx = (float *)ptr[PN_DSRC] + row_start(op, k);
    double dot = 0;
    for (int64_t c = 0; c < classes; c++) dot += (double)y[c * step] * (double)dy[c * step];
    for (int64_t c = 0; c < classes; c++)
      dx[c * step] = (float)((double)y[c * step] * ((double)dy[c * step] - dot));
  }
  return PN_OK;
}

#define FORWARD  (REF_BIT(PN_SRC) | REF_BIT(PN_DST))
#define FROM_DST (REF_BIT(PN_DST) | REF_BIT(PN_DDST) | REF_BIT(PN_DSRC))
#define FROM_SRC (REF_BIT(PN_SRC) | REF_BIT(PN_DDST) | REF_BIT(PN_DSRC))

const ref_op ref_sigmoid = {.pass[PN_FORWARD] = {sigmoid_forward, FORWARD},
                            .pass[PN_BACKWARD_DATA] = {sigmoid_data, FROM_DST}};
const ref_op ref_silu = {.pass[PN_FORWARD] = {silu_forward, FORWARD},
                         .pass[PN_BACKWARD_DATA] = {silu_data, FROM_SRC}};
const ref_op ref_softmax = {.pass[PN_FORWARD] = {softmax_forward, FORWARD},
                            .pass[PN_BACKWARD_DATA] = {softmax_data, FROM_DST}};
