/* test_handout.c -- each number goes to one rank, whoever is slow; a failure reaches all. */
#include "base/clock.h"
#include "comm/handout.h"
#include "mpi_test.h"

enum { ITEMS = 200 };

static pn_handout *start(int64_t n) {
  pn_handout *h = NULL;
  ok(pn_agree(world, pn_handout_create(world, n, &h)));
  return h;
}

/* The last rank is slow: it gets fewer, and nothing is given twice. */
static void test_each_once(void **state) {
  int32_t seen[ITEMS] = {0};
  int64_t last = -1, item;
  pn_handout *h = start(ITEMS);
  (void)state;

  for (;;) {
    ok(pn_handout_next(h, &item));
    if (item < 0) break;
    assert_true(item > last && item < ITEMS);
    last = item;
    seen[item]++;
    pn_sleep(rank == size - 1 && size > 1 ? 5e-3 : 1e-3);
  }
  if (rank == 0) assert_int_equal(pn_handout_given(h), ITEMS);
  ok(pn_handout_end(h, false));
  pn_handout_destroy(h);
  ok(pn_allreduce(world, "seen", seen, ITEMS, PN_I32, PN_SUM));
  for (int i = 0; i < ITEMS; i++) assert_int_equal(seen[i], 1);
}

static void test_nothing_to_do(void **state) {
  int64_t item = 7;
  pn_handout *h = start(0);
  (void)state;

  ok(pn_handout_next(h, &item));
  assert_int_equal(item, -1);
  ok(pn_handout_end(h, false));
  pn_handout_destroy(h);
}

/* Rank `bad` fails on its first item; the others have endless work and must hear of it. */
static void fail_on(int bad) {
  double start_s = pn_now();
  bool stop = false;
  int64_t item = 0;
  pn_handout *h = start(1000000);

  while (rank != bad && item >= 0 && !stop) {
    ok(pn_handout_next(h, &item));
    for (int i = 0; i < 10 && !stop; i++) {
      pn_sleep(1e-4);
      ok(pn_handout_poll(h, &stop));
    }
  }
  ok(pn_handout_end(h, rank == bad));
  pn_handout_destroy(h);
  assert_true(pn_now() - start_s < 10);
}

static void test_failure_reaches_all(void **state) {
  (void)state;
  for (int bad = 0; bad < size; bad++) fail_on(bad);
}

/* Two ranks fail at about the same time: still one end. */
static void test_all_fail(void **state) {
  int64_t item;
  pn_handout *h = start(10);
  (void)state;

  ok(pn_handout_next(h, &item));
  ok(pn_handout_end(h, true));
  pn_handout_destroy(h);
  ok(pn_barrier(world, "after"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_each_once),
      cmocka_unit_test(test_nothing_to_do),
      cmocka_unit_test(test_failure_reaches_all),
      cmocka_unit_test(test_all_fail),
  };
  if (pn_test_start(30) != PN_OK) return 1;
  return pn_test_end(cmocka_run_group_tests(tests, NULL, NULL));
}
