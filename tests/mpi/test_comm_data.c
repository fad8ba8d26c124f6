/* test_comm_data.c -- the communicators for bulk data: sums and exchanges by slices, on one host
 * and on two made-up ones, in shared and in plain memory. */
#include "base/pages.h"
#include "base/rng.h"
#include "comm/comm_backend.h"
#include "mpi/mpi_test.h"

#include <math.h>
#include <stdlib.h>

enum { MOST = 300001 };

typedef struct {
  const char *kind, *hosts; /* hosts: PN_COMM_HOSTS */
  bool shared;              /* buffers from pn_comm_alloc */
} variant;

static const variant variants[] = {{"mpi", "1", true},  {"mpi", "1", false}, {"shm", "1", true},
                                   {"shm", "1", false}, {"shm", "2", true},  {"shm", "2", false},
                                   {"shm", "4", true}};
static const int64_t counts[] = {0, 1, 15, 16, 17, 1000, 65536, 70001, MOST};
enum { VARIANTS = sizeof variants / sizeof *variants, COUNTS = sizeof counts / sizeof *counts };

static bool possible(const variant *v) {
  return size % atoi(v->hosts) == 0;
}

static pn_comm *make(const variant *v) {
  pn_comm *c = NULL;
  setenv("PN_COMM_HOSTS", v->hosts, 1);
  ok(pn_comm_data(world, v->kind, &c));
  unsetenv("PN_COMM_HOSTS");
  assert_string_equal(pn_comm_backend(c), size == 1 ? "self" : v->kind);
  assert_int_equal(pn_comm_rank(c), rank);
  return c;
}

static float *get(pn_comm *c, const variant *v) {
  void *p = NULL;
  if (v->shared)
    ok(pn_comm_alloc(c, MOST * sizeof(float), &p));
  else
    p = malloc(MOST * sizeof(float));
  return p;
}

static void put(pn_comm *c, const variant *v, float *p) {
  if (v->shared)
    pn_comm_free(c, p);
  else
    free(p);
}

/* Small integers: every order of summation gives the same. */
static float value(int r, int64_t i) {
  return (float)((i * 7 + 13 * r) % 101 - 50);
}

static float total(int64_t i) {
  float sum = 0;
  for (int r = 0; r < size; r++) sum += value(r, i);
  return sum;
}

static void fill(float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] = value(rank, i);
}

static void wait_for(pn_request *q, int64_t n) {
  bool done = false;
  for (int i = 0; i < n % 3 && !done; i++) ok(pn_request_test(q, &done));
  ok(pn_request_wait(q));
}

static void check_sum(const float *x, pn_slice s) {
  for (int64_t i = 0; i < s.count; i++)
    if (x[i] != total(s.first + i)) fail_msg("element %lld", (long long)(s.first + i));
}

static void sums(pn_comm *c, float *x, int64_t n) {
  pn_slice all = {0, n};
  pn_request *q;

  fill(x, n);
  ok(pn_allreduce(c, "blocking", x, n, PN_F32, PN_SUM));
  check_sum(x, all);
  fill(x, n);
  ok(pn_iallreduce_sum(c, "started", x, n, &q));
  wait_for(q, n);
  check_sum(x, all);
}

/* Reduce-scatter and gather by slices make an allreduce; in place, and by way of private memory. */
static void slices(pn_comm *c, float *x, int64_t n, bool in_place) {
  pn_slice own = pn_comm_slice(n, rank, size);
  float *part = malloc((size_t)(own.count + 1) * sizeof *part),
        *out = in_place ? x + own.first : part;
  pn_request *q;

  fill(x, n);
  ok(pn_ireduce_scatter_sum(c, "halves", x, out, n, &q));
  wait_for(q, n);
  check_sum(out, own);
  if (!in_place)
    for (int64_t i = 0; i < own.count; i++) x[own.first + i] = part[i];
  ok(pn_iallgather_slices(c, "halves", x + own.first, x, n, &q));
  wait_for(q, n + 1);
  check_sum(x, (pn_slice){0, n});
  free(part);
}

