/* test_monitor.c -- what the end of an epoch decides: patience, best epoch, plateau rule. */
#include "train/run.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { EPOCH_STEPS = 4 };

static pn_run start(pn_train_config *c, const char *monitor) {
  pn_run r = {.cfg = c, .to_beat = DBL_MAX, .batches.steps = EPOCH_STEPS, .best.step = -1};

  snprintf(c->monitor, sizeof c->monitor, "%s", monitor);
  pn_schedule_defaults(&c->schedule);
  snprintf(c->schedule.name, sizeof c->schedule.name, "plateau");
  c->schedule.patience = 1;
  assert_int_equal(pn_schedule_make(&c->schedule, 100, EPOCH_STEPS, &r.schedule), 0);
  return r;
}

static bool note(pn_run *r, int64_t done, double loss, double auc) {
  pn_metrics val = {.loss = loss, .auc = auc, .accuracy = 0.5};
  pn_epoch_row row = {.epoch = (done + EPOCH_STEPS - 1) / EPOCH_STEPS, .loss = loss, .val = &val};

  r->done = done;
  return pn_run_note_epoch(r, &row);
}

/* A run that ended inside its second epoch, and one in one go: the same patience and rate.  The
 * part may be the best there is. */
static void test_part_of_epoch(void **state) {
  pn_train_config c = {.patience = 2};
  pn_run whole = start(&c, "val_loss"), parted = whole;

  (void)state;
  note(&whole, 4, 1, 0.5);
  note(&parted, 4, 1, 0.5);
  assert_true(note(&parted, 6, 0.7, 0.5));
  assert_int_equal(parted.best.step, 6);
  assert_true(note(&whole, 8, 0.8, 0.5));
  assert_false(note(&parted, 8, 0.8, 0.5));
  for (int64_t done = 12; done <= 20; done += 4) {
    assert_true(parted.stale == whole.stale && parted.to_beat == whole.to_beat);
    assert_true(parted.schedule.factor == whole.schedule.factor);
    assert_true(parted.schedule.bad == whole.schedule.bad);
    note(&whole, done, 0.9, 0.5);
    note(&parted, done - 1, 0.95, 0.5);
    note(&parted, done, 0.9, 0.5);
  }
  assert_true(whole.stale == 3 && pn_run_stopped(&whole));
  assert_true(fabs(whole.schedule.factor - 0.1) < 1e-12); /* lowered once, after two bad epochs */
}

static void test_undefined(void **state) {
  pn_train_config c = {.patience = 2};
  pn_run r = start(&c, "val_auc");

  (void)state;
  assert_false(note(&r, 4, 1, NAN));
  assert_true(r.undefined_told && !pn_run_stopped(&r));
  assert_false(note(&r, 8, 0.5, NAN));
  assert_true(pn_run_stopped(&r) && r.best.step == -1);
}

/* More is better; less than min_delta more is not. */
static void test_auc_and_delta(void **state) {
  pn_train_config c = {.patience = 1, .min_delta = 0.1};
  pn_run r = start(&c, "val_auc");

  (void)state;
  assert_true(note(&r, 4, 1, 0.6));
  assert_true(note(&r, 8, 1, 0.75));
  assert_true(r.best.value == 0.75 && r.best.epoch == 2 && !pn_run_stopped(&r));
  assert_false(note(&r, 12, 1, 0.8));
  assert_true(r.best.value == 0.75 && pn_run_stopped(&r));
}

/* Without a validation nothing is best, and nobody waits. */
static void test_no_validation(void **state) {
  pn_train_config c = {.patience = 1};
  pn_run r = start(&c, "val_loss");
  pn_epoch_row row = {.epoch = 1, .loss = 1};

  (void)state;
  r.done = EPOCH_STEPS;
  assert_false(pn_run_note_epoch(&r, &row));
  assert_true(r.stale == 0 && r.best.step == -1 && r.schedule.best == DBL_MAX);
  r = start(&c, "loss");
  r.done = EPOCH_STEPS;
  assert_true(pn_run_note_epoch(&r, &row));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_part_of_epoch),
      cmocka_unit_test(test_undefined),
      cmocka_unit_test(test_auc_and_delta),
      cmocka_unit_test(test_no_validation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
