/* test_comm_common.c -- memory that the ranks of a host have one copy of, and sums that are read
 * where they lie. */
#include "base/pages.h"
#include "base/rng.h"
#include "comm/comm_backend.h"
#include "mpi/mpi_test.h"

#include <stdlib.h>

enum { MOST = 300001 };

/* hosts 0: MPI. */
static pn_comm *make(int hosts) {
  pn_comm *c = NULL;
  setenv("PN_COMM_HOSTS", hosts == 2 ? "2" : "1", 1);
  ok(pn_comm_data(world, hosts == 0 ? "mpi" : "shm", &c));
  unsetenv("PN_COMM_HOSTS");
  return c;
}

static float value(int r, int64_t i) {
  return (float)((i * 7 + 13 * r) % 101 - 50);
}

static void expect(const float *x, int64_t n, float want) {
  for (int64_t i = 0; i < n; i++)
    if (x[i] != want)
      fail_msg("element %lld is %g, not %g", (long long)i, (double)x[i], (double)want);
}

/* One copy for the ranks of a host, then a part of each rank's own; slices that the ranks write
 * there are gathered without a copy on the host, and between hosts. */
static void common_memory(void **state) {
  enum { COMMON = 30000 * 16, OWN = 777 };

  (void)state;
  for (int hosts = 0; hosts <= 2; hosts++) {
    if (hosts == 2 && size % 2 != 0) continue;
    pn_comm *c = make(hosts);
    bool shm = hosts > 0 && size > 1;
    void *p = NULL;
    float *x;
    pn_slice own = pn_comm_slice(COMMON, rank, size);
    pn_request *q;

    assert_int_equal(pn_comm_sharers(c), shm ? size / hosts : 1);
    assert_true(pn_comm_sharer(c) < pn_comm_sharers(c));
    ok(pn_comm_alloc_common(c, COMMON * sizeof *x, OWN * sizeof *x, &p));
    x = p;
    assert_true((uintptr_t)p % 64 == 0);
    expect(x, COMMON + OWN, 0);
    ok(pn_barrier(c, "all have looked"));
    for (int i = 0; i < OWN; i++) x[COMMON + i] = (float)(rank + 1);
    for (int64_t i = 0; i < own.count; i++) x[own.first + i] = value(0, own.first + i);
    ok(pn_iallgather_slices(c, "common", x + own.first, x, COMMON, &q));
    ok(pn_request_wait(q));
    for (int64_t i = 0; i < COMMON; i++) assert_true(x[i] == value(0, i));
    ok(pn_barrier(c, "all have seen it"));
    expect(x + COMMON, OWN, (float)(rank + 1));
    if (pn_comm_sharer(c) == 0) x[5] = -1;
    ok(pn_barrier(c, "written"));
    assert_true(x[5] == -1);
    /* pages stay until the last rank has freed them */
    if (shm && pn_comm_sharer(c) > 0) pn_comm_free(c, x);
    ok(pn_barrier(c, "all but one are gone"));
    if (pn_comm_sharer(c) == 0) assert_true(x[5] == -1 && x[COMMON - 1] == value(0, COMMON - 1));
    if (shm && pn_comm_sharer(c) == 0) {
      pn_comm_free(c, x);
      assert_true(pn_pages_resident(x, COMMON * sizeof *x) <= 2 * pn_page_bytes());
    } else if (!shm) {
      pn_comm_free(c, x);
    }
    pn_comm_destroy(c);
  }
}

/* The bits of pn_iallreduce_sum, without writing a sum. */
static void sums_in_place(void **state) {
  pn_comm *c = NULL;
  void *p = NULL, *twin = NULL;
  float *x, *y, part[1000];
  pn_request *q;

  (void)state;
  ok(pn_comm_data(world, "auto", &c));
  ok(pn_comm_alloc(c, MOST * sizeof *x, &p));
  ok(pn_comm_alloc(c, MOST * sizeof *x, &twin));
  x = p, y = twin;
  if (size == 1) {
    assert_int_equal(pn_ishare(c, "alone", x, MOST, &q), PN_ERR_UNSUPPORTED);
  } else {
    pn_rng r = pn_rng_make(5, PN_RNG_TEST, (uint64_t)rank, 0);
    for (int i = 0; i < MOST; i++) x[i] = y[i] = 1e3f * pn_rng_uniform(&r);
    ok(pn_iallreduce_sum(c, "sum", y, MOST, &q));
    ok(pn_request_wait(q));
    ok(pn_ishare(c, "shared", x, MOST, &q));
    ok(pn_request_wait(q));
    for (int64_t at = 0; at < MOST; at += 1000) {
      int64_t n = MOST - at < 1000 ? MOST - at : 1000;
      pn_comm_sum_shared(c, x + at, n, part);
      assert_memory_equal(part, y + at, (size_t)n * sizeof *part);
    }
    ok(pn_ishare(c, "no data", x, 0, &q));
    ok(pn_request_wait(q));
    assert_int_equal(pn_ishare(c, "not shared", part, 10, &q), PN_ERR_ARG);
  }
  pn_comm_free(c, p);
  pn_comm_free(c, twin);
  pn_comm_destroy(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(common_memory),
      cmocka_unit_test(sums_in_place),
  };

  if (pn_test_start(60) != PN_OK) return 3;
  return pn_test_end(cmocka_run_group_tests(tests, NULL, NULL));
}
