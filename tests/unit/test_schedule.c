/* test_schedule.c -- schedules where PyTorch's have no answer, or another unit: a rise of one step,
 * parts of an epoch.  Values: tests/oracle/test_oracle_recipe.c. */
#include "optim/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static pn_schedule make(const pn_schedule_config *c, int64_t steps, int64_t per_epoch) {
  pn_schedule s;
  assert_int_equal(pn_schedule_make(c, steps, per_epoch, &s), 0);
  return s;
}

static pn_schedule_config named(const char *name) {
  pn_schedule_config c;
  pn_schedule_defaults(&c);
  snprintf(c.name, sizeof c.name, "%s", name);
  return c;
}

/* Every rise in every short run: a rate above 0, at most the top. */
static void test_onecycle_short(void **state) {
  pn_schedule_config c = named("onecycle");

  (void)state;
  for (int64_t n = 1; n <= 16; n++)
    for (int k = 0; k <= 16; k++) {
      pn_schedule s;
      c.rise = k / 16.0;
      s = make(&c, n, 4);
      for (int64_t i = 0; i < n; i++) {
        double f = pn_schedule_factor(&s, i);
        if (!(f > 0 && f <= 1)) fail_msg("rise %g, step %d of %d: %g", c.rise, (int)i, (int)n, f);
      }
    }
}

/* The rise is the first step alone: it has the top. */
static void test_onecycle_rise_of_one(void **state) {
  pn_schedule_config c = named("onecycle");
  pn_schedule s;

  (void)state;
  c.rise = 0.125;
  s = make(&c, 8, 4);
  assert_true(pn_schedule_factor(&s, 0) == 1);
  assert_true(pn_schedule_factor(&s, 1) < 1);
}

/* From step n x every x steps per epoch on it is gamma^n: twice in an epoch, every one and
 * a half, in every step. */
static void test_step_parts(void **state) {
  static const struct {
    double every;
    int64_t per_epoch;
    int between;
  } cases[] = {{0.5, 4, 2}, {1.5, 4, 6}, {2, 4, 8}, {0.1, 10, 1}, {0.3, 10, 3}, {0.7, 10, 7}};
  pn_schedule_config c = named("step");

  (void)state;
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    pn_schedule s;
    c.every = cases[k].every;
    s = make(&c, 100, cases[k].per_epoch);
    for (int i = 0; i < 100; i++)
      assert_true(pn_schedule_factor(&s, i) == pow(c.gamma, i / cases[k].between));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_onecycle_short),
      cmocka_unit_test(test_onecycle_rise_of_one),
      cmocka_unit_test(test_step_parts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
