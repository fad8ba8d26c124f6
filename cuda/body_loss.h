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

CU_HD const float *cu_loss_row(const cu_loss *a, uint32_t i) {
  return a->x + (size_t)i * a->classes;
}

/* A thread's share of a row: its largest, and the sum of exp of what the others are less. */
CU_HD void cu_loss_body(const cu_loss *a, uint32_t block, uint32_t thread, int lanes, int type,
                        double sum[2][CU_HALF_LANES]) {
  uint32_t i = (block * CU_BLOCK + thread) / CU_ROW_THREADS, first = thread % CU_ROW_THREADS;
  const float *x = cu_loss_row(a, i);
  float top = -INFINITY;
  (void)lanes, (void)type;

  sum[1][0] = 0.0;
  for (uint32_t k = first; k < a->classes && i < a->rows; k += CU_ROW_THREADS)
    if (x[k] > top) top = x[k];
  for (uint32_t k = first; k < a->classes && i < a->rows; k += CU_ROW_THREADS)
    sum[1][0] += exp((double)x[k] - (double)top);
  sum[0][0] = (double)top;
}

/* Of the threads of a row; those without a class have a sum of 0. */
CU_HD double cu_loss_lse(const double *all, uint32_t thread) {
  const double *top = all + thread, *sum = all + CU_BLOCK + thread;
  double most = top[0], total = 0.0;

  for (int k = 1; k < CU_ROW_THREADS; k++)
    if (top[k] > most) most = top[k];
  for (int k = 0; k < CU_ROW_THREADS; k++)
    if (!(sum[k] <= 0.0)) total += sum[k] * exp(top[k] - most);
  return most + log(total);
}

/* The host has checked the labels (pn_plan); what it missed never reads past a row. */
CU_HD double cu_loss_aim(const cu_loss *a, const cu_target *t, const float *x) {
  double at = 0.0;

  for (int j = 0; j < 2; j++)
    if (t->label[j] >= 0 && t->label[j] < (int32_t)a->classes && t->share[j] > 0.0)
      at += t->share[j] * (double)x[t->label[j]];
  for (uint32_t k = 0; k < a->classes && t->each > 0.0; k++) at += t->each * (double)x[k];
  return at;
}

CU_HD void cu_loss_keep(const cu_loss *a, uint32_t block, uint32_t thread, int lanes,
                        const double *all) {
  uint32_t i = (block * CU_BLOCK + thread) / CU_ROW_THREADS;
  double lse, v;
  cu_target t;
  (void)lanes;

  if (thread % CU_ROW_THREADS != 0 || i >= a->rows) return;
  t = cu_target_of(a, i, a->classes == 1 ? 2 : a->classes);
  if (a->classes == 1) {
    v = (double)cu_loss_row(a, i)[0];
    a->out[i] = (float)((v > 0 ? v : 0) - v * cu_share(&t, 1) + log1p(exp(-fabs(v))));
    return;
  }
  lse = cu_loss_lse(all, thread);
  if (a->lse) a->lse[i] = lse;
  a->out[i] = (float)(lse - cu_loss_aim(a, &t, cu_loss_row(a, i)));
}

/* Element i.  A sample of scale 0 (padding of the batch) gets exactly 0, whatever its logits. */
CU_HD void cu_loss_backward(const cu_loss *a, uint32_t i, int lanes) {
  uint32_t row = i / a->classes, k = i - row * a->classes;
  double scale = (double)a->scale[row], p;
  cu_target t = cu_target_of(a, row, a->classes == 1 ? 2 : a->classes);
  (void)lanes;

  if (a->classes == 1) {
    p = 1.0 / (1.0 + exp(-(double)a->x[i]));
    k = 1;
  } else
    p = exp((double)a->x[i] - a->lse[row]);
  a->out[i] = scale == 0.0 ? 0.0f : (float)(scale * (p - cu_share(&t, k)));
}

#endif
