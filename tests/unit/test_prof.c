/* test_prof.c -- statistics against values worked out by hand or by R, and the phase timers. */
#include "base/clock.h"
#include "base/rng.h"
#include "prof/phases.h"
#include "prof/stats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

static void near(double got, double want, double tolerance) {
  if (!(fabs(got - want) <= tolerance)) fail_msg("got %.17g, want %.17g", got, want);
}

static void known_numbers(void **state) {
  (void)state;
  const double x[] = {7, 1, 3, 9, 5};
  pn_stats s;

  assert_int_equal(pn_stats_make(x, 5, &s), PN_OK);
  assert_int_equal(s.n, 5);
  near(s.min, 1, 0);
  near(s.max, 9, 0);
  near(s.mean, 5, 1e-15);
  near(s.sd, sqrt(10), 1e-12);
  near(s.median, 5, 0);
  near(s.p95, 8.6, 1e-12); /* R: quantile(c(7,1,3,9,5), .95) */
  near(x[0], 7, 0);        /* the input is left alone */
}

static void even_count_and_one(void **state) {
  (void)state;
  const double four[] = {4, 1, 2, 10}, one[] = {3};
  pn_stats s;

  assert_int_equal(pn_stats_make(four, 4, &s), PN_OK);
  near(s.median, 3, 0);
  assert_int_equal(pn_stats_make(one, 1, &s), PN_OK);
  near(s.median, 3, 0);
  near(s.p95, 3, 0);
  near(s.sd, 0, 0);
  near(s.ci95[0], 3, 0);
  near(s.ci95[1], 3, 0);
  near(s.coverage, 0, 0); /* one value says nothing about the spread */
}

static void percentiles_interpolate(void **state) {
  (void)state;
  const double x[] = {10, 20, 30, 40};
  near(pn_percentile(x, 4, 0), 10, 0);
  near(pn_percentile(x, 4, 100), 40, 0);
  near(pn_percentile(x, 4, 25), 17.5, 1e-12);
  near(pn_percentile(x, 4, 50), 25, 1e-12);
}

/* Ranks of the interval for n values: 1-based, from the binomial table. */
static void interval_of_the_median(void **state) {
  (void)state;
  const struct {
    int64_t n, lo, hi;
    double coverage;
  } rows[] = {{5, 1, 5, 0.9375},       {6, 1, 6, 0.96875},      {8, 1, 8, 0.9921875},
              {9, 2, 8, 0.9609375},    {10, 2, 9, 0.978515625}, {20, 6, 15, 0.9586105},
              {50, 18, 33, 0.9671609}, {100, 40, 61, 0.9647998}};
  double x[100], ci[2];

  for (int i = 0; i < 100; i++) x[i] = i + 1;
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    near(pn_median_ci95(x, rows[k].n, ci), rows[k].coverage, 1e-6);
    near(ci[0], (double)rows[k].lo, 0);
    near(ci[1], (double)rows[k].hi, 0);
  }
}

/* It covers the true median of a skewed distribution about as often as it says. */
static void interval_covers(void **state) {
  (void)state;
  enum { TRIALS = 2000, N = 25 };
  double x[N], ci[2], promised = 0;
  int hits = 0;

  for (int t = 0; t < TRIALS; t++) {
    pn_rng r = pn_rng_make(1, PN_RNG_TEST, (uint64_t)t, 0);
    for (int i = 0; i < N; i++) x[i] = -log(1 - (double)pn_rng_uniform(&r));
    pn_sort_doubles(x, N);
    promised = pn_median_ci95(x, N, ci);
    hits += ci[0] <= log(2) && log(2) <= ci[1];
  }
  near((double)hits / TRIALS, promised, 0.015); /* 3 standard errors */
}

static void many_values_do_not_underflow(void **state) {
  (void)state;
  enum { N = 20000 };
  static double x[N];
  double ci[2], coverage;

  for (int i = 0; i < N; i++) x[i] = i;
  coverage = pn_median_ci95(x, N, ci);
  assert_true(coverage >= 0.95 && coverage < 0.952);
  near(ci[0], N / 2 - 0.98 * sqrt(N), 2); /* normal approximation */
  near(ci[1], N / 2 + 0.98 * sqrt(N), 2);
}

static void bad_input_is_refused(void **state) {
  (void)state;
  const double x[] = {1, NAN};
  pn_stats s;
  assert_int_equal(pn_stats_make(x, 0, &s), PN_ERR_ARG);
  assert_int_equal(pn_stats_make(x, 2, &s), PN_ERR_NUMERIC);
}

static void sleep_in(pn_phases *p, pn_phase phase, double s) {
  pn_phases_enter(p, phase);
  pn_sleep(s);
}

static void phases_add_up(void **state) {
  (void)state;
  pn_phases *p;
  double sum = 0;

  assert_int_equal(pn_phases_create(4, &p), PN_OK);
  pn_phases_begin(p);
  sleep_in(p, PN_PHASE_DATA, 0.02);
  sleep_in(p, PN_PHASE_FORWARD, 0.01);
  sleep_in(p, PN_PHASE_BACKWARD, 0.03);
  sleep_in(p, PN_PHASE_FORWARD, 0.01); /* entered twice: added */
  pn_phases_move(p, PN_PHASE_BACKWARD, PN_PHASE_COMM, 0.005);
  pn_phases_end(p);
  assert_int_equal(pn_phases_count(p), 1);
  for (int i = 0; i < PN_PHASE_COUNT; i++) sum += pn_phases_seconds(p, (pn_phase)i)[0];
  near(sum, pn_phases_step_seconds(p)[0], 2e-3);
  assert_true(pn_phases_last(p, PN_PHASE_DATA) >= 0.02);
  assert_true(pn_phases_last(p, PN_PHASE_FORWARD) >= 0.02);
  assert_true(pn_phases_last(p, PN_PHASE_BACKWARD) >= 0.025);
  near(pn_phases_last(p, PN_PHASE_COMM), 0.005, 1e-12);
  near(pn_phases_last(p, PN_PHASE_UPDATE), 0, 0);
  near(pn_phases_last_step(p), pn_phases_step_seconds(p)[0], 0);
  pn_phases_destroy(p);
}

static void steps_beyond_capacity(void **state) {
  (void)state;
  pn_phases *p;

  assert_int_equal(pn_phases_create(0, &p), PN_ERR_ARG);
  assert_null(p);
  assert_int_equal(pn_phases_create(2, &p), PN_OK);
  for (int i = 0; i < 5; i++) {
    pn_phases_begin(p);
    if (i == 4) sleep_in(p, PN_PHASE_UPDATE, 0.01);
    pn_phases_end(p);
  }
  assert_int_equal(pn_phases_count(p), 2);
  assert_true(pn_phases_last(p, PN_PHASE_UPDATE) >= 0.01); /* timed, though not kept */
  assert_true(pn_phases_seconds(p, PN_PHASE_UPDATE)[1] < 0.01);
  pn_phases_reset(p);
  assert_int_equal(pn_phases_count(p), 0);
  assert_string_equal(pn_phase_name(PN_PHASE_COMM), "comm");
  pn_phases_destroy(p);
  pn_phases_destroy(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_numbers),           cmocka_unit_test(even_count_and_one),
      cmocka_unit_test(percentiles_interpolate), cmocka_unit_test(interval_of_the_median),
      cmocka_unit_test(interval_covers),         cmocka_unit_test(many_values_do_not_underflow),
      cmocka_unit_test(bad_input_is_refused),    cmocka_unit_test(phases_add_up),
      cmocka_unit_test(steps_beyond_capacity),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
