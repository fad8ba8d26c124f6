/* ref_loss.c -- the losses of small_cnns 3.4, per sample; backward scales by sample_scale.  Both
 * are linear in the target, so a mixed target is two labels with shares that sum to 1. */
#include "device/ref/ref.h"

#include <math.h>

static pn_status check_label(int32_t label, int64_t sample, int64_t classes) {
  if (label >= 0 && label < classes) return PN_OK;
  return PN_FAIL(PN_ERR_ARG, "label %d of image %lld of the batch: the loss has %lld classes",
                 label, (long long)sample, (long long)classes);
}

/* What image n is to become: `share` of class label[0] and label[1], `each` of every class. */
typedef struct {
  int32_t label[2];
  double share[2], each;
} target;

static target target_of(const int32_t *label, const pn_step_ctx *ctx, int64_t n, int64_t classes) {
  double sure = ctx ? 1.0 - (double)ctx->smoothing : 1.0;
  target t = {{label[n], label[n]}, {sure, 0.0}, (1.0 - sure) / (double)classes};

  if (!ctx || !ctx->mix || ctx->mix[n] >= 1.0f) return t;
  t.label[1] = ctx->label2[n];
  t.share[0] = sure * (double)ctx->mix[n];
  t.share[1] = sure - t.share[0];
  return t;
}

static pn_status check_target(const target *t, int64_t sample, int64_t classes) {
  pn_status st = check_label(t->label[0], sample, classes);
  return st == PN_OK ? check_label(t->label[1], sample, classes) : st;
}

/* Share of class k. */
static double share_of(const target *t, int64_t k) {
  return t->each + (k == t->label[0] ? t->share[0] : 0.0) + (k == t->label[1] ? t->share[1] : 0.0);
}

static pn_status bce_forward(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  const float *logit = ptr[PN_SRC];
  float *loss = ptr[PN_DST];

  for (int64_t n = 0; n < op->in.dim[0]; n++) {
    target t = target_of(ptr[PN_LABEL], ctx, n, 2);
    pn_status st = check_target(&t, n, 2);
    double x = (double)logit[n];
    if (st != PN_OK) return st;
    loss[n] = (float)((x > 0 ? x : 0) - x * share_of(&t, 1) + log1p(exp(-fabs(x))));
  }
  return PN_OK;
}

/* A sample of scale 0 (padding of the batch) gets exactly 0, whatever its logit. */
static pn_status bce_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  const float *logit = ptr[PN_SRC];
  float *dsrc = ptr[PN_DSRC];

  if (!ctx || !ctx->sample_scale) return PN_FAIL(PN_ERR_ARG, "bce: backward needs sample_scale");
  for (int64_t n = 0; n < op->in.dim[0]; n++) {
    target t = target_of(ptr[PN_LABEL], ctx, n, 2);
    double scale = (double)ctx->sample_scale[n];
    double sigmoid = 1.0 / (1.0 + exp(-(double)logit[n]));
    dsrc[n] = scale == 0.0 ? 0.0f : (float)(scale * (sigmoid - share_of(&t, 1)));
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
  float *loss = ptr[PN_DST];

  for (int64_t n = 0; n < op->in.dim[0]; n++) {
    const float *x = (const float *)ptr[PN_SRC] + n * classes;
    target t = target_of(ptr[PN_LABEL], ctx, n, classes);
    pn_status st = check_target(&t, n, classes);
    double at;
    if (st != PN_OK) return st;
    at = (double)x[t.label[0]];
    if (t.share[1] > 0 || t.each > 0) {
      at = t.share[0] * at + t.share[1] * (double)x[t.label[1]];
      for (int64_t k = 0; k < classes; k++) at += t.each * (double)x[k];
    }
    loss[n] = (float)(log_sum_exp(x, classes) - at);
  }
  return PN_OK;
}

static pn_status softmax_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  int64_t classes = op->in.dim[1];

  if (!ctx || !ctx->sample_scale)
    return PN_FAIL(PN_ERR_ARG, "softmax_ce: backward needs sample_scale");
  for (int64_t n = 0; n < op->in.dim[0]; n++) {
    const float *x = (const float *)ptr[PN_SRC] + n * classes;
    float *d = (float *)ptr[PN_DSRC] + n * classes;
    target t = target_of(ptr[PN_LABEL], ctx, n, classes);
    double scale = (double)ctx->sample_scale[n], lse = log_sum_exp(x, classes);
    for (int64_t k = 0; k < classes; k++) {
      double p = exp((double)x[k] - lse);
      d[k] = scale == 0.0 ? 0.0f : (float)(scale * (p - share_of(&t, k)));
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
