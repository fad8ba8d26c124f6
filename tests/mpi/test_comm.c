/* test_comm.c -- every operation of comm.h at any number of ranks. */
#include "base/clock.h"
#include "base/digest.h"
#include "base/rng.h"
#include "comm/comm_backend.h"
#include "mpi/mpi_test.h"

#include <stdlib.h>
#include <time.h>

/* Do all ranks hold the same bytes? */
static void same_everywhere(const void *data, size_t bytes) {
  int32_t crc = (int32_t)pn_crc32c(0, data, bytes), lo = crc, hi = crc;
  ok(pn_allreduce(world, "lowest crc", &lo, 1, PN_I32, PN_MIN));
  ok(pn_allreduce(world, "highest crc", &hi, 1, PN_I32, PN_MAX));
  assert_int_equal(lo, hi);
}

static void allreduce_of_each_type(void **state) {
  (void)state;
  uint8_t u8[3] = {(uint8_t)rank, 1, 7};
  int32_t i32 = rank + 1;
  int64_t i64 = ((int64_t)1 << 40) * (rank + 1);
  double f64 = 0.5 * rank;
  float f32 = (float)-rank;
  int total = size * (size + 1) / 2;

  ok(pn_allreduce(world, "u8", u8, 3, PN_U8, PN_SUM));
  assert_int_equal(u8[0], size * (size - 1) / 2);
  assert_int_equal(u8[1], size);
  assert_int_equal(u8[2], 7 * size);
  ok(pn_allreduce(world, "i32", &i32, 1, PN_I32, PN_SUM));
  assert_int_equal(i32, total);
  ok(pn_allreduce(world, "i64", &i64, 1, PN_I64, PN_SUM));
  assert_true(i64 == ((int64_t)1 << 40) * total);
  ok(pn_allreduce(world, "f64", &f64, 1, PN_F64, PN_MAX));
  assert_true(f64 == 0.5 * (size - 1));
  ok(pn_allreduce(world, "f32", &f32, 1, PN_F32, PN_MIN));
  assert_true(f32 == (float)-(size - 1));
  ok(pn_allreduce(world, "nothing", NULL, 0, PN_F32, PN_SUM));
}

/* Values whose sum depends on the order of the additions. */
static void fill(float *x, int64_t n, uint64_t seed) {
  pn_rng r = pn_rng_make(seed, PN_RNG_TEST, (uint64_t)rank, 0);
  for (int64_t i = 0; i < n; i++) {
    float scale = pn_rng_below(&r, 2) ? 1e6f : 1e-3f;
    x[i] = scale * (pn_rng_uniform(&r) - 0.5f);
  }
}

static void allreduce_gives_the_same_bits(void **state) {
  (void)state;
  const int64_t counts[] = {1, 7, 1000, 70001};
  float *a = malloc(70001 * sizeof *a), *b = malloc(70001 * sizeof *b);
  pn_request *q;

  for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
    int64_t n = counts[k];
    size_t bytes = (size_t)n * sizeof *a;
    fill(a, n, k);
    ok(pn_allreduce(world, "bits", a, n, PN_F32, PN_SUM));
    same_everywhere(a, bytes);
    for (int again = 0; again < 3; again++) {
      fill(b, n, k);
      ok(pn_allreduce(world, "bits", b, n, PN_F32, PN_SUM));
      assert_memory_equal(a, b, bytes);
    }
    fill(b, n, k);
    ok(pn_iallreduce_sum(world, "bits", b, n, &q));
    ok(pn_request_wait(q));
    assert_memory_equal(a, b, bytes);
  }
  free(a);
  free(b);
}

static void bcast_from_each_rank(void **state) {
  (void)state;
  for (int root = 0; root < size; root++) {
    int64_t x[5] = {0};
    if (rank == root)
      for (int i = 0; i < 5; i++) x[i] = 100 * root + i;
    ok(pn_bcast(world, "five", x, 5, PN_I64, root));
    for (int i = 0; i < 5; i++) assert_int_equal(x[i], 100 * root + i);
  }
}

