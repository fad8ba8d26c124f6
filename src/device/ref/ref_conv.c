/* ref_conv.c -- convolution (cross-correlation), N C H W, weight O I KH KW.
 *
 * Each pass walks rows: for one output row it adds `weight * input row`, shifted, into a row of
 * doubles, so the inner loop is a plain axpy over the valid columns. */
#include "device/ref/ref.h"

#include <string.h>

struct geometry {
  int64_t n, ci, h, w, co, oh, ow, kh, kw;
};

static struct geometry geometry_of(const pn_op_desc *op) {
  return (struct geometry){.n = op->in.dim[0],
                           .ci = op->in.dim[1],
                           .h = op->in.dim[2],
                           .w = op->in.dim[3],
                           .co = op->out.dim[1],
                           .oh = op->out.dim[2],
                           .ow = op->out.dim[3],
                           .kh = op->window.kernel[0],
                           .kw = op->window.kernel[1]};
}

/* Output columns [*lo, *hi) whose input column x * stride + k - pad lies inside the image. */
static void columns(const pn_op_desc *op, int64_t k, int64_t *lo, int64_t *hi) {
  int64_t stride = op->window.stride[1], shift = k - op->window.pad_before[1];
  int64_t last = op->in.dim[3] - 1 - shift;

  *lo = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
  *hi = last < 0 ? 0 : last / stride + 1;
  if (*hi > op->out.dim[3]) *hi = op->out.dim[3];
}

/* Input row under output row y and kernel row k; -1 in the padding. */
static int64_t input_row(const pn_op_desc *op, int64_t y, int64_t k) {
  int64_t row = y * op->window.stride[0] + k - op->window.pad_before[0];
  return row >= 0 && row < op->in.dim[2] ? row : -1;
}

/* row[x] += sum over the kernel's columns of w[kw] * src[x * stride + kw - pad]. */
static void gather_row(const pn_op_desc *op, const float *src, const float *w, double *row) {
  int64_t lo, hi, stride = op->window.stride[1], pad = op->window.pad_before[1];

  for (int64_t k = 0; k < op->window.kernel[1]; k++) {
    columns(op, k, &lo, &hi);
    for (int64_t x = lo; x < hi; x++) row[x] += (double)w[k] * (double)src[x * stride + k - pad];
  }
}

/* The adjoint: row[x * stride + kw - pad] += w[kw] * diff[x]. */
static void scatter_row(const pn_op_desc *op, const float *diff, const float *w, double *row) {
  int64_t lo, hi, stride = op->window.stride[1], pad = op->window.pad_before[1];

  for (int64_t k = 0; k < op->window.kernel[1]; k++) {
    columns(op, k, &lo, &hi);
    for (int64_t x = lo; x < hi; x++) row[x * stride + k - pad] += (double)w[k] * (double)diff[x];
  }
}

static pn_status conv_forward(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  struct geometry g = geometry_of(op);
  const float *src = ptr[PN_SRC], *weight = ptr[PN_WEIGHT], *bias = ptr[PN_BIAS];
  float *dst = ptr[PN_DST];
  double *row = ptr[PN_SCRATCH];
  (void)ctx;

  for (int64_t i = 0; i < g.n * g.co * g.oh; i++) {
    int64_t y = i % g.oh, o = i / g.oh % g.co, n = i / g.oh / g.co;
    for (int64_t x = 0; x < g.ow; x++) row[x] = op->bias ? (double)bias[o] : 0.0;
    for (int64_t c = 0; c < g.ci; c++)
      for (int64_t k = 0; k < g.kh; k++) {
        int64_t r = input_row(op, y, k);
        if (r < 0) continue;
        gather_row(op, src + ((n * g.ci + c) * g.h + r) * g.w,
                   weight + ((o * g.ci + c) * g.kh + k) * g.kw, row);
      }
    for (int64_t x = 0; x < g.ow; x++) dst[i * g.ow + x] = (float)row[x];
  }
  return PN_OK;
}

