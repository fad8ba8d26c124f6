/* ref_join.c -- ops of several inputs: add, concat. */
#include "device/ref/ref.h"

#include <string.h>

static pn_status add_forward(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  const float *a = ptr[PN_SRC], *b = ptr[PN_SRC1];
  float *dst = ptr[PN_DST];
  (void)ctx;

  for (int64_t i = 0, n = pn_shape_count(op->in); i < n; i++) dst[i] = a[i] + b[i];
  return PN_OK;
}

static int input_role(int k, int first, int more) {
  return k == 0 ? first : more + k - 1;
}

/* Elements of input k of one image. */
static int64_t image_count(const pn_op_desc *op, int k) {
  return pn_shape_count(k ? op->more[k - 1] : op->in) / op->in.dim[0];
}

static pn_status concat_forward(void *state, void *const ptr[PN_ROLE_COUNT],
                                const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  float *dst = ptr[PN_DST];
  (void)ctx;

  for (int64_t n = 0; n < op->in.dim[0]; n++)
    for (int k = 0; k <= op->n_more; k++) {
      int64_t count = image_count(op, k);
      const float *src = ptr[input_role(k, PN_SRC, PN_SRC1)];
      memcpy(dst, src + n * count, (size_t)count * sizeof *dst);
      dst += count;
    }
  return PN_OK;
}

static pn_status concat_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  const float *ddst = ptr[PN_DDST];
  (void)ctx;

  for (int64_t n = 0; n < op->in.dim[0]; n++)
    for (int k = 0; k <= op->n_more; k++) {
      int64_t count = image_count(op, k);
      float *dsrc = ptr[input_role(k, PN_DSRC, PN_DSRC1)];
      memcpy(dsrc + n * count, ddst, (size_t)count * sizeof *ddst);
      ddst += count;
    }
  return PN_OK;
}

const ref_op ref_add = {
    .pass[PN_FORWARD] = {add_forward, REF_BIT(PN_SRC) | REF_BIT(PN_SRC1) | REF_BIT(PN_DST)}};

const ref_op ref_concat = {
    .pass[PN_FORWARD] = {concat_forward, REF_BIT(PN_SRC) | REF_BIT(PN_SRC1) | REF_BIT(PN_SRC2) |
                                             REF_BIT(PN_SRC3) | REF_BIT(PN_DST)},
    .pass[PN_BACKWARD_DATA] = {concat_data, REF_BIT(PN_DDST) | REF_BIT(PN_DSRC) |
                                                REF_BIT(PN_DSRC1) | REF_BIT(PN_DSRC2) |
                                                REF_BIT(PN_DSRC3)},
};