static void allgather_in_rank_order(void **state) {
  (void)state;
  int32_t in[3] = {rank, 10 * rank, -rank}, out[3 * 64] = {0};

  ok(pn_allgather(world, "three", in, out, 3, PN_I32));
  for (int r = 0; r < size; r++) {
    assert_int_equal(out[3 * r], r);
    assert_int_equal(out[3 * r + 1], 10 * r);
    assert_int_equal(out[3 * r + 2], -r);
  }
}

/* Rank r gives 2 r elements: rank 0 none. */
static void allgatherv_with_an_empty_rank(void **state) {
  (void)state;
  int64_t counts[64], at = 0;
  float in[128], out[64 * 128];

  for (int r = 0; r < size; r++) counts[r] = 2 * r;
  for (int i = 0; i < 2 * rank; i++) in[i] = (float)(1000 * rank + i);
  ok(pn_allgatherv(world, "uneven", in, out, counts, PN_F32));
  for (int r = 0; r < size; r++)
    for (int i = 0; i < 2 * r; i++) assert_true(out[at++] == (float)(1000 * r + i));
}

static void send_neighbours(void) {
  float out[20], in[20] = {0};
  int from = -1, next = (rank + 1) % size, before = (rank + size - 1) % size;

  for (int i = 0; i < 20; i++) out[i] = (float)(rank * 100 + i);
  if (rank == 0) ok(pn_send(world, "ring", out, 20, PN_F32, next, 3));
  ok(pn_recv(world, "ring", in, 20, PN_F32, before, 3, &from));
  if (rank != 0) ok(pn_send(world, "ring", out, 20, PN_F32, next, 3));
  assert_int_equal(from, before);
  for (int i = 0; i < 20; i++) assert_true(in[i] == (float)(before * 100 + i));
}

static void point_to_point(void **state) {
  (void)state;
  int32_t job = 0, seen = 0, from = -1;

  if (size == 1) return;
  send_neighbours();
  if (rank != 0) { /* hand out work: whoever asks first */
    ok(pn_send(world, "ask", &rank, 1, PN_I32, 0, 1));
    ok(pn_recv(world, "answer", &job, 1, PN_I32, 0, 2, NULL));
    assert_int_equal(job, 7 * rank);
  }
  for (int i = 1; rank == 0 && i < size; i++) {
    ok(pn_recv(world, "ask", &job, 1, PN_I32, -1, 1, &from));
    assert_int_equal(job, from);
    seen |= 1 << from;
    job = 7 * from;
    ok(pn_send(world, "answer", &job, 1, PN_I32, from, 2));
  }
  if (rank == 0) assert_int_equal(seen, (1 << size) - 2);
}

/* Everything again with at most 7 elements per MPI call: what happens above INT_MAX elements. */
static void long_messages_go_in_pieces(void **state) {
  int64_t whole = world->chunk;
  int64_t counts[64];
  int32_t x[100], in[30], out[30 * 64];
  float f[50];
  pn_request *q;

  world->chunk = 7;
  allreduce_of_each_type(state);
  bcast_from_each_rank(state);
  allgather_in_rank_order(state);
  allgatherv_with_an_empty_rank(state);
  if (size > 1) send_neighbours();
  for (int i = 0; i < 100; i++) x[i] = i * (rank + 1);
  ok(pn_allreduce(world, "pieces", x, 100, PN_I32, PN_SUM));
  for (int i = 0; i < 100; i++) assert_int_equal(x[i], i * size * (size + 1) / 2);
  for (int i = 0; i < 30; i++) in[i] = 100 * rank + i;
  for (int r = 0; r < size; r++) counts[r] = 30;
  ok(pn_allgatherv(world, "pieces", in, out, counts, PN_I32));
  for (int i = 0; i < 30 * size; i++) assert_int_equal(out[i], 100 * (i / 30) + i % 30);
  for (int i = 0; i < 50; i++) f[i] = (float)i;
  ok(pn_iallreduce_sum(world, "pieces", f, 50, &q));
  ok(pn_request_wait(q));
  for (int i = 0; i < 50; i++) assert_true(f[i] == (float)(i * size));
  world->chunk = whole;
}

