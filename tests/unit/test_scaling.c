/* test_scaling.c -- the scaling laws on made-up runs with a known answer, and their refusals. */
#include "base/rng.h"
#include "report/scaling.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { MAX = 64 };

/* cmocka 1.1.5 knows floats only. */
#define assert_near(a, b, tolerance) assert_true(fabs((a) - (b)) <= (tolerance))

/* Points of a law at sizes 1, 2, 4, ... with `repeats` noisy repeats each; noise = relative sd. */
typedef struct {
  pn_scaling_point point[MAX];
  pn_scaling_data data;
} made;

static double law_amdahl(const double *t, double p) {
  return pn_amdahl(t[0], p);
}
static double law_gustafson(const double *t, double p) {
  return pn_gustafson(t[0], p);
}

static void make(made *m, double (*law)(const double *, double), const double *theta, double noise,
                 int seed) {
  static const double sizes[] = {1, 2, 4, 8, 16};
  pn_rng r = pn_rng_make((uint64_t)seed, PN_RNG_TEST, 0, 0);
  int n = 0;

  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    for (int k = 0; k < 3; k++)
      m->point[n++] = (pn_scaling_point){
          sizes[i], law(theta, sizes[i]) * exp(noise * pn_rng_normal(&r)), noise};
  m->data = (pn_scaling_data){.points = m->point, .n = n, .base_rel_se = noise / 2, .seed = 7};
}

static bool covers(const pn_estimate *e, double truth) {
  return e->ci95[0] <= truth && truth <= e->ci95[1];
}

static double width(const pn_estimate *e) {
  return e->ci95[1] - e->ci95[0];
}

static void figures_by_hand(void **state) {
  (void)state;
  assert_near(pn_efficiency(3, 4), 0.75, 1e-15);
  assert_near(pn_karp_flatt(pn_amdahl(0.07, 8), 8), 0.07, 1e-12);
  assert_near(pn_karp_flatt(4, 4), 0, 1e-15);
  assert_true(pn_karp_flatt(5, 4) < 0); /* superlinear shows as negative, not as zero */
  assert_true(isnan(pn_karp_flatt(1, 1)));
  assert_near(pn_amdahl(0.1, 1e12), 10, 1e-6);
  assert_near(pn_gustafson(0.1, 10), 9.1, 1e-12);
}

static void amdahl_without_noise_is_exact(void **state) {
  const double truths[] = {0, 0.03, 0.25, 0.9, 1};
  (void)state;
  for (size_t i = 0; i < sizeof truths / sizeof *truths; i++) {
    made m;
    pn_fraction_fit f;
    make(&m, law_amdahl, &truths[i], 0, 1);
    assert_int_equal(pn_fit_amdahl(&m.data, &f), PN_OK);
    assert_string_equal(f.info.refused, "");
    assert_int_equal(f.info.sizes, 5);
    assert_int_equal(f.info.points, 12);
    assert_near(f.serial_fraction.value, truths[i], 1e-5);
    assert_true(covers(&f.serial_fraction, f.serial_fraction.value));
    assert_true(f.info.rms < 1e-4);
  }
}

/* A 95 % interval should miss the truth in about 5 of 100 studies. */
static int misses(double (*law)(const double *, double),
                  pn_status (*fit)(const pn_scaling_data *, pn_fraction_fit *), double truth) {
  int missed = 0;
  for (int seed = 0; seed < 40; seed++) {
    made m;
    pn_fraction_fit f;
    pn_rng r = pn_rng_make((uint64_t)seed, PN_RNG_TEST, 1, 0);
    double base;
    make(&m, law, &truth, 0.03, seed + 100);
    base = exp(m.data.base_rel_se * pn_rng_normal(&r)); /* a wrong base shifts every speedup */
    for (int i = 0; i < m.data.n; i++)
      if (m.point[i].p > 1) m.point[i].speedup *= base;
    assert_int_equal(fit(&m.data, &f), PN_OK);
    missed += !covers(&f.serial_fraction, truth);
  }
  return missed;
}

static void intervals_cover_the_truth(void **state) {
  (void)state;
  assert_in_range(misses(law_amdahl, pn_fit_amdahl, 0.08), 0, 6);
  assert_in_range(misses(law_gustafson, pn_fit_gustafson, 0.15), 0, 6);
}

static void less_noise_narrows_the_interval(void **state) {
  const double truth = 0.1;
  made noisy, calm;
  pn_fraction_fit a, b;
  (void)state;
  make(&noisy, law_amdahl, &truth, 0.08, 3);
  make(&calm, law_amdahl, &truth, 0.01, 3);
  assert_int_equal(pn_fit_amdahl(&noisy.data, &a), PN_OK);
  assert_int_equal(pn_fit_amdahl(&calm.data, &b), PN_OK);
  assert_true(width(&b.serial_fraction) < width(&a.serial_fraction) / 3);
  assert_true(width(&b.serial_fraction) > 0);
}

/* Points that claim to be exact but miss the law must not give a narrow interval. */
static void misfit_widens_the_interval(void **state) {
  const double truth = 0.1;
  made good, bent;
  pn_fraction_fit a, b;
  (void)state;
  make(&good, law_amdahl, &truth, 0.005, 3);
  bent = good;
  bent.data.points = bent.point;
  for (int i = 0; i < bent.data.n; i++)
    if (bent.point[i].p > 4) bent.point[i].speedup *= 0.7;
  assert_int_equal(pn_fit_amdahl(&good.data, &a), PN_OK);
  assert_int_equal(pn_fit_amdahl(&bent.data, &b), PN_OK);
  assert_true(width(&b.serial_fraction) > 4 * width(&a.serial_fraction));
  assert_non_null(strstr(b.info.warning, "misses the points"));
  assert_string_equal(a.info.warning, "");
}

