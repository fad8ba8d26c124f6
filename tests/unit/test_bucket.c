/* test_bucket.c -- the cut of the gradients arena. */
#include "parallel/bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { KB = 1024, FLOATS_PER_KB = 256 };

/* Slots of the given sizes in kB, one after the other. */
static pn_param_map make_map(const int64_t *kb, int n) {
  pn_param_map m = {.n = n, .slot = calloc((size_t)n, sizeof *m.slot)};
  for (int i = 0; i < n; i++) {
    m.slot[i].offset = m.total;
    m.slot[i].count = kb[i] * FLOATS_PER_KB;
    m.slot[i].trainable = true;
    m.total += m.slot[i].count;
  }
  m.trainable = m.total;
  return m;
}

/* What every cut must fulfil, whatever its sizes. */
static void check_cut(const pn_param_map *m, const pn_bucket_plan *b) {
  int64_t hi = m->total;

  for (int i = 0; i < b->n; i++) {
    const pn_bucket *k = &b->bucket[i];
    int lowest = m->n - 1;
    assert_int_equal(k->first + k->count, hi); /* no gap, no overlap, from the end */
    assert_true(k->count > 0 && k->first % 16 == 0);
    while (lowest > 0 && m->slot[lowest].offset > k->first) lowest--;
    assert_true(k->trigger <= lowest); /* every parameter it touches is ready */
    assert_true(i == 0 || k->trigger <= b->bucket[i - 1].trigger);
    hi = k->first;
  }
  assert_int_equal(hi, 0);
  assert_true(b->n == 0 || b->bucket[b->n - 1].trigger == 0);
}

/* Running statistics lie behind the gradients and have no part in any bucket. */
static void test_statistics(void **state) {
  const int64_t kb[] = {1, 2, 3, 4};
  pn_param_map m = make_map(kb, 4);
  pn_bucket_plan b;
  (void)state;

  m.slot[0].trainable = m.slot[2].trainable = false;
  m.slot[1].offset = 0;
  m.slot[3].offset = 2 * FLOATS_PER_KB;
  m.slot[0].offset = 6 * FLOATS_PER_KB;
  m.slot[2].offset = 7 * FLOATS_PER_KB;
  m.trainable = 6 * FLOATS_PER_KB;
  assert_int_equal(pn_buckets_make(&m, KB, KB, &b), PN_OK);
  assert_int_equal(b.n, 6); /* 4 pieces of the last, 2 of the second */
  assert_int_equal(b.bucket[0].trigger, 3);
  assert_int_equal(b.bucket[0].first + b.bucket[0].count, m.trainable);
  assert_int_equal(b.bucket[5].trigger, 1);
  assert_int_equal(b.bucket[5].first, 0);
  pn_buckets_free(&b);
  free(m.slot);
}

static void test_small_parameters(void **state) {
  const int64_t kb[] = {3, 1, 2, 2, 5, 1, 1, 1};
  pn_param_map m = make_map(kb, 8);
  pn_bucket_plan b;

  (void)state;
  assert_int_equal(pn_buckets_make(&m, 2 * KB, 4 * KB, &b), PN_OK);
  check_cut(&m, &b);
  assert_int_equal(b.n, 4); /* {6,7} {4,5} {2,3} {0,1} */
  assert_int_equal(b.bucket[0].trigger, 6);
  assert_int_equal(b.bucket[1].trigger, 4);
  assert_int_equal(b.bucket[2].trigger, 2);
  assert_int_equal(b.bucket[3].count, 4 * FLOATS_PER_KB);
  pn_buckets_free(&b);
  free(m.slot);
}

/* custom_cnn's form: nearly everything in one weight near the end. */
static void test_large_parameter(void **state) {
  const int64_t kb[] = {2, 1, 8, 1, 1000, 1, 1, 1};
  pn_param_map m = make_map(kb, 8);
  pn_bucket_plan b;

  (void)state;
  assert_int_equal(pn_buckets_make(&m, 10 * KB, 100 * KB, &b), PN_OK);
  check_cut(&m, &b);
  assert_int_equal(b.n, 11);
  for (int i = 0; i < 10; i++) assert_int_equal(b.bucket[i].trigger, 4);
  assert_int_equal(b.bucket[10].count, 12 * FLOATS_PER_KB);
  pn_buckets_free(&b);
  free(m.slot);
}

static void test_one_bucket_and_errors(void **state) {
  const int64_t kb[] = {1, 1};
  pn_param_map m = make_map(kb, 2);
  pn_bucket_plan b;

  (void)state;
  assert_int_equal(pn_buckets_make(&m, 1 << 20, 1 << 22, &b), PN_OK);
  check_cut(&m, &b);
  assert_int_equal(b.n, 1);
  pn_buckets_free(&b);
  assert_int_equal(pn_buckets_make(&m, 1 << 20, 32, &b), PN_ERR_ARG);
  assert_int_equal(pn_buckets_make(&m, 0, 1 << 20, &b), PN_ERR_ARG);
  free(m.slot);
}

/* Sizes that do not divide each other. */
static void test_sweep(void **state) {
  const int64_t kb[] = {7, 3, 64, 1, 129, 2, 31, 5, 5, 77};
  pn_param_map m = make_map(kb, 10);

  (void)state;
  for (int64_t bytes = 64; bytes < 400 * KB; bytes = bytes * 3 / 2) {
    pn_bucket_plan b;
    assert_int_equal(pn_buckets_make(&m, bytes / 2, bytes, &b), PN_OK);
    check_cut(&m, &b);
    pn_buckets_free(&b);
  }
  free(m.slot);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_statistics),      cmocka_unit_test(test_small_parameters),
      cmocka_unit_test(test_large_parameter), cmocka_unit_test(test_one_bucket_and_errors),
      cmocka_unit_test(test_sweep),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