enum { SUMS = 5 };

static void start_sums(float *buf[SUMS], pn_request *q[SUMS]) {
  for (int k = 0; k < SUMS; k++) {
    for (int i = 0; i < 1000 * k + 1; i++) buf[k][i] = (float)(rank + k);
    ok(pn_iallreduce_sum(world, "one of several", buf[k], 1000 * k + 1, &q[k]));
  }
}

static void several_sums_in_flight(void **state) {
  (void)state;
  float *buf[SUMS];
  pn_request *first[SUMS] = {NULL}, *q[SUMS];

  for (int k = 0; k < SUMS; k++) buf[k] = malloc((size_t)(1000 * k + 1) * sizeof(float));
  for (int round = 0; round < 3; round++) {
    start_sums(buf, q);
    for (bool done = false; !done;) ok(pn_request_test(q[0], &done));
    for (int k = SUMS - 1; k >= 0; k--)
      ok(pn_request_wait(q[k])); /* not in the order of starting */
    for (int k = 0; k < SUMS; k++)
      for (int i = 0; i < 1000 * k + 1; i++)
        assert_true(buf[k][i] == (float)(size * k + size * (size - 1) / 2));
    if (round == 0) memcpy(first, q, sizeof q);
    for (int k = 0; k < SUMS; k++) { /* requests are used again, not made anew */
      bool known = false;
      for (int j = 0; j < SUMS; j++) known |= q[k] == first[j];
      assert_true(known);
    }
  }
  assert_int_equal(world->in_flight, 0);
  for (int k = 0; k < SUMS; k++) free(buf[k]);
}

static void split_in_two_halves(void **state) {
  (void)state;
  pn_comm *half = NULL, *none = NULL;
  int members = (size + (rank % 2 == 0)) / 2;
  int32_t sum = rank;

  ok(pn_comm_split(world, rank % 2, -rank, &half));
  assert_int_equal(pn_comm_size(half), members);
  assert_int_equal(pn_comm_rank(half), (size - 1 - rank) / 2); /* key turns the order round */
  assert_string_equal(pn_comm_backend(half), members > 1 ? "mpi" : "self");
  ok(pn_allreduce(half, "half", &sum, 1, PN_I32, PN_SUM));
  for (int r = rank % 2; r < size; r += 2) sum -= r;
  assert_int_equal(sum, 0);
  ok(pn_comm_split(half, rank == 0 ? -1 : 0, 0, &none));
  assert_true((none == NULL) == (rank == 0));
  pn_comm_destroy(none);
  pn_comm_destroy(half);
}

static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void idle_barrier_sleeps(void **state) {
  (void)state;
  double cpu_s, wall_s;

  ok(pn_barrier(world, "before"));
  cpu_s = cpu_seconds();
  wall_s = pn_now();
  if (rank == 0) pn_sleep(0.5);
  ok(pn_barrier_idle(world, "wait for rank 0"));
  wall_s = pn_now() - wall_s;
  cpu_s = cpu_seconds() - cpu_s;
  if (size > 1 || rank == 0) assert_true(wall_s > 0.4);
  assert_true(cpu_s < 0.5 * wall_s);
}

static void bad_arguments_do_not_reach_mpi(void **state) {
  (void)state;
  float x = 0;
  pn_request *q;

  assert_int_equal(pn_bcast(world, "root", &x, 1, PN_F32, size), PN_ERR_ARG);
  assert_int_equal(pn_bcast(world, "root", &x, 1, PN_F32, -1), PN_ERR_ARG);
  assert_int_equal(pn_allreduce(world, "count", &x, -1, PN_F32, PN_SUM), PN_ERR_ARG);
  assert_int_equal(pn_allreduce(world, "null", NULL, 1, PN_F32, PN_SUM), PN_ERR_ARG);
  assert_int_equal(pn_allreduce(world, "type", &x, 1, PN_DTYPE_COUNT, PN_SUM), PN_ERR_ARG);
  assert_int_equal(pn_iallreduce_sum(world, "null", NULL, 1, &q), PN_ERR_ARG);
  assert_null(q);
  assert_int_equal(pn_send(world, "self", &x, 1, PN_F32, rank, 0), PN_ERR_ARG);
  assert_int_equal(pn_recv(world, "far", &x, 1, PN_F32, size, 0, NULL), PN_ERR_ARG);
  assert_int_equal(pn_recv(world, "tag", &x, 1, PN_F32, -1, -1, NULL), PN_ERR_ARG);
  assert_true(pn_test_contains(pn_last_error(), "tag"));
}

