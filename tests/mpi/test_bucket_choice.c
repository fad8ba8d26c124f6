/* test_bucket_choice.c -- the sweep over bucket sizes: the same choice on all ranks, and never a
 * choice that decides about bits. */
#include "mpi/ddp_job.h"

enum { MIB = 1 << 20, HIDDEN = 700 }; /* 4.4 MB of gradients */

static const char *const strategies[] = {"ddp", "zero1"}, *const comms[] = {"shm", "mpi"};
enum { N_STRATEGIES = 2, N_COMMS = 2 };

static const char *comm_of(int k) {
  return size > 1 ? comms[k] : "auto";
}

static void same_everywhere(int64_t bytes) {
  int64_t v[2] = {bytes, -bytes};
  ok(pn_allreduce(world, "choices", v, 2, PN_I64, PN_MAX));
  assert_true(v[0] == -v[1]);
}

/* Weights after three steps, as SHA-256. */
static void train(const job_spec *x, char hash[65]) {
  job j;

  start(&j, x, world);
  for (int t = 1; t < 4; t++) step(&j, t);
  assert_true(x->bucket_bytes < 0 || j.strategy->buckets.bytes == x->bucket_bytes);
  ok(pn_strategy_weights_sha256(j.strategy, hash));
  stop(&j);
}

/* What pn_comm_order_fixed promises: any cut gives the same bits. */
static void test_bits(void **state) {
  static const int64_t sizes[] = {2048, 65536, MIB, 8 * MIB, -1};

  (void)state;
  for (int k = 0; k < N_STRATEGIES; k++)
    for (int c = 0; c < N_COMMS; c++) {
      job_spec x = {.strategy = strategies[k], .comm = comm_of(c), .batch = 8, .hidden = 120};
      char first[65], other[65];
      pn_comm *bulk = NULL;
      bool fixed;

      ok(pn_comm_data(world, x.comm, &bulk));
      fixed = pn_comm_order_fixed(bulk);
      assert_true(fixed || size > 2);
      assert_true(fixed || strcmp(x.comm, "shm") != 0);
      pn_comm_destroy(bulk);
      if (!fixed) continue;
      x.bucket_bytes = sizes[0];
      train(&x, first);
      for (size_t i = 1; i < sizeof sizes / sizeof *sizes; i++) {
        x.bucket_bytes = sizes[i];
        train(&x, other);
        assert_string_equal(other, first);
      }
    }
}

static void check_sweep(const pn_bucket_choice *b) {
  double best = b->tried[0].seconds;
  int chosen = -1;

  assert_string_equal(b->origin, "sweep");
  assert_int_equal(b->n_tried, 4); /* 1, 2, 4 and 8 MiB: the last one holds all */
  for (int i = 0; i < b->n_tried; i++) {
    assert_true(b->tried[i].seconds > 0);
    if (b->tried[i].seconds < best) best = b->tried[i].seconds;
    if (b->tried[i].bytes == b->bytes) chosen = i;
  }
  assert_true(chosen >= 0 && b->tried[chosen].seconds <= 1.1 * best);
  for (int i = 0; i < chosen; i++) assert_true(b->tried[i].seconds > 1.1 * best);
}

static void test_sweep(void **state) {
  (void)state;
  for (int k = 0; k < N_STRATEGIES; k++)
    for (int c = 0; c < N_COMMS; c++) {
      job j;
      const pn_bucket_choice *b;

      start(&j,
            &(job_spec){.strategy = strategies[k],
                        .comm = comm_of(c),
                        .batch = 8,
                        .hidden = HIDDEN,
                        .bucket_bytes = -1},
            world);
      b = &j.strategy->buckets;
      same_everywhere(b->bytes);
      assert_true(strlen(b->why) > 0);
      if (k == 1 && size > 1 && strcmp(comms[c], "shm") == 0) {
        assert_string_equal(b->why, "on one host nothing is sent");
      } else if (size > 1 && pn_comm_order_fixed(j.bulk) &&
                 !strstr(b->why, "would take more than")) {
        check_sweep(b); /* but for a machine so busy that there is no time for it */
      } else {
        assert_string_equal(b->origin, "default");
        assert_true(b->n_tried == 0 && b->bytes == 4 * MIB);
      }
      stop(&j);
    }
}

/* Where the norms depend on the cut, where the user has chosen, where there are no buckets. */
static void test_no_sweep(void **state) {
  job j;

  (void)state;
  for (int clip = 0; clip < 2; clip++) {
    start(&j,
          &(job_spec){.strategy = "zero1",
                      .batch = 8,
                      .hidden = HIDDEN,
                      .bucket_bytes = -1,
                      .clip = clip ? 0.5 : 0,
                      .optim = clip ? "sgd" : "lars"},
          world);
    assert_string_equal(j.strategy->buckets.origin, "default");
    stop(&j);
  }
  start(&j, &(job_spec){.strategy = "ddp", .batch = 8, .bucket_bytes = 3000}, world);
  assert_string_equal(j.strategy->buckets.origin, "option");
  assert_true(j.strategy->buckets.bytes == 3000);
  stop(&j);
  if (size > 1) {
    start(&j, &(job_spec){.strategy = "zero1", .comm = "shm", .batch = 8, .bucket_bytes = 3000},
          world);
    assert_string_equal(j.strategy->buckets.why, "not used: on one host nothing is sent");
    stop(&j);
  }
  start(&j, &(job_spec){.strategy = "fsdp", .batch = 8, .bucket_bytes = -1}, world);
  assert_true(j.strategy->buckets.bytes == 0);
  stop(&j);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bits),
      cmocka_unit_test(test_sweep),
      cmocka_unit_test(test_no_sweep),
  };
  if (pn_test_start(60) != PN_OK) return 3;
  return pn_test_end(cmocka_run_group_tests(tests, NULL, NULL));
}