static pn_status conv_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  struct geometry g = geometry_of(op);
  const float *ddst = ptr[PN_DDST], *weight = ptr[PN_WEIGHT];
  float *dsrc = ptr[PN_DSRC];
  double *plane = ptr[PN_SCRATCH];
  (void)ctx;

  for (int64_t i = 0; i < g.n * g.ci; i++) {
    int64_t c = i % g.ci, n = i / g.ci;
    memset(plane, 0, (size_t)(g.h * g.w) * sizeof *plane);
    for (int64_t o = 0; o < g.co; o++)
      for (int64_t y = 0; y < g.oh; y++)
        for (int64_t k = 0; k < g.kh; k++) {
          int64_t r = input_row(op, y, k);
          if (r < 0) continue;
          scatter_row(op, ddst + ((n * g.co + o) * g.oh + y) * g.ow,
                      weight + ((o * g.ci + c) * g.kh + k) * g.kw, plane + r * g.w);
        }
    for (int64_t p = 0; p < g.h * g.w; p++) dsrc[i * g.h * g.w + p] = (float)plane[p];
  }
  return PN_OK;
}

/* Diff of one weight (o, c, kh, kw): correlation of the output's diff with the shifted input. */
static double weight_sum(const pn_op_desc *op, const float *src, const float *ddst,
                         const int64_t at[4]) {
  struct geometry g = geometry_of(op);
  int64_t lo, hi, stride = op->window.stride[1];
  double sum = 0.0;

  columns(op, at[3], &lo, &hi);
  for (int64_t n = 0; n < g.n; n++)
    for (int64_t y = 0; y < g.oh; y++) {
      int64_t r = input_row(op, y, at[2]);
      if (r < 0) continue;
      const float *d = ddst + ((n * g.co + at[0]) * g.oh + y) * g.ow;
      const float *s = src + ((n * g.ci + at[1]) * g.h + r) * g.w;
      int64_t shift = at[3] - op->window.pad_before[1];
      for (int64_t x = lo; x < hi; x++) sum += (double)d[x] * (double)s[x * stride + shift];
    }
  return sum;
}

static void bias_sums(const struct geometry *g, const float *ddst, float *dbias) {
  for (int64_t o = 0; o < g->co; o++) {
    double sum = 0.0;
    for (int64_t n = 0; n < g->n; n++) {
      const float *plane = ddst + (n * g->co + o) * g->oh * g->ow;
      for (int64_t p = 0; p < g->oh * g->ow; p++) sum += (double)plane[p];
    }
    dbias[o] = (float)sum;
  }
}

static pn_status conv_weight(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  struct geometry g = geometry_of(op);
  float *dweight = ptr[PN_DWEIGHT];
  (void)ctx;

  for (int64_t i = 0; i < g.co * g.ci * g.kh * g.kw; i++) {
    const int64_t at[4] = {i / (g.ci * g.kh * g.kw), i / (g.kh * g.kw) % g.ci, i / g.kw % g.kh,
                           i % g.kw};
    dweight[i] = (float)weight_sum(op, ptr[PN_SRC], ptr[PN_DDST], at);
  }
  if (op->bias) bias_sums(&g, ptr[PN_DDST], ptr[PN_DBIAS]);
  return PN_OK;
}

/* One input plane of doubles (backward data), or one output row (forward). */
static size_t conv_scratch(const pn_op_desc *op) {
  int64_t plane = op->in.dim[2] * op->in.dim[3], row = op->out.dim[3];
  return (size_t)(plane > row ? plane : row) * sizeof(double);
}

const ref_op ref_conv = {
    .pass[PN_FORWARD] = {conv_forward, REF_BIT(PN_SRC) | REF_BIT(PN_WEIGHT) | REF_BIT(PN_BIAS) |
                                           REF_BIT(PN_DST) | REF_BIT(PN_SCRATCH)},
    .pass[PN_BACKWARD_WEIGHT] = {conv_weight, REF_BIT(PN_SRC) | REF_BIT(PN_DDST) |
                                                  REF_BIT(PN_DWEIGHT) | REF_BIT(PN_DBIAS)},
    .pass[PN_BACKWARD_DATA] = {conv_data, REF_BIT(PN_DDST) | REF_BIT(PN_WEIGHT) | REF_BIT(PN_DSRC) |
                                              REF_BIT(PN_SCRATCH)},
    .scratch_bytes = conv_scratch,
};
