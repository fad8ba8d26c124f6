/* ref_dense.c -- y = x W^T + b; a 4-D input is flattened in C H W order, which plain N C H W
 * already is. */
#include "device/ref/ref.h"

#include <string.h>

static pn_status dense_forward(void *state, void *const ptr[PN_ROLE_COUNT],
                               const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  int64_t batch = op->in.dim[0], n_out = op->weight.dim[0], n_in = op->weight.dim[1];
  const float *src = ptr[PN_SRC], *weight = ptr[PN_WEIGHT], *bias = ptr[PN_BIAS];
  float *dst = ptr[PN_DST];
  (void)ctx;

  for (int64_t o = 0; o < n_out; o++)
    for (int64_t n = 0; n < batch; n++) {
      const float *x = src + n * n_in, *w = weight + o * n_in;
      double sum = op->bias ? (double)bias[o] : 0.0;
      for (int64_t i = 0; i < n_in; i++) sum += (double)w[i] * (double)x[i];
      dst[n * n_out + o] = (float)sum;
    }
  return PN_OK;
}

static pn_status dense_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  int64_t batch = op->in.dim[0], n_out = op->weight.dim[0], n_in = op->weight.dim[1];
  const float *ddst = ptr[PN_DDST], *weight = ptr[PN_WEIGHT];
  float *dsrc = ptr[PN_DSRC];
  double *row = ptr[PN_SCRATCH];
  (void)ctx;

  for (int64_t n = 0; n < batch; n++) {
    memset(row, 0, (size_t)n_in * sizeof *row);
    for (int64_t o = 0; o < n_out; o++) {
      const float *w = weight + o * n_in;
      double d = (double)ddst[n * n_out + o];
      for (int64_t i = 0; i < n_in; i++) row[i] += d * (double)w[i];
    }
    for (int64_t i = 0; i < n_in; i++) dsrc[n * n_in + i] = (float)row[i];
  }
  return PN_OK;
}

static pn_status dense_weight(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  int64_t batch = op->in.dim[0], n_out = op->weight.dim[0], n_in = op->weight.dim[1];
  const float *src = ptr[PN_SRC], *ddst = ptr[PN_DDST];
  float *dweight = ptr[PN_DWEIGHT], *dbias = ptr[PN_DBIAS];
  double *row = ptr[PN_SCRATCH];
  (void)ctx;

  for (int64_t o = 0; o < n_out; o++) {
    double bias = 0.0;
    memset(row, 0, (size_t)n_in * sizeof *row);
    for (int64_t n = 0; n < batch; n++) {
      double d = (double)ddst[n * n_out + o];
      for (int64_t i = 0; i < n_in; i++) row[i] += d * (double)src[n * n_in + i];
      bias += d;
    }
    for (int64_t i = 0; i < n_in; i++) dweight[o * n_in + i] = (float)row[i];
    if (op->bias) dbias[o] = (float)bias;
  }
  return PN_OK;
}

static size_t dense_scratch(const pn_op_desc *op) {
  return (size_t)op->weight.dim[1] * sizeof(double);
}

const ref_op ref_dense = {
    .pass[PN_FORWARD] = {dense_forward,
                         REF_BIT(PN_SRC) | REF_BIT(PN_WEIGHT) | REF_BIT(PN_BIAS) | REF_BIT(PN_DST)},
    .pass[PN_BACKWARD_WEIGHT] = {dense_weight, REF_BIT(PN_SRC) | REF_BIT(PN_DDST) |
                                                   REF_BIT(PN_DWEIGHT) | REF_BIT(PN_DBIAS) |
                                                   REF_BIT(PN_SCRATCH)},
    .pass[PN_BACKWARD_DATA] = {dense_data, REF_BIT(PN_DDST) | REF_BIT(PN_WEIGHT) |
                                               REF_BIT(PN_DSRC) | REF_BIT(PN_SCRATCH)},
    .scratch_bytes = dense_scratch,
};
