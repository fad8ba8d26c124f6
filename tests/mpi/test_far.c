/* test_far.c -- strategies whose arenas are in a device's own memory (the emulated one) train as
 * they do in host memory: by copies through shared memory and MPI, and in place by fake_nccl.h,
 * where whole steps, transfers in them, are recorded once and replayed. */
#include "mpi/far_job.h"

enum { RUN = 11 };

static void near_to(const job *want, const job *got, const char *when, const float *a,
                    const float *b) {
  double d = difference(want, a, b);

  if (!(d < 2e-3))
    fail_msg("%s, %s, %s: weights %s differ by %g", got->spec.strategy, got->spec.optim,
             pn_comm_backend(got->bulk), when, d);
}

/* adam turns the rounding of a gradient near zero into a step: weights are not held closer, and no
 * bias before a norm, whose gradient is nothing else, takes part (spec_of). */
static void same_training(job *want, job *got) {
  for (int t = 0; t < RUN; t++)
    if (!(fabs(want->loss[t] - got->loss[t]) < 1e-4 * want->loss[t]))
      fail_msg("%s, %s, %s: loss of step %d: %g, expected %g", got->spec.strategy,
               got->spec.optim ? got->spec.optim : "sgd", pn_comm_backend(got->bulk), t,
               got->loss[t], want->loss[t]);
  assert_true(want->loss[0] > 1e-3);
  near_to(want, got, "after the first step", want->first_param, got->first_param);
  near_to(want, got, "at the end", want->param, got->param);
  assert_true(difference(want, want->first_param, want->param) > 1e-3);
}

/* Of the average too, where there is one. */
static void same_average(job *want, job *got) {
  float *a = malloc((size_t)want->count * sizeof *a), *b = malloc((size_t)want->count * sizeof *b);

  weights(want, true, a);
  weights(got, true, b);
  assert_true(difference(want, a, b) < 2e-3);
  free(a);
  free(b);
}

/* What is evaluated lies on the device, unless it is cut: the bits that are gathered on the host.
 */
static void same_evaluated(job *j) {
  bool cut = strcmp(j->spec.strategy, "fsdp") == 0 ||
             (strcmp(j->spec.strategy, "zero1") == 0 && j->spec.ema > 0);
  pn_device *d = j->strategy->spec.device;
  const pn_far_places *far = NULL;
  float *host = NULL, *copy;

  ok(pn_strategy_sync_buffers(j->strategy));
  ok(pn_strategy_evaluated(j->strategy, &host, &far));
  assert_int_equal(far == NULL, cut);
  pn_strategy_release(j->strategy);
  if (!far) return;
  ok(pn_strategy_gather(j->strategy, true, &host));
  for (int i = 0; i < j->plans.map.n; i++) {
    const struct pn_slot *s = &j->plans.map.slot[i];
    size_t bytes = (size_t)s->count * sizeof *copy;
    assert_non_null(copy = malloc(bytes));
    ok(d->ops->far->download(d, copy, far->param[i], bytes));
    assert_memory_equal(copy, host + s->offset, bytes);
    free(copy);
  }
  pn_strategy_release(j->strategy);
}

static void check(pn_comm *self, const job_spec *x) {
  job_spec host = *x;
  char hash[65];
  job one, many;

  host.strategy = "single";
  host.comm = "auto";
  host.open_device = NULL;
  host.open_comm = NULL;
  start(&one, &host, self);
  start(&many, x, world);
  assert_non_null(many.strategy->far);
  run(&one, RUN);
  run(&many, RUN);
  same_training(&one, &many);
  if (x->ema > 0) same_average(&one, &many);
  same_evaluated(&many);
  ok(pn_strategy_weights_sha256(many.strategy, hash));
  stop(&one);
  stop(&many);
}

static const char *const strategies[] = {"single", "ddp", "zero1", "fsdp"};
static const struct {
  const char *optim;
  double clip, ema;
} rules[] = {{"sgd", 0, 0.9}, {"adam", 0, 0}, {"lars", 0, 0}, {"adamw", 0.2, 0.9}};
enum { N_RULES = sizeof rules / sizeof *rules, BATCH = 7 };

static job_spec spec_of(int strategy, int rule) {
  return (job_spec){.strategy = strategies[strategy],
                    .batch = BATCH,
                    .optim = rules[rule].optim,
                    .clip = rules[rule].clip,
                    .ema = rules[rule].ema,
                    .norm = size == 1 && rule % 2 == 0,
                    .keep_whole = rule % 2 == 1};
}

/* Through host memory; at one rank nothing travels, and steps are graphs. */
static void test_staged(void **state) {
  pn_comm *self = NULL;

  (void)state;
  ok(pn_comm_self(&self));
  for (int s = size > 1; s < 4; s++)
    for (int r = 0; r < N_RULES; r++) {
      job_spec x = spec_of(s, r);
      x.comm = size == 1 ? "auto" : r % 2 ? "mpi" : "shm";
      x.open_device = open_closed;
      check(self, &x);
    }
  pn_comm_destroy(self);
}

/* A graph is recorded in the second step and replayed from then on, whatever epoch, learning rate
 * and coefficients of Adam; norms of tensors that are cut over the ranks are summed in it too. */
