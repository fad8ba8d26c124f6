/* test_ddp.c -- gradients, losses and weights of ddp, zero1 and fsdp at any number of ranks equal
 * those of one rank on the whole batch. */
#include "mpi/ddp_job.h"

#include "base/pages.h"

enum { SHORT = 3 };

/* batch: also smaller than the number of ranks, and not divisible by it. */
static void equal_to_single(pn_comm *self, const job_spec *x) {
  job_spec alone = *x;
  job one, many;
  char hash[65], again[65];

  alone.strategy = "single";
  start(&one, &alone, self);
  start(&many, x, world);
  run(&one, SHORT);
  run(&many, SHORT);
  assert_true(difference(&one, one.grad, many.grad) < 1e-6);
  assert_true(difference(&one, one.first_param, many.first_param) < 1e-6);
  /* rounding may flip a ReLU or the choice of a max-pool: not held to 1e-6 over several steps */
  assert_true(difference(&one, one.param, many.param) < 1e-4);
  assert_true(fabs(one.norm - many.norm) < 1e-6 * one.norm);
  assert_true(one.norm > 1e-3);
  for (int t = 0; t < SHORT; t++)
    assert_true(fabs(one.loss[t] - many.loss[t]) < 1e-6 * one.loss[t]);
  assert_true(many.strategy->comm_exposed_s > 0);
  assert_true(many.strategy->comm_total_s > many.strategy->comm_exposed_s - 1e-3);
  assert_true(pn_strategy_weights_sha256(many.strategy, hash) == PN_OK);
  assert_true(pn_strategy_weights_sha256(many.strategy, again) == PN_OK &&
              strcmp(hash, again) == 0);
  stop(&one);
  stop(&many);
}

/* A rank whose weights went astray is noticed by all. */
static void test_divergence(void **state) {
  job j;
  char hash[65];

  (void)state;
  start(&j, &(job_spec){.strategy = "ddp", .comm = "mpi", .batch = 8}, world);
  if (rank == size - 1) j.strategy->params[0] += 1;
  assert_true(pn_strategy_weights_sha256(j.strategy, hash) == (size > 1 ? PN_ERR_NUMERIC : PN_OK));
  stop(&j);
}

static pn_status count_range(void *ctx, const pn_owned *range) {
  int64_t n = 0;
  if (range->first != 0 || pn_layout_count(range->layout, &n) != PN_OK || n != range->count)
    return PN_FAIL(PN_ERR_FORMAT, "not a whole tensor");
  *(int64_t *)ctx += pn_shape_count(range->layout->shape);
  return PN_OK;
}

static const char *const strategies[] = {"ddp", "zero1", "fsdp"}, *const comms[] = {"shm", "mpi"};
enum { N_STRATEGIES = 3, N_COMMS = 2 };

static const char *comm_of(int k) { /* one rank has no shared memory to ask for */
  return size > 1 ? comms[k] : "auto";
}

/* Over all ranks each weight, each momentum and each average exactly once. */
static void test_visit(void **state) {
  (void)state;
  for (int k = 0; k < N_STRATEGIES; k++) {
    job j;
    int64_t n = 0;
    start(&j, &(job_spec){.strategy = strategies[k], .batch = 8, .ema = 0.9}, world);
    assert_true(j.strategy->ops->visit_owned(j.strategy, count_range, &n) == PN_OK);
    ok(pn_allreduce(world, "visited", &n, 1, PN_I64, PN_SUM));
    assert_true(n == 3 * j.count);
    stop(&j);
  }
}

static pn_status refuse_on_last(void *ctx, const pn_owned *range) {
  (void)ctx, (void)range;
  return rank == size - 1 ? PN_FAIL(PN_ERR_IO, "disk full") : PN_OK;
}

/* A rank that cannot write its share of a checkpoint leaves no other waiting. */
static void test_visit_fails(void **state) {
  (void)state;
  for (int k = 1; k < N_STRATEGIES; k++) {
    job j;
    pn_status st;
    start(&j, &(job_spec){.strategy = strategies[k], .batch = 8}, world);
    st = j.strategy->ops->visit_owned(j.strategy, refuse_on_last, NULL);
    assert_int_equal(st, rank == size - 1 ? PN_ERR_IO : PN_OK);
    ok(pn_barrier(world, "after"));
    stop(&j);
  }
}

static void test_refusals(void **state) {
  job j;
  pn_strategy *s = NULL;

  (void)state;
  start(&j, &(job_spec){.strategy = "ddp", .batch = 8}, world);
  assert_true(pn_strategy_create("zero9", &j.strategy->spec, &s) == PN_ERR_ARG && !s);
  if (size > 1) {
    assert_true(pn_strategy_create("single", &j.strategy->spec, &s) == PN_ERR_ARG && !s);
    assert_true(strstr(pn_last_error(), "use ddp") != NULL);
  }
  stop(&j);
}

