/* monitor.c -- what the end of an epoch decides: which one is the best, when to stop waiting for a
 * better one, the rate of the plateau rule. */
#include "base/log.h"
#include "train/run.h"

#include <float.h>
#include <math.h>
#include <string.h>

bool pn_run_needs_val(const pn_train_config *c) {
  return strcmp(c->monitor, "loss") != 0;
}

/* The monitored number, turned so that less is better; NaN: it is not defined. */
static double value_of(const pn_run *r, const pn_epoch_row *e) {
  const char *what = r->cfg->monitor;

  if (!pn_run_needs_val(r->cfg)) return e->loss;
  if (strcmp(what, "val_accuracy") == 0) return -e->val->accuracy;
  if (strcmp(what, "val_f1") == 0) return -e->val->f1;
  if (strcmp(what, "val_auc") == 0) return -e->val->auc;
  return e->val->loss;
}

/* Only the AUC of images of one class. */
static void tell_undefined(pn_run *r) {
  if (!r->undefined_told)
    pn_warn("train.monitor=%s is not defined: the validation images are all of one class; no epoch "
            "is the best, and train.patience counts each as no better (train.monitor=val_loss is "
            "always defined)",
            r->cfg->monitor);
  r->undefined_told = true;
}

static bool note_best(pn_run *r, const pn_epoch_row *e, double x) {
  double best = copysign(1, x) * fabs(r->best.value);

  if (isnan(x) || (r->best.step >= 0 && x >= best - r->cfg->min_delta)) return false;
  r->best.step = r->done;
  r->best.epoch = e->epoch;
  r->best.value = fabs(x);
  return true;
}

static void wait_for_better(pn_run *r, double x) {
  if (x < r->to_beat - r->cfg->min_delta) {
    r->to_beat = x;
    r->stale = 0;
  } else {
    r->stale++;
  }
}

/* A run that ends inside an epoch and goes on later passes that epoch's end twice: patience and
 * the plateau rule count it once, when it is whole. */
bool pn_run_note_epoch(pn_run *r, const pn_epoch_row *e) {
  bool whole = r->done % r->batches.steps == 0;
  double x;

  if (whole && e->val && pn_schedule_epoch(&r->schedule, e->val->loss))
    pn_info("schedule.name=plateau: learning rate from now on %g", r->base_lr * r->schedule.factor);
  if (pn_run_needs_val(r->cfg) && !e->val) return false;
  x = value_of(r, e);
  if (isnan(x)) tell_undefined(r);
  if (whole) wait_for_better(r, x);
  return note_best(r, e, x);
}

bool pn_run_stopped(const pn_run *r) {
  return r->cfg->patience > 0 && r->stale >= r->cfg->patience;
}

void pn_run_tell_stop(const pn_run *r) {
  if (r->best.step < 0)
    pn_info("stopped early: %s was not defined for %lld epochs", r->cfg->monitor,
            (long long)r->stale);
  else
    pn_info("stopped early: %s has not improved on %.6g (epoch %lld) for %lld epochs",
            r->cfg->monitor, r->best.value, (long long)r->best.epoch, (long long)r->stale);
}