/* The parameters of FSDP: the own slice in shared memory, the whole in private memory. */
static void gather_out_of_place(pn_comm *c, float *x, int64_t n) {
  pn_slice own = pn_comm_slice(n, rank, size);
  float *whole = malloc((size_t)(n + 1) * sizeof *whole);
  pn_request *q;

  for (int64_t i = 0; i < own.count; i++) x[i] = total(own.first + i);
  ok(pn_iallgather_slices(c, "own to all", x, whole, n, &q));
  wait_for(q, n);
  check_sum(whole, (pn_slice){0, n});
  free(whole);
}

static void all_transfers(void **state) {
  (void)state;
  for (int k = 0; k < VARIANTS; k++) {
    const variant *v = &variants[k];
    if (!possible(v)) continue;
    pn_comm *c = make(v);
    float *x = get(c, v);
    for (int i = 0; i < COUNTS; i++) {
      sums(c, x, counts[i]);
      slices(c, x, counts[i], true);
      slices(c, x, counts[i], false);
      gather_out_of_place(c, x, counts[i]);
    }
    put(c, v, x);
    pn_comm_destroy(c);
  }
}

static void slices_cover_everything(void **state) {
  (void)state;
  for (int p = 1; p < 9; p++)
    for (int64_t n = 0; n < 300; n += 7) {
      int64_t at = 0;
      for (int r = 0; r < p; r++) {
        pn_slice s = pn_comm_slice(n, r, p);
        assert_true(s.count >= 0 && (s.count == 0 || (s.first == at && at % 16 == 0)));
        at += s.count;
      }
      assert_true(at == n);
    }
}

/* Values whose sum depends on the order: same on all ranks, and the next time. */
static void same_bits(void **state) {
  (void)state;
  for (int k = 0; k < VARIANTS; k++) {
    if (!possible(&variants[k])) continue;
    pn_comm *c = make(&variants[k]);
    float *x = get(c, &variants[k]), *first = malloc(MOST * sizeof *first), lo, hi;
    for (int round = 0; round < 3; round++) {
      pn_rng r = pn_rng_make(5, PN_RNG_TEST, (uint64_t)rank, 0);
      pn_request *q;
      for (int i = 0; i < MOST; i++)
        x[i] = (pn_rng_below(&r, 2) ? 1e6f : 1e-3f) * (pn_rng_uniform(&r) - 0.5f);
      ok(pn_iallreduce_sum(c, "bits", x, MOST, &q));
      ok(pn_request_wait(q));
      if (round == 0) memcpy(first, x, MOST * sizeof *x);
      assert_memory_equal(first, x, MOST * sizeof *x);
    }
    for (int i = 0; i < MOST; i += 997) {
      lo = hi = x[i];
      ok(pn_allreduce(world, "lowest", &lo, 1, PN_F32, PN_MIN));
      ok(pn_allreduce(world, "highest", &hi, 1, PN_F32, PN_MAX));
      assert_true(lo == hi);
    }
    free(first);
    put(c, &variants[k], x);
    pn_comm_destroy(c);
  }
}

enum { MANY = 150, EACH = 200 }; /* more than shm keeps places for */

/* Shared and plain buffers in turn, tested by one rank, waited for in another order by another. */
static void many_in_flight(void **state) {
  (void)state;
  for (int k = 2; k < VARIANTS; k += 2) {
    if (!possible(&variants[k])) continue;
    pn_comm *c = make(&variants[k]);
    float *x = get(c, &variants[k]), *y = malloc(MANY * EACH * sizeof *y);
    pn_request *q[MANY];
    fill(x, MANY * EACH);
    fill(y, MANY * EACH);
    for (int i = 0; i < MANY; i++)
      ok(pn_iallreduce_sum(c, "many", (i % 5 ? x : y) + i * EACH, EACH, &q[i]));
    for (int i = 0; i < MANY; i++) ok(pn_request_wait(q[rank % 2 ? i : MANY - 1 - i]));
    for (int i = 0; i < MANY; i++)
      check_sum((i % 5 ? x : y) + i * EACH, (pn_slice){i * EACH, EACH});
    free(y);
    put(c, &variants[k], x);
    pn_comm_destroy(c);
  }
}

