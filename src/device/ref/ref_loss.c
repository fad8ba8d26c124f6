/* ref_loss.c -- the losses of small_cnns 3.4, per sample; backward scales by sample_scale. */
#include "device/ref/ref.h"

#include <math.h>

static pn_status check_label(int32_t label, int64_t sample, int64_t classes) {
  if (label >= 0 && label < classes) return PN_OK;
  return PN_FAIL(PN_ERR_ARG, "label %d of image %lld of the batch: the loss has %lld classes",
                 label, (long long)sample, (long long)classes);
}

static pn_status bce_forward(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  const float *logit = ptr[PN_SRC];
  const int32_t *label = ptr[PN_LABEL];
  float *loss = ptr[PN_DST];
  (void)ctx;

  for (int64_t n = 0; n < op->in.dim[0]; n++) {
    pn_status st = check_label(label[n], n, 2);
    double x = (double)logit[n];
    if (st != PN_OK) return st;
    loss[n] = (float)((x > 0 ? x : 0) - x * label[n] + log1p(exp(-fabs(x))));
  }
  return PN_OK;
}

/* A sample of scale 0 (padding of the batch) gets exactly 0, whatever its logit. */
static pn_status bce_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  const float *logit = ptr[PN_SRC];
  const int32_t *label = ptr[PN_LABEL];
  float *dsrc = ptr[PN_DSRC];

  if (!ctx || !ctx->sample_scale) return PN_FAIL(PN_ERR_ARG, "bce: backward needs sample_scale");
  for (int64_t n = 0; n < op->in.dim[0]; n++) {
    double scale = (double)ctx->sample_scale[n];
    double sigmoid = 1.0 / (1.0 + exp(-(double)logit[n]));
    dsrc[n] = scale == 0.0 ? 0.0f : (float)(scale * (sigmoid - label[n]));
  }
  return PN_OK;
}

/* log(sum(exp(x))) without overflow. */
static double log_sum_exp(const float *x, int64_t n) {
  double top = (double)x[0], sum = 0.0;

  for (int64_t k = 1; k < n; k++)
    if ((double)x[k] > top) top = (double)x[k];
  for (int64_t k = 0; k < n; k++) sum += exp((double)x[k] - top);
  return top + log(sum);
}

static pn_status softmax_forward(void *state, void *const ptr[PN_ROLE_COUNT],
                                 const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  int64_t classes = op->in.dim[1];
  const int32_t *label = ptr[PN_LABEL];
  float *loss = ptr[PN_DST];
  (void)ctx;

  for (int64_t n = 0; n < op->in.dim[0]; n++) {
    const float *x = (const float *)ptr[PN_SRC] + n * classes;
    pn_status st = check_label(label[n], n, classes);
    if (st != PN_OK) return st;
    loss[n] = (float)(log_sum_exp(x, classes) - (double)x[label[n]]);
  }
  return PN_OK;
}

static pn_status softmax_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  int64_t classes = op->in.dim[1];
  const int32_t *label = ptr[PN_LABEL];

  if (!ctx || !ctx->sample_scale)
    return PN_FAIL(PN_ERR_ARG, "softmax_ce: backward needs sample_scale");
  for (int64_t n = 0; n < op->in.dim[0]; n++) {
    const float *x = (const float *)ptr[PN_SRC] + n * classes;
    float *d = (float *)ptr[PN_DSRC] + n * classes;
    double scale = (double)ctx->sample_scale[n], lse = log_sum_exp(x, classes);
    for (int64_t k = 0; k < classes; k++) {
      double p = exp((double)x[k] - lse);
      d[k] = scale == 0.0 ? 0.0f : (float)(scale * (p - (k == label[n] ? 1.0 : 0.0)));
    }
  }
  return PN_OK;
}

#define LOSS_FORWARD (REF_BIT(PN_SRC) | REF_BIT(PN_LABEL) | REF_BIT(PN_DST))
#define LOSS_DATA    (REF_BIT(PN_SRC) | REF_BIT(PN_LABEL) | REF_BIT(PN_DSRC))

const ref_op ref_bce = {.pass[PN_FORWARD] = {bce_forward, LOSS_FORWARD},
                        .pass[PN_BACKWARD_DATA] = {bce_data, LOSS_DATA}};

const ref_op ref_softmax_ce = {.pass[PN_FORWARD] = {softmax_forward, LOSS_FORWARD},
                               .pass[PN_BACKWARD_DATA] = {softmax_data, LOSS_DATA}};