static void superlinear_stays_at_the_bound(void **state) {
  const pn_scaling_point p[] = {{1, 1, 0.01}, {2, 2.1, 0.01}, {4, 4.4, 0.01}};
  const pn_scaling_data d = {.points = p, .n = 3, .base_rel_se = 0.01, .seed = 1};
  pn_fraction_fit f;
  (void)state;
  assert_int_equal(pn_fit_amdahl(&d, &f), PN_OK);
  assert_near(f.serial_fraction.value, 0, 0);
  assert_near(f.serial_fraction.ci95[0], 0, 0);
}

static void few_sizes_are_refused(void **state) {
  const pn_scaling_point two[] = {{1, 1, 0.01}, {1, 1.01, 0.01}, {2, 1.8, 0.01}, {2, 1.9, 0.01}};
  const pn_scaling_point no_base[] = {{2, 1.8, 0.01}, {4, 3, 0.01}, {8, 5, 0.01}};
  pn_scaling_data d = {.points = two, .n = 4};
  pn_fraction_fit f;
  pn_usl_fit u;
  (void)state;
  assert_int_equal(pn_fit_amdahl(&d, &f), PN_OK);
  assert_non_null(strstr(f.info.refused, "needs 3 different numbers of cores"));
  assert_non_null(strstr(f.info.refused, "2 can be used"));
  assert_int_equal(pn_fit_gustafson(&d, &f), PN_OK);
  assert_true(f.info.refused[0] != '\0');
  assert_int_equal(pn_fit_usl(&d, &u), PN_OK);
  assert_non_null(strstr(u.info.refused, "needs 4"));
  d = (pn_scaling_data){.points = no_base, .n = 3};
  assert_int_equal(pn_fit_amdahl(&d, &f), PN_OK);
  assert_non_null(strstr(f.info.refused, "base is not among them"));
  d.n = 0;
  assert_int_equal(pn_fit_amdahl(&d, &f), PN_OK);
  assert_non_null(strstr(f.info.refused, "0 can be used"));
}

static void senseless_points_are_errors(void **state) {
  pn_scaling_point p[] = {{1, 1, 0}, {2, 2, 0}, {4, 0, 0}};
  const pn_scaling_data d = {.points = p, .n = 3};
  pn_fraction_fit f;
  (void)state;
  assert_int_equal(pn_fit_amdahl(&d, &f), PN_ERR_ARG);
  p[2] = (pn_scaling_point){0.5, 1, 0};
  assert_int_equal(pn_fit_amdahl(&d, &f), PN_ERR_ARG);
}

static void usl_finds_its_parameters(void **state) {
  const double truth[] = {0.04, 0.004, 1.05};
  made m;
  pn_usl_fit u;
  (void)state;
  make(&m, pn_usl, truth, 0.002, 5);
  assert_int_equal(pn_fit_usl(&m.data, &u), PN_OK);
  assert_string_equal(u.info.refused, "");
  assert_int_equal(u.info.points, 15);
  assert_true(covers(&u.sigma, truth[0]) && covers(&u.kappa, truth[1]) &&
              covers(&u.lambda, truth[2]));
  assert_near(u.sigma.value, truth[0], 0.01);
  assert_near(u.kappa.value, truth[1], 0.001);
  assert_true(covers(&u.n_max, sqrt((1 - truth[0]) / truth[1])));
  assert_non_null(strstr(u.info.warning, "six or more"));
}

/* Without crosstalk the law is Amdahl's: no peak is invented. */
static void usl_without_crosstalk_has_no_peak(void **state) {
  const double truth[] = {0.1, 0, 1};
  made m;
  pn_usl_fit u;
  (void)state;
  make(&m, pn_usl, truth, 0, 5);
  assert_int_equal(pn_fit_usl(&m.data, &u), PN_OK);
  assert_near(u.sigma.value, 0.1, 1e-4);
  assert_near(u.kappa.value, 0, 1e-5);
  assert_true(u.n_max.ci95[1] > 100);
}

static void same_seed_same_interval(void **state) {
  const double truth = 0.2;
  made m;
  pn_fraction_fit a, b;
  (void)state;
  make(&m, law_amdahl, &truth, 0.03, 9);
  assert_int_equal(pn_fit_amdahl(&m.data, &a), PN_OK);
  assert_int_equal(pn_fit_amdahl(&m.data, &b), PN_OK);
  assert_memory_equal(&a.serial_fraction, &b.serial_fraction, sizeof a.serial_fraction);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(figures_by_hand),
                                     cmocka_unit_test(amdahl_without_noise_is_exact),
                                     cmocka_unit_test(intervals_cover_the_truth),
                                     cmocka_unit_test(less_noise_narrows_the_interval),
                                     cmocka_unit_test(misfit_widens_the_interval),
                                     cmocka_unit_test(superlinear_stays_at_the_bound),
                                     cmocka_unit_test(few_sizes_are_refused),
                                     cmocka_unit_test(senseless_points_are_errors),
                                     cmocka_unit_test(usl_finds_its_parameters),
                                     cmocka_unit_test(usl_without_crosstalk_has_no_peak),
                                     cmocka_unit_test(same_seed_same_interval)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