static void test_equal(void **state) {
  static const int64_t batches[] = {1, 2, 3, 7, 8, 13};
  pn_comm *self = NULL;

  (void)state;
  ok(pn_comm_self(&self));
  for (int k = 0; k < N_STRATEGIES; k++)
    for (int c = 0; c < N_COMMS; c++)
      for (size_t i = 0; i < sizeof batches / sizeof *batches; i++)
        equal_to_single(self, &(job_spec){.strategy = strategies[k],
                                          .comm = comm_of(c),
                                          .batch = batches[i],
                                          .keep_whole = i % 2 == 1});
  pn_comm_destroy(self);
}

/* The losses of 50 steps and the averaged weights agree with ddp's.  Over shm sums have the same
 * order; MPI may take another one for a reduce-scatter than for an allreduce, and adam turns a
 * rounding of a gradient near zero into a step. */
static void equal_to_ddp(const job_spec *x) {
  job_spec y = *x;
  job a, b;
  double close = strcmp(x->comm, "mpi") == 0 ? 2e-3 : 1e-5;
  int steps = x->late ? 2 * SHORT + 3 : STEPS; /* each rank is late twice */
  float *mean[2];

  y.strategy = "ddp";
  y.late = false;
  start(&a, &y, world);
  start(&b, x, world);
  run(&a, steps);
  run(&b, steps);
  for (int t = 0; t < steps; t++) assert_true(fabs(a.loss[t] - b.loss[t]) <= 1e-6 * a.loss[t]);
  assert_true(difference(&a, a.first_param, a.param) > 1e-3);
  assert_true(difference(&a, a.param, b.param) < close);
  for (int k = 0; k < 2; k++) {
    mean[k] = malloc((size_t)a.count * sizeof *mean[k]);
    weights(k == 0 ? &a : &b, x->ema > 0, mean[k]);
  }
  assert_true(difference(&a, mean[0], mean[1]) < close);
  if (x->ema > 0) assert_true(difference(&a, mean[0], a.param) > 1e-5);
  free(mean[0]);
  free(mean[1]);
  stop(&a);
  stop(&b);
}

/* Of the average: the tensors that are not trainable. */
static void statistics(job *j, bool average, float *out) {
  const pn_param_map *map = &j->plans.map;
  float *arena = NULL;

  ok(pn_strategy_sync_buffers(j->strategy));
  ok(pn_strategy_gather(j->strategy, average, &arena));
  memcpy(out, arena + map->trainable, (size_t)(map->total - map->trainable) * sizeof *out);
  pn_strategy_release(j->strategy);
}

/* An averaged network is evaluated with the average of its running statistics, not the newest; the
 * training goes on with its own. */
static void test_average_of_statistics(void **state) {
  enum { MOST = 64 };
  (void)state;
  for (int k = 0; k < N_STRATEGIES; k++) {
    job j;
    float now[MOST], want[MOST] = {0}, got[MOST], after[MOST];
    int64_t n;
    double far = 0;
    start(&j, &(job_spec){.strategy = strategies[k], .batch = 7, .norm = true, .ema = 0.8}, world);
    n = j.plans.map.total - j.plans.map.trainable;
    assert_in_range(n, 10, MOST);
    for (int t = 0; t < 6; t++) {
      pass(&j, t, j.first, j.mine, true);
      ok(pn_strategy_update(j.strategy, t + 1, 0.05, NULL));
      statistics(&j, false, now);
      for (int64_t i = 0; i < n; i++) want[i] = t == 0 ? now[i] : 0.8f * want[i] + 0.2f * now[i];
      statistics(&j, true, got);
      statistics(&j, false, after);
      assert_memory_equal(now, after, (size_t)n * sizeof *now);
    }
    for (int64_t i = 0; i < n; i++) {
      assert_true(fabsf(got[i] - want[i]) <= 1e-5f * fmaxf(1, fabsf(want[i])));
      far = fmax(far, fabs((double)got[i] - (double)now[i]));
    }
    assert_true(far > 1e-3);
    stop(&j);
  }
}

static void test_like_ddp(void **state) {
  (void)state;
  for (int k = 1; k < N_STRATEGIES; k++)
    for (int c = 0; c < N_COMMS; c++) {
      equal_to_ddp(&(job_spec){
          .strategy = strategies[k], .comm = comm_of(c), .batch = 8, .optim = "adam", .ema = 0.9});
      equal_to_ddp(&(job_spec){
          .strategy = strategies[k], .comm = comm_of(c), .batch = 6, .optim = "lars", .clip = 0.5});
    }
}

/* Ranks that have one copy of the parameters: as two hosts of several ranks, and where one rank
 * still reads them long after the others have come to the update. */
static void test_one_copy(void **state) {
  (void)state;
  for (int k = 0; k < N_STRATEGIES; k++)
    for (int hosts = 1; hosts <= 2; hosts++) {
      job_spec x = {.strategy = strategies[k],
                    .comm = comm_of(0),
                    .batch = 8,
                    .hosts = hosts,
                    .late = true,
                    .norm = true,
                    .ema = 0.9,
                    .optim = "adam"};
      if (size % hosts != 0) continue;
      equal_to_ddp(&x);
      x.clip = 0.5;
      equal_to_ddp(&x);
    }
}

