/* ref_elementwise.c -- ReLU and dropout. */
#include "device/dropout.h"
#include "device/ref/ref.h"

#include <string.h>

/* NaN passes, as in PyTorch. */
static pn_status relu_forward(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  const float *src = ptr[PN_SRC];
  float *dst = ptr[PN_DST];
  (void)ctx;

  for (int64_t i = 0, n = pn_shape_count(op->in); i < n; i++) dst[i] = src[i] <= 0 ? 0 : src[i];
  return PN_OK;
}

static pn_status relu_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  const float *dst = ptr[PN_DST], *ddst = ptr[PN_DDST];
  float *dsrc = ptr[PN_DSRC];
  (void)ctx;

  for (int64_t i = 0, n = pn_shape_count(op->in); i < n; i++) dsrc[i] = dst[i] <= 0 ? 0 : ddst[i];
  return PN_OK;
}

/* to = from * mask, in pieces whose factors fit on the stack. */
static pn_status apply_dropout(const pn_op_desc *op, const pn_step_ctx *ctx, const float *from,
                               float *to) {
  enum { PIECE = 1024 };
  int64_t per_image = pn_shape_count(op->in) / op->in.dim[0];
  float factor[PIECE];

  for (int64_t n = 0; n < op->in.dim[0]; n++)
    for (int64_t first = 0; first < per_image; first += PIECE) {
      int64_t count = per_image - first < PIECE ? per_image - first : PIECE;
      int64_t base = n * per_image + first;
      pn_status st = pn_dropout_factors(op, ctx, n, first, count, factor);
      if (st != PN_OK) return st;
      for (int64_t i = 0; i < count; i++) to[base + i] = from[base + i] * factor[i];
    }
  return PN_OK;
}

static pn_status dropout_forward(void *state, void *const ptr[PN_ROLE_COUNT],
                                 const pn_step_ctx *ctx) {
  const ref_state *s = state;

  if (s->training) return apply_dropout(&s->op, ctx, ptr[PN_SRC], ptr[PN_DST]);
  memcpy(ptr[PN_DST], ptr[PN_SRC], (size_t)pn_shape_count(s->op.in) * sizeof(float));
  return PN_OK;
}

static pn_status dropout_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  return apply_dropout(&((ref_state *)state)->op, ctx, ptr[PN_DDST], ptr[PN_DSRC]);
}

const ref_op ref_relu = {
    .pass[PN_FORWARD] = {relu_forward, REF_BIT(PN_SRC) | REF_BIT(PN_DST)},
    .pass[PN_BACKWARD_DATA] = {relu_data, REF_BIT(PN_DST) | REF_BIT(PN_DDST) | REF_BIT(PN_DSRC)},
};

const ref_op ref_dropout = {
    .pass[PN_FORWARD] = {dropout_forward, REF_BIT(PN_SRC) | REF_BIT(PN_DST)},
    .pass[PN_BACKWARD_DATA] = {dropout_data, REF_BIT(PN_DDST) | REF_BIT(PN_DSRC)},
};
