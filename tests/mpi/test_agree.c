/* test_agree.c -- a failure on any rank becomes one answer on all.
 *
 * With an argument it misbehaves on purpose, for tests/fault/test_watchdog.sh:
 *   skip  rank 1 leaves out a collective      die   rank 1 stops with an error
 *   hang  rank 1 hangs in a "file system"     lost  rank 1 fails while sums are in flight
 *   kill  rank 1 is killed */
#include "base/clock.h"
#include "mpi/mpi_test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void nobody_fails(void **state) {
  (void)state;
  ok(pn_agree(world, PN_OK));
}

static int occurrences(const char *text, const char *part) {
  int n = 0;
  for (const char *p = text; (p = strstr(p, part)); p++) n++;
  return n;
}

/* All ranks know rank `who`, its host and its error. */
static void check_message(int who) {
  char host[64] = "", name[32], why[64];

  gethostname(host, sizeof host - 1);
  snprintf(name, sizeof name, "rank %d (", who);
  snprintf(why, sizeof why, "cannot open shard %d", who);
  assert_true(pn_test_contains(pn_last_error(), why));
  assert_true(pn_error_agreed());
  if (rank == who) return;
  assert_true(pn_test_contains(pn_last_error(), name));
  assert_true(pn_test_contains(pn_last_error(), host));
  assert_int_equal(occurrences(pn_last_error(), "rank "), 1);
}

static pn_status fail_on(int who, pn_status st) {
  return rank == who ? PN_FAIL(st, "cannot open shard %d", who) : PN_OK;
}

static void each_rank_fails_in_turn(void **state) {
  (void)state;
  for (int who = 0; who < size; who++) {
    pn_status st = pn_agree(world, fail_on(who, PN_ERR_IO));
    assert_int_equal(st, rank == who ? PN_ERR_IO : PN_ERR_PEER);
    check_message(who);
    st = pn_agree(world, st); /* a caller that agrees once more changes nothing */
    assert_int_equal(pn_status_exit_code(st), 1);
    check_message(who);
  }
}

static void exit_codes_are_the_same_everywhere(void **state) {
  (void)state;
  const pn_status kinds[] = {PN_ERR_ARG, PN_ERR_TIMEOUT};
  for (int k = 0; k < 2; k++)
    for (int who = 0; who < size; who++) {
      pn_status st = pn_agree(world, fail_on(who, kinds[k]));
      assert_int_equal(st, kinds[k]);
      check_message(who);
      st = pn_agree(world, st);
      assert_int_equal(st, kinds[k]);
      check_message(who);
    }
}

/* Rank 0 fails with IO, all others with ARG: one exit code, that of the lowest. */
static void all_ranks_fail(void **state) {
  (void)state;
  pn_status st = rank == 0 ? PN_ERR_IO : PN_ERR_ARG;
  st = pn_agree(world, PN_FAIL(st, "cannot open shard %d", rank));
  assert_int_equal(pn_status_exit_code(st), 1);
  assert_true(pn_error_agreed());
}

/* The last rank fails in its half; the world learns the cause, not the hearsay. */
static void fail_in_one_half(pn_status kind) {
  pn_comm *half;
  pn_status st;

  ok(pn_comm_split(world, rank % 2, 0, &half));
  st = pn_agree(half, fail_on(size - 1, kind));
  if (rank % 2 == (size - 1) % 2) {
    assert_int_not_equal(st, PN_OK);
    assert_int_equal(pn_error_agreed(), size == 1); /* the other half does not know yet */
  }
  st = pn_agree(world, st);
  assert_int_equal(pn_status_exit_code(st), pn_status_exit_code(kind));
  check_message(size - 1);
  pn_comm_destroy(half);
}

static void failure_crosses_communicators(void **state) {
  (void)state;
  fail_in_one_half(PN_ERR_IO);
  fail_in_one_half(PN_ERR_ARG);
}

/* One rank fails before it starts its sum, the others have theirs in flight. */
static void agree_passes_sums_in_flight(void **state) {
  (void)state;
  int who = size - 1;
  float x = 1;
  pn_request *q = NULL;

  if (rank != who) ok(pn_iallreduce_sum(world, "in flight", &x, 1, &q));
  assert_int_not_equal(pn_agree(world, fail_on(who, PN_ERR_IO)), PN_OK);
  check_message(who);
  if (rank == who) ok(pn_iallreduce_sum(world, "in flight", &x, 1, &q));
  ok(pn_request_wait(q));
  assert_true(x == (float)size);
}

static pn_status lose_a_rank(void) {
  float *x = calloc(100000, sizeof *x);
  pn_request *q;
  pn_status st = rank == 1 ? PN_FAIL(PN_ERR_IO, "cannot open shard 1") : PN_OK;

  if (st == PN_OK) ok(pn_iallreduce_sum(world, "gradients", x, 100000, &q));
  st = pn_agree(world, st);
  free(x);
  return st;
}

static pn_status misbehave(const char *mode) {
  int32_t x = 1;

  ok(pn_allreduce(world, "first", &x, 1, PN_I32, PN_SUM));
  if (strcmp(mode, "lost") == 0) return lose_a_rank();
  if (rank == 1 && strcmp(mode, "die") == 0) return PN_FAIL(PN_ERR_IO, "rank 1 gives up");
  if (rank == 1 && strcmp(mode, "kill") == 0) raise(SIGKILL);
  if (rank == 1 && strcmp(mode, "hang") == 0) {
    pn_watchdog_enter("read of shard 7", 4096);
    pn_sleep(60);
  }
  if (rank == 1 && strcmp(mode, "skip") == 0) pn_sleep(60);
  return pn_allreduce(world, "epoch loss", &x, 1, PN_I32, PN_SUM);
}

static int run_mode(const char *mode) {
  pn_status st = pn_test_start(2);

  if (st == PN_OK) st = misbehave(mode);
  if (st != PN_OK && (rank == 0 || !pn_error_agreed())) fprintf(stderr, "%s\n", pn_last_error());
  return pn_test_leave(pn_status_exit_code(st));
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nobody_fails),
      cmocka_unit_test(each_rank_fails_in_turn),
      cmocka_unit_test(exit_codes_are_the_same_everywhere),
      cmocka_unit_test(all_ranks_fail),
      cmocka_unit_test(failure_crosses_communicators),
      cmocka_unit_test(agree_passes_sums_in_flight),
  };

  if (argc > 1) return run_mode(argv[1]);
  if (pn_test_start(60) != PN_OK) return 1;
  return pn_test_end(cmocka_run_group_tests(tests, NULL, NULL));
}
