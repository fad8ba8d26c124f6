/* predict.h -- a saved model answers for image files. */
#ifndef PN_TRAIN_PREDICT_H
#define PN_TRAIN_PREDICT_H

#include "comm/comm.h"
#include "data/reject.h"
#include "train/metrics.h"

typedef struct {
  const char *run_path, *checkpoint; /* as in pn_eval_job; borrowed */
  const char *const *file;           /* [n]; borrowed */
  int64_t n;
  const char *precision; /* as in pn_eval_job, like: */
  const char *device;
  bool flip; /* as in pn_eval_job */
  int threads;
} pn_predict_job;

/* Of each file, the same on every rank. */
typedef struct {
  int n_classes;
  char **class_name; /* [n_classes], owned */
  int64_t n, rejected;
  float *prob;       /* [n * n_classes], owned; of rejected files 0 */
  pn_reject *why;    /* [n], owned; reason "" = read */
  char folder[4096]; /* of the checkpoint */
} pn_predictions;

/* Files are read as ingest read those that the run was trained on (size, fit, channels, bits are in
 * the checkpoint) and go through the evaluation plan in chunks, chunk j on rank j mod size.
 * Collective; errors are agreed upon.  *out owned by the caller. */
pn_status pn_predict(const pn_predict_job *job, pn_comm *c, pn_predictions *out);
void pn_predictions_free(pn_predictions *p);
/* Index of the decision: p > 0.5 of two, else the largest. */
int pn_predictions_class(const pn_predictions *p, int64_t i);

#endif
