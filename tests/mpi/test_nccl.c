/* test_nccl.c -- the communicator between GPUs, with NCCL and CUDA played by fake_nccl.h: who
 * joins, what is sent how, and that nothing waits for ever.  No GPU is used. */
#include "mpi/fake_nccl.h"

static const int64_t counts[] = {0, 1, 16, 17, 64, 1000, 3072, 70001};
enum { MOST = 70001, COUNTS = sizeof counts / sizeof *counts };
#define WATCHDOG_S 4.0 /* NCCL's own limit is 3/4 of it */

/* Small integers: every order of summation gives the same. */
static float value(int r, int64_t i) {
  return (float)((i * 7 + 13 * r) % 101 - 50);
}

static float total(int64_t i) {
  float sum = 0;
  for (int r = 0; r < size; r++) sum += value(r, i);
  return sum;
}

static pn_comm *make(void) {
  pn_comm *c = NULL;
  fake.slow = 3;
  ok(pn_comm_nccl_make(world, &fake_api, true, &c));
  assert_non_null(c);
  assert_string_equal(pn_comm_backend(c), "nccl");
  assert_int_equal(fake.slow, 0); /* it was waited for */
  return c;
}

static float *get(bool device) {
  cu_pointer p = 0;
  if (!device) return malloc(MOST * sizeof(float));
  assert_int_equal(fake_alloc(&p, MOST * sizeof(float)), CU_SUCCESS);
  return (float *)(void *)(uintptr_t)p;
}

static void put(bool device, float *p) {
  if (device)
    fake_free((cu_pointer)(uintptr_t)p);
  else
    free(p);
}

static void check(const float *x, pn_slice s) {
  for (int64_t i = 0; i < s.count; i++)
    if (x[i] != total(s.first + i)) fail_msg("element %lld", (long long)(s.first + i));
}

static void round_trip(pn_comm *c, float *x, float *part, int64_t n) {
  pn_slice own = pn_comm_slice(n, rank, size);
  pn_request *q[2];
  bool done = false;

  for (int64_t i = 0; i < n; i++) x[i] = value(rank, i);
  ok(pn_iallreduce_sum(c, "sum", x, n, &q[0]));
  ok(pn_request_test(q[0], &done));
  assert_false(done); /* the event takes its time */
  ok(pn_request_wait(q[0]));
  check(x, (pn_slice){0, n});
  for (int64_t i = 0; i < n; i++) x[i] = value(rank, i);
  ok(pn_ireduce_scatter_sum(c, "scatter", x, part, n, &q[0]));
  ok(pn_request_wait(q[0]));
  check(part, own);
  memset(x, 0, (size_t)n * sizeof *x);
  ok(pn_iallgather_slices(c, "gather", part, x, n, &q[0]));
  ok(pn_request_wait(q[0]));
  check(x, (pn_slice){0, n});
  for (int64_t i = 0; i < n; i++) x[i] = value(rank, i); /* in place, one behind the other */
  ok(pn_ireduce_scatter_sum(c, "scatter", x, x + own.first, n, &q[0]));
  ok(pn_iallgather_slices(c, "gather", x + own.first, x, n, &q[1]));
  ok(pn_request_wait(q[1]));
  ok(pn_request_wait(q[0]));
  check(x, (pn_slice){0, n});
}

static void transfers(void **state) {
  (void)state;
  if (size == 1) return;
  for (int device = 0; device < 2; device++) {
    pn_comm *c = make();
    float *x = get(device), *part = get(device);
    int grouped = fake.grouped;
    for (int i = 0; i < COUNTS; i++) round_trip(c, x, part, counts[i]);
    /* host buffers are padded; device buffers go slice by slice where they do not divide */
    assert_true(device ? fake.grouped > grouped : fake.grouped == grouped);
    put(device, x);
    put(device, part);
    pn_comm_destroy(c);
    assert_int_equal(fake.streams, 0);
    for (int i = 0; i < FAKE_BLOCKS; i++) assert_null(fake.block[i].at);
  }
  assert_int_equal(fake.destroys, 2);
  assert_int_equal(fake.aborts, 0);
}

static void other_collectives_go_by_mpi(void **state) {
  int32_t x = rank;
  pn_comm *c;
  (void)state;
  if (size == 1) return;
  c = make();
  ok(pn_allreduce(c, "largest", &x, 1, PN_I32, PN_MAX));
  assert_int_equal(x, size - 1);
  ok(pn_agree(c, PN_OK));
  ok(pn_barrier(c, "all here"));
  pn_comm_destroy(c);
}

static void no_group(void) {}

static void follows_a_stream(void **state) {
  int producer = 0, before = fake.waits;
  bool done = false;
  pn_request *q;
  pn_comm *c;
  float *x;
  (void)state;
  if (size == 1) return;
  c = make();
  x = get(true);
  memset(x, 0, MOST * sizeof *x);
  fake.producer = &producer;
  pn_comm_follow(c, &producer);
  assert_true(pn_comm_moves_far(c) && !pn_comm_moves_far(world));
  fake.recording = true; /* an event that is asked is an error */
  fake.keep = no_group;
  ok(pn_iallreduce_sum(c, "after the kernels", x, 100, &q));
  ok(pn_request_test(q, &done));
  assert_true(done);
  ok(pn_request_wait(q)); /* the producer does */
  assert_int_equal(fake.waits, before + 2);
  fake.recording = false;
  pn_comm_follow(world, &producer); /* no NCCL: no notice */
  put(true, x);
  pn_comm_destroy(c);
}

