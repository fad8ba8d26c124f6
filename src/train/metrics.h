/* metrics.h -- classification metrics from counts and scores (specs/metrics.md 4). */
#ifndef PN_TRAIN_METRICS_H
#define PN_TRAIN_METRICS_H

#include "base/status.h"

#include <stdint.h>

enum { PN_MAX_CLASSES = 128 };

typedef struct {
  int64_t n;
  int n_classes;
  /* binary: of class 1; else means over the classes that an image or an answer has (auc: over those
   * where it is defined) */
  double loss, accuracy, precision, recall, f1, auc;
  int64_t *confusion; /* [n_classes * n_classes], row = truth, owned */
  struct pn_class_metrics {
    double precision, recall, f1, auc; /* 0 when the denominator is 0; auc NaN when undefined */
    int64_t support;
  } * per_class; /* [n_classes], owned */
} pn_metrics;

/* probs: n x k (k = 1: probability of class 1 of two; decision p > 0.5, else argmax, first wins
 * ties). losses [n] are summed in index order.  The result depends on nothing else. */
pn_status pn_metrics_compute(const float *probs, const float *losses, const int32_t *labels,
                             int64_t n, int k, pn_metrics *out);
void pn_metrics_free(pn_metrics *m);
/* Mann-Whitney rank statistic, ties count one half; NaN if one class is absent. */
double pn_auc(const float *score, const uint8_t *positive, int64_t n);

#endif
