/* monitor.c -- which epoch is the best, and when to stop waiting for a better one. */
#include "train/run.h"

#include <math.h>
#include <string.h>

/* The monitored number, turned so that less is better; NaN: there is none. */
static double value_of(const pn_run *r, const pn_epoch_row *e) {
  const char *what = r->cfg->monitor;

  if (strcmp(what, "loss") == 0) return e->loss;
  if (!e->val) return NAN;
  if (strcmp(what, "val_accuracy") == 0) return -e->val->accuracy;
  if (strcmp(what, "val_f1") == 0) return -e->val->f1;
  if (strcmp(what, "val_auc") == 0) return -e->val->auc;
  return e->val->loss;
}

bool pn_run_note_best(pn_run *r, const pn_epoch_row *e) {
  double x = value_of(r, e), best = copysign(1, x) * fabs(r->best.value);
  bool improved;

  if (isnan(x)) return false;
  improved = r->best.step < 0 || x < best - r->cfg->min_delta;
  if (improved) {
    r->best.step = r->done;
    r->best.epoch = e->epoch;
    r->best.value = fabs(x);
  }
  r->stale = improved ? 0 : r->stale + 1;
  return improved;
}

bool pn_run_stopped(const pn_run *r) {
  return r->cfg->patience > 0 && r->stale >= r->cfg->patience;
}