/* Without overlap a transfer is complete when its start returns; waiting for it changes nothing. */
static void without_overlap(void **state) {
  (void)state;
  for (int k = 0; k < VARIANTS; k++) {
    if (!possible(&variants[k])) continue;
    pn_comm *c = make(&variants[k]);
    float *x = get(c, &variants[k]);
    pn_request *q;
    bool done = false;
    pn_comm_overlap(c, false);
    fill(x, 5000);
    ok(pn_iallreduce_sum(c, "at once", x, 5000, &q));
    check_sum(x, (pn_slice){0, 5000});
    ok(pn_request_test(q, &done));
    assert_true(done);
    ok(pn_request_wait(q));
    slices(c, x, 5000, true);
    slices(c, x, 5000, false);
    gather_out_of_place(c, x, 5000);
    put(c, &variants[k], x);
    pn_comm_destroy(c);
  }
}

/* What is not a sum of f32 works as on any communicator; agreement too, with sums in flight. */
static void the_rest(void **state) {
  (void)state;
  for (int k = 2; k < VARIANTS; k += 2) {
    if (!possible(&variants[k])) continue;
    pn_comm *c = make(&variants[k]), *half = NULL;
    float *x = get(c, &variants[k]);
    double d = rank;
    int32_t one = 1, got[64], root = 7 * rank;
    pn_request *q;
    fill(x, 5000);
    ok(pn_iallreduce_sum(c, "in flight", x, 5000, &q));
    assert_int_equal(pn_agree(c, rank == size - 1 ? PN_FAIL(PN_ERR_IO, "disk full") : PN_OK),
                     rank == size - 1 ? PN_ERR_IO : PN_ERR_PEER);
    assert_non_null(strstr(pn_last_error(), "disk full"));
    assert_true(pn_error_agreed());
    ok(pn_allreduce(c, "largest", &d, 1, PN_F64, PN_MAX));
    assert_true(d == size - 1);
    ok(pn_allgather(c, "ranks", &rank, got, 1, PN_I32));
    for (int r = 0; r < size; r++) assert_int_equal(got[r], r);
    ok(pn_bcast(c, "root", &root, 1, PN_I32, size - 1));
    assert_int_equal(root, 7 * (size - 1));
    ok(pn_barrier(c, "barrier"));
    ok(pn_comm_split(c, rank % 2, rank, &half));
    ok(pn_allreduce(half, "half", &one, 1, PN_I32, PN_SUM));
    assert_int_equal(one, (size + 1 - rank % 2) / 2);
    pn_comm_destroy(half);
    ok(pn_request_wait(q));
    check_sum(x, (pn_slice){0, 5000});
    put(c, &variants[k], x);
    pn_comm_destroy(c);
  }
}

/* An error on every rank, not a wrong sum: the rank that comes last sees both. */
static void orders_that_differ_are_noticed(void **state) {
  (void)state;
  pn_comm *c = NULL;
  void *p = NULL;
  pn_request *q;
  int32_t seen;
  pn_status st = PN_OK;
  bool done = false;

  if (size == 1) return;
  ok(pn_comm_data(world, "shm", &c));
  ok(pn_comm_alloc(c, 4096, &p));
  ok(pn_iallreduce_sum(c, "different", p, rank == 0 ? 100 : 200, &q));
  ok(pn_barrier(world, "all have posted"));
  st = pn_request_test(q, &done);
  seen = st == PN_ERR_COMM;
  assert_false(done);
  ok(pn_allreduce(world, "seen by", &seen, 1, PN_I32, PN_MIN));
  assert_int_equal(seen, 1);
  assert_non_null(strstr(pn_last_error(), "different orders"));
  /* such a job ends here; this test goes on, and takes back what can never complete */
  q->next = c->idle;
  c->idle = q;
  c->in_flight = 0;
  pn_comm_destroy(c);
}

