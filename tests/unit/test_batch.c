/* test_batch.c -- how an epoch is cut into steps, ranks and parts: every image once. */
#include "train/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MAX_IMAGES = 64 };

/* Counts how often each position is trained on; returns the most images of a step. */
static int64_t visit(pn_batches b, int seen[MAX_IMAGES]) {
  int64_t most = 0;

  for (b.rank = 0; b.rank < b.size; b.rank++)
    for (int64_t step = 0; step < b.steps; step++) {
      int64_t share = 0;
      for (int64_t part = 0; part < pn_batches_parts(&b, step); part++) {
        pn_share s = pn_batches_part(&b, step, part);
        assert_true(s.count > 0 && s.count <= pn_batches_largest(&b));
        assert_int_equal(s.global, pn_batches_images(&b, step));
        for (int64_t i = 0; i < s.count; i++) seen[s.first + i]++;
        share += s.count;
      }
      assert_int_equal(share, pn_batches_share(&b, step).count);
      if (pn_batches_images(&b, step) > most) most = pn_batches_images(&b, step);
    }
  return most;
}

static void check(pn_batches b) {
  int seen[MAX_IMAGES] = {0};
  int64_t used = 0, most = visit(b, seen), least = pn_batches_images(&b, b.steps - 1);

  for (int64_t i = 0; i < b.n; i++) {
    assert_in_range(seen[i], b.last == PN_LAST_DROP ? 0 : 1, 1);
    used += seen[i];
  }
  assert_true(most <= b.global);
  if (b.last == PN_LAST_EVEN) assert_in_range(most - least, 0, 1);
  if (b.last != PN_LAST_DROP) assert_int_equal(b.steps, (b.n + b.global - 1) / b.global);
  if (b.last == PN_LAST_DROP && b.n >= b.global) {
    assert_int_equal(used, b.n / b.global * b.global);
    assert_int_equal(least, b.global);
  }
}

static void test_all(void **state) {
  static const pn_last_batch last[] = {PN_LAST_SHORT, PN_LAST_EVEN, PN_LAST_DROP};
  (void)state;
  for (size_t k = 0; k < sizeof last / sizeof *last; k++)
    for (int64_t n = 1; n <= MAX_IMAGES; n++)
      for (int64_t global = 1; global <= 20; global += 3)
        for (int size = 1; size <= 4; size++)
          for (int parts = 1; parts <= 3; parts++) {
            pn_batches b = pn_batches_make(n, global, last[k], 0, size);
            b.parts = parts;
            check(b);
            b.parts = 1;
            b.leaves = 4;
            check(b);
          }
}

static void test_sizes(void **state) {
  pn_batches b = pn_batches_make(993, 16, PN_LAST_SHORT, 0, 1);

  (void)state;
  assert_int_equal(b.steps, 63);
  assert_int_equal(pn_batches_images(&b, 62), 1);
  b = pn_batches_make(993, 16, PN_LAST_EVEN, 0, 1);
  assert_int_equal(b.steps, 63);
  assert_int_equal(pn_batches_images(&b, 0), 16);
  assert_int_equal(pn_batches_images(&b, 62), 15);
  b = pn_batches_make(993, 16, PN_LAST_DROP, 0, 1);
  assert_int_equal(b.steps, 62);
  b = pn_batches_make(9, 16, PN_LAST_DROP, 0, 1);
  assert_int_equal(b.steps, 1);
  assert_int_equal(pn_batches_images(&b, 0), 9);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_all), cmocka_unit_test(test_sizes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