/* A step in parts: each is shared by fsdp, the last one only by the others.  13 images: on 4 ranks
 * some have 4 and some 3, in parts of 2 and 1; 3 images: ranks with one part, or none, beside
 * others with two. */
static void test_parts(void **state) {
  static const int64_t batches[] = {8, 13, 3};

  (void)state;
  for (int k = 1; k < N_STRATEGIES; k++)
    for (int c = 0; c < N_COMMS; c++)
      for (size_t i = 0; i < sizeof batches / sizeof *batches; i++)
        equal_to_ddp(&(job_spec){.strategy = strategies[k],
                                 .comm = comm_of(c),
                                 .batch = batches[i],
                                 .parts = 3,
                                 .keep_whole = i == 1,
                                 .clip = i == 2 ? 0.5 : 0});
}

static size_t about(double x) { /* padding of slices and edges of pages */
  return (size_t)(1.05 * x) + (64 << 10);
}

/* Bytes with pages: the most of parameters and gradients in any step, and the optimizer's state. */
static size_t measured(const job *j) {
  size_t own = j->strategy->bytes_state / 2, sum = 0;

  for (int k = 0; k < 2; k++) sum += pn_pages_resident(j->strategy->state[k], own);
  return sum + j->strategy->peak_params + j->strategy->peak_grads;
}

/* Steps in several parts keep no gradients beside the slices. */
static void test_memory_of_parts(void **state) {
  const int64_t hidden = 700;
  job j;
  double all, units = (double)(2 * hidden * (hidden + 1)) * sizeof(float);

  (void)state;
  for (int parts = 1; parts <= 2; parts++) {
    start(&j,
          &(job_spec){
              .strategy = "fsdp", .batch = 8, .hidden = hidden, .optim = "adam", .parts = parts},
          world);
    all = (double)j.plans.map.total * sizeof(float);
    for (int t = 0; t < 3; t++) step(&j, t);
    assert_true(measured(&j) >= (size_t)(4 * all / size));
    assert_true(measured(&j) <= about(4 * all / size + 2 * units));
    assert_null(j.strategy->carry);
    stop(&j);
  }
}

enum { HIDDEN = 700 }; /* dense2 and dense4: 490,000 weights each, dense1: 126,000 */

/* Planned and resident bytes; on one host the ranks share one copy of the parameters. */
static void memory_of_fsdp(const char *comm) {
  job j;
  double all, units = (double)(2 * HIDDEN * (HIDDEN + 1)) * sizeof(float);
  bool one_host = strcmp(comm, "shm") == 0;

  start(
      &j,
      &(job_spec){.strategy = "fsdp", .comm = comm, .batch = 8, .hidden = HIDDEN, .optim = "adam"},
      world);
  all = (double)j.plans.map.total * sizeof(float);
  assert_true(j.strategy->bytes_params <= about(all / size + (one_host ? 0 : units)));
  assert_true(j.strategy->bytes_grads <= about(all / size + units));
  assert_true(j.strategy->bytes_state <= about(2 * all / size));
  for (int t = 0; t < 3; t++) step(&j, t);
  assert_true(j.strategy->peak_params > 0 && j.strategy->peak_grads > 0);
  assert_true(j.strategy->peak_params <= about((double)j.strategy->bytes_params));
  assert_true(j.strategy->peak_grads <= about((double)j.strategy->bytes_grads));
  /* dense2 and dense4 fill the room: dense1 had to go */
  assert_true(about(units) < (size_t)all);
  if (!one_host) assert_true(pn_pages_resident(j.strategy->params, (size_t)all) <= about(units));
  weights(&j, false, j.param); /* as for an evaluation: everything, then nothing */
  if (!one_host) assert_true(pn_pages_resident(j.strategy->params, (size_t)all) <= 64 << 10);
  step(&j, 3);
  stop(&j);
}

/* State 1/P (zero1), everything 1/P plus two units (fsdp). */
static void test_memory(void **state) {
  job j;
  double all;

  (void)state;
  start(&j, &(job_spec){.strategy = "zero1", .batch = 8, .hidden = HIDDEN, .optim = "adam"}, world);
  all = (double)j.plans.map.total * sizeof(float);
  assert_true(j.strategy->bytes_state <= about(2 * all / size));
  assert_true(j.strategy->bytes_params <= about(all / size)); /* ranks of one host */
  stop(&j);
  for (int c = 0; c < N_COMMS; c++) memory_of_fsdp(comm_of(c));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_equal),
      cmocka_unit_test(test_like_ddp),
      cmocka_unit_test(test_average_of_statistics),
      cmocka_unit_test(test_divergence),
      cmocka_unit_test(test_visit),
      cmocka_unit_test(test_visit_fails),
      cmocka_unit_test(test_memory),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_parts),
      cmocka_unit_test(test_memory_of_parts),
      cmocka_unit_test(test_one_copy),
  };
  if (pn_test_start(60) != PN_OK) return 3;
  return pn_test_end(cmocka_run_group_tests(tests, NULL, NULL));
}
