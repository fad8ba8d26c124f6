/* test_metrics.c -- metrics against counts done by hand. */
#include "train/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-12)

/* 8 images, one probability each: TP 2, FN 2, FP 1, TN 3; exactly 0.5 counts as class 0. */
static void test_binary(void **state) {
  const float p[] = {0.9f, 0.8f, 0.5f, 0.1f, 0.7f, 0.4f, 0.3f, 0.2f};
  const int32_t y[] = {1, 1, 1, 1, 0, 0, 0, 0};
  const float loss[] = {1, 2, 3, 4, 5, 6, 7, 8};
  pn_metrics m;

  (void)state;
  assert_int_equal(pn_metrics_compute(p, loss, y, 8, 1, &m), PN_OK);
  assert_int_equal(m.n, 8);
  assert_int_equal(m.n_classes, 2);
  assert_int_equal(m.confusion[0], 3);
  assert_int_equal(m.confusion[1], 1);
  assert_int_equal(m.confusion[2], 2);
  assert_int_equal(m.confusion[3], 2);
  NEAR(m.accuracy, 5.0 / 8);
  NEAR(m.precision, 2.0 / 3);
  NEAR(m.recall, 0.5);
  NEAR(m.f1, 2 * (2.0 / 3) * 0.5 / (2.0 / 3 + 0.5));
  NEAR(m.loss, 4.5);
  /* pairs (positive, negative) in the right order: 4 + 4 + 3 + 0 of 16 */
  NEAR(m.auc, 11.0 / 16);
  NEAR(m.per_class[0].auc, 11.0 / 16);
  NEAR(m.per_class[0].precision, 3.0 / 5);
  NEAR(m.per_class[0].recall, 3.0 / 4);
  assert_int_equal(m.per_class[0].support, 4);
  pn_metrics_free(&m);
}

static void test_many_classes(void **state) {
  const float p[] = {0.6f, 0.3f, 0.1f,  /* says 0, is 0 */
                     0.4f, 0.4f, 0.2f,  /* tie: the first, 0; is 1 */
                     0.1f, 0.8f, 0.1f,  /* 1, is 1 */
                     0.2f, 0.5f, 0.3f}; /* 1, is 1 */
  const int32_t y[] = {0, 1, 1, 1};
  const float loss[] = {0, 0, 0, 1};
  pn_metrics m;

  (void)state;
  assert_int_equal(pn_metrics_compute(p, loss, y, 4, 3, &m), PN_OK);
  NEAR(m.accuracy, 0.75);
  NEAR(m.per_class[0].precision, 0.5);
  NEAR(m.per_class[0].recall, 1);
  NEAR(m.per_class[1].precision, 1);
  NEAR(m.per_class[1].recall, 2.0 / 3);
  NEAR(m.per_class[2].precision, 0); /* never said, never true: 0 by definition */
  assert_int_equal(m.per_class[2].support, 0);
  assert_true(isnan(m.per_class[2].auc));
  NEAR(m.precision, 1.5 / 2); /* means over the two classes that occur, as scikit-learn's */
  NEAR(m.recall, (1 + 2.0 / 3) / 2);
  NEAR(m.f1, (2 * 0.5 / 1.5 + 2 * (2.0 / 3) / (5.0 / 3)) / 2);
  NEAR(m.auc, (m.per_class[0].auc + m.per_class[1].auc) / 2); /* class 2 has none */
  pn_metrics_free(&m);
}

/* Against the definition: all pairs, ties one half. */
static void test_auc_pairs(void **state) {
  enum { N = 60 };
  float s[N];
  uint8_t y[N];
  double good = 0, pairs = 0;

  (void)state;
  for (int i = 0; i < N; i++) {
    s[i] = (float)(i * 7919 % 13) / 13.0f; /* many ties */
    y[i] = i * 104729 % 7 < 3;
  }
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      if (!y[i] || y[j]) continue;
      pairs++;
      good += s[i] > s[j] ? 1 : s[i] == s[j] ? 0.5 : 0;
    }
  NEAR(pn_auc(s, y, N), good / pairs);
}

static void test_auc_edges(void **state) {
  const float s[] = {0.1f, 0.2f, 0.3f}, bad[] = {0.1f, NAN, 0.3f};
  const uint8_t one[] = {1, 1, 1}, two[] = {0, 0, 1};

  (void)state;
  assert_true(isnan(pn_auc(s, one, 3)));
  assert_true(isnan(pn_auc(s, one, 0)));
  assert_true(isnan(pn_auc(bad, two, 3)));
  NEAR(pn_auc(s, two, 3), 1);
}

static void test_errors(void **state) {
  const float p[] = {0.3f}, loss[] = {1};
  const int32_t y[] = {2};
  pn_metrics m;

  (void)state;
  assert_int_equal(pn_metrics_compute(p, loss, y, 1, 1, &m), PN_ERR_ARG);
  assert_int_equal(pn_metrics_compute(p, loss, y, 1, PN_MAX_CLASSES + 1, &m), PN_ERR_ARG);
  assert_int_equal(pn_metrics_compute(p, loss, y, 0, 1, &m), PN_OK);
  assert_int_equal(m.n, 0);
  assert_true(isnan(m.accuracy) && isnan(m.loss) && isnan(m.auc));
  pn_metrics_free(&m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_binary),    cmocka_unit_test(test_many_classes),
      cmocka_unit_test(test_auc_pairs), cmocka_unit_test(test_auc_edges),
      cmocka_unit_test(test_errors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
