/* body_loss.h -- softmax and the losses: one row or sample each, as in ref_loss.c. */
#ifndef PN_CUDA_BODY_LOSS_H
#define PN_CUDA_BODY_LOSS_H

#include "body.h"

CU_HD double cu_log_sum_exp(const float *x, uint32_t n) {
  double top = (double)x[0], sum = 0.0;

  for (uint32_t k = 1; k < n; k++)
    if ((double)x[k] > top) top = (double)x[k];
  for (uint32_t k = 0; k < n; k++) sum += exp((double)x[k] - top);
  return top + log(sum);
}

CU_HD void cu_softmax_forward(const cu_softmax *a, uint32_t i, int lanes) {
  const float *x = a->x + (size_t)i * a->classes;
  double lse = cu_log_sum_exp(x, a->classes);
  (void)lanes;

  for (uint32_t k = 0; k < a->classes; k++)
    a->out[(size_t)i * a->classes + k] = (float)exp((double)x[k] - lse);
}

CU_HD void cu_softmax_backward(const cu_softmax *a, uint32_t i, int lanes) {
  size_t row = (size_t)i * a->classes;
  double dot = 0;
  (void)lanes;

  for (uint32_t k = 0; k < a->classes; k++) dot += (double)a->y[row + k] * (double)a->d[row + k];
  for (uint32_t k = 0; k < a->classes; k++)
    a->out[row + k] = (float)((double)a->y[row + k] * ((double)a->d[row + k] - dot));
}

/* What sample i is to become: `share` of class label[0] and label[1], `each` of every class. */
typedef struct {
  int32_t label[2];
  double share[2], each;
} cu_target;

CU_HD cu_target cu_target_of(const cu_loss *a, uint32_t i, uint32_t classes) {
  double sure = 1.0 - (double)a->smoothing;
  cu_target t;

  t.label[0] = t.label[1] = a->label[i];
  t.share[0] = sure;
  t.share[1] = 0.0;
  t.each = (1.0 - sure) / (double)classes;
  if (a->mix && a->mix[i] < 1.0f) {
    t.label[1] = a->label2[i];
    t.share[0] = sure * (double)a->mix[i];
    t.share[1] = sure - t.share[0];
  }
  return t;
}

CU_HD double cu_share(const cu_target *t, uint32_t k) {
  return t->each + ((int32_t)k == t->label[0] ? t->share[0] : 0.0) +
         ((int32_t)k == t->label[1] ? t->share[1] : 0.0);
}

/* The host has checked the labels (pn_plan); what it missed never reads past a row. */
CU_HD void cu_loss_forward(const cu_loss *a, uint32_t i, int lanes) {
  const float *x = a->x + (size_t)i * a->classes;
  uint32_t classes = a->classes == 1 ? 2 : a->classes;
  cu_target t = cu_target_of(a, i, classes);
  double at = 0.0, v = (double)x[0];
  (void)lanes;

  if (a->classes == 1) {
    a->out[i] = (float)((v > 0 ? v : 0) - v * cu_share(&t, 1) + log1p(exp(-fabs(v))));
    return;
  }
  for (uint32_t k = 0; k < classes; k++) at += cu_share(&t, k) * (double)x[k];
  a->out[i] = (float)(cu_log_sum_exp(x, classes) - at);
}

/* A sample of scale 0 (padding of the batch) gets exactly 0, whatever its logits. */
CU_HD void cu_loss_backward(const cu_loss *a, uint32_t i, int lanes) {
  const float *x = a->x + (size_t)i * a->classes;
  float *d = a->out + (size_t)i * a->classes;
  double scale = (double)a->scale[i], lse;
  cu_target t = cu_target_of(a, i, a->classes == 1 ? 2 : a->classes);
  (void)lanes;

  if (a->classes == 1) {
    double p = 1.0 / (1.0 + exp(-(double)x[0]));
    d[0] = scale == 0.0 ? 0.0f : (float)(scale * (p - cu_share(&t, 1)));
    return;
  }
  lse = cu_log_sum_exp(x, a->classes);
  for (uint32_t k = 0; k < a->classes; k++)
    d[k] = scale == 0.0 ? 0.0f : (float)(scale * (exp((double)x[k] - lse) - cu_share(&t, k)));
}

#endif