static void test_in_place(void **state) {
  pn_comm *self = NULL;

  (void)state;
  ok(pn_comm_self(&self));
  for (int s = size > 1; s < 4; s++)
    for (int r = 0; r < N_RULES; r++) {
      job_spec x = spec_of(s, r);
      x.comm = "auto";
      x.open_device = open_recorder;
      if (size > 1) x.open_comm = open_fake;
      emu.graphs = emu.replays = 0;
      check(self, &x);
      assert_int_equal(emu.graphs, 1);
      assert_int_equal(emu.replays, RUN - 1);
    }
  pn_comm_destroy(self);
}

/* Graphs that a rank needs: one for each kind of part and number of images. */
static int kinds_of_parts(const job_spec *x) {
  bool fsdp = strcmp(x->strategy, "fsdp") == 0, seen[BATCH + 1][3] = {{false}};
  int64_t first, mine, most = (x->batch + size - 1) / size, own, all;
  int n = 0;

  pn_partition(x->batch, rank, size, &first, &mine);
  own = mine < x->parts ? mine : x->parts;
  all = !fsdp ? own : most < x->parts ? most : x->parts;
  for (int64_t m = 0; m < own; m++) {
    int64_t count;
    pn_partition(mine, (int)m, (int)own, &first, &count);
    int kind = m == all - 1 ? 2 : m > 0;
    n += !seen[count][kind];
    seen[count][kind] = true;
  }
  return n;
}

/* Gradients of the parts of a step are added on the device, each part is a graph, the last one with
 * transfers and update; ranks have unequal numbers of them, and of images in them. */
static void test_parts(void **state) {
  pn_comm *self = NULL;

  (void)state;
  ok(pn_comm_self(&self));
  for (int s = size > 1; s < 4; s++)
    for (int r = 0; r < N_RULES; r++) {
      job_spec x = spec_of(s, r);
      x.parts = 2 + r % 2;
      x.comm = size == 1 ? "auto" : r % 2 ? "mpi" : "shm";
      x.open_device = open_closed;
      check(self, &x);
      x.comm = "auto";
      x.open_device = open_recorder;
      if (size > 1) x.open_comm = open_fake;
      emu.graphs = emu.replays = 0;
      check(self, &x);
      assert_int_equal(emu.graphs, kinds_of_parts(&x));
      assert_true(emu.replays >= RUN - 1);
    }
  pn_comm_destroy(self);
}

/* A rank without images does one by one what the others have in their graphs. */
static void test_idle(void **state) {
  pn_comm *self = NULL;

  (void)state;
  if (size == 1) return;
  ok(pn_comm_self(&self));
  for (int s = 1; s < 4; s++)
    for (int r = 0; r < N_RULES; r++) {
      job_spec x = spec_of(s, r);
      x.comm = "auto";
      x.batch = size - 1;
      x.open_device = open_recorder;
      x.open_comm = open_fake;
      emu.graphs = 0;
      check(self, &x);
      assert_int_equal(emu.graphs, rank < size - 1);
    }
  pn_comm_destroy(self);
}

/* What the step loop is told. */
static void test_reasons(void **state) {
  job_spec x = spec_of(size > 1, 0);
  job j;

  (void)state;
  x.comm = "auto";
  start(&j, &x, world);
  assert_string_equal(pn_strategy_no_graph(j.strategy), "gradients are kept in host memory");
  stop(&j);
  x.open_device = open_closed;
  start(&j, &x, world);
  if (size == 1) assert_null(pn_strategy_no_graph(j.strategy));
  if (size > 1)
    assert_string_equal(pn_strategy_no_graph(j.strategy), "gradients travel through host memory");
  stop(&j);
}

/* Sharded units take turns in the device's memory: two of the largest, not all. */
static void test_windows(void **state) {
  job_spec x = {.strategy = "fsdp", .batch = 8, .hidden = 200, .comm = "auto"};
  float *where[16];
  int found = 0;
  job j;

  (void)state;
  x.open_device = open_closed;
  start(&j, &x, world);
  for (int i = 0; i < j.plans.map.n; i++) { /* how many units begin at different places */
    int k = 0;
    bool first = i == 0 || pn_graph_param(j.graph, i)->unit != pn_graph_param(j.graph, i - 1)->unit;
    while (k < found && where[k] != j.strategy->far->param[i]) k++;
    if (first && k == found) where[found++] = j.strategy->far->param[i];
  }
  assert_int_equal(found, 2);
  stop(&j);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_staged),  cmocka_unit_test(test_in_place),
      cmocka_unit_test(test_parts),   cmocka_unit_test(test_idle),
      cmocka_unit_test(test_reasons), cmocka_unit_test(test_windows)};

  if (pn_test_start(60) != PN_OK) return 3;
  MPI_Comm_dup(MPI_COMM_WORLD, &fake.comm);
  if (cmocka_run_group_tests(tests, NULL, NULL) > 0) pn_comm_abort(1);
  MPI_Comm_free(&fake.comm);
  pn_comm_destroy(world);
  MPI_Finalize();
  return 0;
}