static void watchdog_brackets_nest(void **state) {
  (void)state;
  for (int i = 0; i < 12; i++) pn_watchdog_enter("read shard", 4096); /* deeper than it keeps */
  ok(pn_barrier(world, "inside"));
  for (int i = 0; i < 13; i++) pn_watchdog_leave(); /* one too many does no harm */
  ok(pn_barrier(world, "after"));
}

/* Before MPI_Init: `self` works without MPI, and the world says why it cannot. */
static void self_needs_no_mpi(void **state) {
  (void)state;
  pn_comm *self, *part, *none;
  int64_t counts[1] = {2};
  float x[2] = {3, 4}, y[2] = {0};
  pn_request *q;
  bool done = false;

  assert_int_equal(pn_comm_world(0, &self), PN_ERR_COMM);
  assert_null(self);
  ok(pn_comm_self(&self));
  assert_string_equal(pn_comm_backend(self), "self");
  ok(pn_allreduce(self, "sum", x, 2, PN_F32, PN_SUM));
  ok(pn_bcast(self, "bcast", x, 2, PN_F32, 0));
  ok(pn_allgather(self, "gather", x, y, 2, PN_F32));
  assert_memory_equal(x, y, sizeof x);
  memset(y, 0, sizeof y);
  ok(pn_allgatherv(self, "gatherv", x, y, counts, PN_F32));
  assert_memory_equal(x, y, sizeof x);
  ok(pn_iallreduce_sum(self, "sum", x, 2, &q));
  ok(pn_request_test(q, &done));
  assert_true(done);
  ok(pn_request_wait(q));
  ok(pn_barrier(self, "barrier"));
  ok(pn_barrier_idle(self, "barrier"));
  ok(pn_comm_split(self, 0, 0, &part));
  ok(pn_comm_split(self, -1, 0, &none));
  assert_null(none);
  assert_int_equal(pn_agree(part, PN_FAIL(PN_ERR_IO, "disk")), PN_ERR_IO);
  assert_false(pn_error_agreed()); /* nobody else knows */
  assert_int_equal(pn_send(part, "far", x, 1, PN_F32, 1, 0), PN_ERR_ARG);
  pn_comm_destroy(part);
  pn_comm_destroy(self);
  pn_comm_destroy(NULL);
  assert_true(x[0] == 3 && x[1] == 4);
}

int main(void) {
  const struct CMUnitTest before[] = {cmocka_unit_test(self_needs_no_mpi)};
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(allreduce_of_each_type),
      cmocka_unit_test(allreduce_gives_the_same_bits),
      cmocka_unit_test(bcast_from_each_rank),
      cmocka_unit_test(allgather_in_rank_order),
      cmocka_unit_test(allgatherv_with_an_empty_rank),
      cmocka_unit_test(point_to_point),
      cmocka_unit_test(long_messages_go_in_pieces),
      cmocka_unit_test(several_sums_in_flight),
      cmocka_unit_test(split_in_two_halves),
      cmocka_unit_test(idle_barrier_sleeps),
      cmocka_unit_test(bad_arguments_do_not_reach_mpi),
      cmocka_unit_test(watchdog_brackets_nest),
  };
  int failed = cmocka_run_group_tests(before, NULL, NULL);

  if (pn_test_start(60) != PN_OK) return 1;
  failed += cmocka_run_group_tests(tests, NULL, NULL);
  return pn_test_end(failed);
}