static void auto_chooses(void **state) {
  (void)state;
  pn_comm *c = NULL;

  ok(pn_comm_data(world, "auto", &c));
  assert_string_equal(pn_comm_backend(c), size > 1 ? "shm" : "self");
  pn_comm_destroy(c);
  c = NULL;
  setenv("PN_COMM_HOSTS", "64", 1); /* every rank a host of its own: nothing to share */
  ok(pn_comm_data(world, "auto", &c));
  assert_string_equal(pn_comm_backend(c), size > 1 ? "mpi" : "self");
  pn_comm_destroy(c);
  unsetenv("PN_COMM_HOSTS");
  assert_int_equal(pn_comm_data(world, "pigeon", &c), PN_ERR_ARG);
  assert_null(c);
  if (size != 3) return;
  setenv("PN_COMM_HOSTS", "2", 1); /* two ranks and one */
  assert_int_equal(pn_comm_data(world, "shm", &c), PN_ERR_ARG);
  assert_non_null(strstr(pn_last_error(), "train.comm=mpi"));
  ok(pn_comm_data(world, "auto", &c));
  assert_string_equal(pn_comm_backend(c), "mpi");
  pn_comm_destroy(c);
  unsetenv("PN_COMM_HOSTS");
}

/* A build without NCCL says so at any number of ranks; test_nccl.c is about those with it. */
static void build_without_nccl(void **state) {
  (void)state;
  pn_comm *c = NULL;

  if (strcmp(pn_nccl_library(), "none") != 0) return;
  assert_int_equal(pn_comm_data(world, "nccl", &c), PN_ERR_UNSUPPORTED);
  assert_null(c);
  assert_true(pn_test_contains(pn_last_error(), "built without NCCL"));
  assert_true(pn_test_contains(pn_last_error(), "-DPN_NCCL=AUTO"));
  ok(pn_comm_data(world, "gpu", &c)); /* where it need not be NCCL */
  assert_string_equal(pn_comm_backend(c), size > 1 ? "shm" : "self");
  pn_comm_destroy(c);
}

/* Freed windows hold no memory; reserved ones get it page by page. */
static void memory_comes_and_goes(void **state) {
  (void)state;
  const size_t bytes = (size_t)8 << 20;
  pn_comm *c = NULL;
  void *p = NULL;

  if (size == 1) return;
  ok(pn_comm_data(world, "shm", &c));
  ok(pn_comm_alloc(c, bytes, &p));
  assert_true(pn_pages_resident(p, bytes) == bytes);
  for (size_t i = 0; i < bytes; i++) assert_int_equal(((char *)p)[i], 0);
  pn_comm_free(c, p);
  assert_true(pn_pages_resident(p, bytes) == 0);
  ok(pn_comm_reserve(c, bytes, &p));
  assert_true(pn_pages_resident(p, bytes) == 0);
  ok(pn_pages_take((char *)p + (1 << 20), 1 << 20));
  assert_true(pn_pages_resident(p, bytes) == 1 << 20);
  pn_pages_drop(p, bytes, pn_comm_shares_memory(c));
  assert_true(pn_pages_resident(p, bytes) == 0);
  pn_comm_free(c, p);
  pn_comm_destroy(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(slices_cover_everything),
      cmocka_unit_test(all_transfers),
      cmocka_unit_test(same_bits),
      cmocka_unit_test(many_in_flight),
      cmocka_unit_test(without_overlap),
      cmocka_unit_test(the_rest),
      cmocka_unit_test(auto_chooses),
      cmocka_unit_test(build_without_nccl),
      cmocka_unit_test(memory_comes_and_goes),
      cmocka_unit_test(orders_that_differ_are_noticed),
  };

  if (pn_test_start(60) != PN_OK) return 3;
  return pn_test_end(cmocka_run_group_tests(tests, NULL, NULL));
}