/* On all ranks the same answer, with the reason; and where NCCL need not be, none. */
static void refuses(pn_status want_own, const char *why) {
  pn_comm *c = NULL;
  pn_status st = pn_comm_nccl_make(world, &fake_api, true, &c);
  assert_int_equal(st, want_own);
  assert_null(c);
  if (!pn_test_contains(pn_last_error(), why)) fail_msg("%s", pn_last_error());
  ok(pn_comm_nccl_make(world, &fake_api, false, &c));
  assert_null(c);
}

static void shared_gpu(void **state) {
  (void)state;
  if (size == 1) return;
  fake.gpu = "0000:3b:00.0";
  refuses(PN_ERR_ARG, "ranks 0 and 1 share a GPU");
  assert_true(pn_test_contains(pn_last_error(), "0000:3b:00.0"));
  fake.gpu = NULL;
}

static void one_rank_without_gpu(void **state) {
  (void)state;
  if (size == 1) return;
  fake.no_context = rank == 1;
  refuses(PN_ERR_ARG, "expected train.device=cuda");
  fake.no_context = false;
}

/* This machine has no driver, or no context: the real libraries say so, and `gpu` goes on. */
static void without_libraries(void **state) {
  pn_comm *c = NULL;
  pn_status st = pn_comm_data(world, "nccl", &c);
  (void)state;
  if (size == 1) {
    ok(st);
    assert_string_equal(pn_comm_backend(c), "self");
    pn_comm_destroy(c);
    return;
  }
  assert_int_not_equal(st, PN_OK);
  assert_true(pn_test_contains(pn_last_error(), "NCCL"));
  ok(pn_comm_data(world, "gpu", &c));
  assert_string_not_equal(pn_comm_backend(c), "nccl");
  pn_comm_destroy(c);
}

static void late_in_init(void **state) {
  int before = fake.aborts;
  pn_comm *c = NULL;
  (void)state;
  if (size == 1) return;
  fake.slow = rank == size - 1 ? -1 : 0;
  assert_int_equal(pn_comm_nccl_make(world, &fake_api, true, &c), PN_ERR_TIMEOUT);
  assert_null(c);
  assert_true(pn_test_contains(pn_last_error(), "ncclCommInitRankConfig: not done in 3.0 s"));
  assert_int_equal(fake.aborts, before + 1); /* also by those that had joined */
  fake.slow = 0;
}

static struct {
  pn_comm *c;
  pn_request *q;
  float x[32];
  int aborts; /* before */
} hung;

/* A sum in flight that does not end. */
static void hang(const char *what) {
  hung.aborts = fake.aborts;
  hung.c = make();
  fake.hang = true;
  ok(pn_iallreduce_sum(hung.c, what, hung.x, 32, &hung.q));
}

/* How the wait for it ends: with the kernels aborted. */
static void ends(pn_status want, const char *why) {
  assert_int_equal(pn_request_wait(hung.q), want);
  if (!pn_test_contains(pn_last_error(), why)) fail_msg("%s", pn_last_error());
  assert_int_equal(fake.aborts, hung.aborts + 1);
}

static void late_in_transfer(void **state) {
  (void)state;
  if (size == 1) return;
  hang("bucket 3");
  ends(PN_ERR_TIMEOUT, "iallreduce \"bucket 3\" (#1, 128 bytes) by NCCL");
  assert_int_equal(pn_iallreduce_sum(hung.c, "bucket 4", hung.x, 32, &hung.q), PN_ERR_COMM);
  fake.hang = false;
  pn_comm_destroy(hung.c);
  assert_int_equal(fake.aborts, hung.aborts + 1); /* once is enough */
  assert_true(pn_comm_abandoned());
}

/* A host that waits for a stream with transfers in it. */
static void watched(void **state) {
  int before = fake.aborts;
  pn_comm *c;
  (void)state;
  ok(pn_comm_watch(world, 1e9)); /* no NCCL: nothing to see */
  if (size == 1) return;
  c = make();
  ok(pn_comm_watch(c, 0.5));
  assert_int_equal(pn_comm_watch(c, 3.5), PN_ERR_TIMEOUT);
  assert_true(pn_test_contains(pn_last_error(), "no end in 3.0 s"));
  assert_int_equal(pn_comm_watch(c, 0), PN_ERR_COMM); /* it was aborted */
  pn_comm_destroy(c);
  c = make();
  fake.async = REMOTE_ERROR;
  assert_int_equal(pn_comm_watch(c, 0), PN_ERR_COMM);
  assert_true(pn_test_contains(pn_last_error(), "remote process exited"));
  fake.async = NCCL_SUCCESS;
  pn_comm_destroy(c);
  assert_int_equal(fake.aborts, before + 2);
}

/* Last: a collective that failed is the end of all others. */
static void asynchronous_error(void **state) {
  (void)state;
  if (size == 1) return;
  hang("bucket 5");
  fake.async = REMOTE_ERROR;
  ends(PN_ERR_COMM, "remote process exited");
  pn_comm_destroy(hung.c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(transfers),         cmocka_unit_test(other_collectives_go_by_mpi),
      cmocka_unit_test(follows_a_stream),  cmocka_unit_test(watched),
      cmocka_unit_test(shared_gpu),        cmocka_unit_test(one_rank_without_gpu),
      cmocka_unit_test(without_libraries), cmocka_unit_test(late_in_init),
      cmocka_unit_test(late_in_transfer),  cmocka_unit_test(asynchronous_error),
  };
  if (pn_test_start(WATCHDOG_S) != PN_OK) return 3;
  MPI_Comm_dup(MPI_COMM_WORLD, &fake.comm);
  if (cmocka_run_group_tests(tests, NULL, NULL) > 0) pn_comm_abort(1);
  pn_comm_destroy(world);
  MPI_Finalize(); /* the transfers left in flight were the fake's, not MPI's */
  return 0;
}
