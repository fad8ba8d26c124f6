/* test_far_half.c -- fp16 with its scaled loss where a step is one graph, which the device itself
 * makes to nothing when gradients overflow on any rank: the bits of the same launches one by one;
 * scales, skipped steps and training of the steps that ask the host in the middle. */
#include "mpi/far_job.h"

#include "optim/loss_scale.h"

enum { RUN = 16, BURST = 9, BATCH = 7 };

typedef enum { GRAPH, LAUNCHES, PASSES } way; /* LAUNCHES: whole steps that nobody records */

typedef struct {
  job j;
  way way;
  pn_loss_scale scaling;
  double scale[RUN]; /* negative: skipped */
  float *average;
} half_job;

/* One image of one rank is too much, whatever the scale. */
static pn_step_ctx scaled_context(const half_job *h, int t, uint64_t *id, float *scale) {
  pn_step_ctx ctx = context(t, id, scale, h->j.batch);

  for (int i = 0; i < 64; i++) scale[i] = (float)((double)scale[i] * h->scaling.scale);
  if (t == BURST && h->j.first == 0) scale[0] = 1e30f;
  return ctx;
}

static void note_losses(half_job *h, int t, const float *losses, int64_t count) {
  for (int64_t i = 0; i < count; i++) h->j.loss[t] += (double)losses[i] / (double)h->j.batch;
}

static void run_whole(half_job *h, int t, pn_plan *plan, const pn_step_ctx *ctx, int64_t count) {
  pn_strategy *s = h->j.strategy;
  pn_plan_hooks hooks = pn_strategy_hooks(s, s->part.last);
  pn_plan_result result;
  pn_plan_tail tail;

  ok(pn_plan_begin_input(plan));
  ok(pn_strategy_stage(s, t - h->scaling.skipped + 1, 0.05, &tail));
  assert_null(tail.host);
  if (h->way == LAUNCHES) tail.host = "test";
  ok(pn_plan_step(plan, ctx, &hooks, &tail));
  ok(pn_plan_result_of(plan, 0, &result));
  note_losses(h, t, result.losses, count);
}

static void run_passes(half_job *h, int t, pn_plan *plan, const pn_step_ctx *ctx, int64_t count) {
  pn_plan_hooks hooks = pn_strategy_hooks(h->j.strategy, h->j.strategy->part.last);

  ok(pn_plan_forward(plan, ctx, &hooks));
  note_losses(h, t, pn_plan_losses(plan), count);
  ok(pn_plan_backward(plan, ctx, &hooks));
}

/* Part m of the rank's share, one of `own`. */
static void half_part(half_job *h, int t, int64_t m, int64_t own) {
  int64_t first, count;
  uint64_t id[64];
  float scale[64];
  pn_step_ctx ctx = scaled_context(h, t, id, scale);
  pn_plan *plan;

  pn_partition(h->j.mine, (int)m, (int)own, &first, &count);
  plan = pn_plan_set_get(&h->j.plans, count);
  fill(plan, t, h->j.first + first, count, id);
  (h->way == PASSES ? run_passes : run_whole)(h, t, plan, &ctx, count);
  h->j.strategy->fed++;
}

/* Where the ranks ask the host, the host keeps count of the parts too. */
static void half_step(half_job *h, int t) {
  pn_strategy *s = h->j.strategy;
  bool whole = pn_strategy_steps_whole(s), told = h->way != PASSES;
  int64_t own, all;

  s->grad_scale = 1 / h->scaling.scale;
  count_parts(&h->j, &own, &all);
  for (int64_t m = 0; m < all; m++) {
    bool queued = m < own && h->way != PASSES;
    if (whole) pn_strategy_begin_part(s, (int)m, m == all - 1);
    if (!whole && m > 0) ok(pn_strategy_keep_grads(s));
    if (!whole) s->part.last = m == all - 1;
    if (m < own)
      half_part(h, t, m, own);
    else
      ok(pn_strategy_skip(s));
    if (whole && !queued && m < all - 1) ok(pn_strategy_keep_grads(s));
  }
  if (own < all || h->way == PASSES) {
    ok(pn_strategy_update(s, t - h->scaling.skipped + 1, 0.05, NULL));
    s->carrying = told = false;
  }
  ok(pn_strategy_outcome(s, told));
  h->scale[t] = s->overflow ? -h->scaling.scale : h->scaling.scale;
  ok(pn_loss_scale_step(&h->scaling, s->overflow));
}

static void run_half(half_job *h, const job_spec *x, way how) {
  *h = (half_job){.way = how, .scaling = {.scale = 0x1p20, .interval = 3}};
  start(&h->j, x, world);
  for (int t = 0; t < RUN; t++) half_step(h, t);
  weights(&h->j, false, h->j.param);
  assert_non_null(h->average = calloc((size_t)h->j.count, sizeof *h->average));
  weights(&h->j, true, h->average);
  ok(pn_allreduce(world, "losses", h->j.loss, RUN, PN_F64, PN_SUM));
}

static void end_half(half_job *h) {
  stop(&h->j);
  free(h->average);
}

static void same_scales(const half_job *a, const half_job *b) {
  for (int t = 0; t < RUN; t++)
    if (a->scale[t] < b->scale[t] || a->scale[t] > b->scale[t])
      fail_msg("%s, %s: scale of step %d: %g, expected %g", a->j.spec.strategy, a->j.spec.optim, t,
               a->scale[t], b->scale[t]);
}

/* Up and down; one rank's overflow is everybody's. */
static void scale_moves(const half_job *h) {
  double most[RUN], least[RUN];
  int skipped = 0, doubled = 0;

  memcpy(most, h->scale, sizeof most);
  memcpy(least, h->scale, sizeof least);
  ok(pn_allreduce(world, "scales", most, RUN, PN_F64, PN_MAX));
  ok(pn_allreduce(world, "scales", least, RUN, PN_F64, PN_MIN));
  assert_memory_equal(most, least, sizeof most);
  for (int t = 0; t < RUN; t++) skipped += h->scale[t] < 0;
  for (int t = 1; t < RUN; t++) doubled += fabs(h->scale[t]) > fabs(h->scale[t - 1]);
  assert_true(skipped >= 2 && skipped < RUN / 2 && doubled >= 2);
  assert_true(h->scale[BURST] < 0);
}

static void same_bits(const half_job *a, const half_job *b) {
  size_t bytes = (size_t)a->j.count * sizeof(float);

  same_scales(a, b);
  assert_memory_equal(a->j.loss, b->j.loss, RUN * sizeof *a->j.loss);
  assert_memory_equal(a->j.param, b->j.param, bytes);
  assert_memory_equal(a->average, b->average, bytes);
}

/* Another order of the ranks' sums: in 16 bits other roundings too. */
static void same_half_training(const half_job *a, const half_job *b) {
  same_scales(a, b);
  for (int t = 0; t < RUN; t++) assert_true(fabs(a->j.loss[t] - b->j.loss[t]) < 2e-3);
  assert_true(difference(&a->j, a->j.param, b->j.param) < 2e-2);
  assert_true(difference(&a->j, a->average, b->average) < 2e-2);
}

static const char *const strategies[] = {"single", "ddp", "zero1", "fsdp"};
static const struct {
  const char *optim;
  double clip, ema;
} rules[] = {{"sgd", 0, 0.9}, {"adam", 0, 0}, {"lars", 0, 0.9}, {"adamw", 0.2, 0.9}};
enum { N_RULES = sizeof rules / sizeof *rules };

static void check(int strategy, int rule, int64_t batch, int parts) {
  job_spec x = {.strategy = strategies[strategy],
                .comm = "auto",
                .batch = batch,
                .optim = rules[rule].optim,
                .clip = rules[rule].clip,
                .ema = rules[rule].ema,
                .half = true,
                .parts = parts,
                .norm = rule % 2 == 0, /* adam makes steps of rounding: see test_far.c */
                .keep_whole = rule % 2 == 1,
                .open_device = open_recorder,
                .open_comm = size > 1 ? open_fake : NULL};
  half_job graph, launches, asking;

  emu.graphs = emu.replays = 0;
  run_half(&graph, &x, GRAPH);
  if (parts == 1) assert_int_equal(emu.graphs, graph.j.mine > 0);
  if (parts == 1) assert_int_equal(emu.replays, graph.j.mine > 0 ? RUN - 1 : 0);
  assert_true(graph.j.mine == 0 || emu.replays >= RUN - 1);
  run_half(&launches, &x, LAUNCHES);
  same_bits(&graph, &launches);
  scale_moves(&graph);
  x.open_device = open_closed;
  x.open_comm = NULL;
  if (size > 1) x.comm = "mpi";
  run_half(&asking, &x, PASSES);
  if (size == 1)
    same_bits(&graph, &asking);
  else
    same_half_training(&graph, &asking);
  end_half(&graph);
  end_half(&launches);
  end_half(&asking);
}

static void test_half(void **state) {
  (void)state;
  for (int s = size > 1; s < 4; s++)
    for (int r = 0; r < N_RULES; r++) check(s, r, BATCH, 1);
}

static void test_idle(void **state) {
  (void)state;
  for (int s = 1; s < 4 && size > 1; s++) check(s, s, size - 1, 1);
}

static void test_parts(void **state) {
  (void)state;
  for (int s = size > 1; s < 4; s++) check(s, s, BATCH, 3 - s % 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_half), cmocka_unit_test(test_idle),
                                     cmocka_unit_test(test_parts)};

  if (pn_test_start(60) != PN_OK) return 3;
  MPI_Comm_dup(MPI_COMM_WORLD, &fake.comm);
  if (cmocka_run_group_tests(tests, NULL, NULL) > 0) pn_comm_abort(1);
  MPI_Comm_free(&fake.comm);
  pn_comm_destroy(world);
  MPI_Finalize();
  return 0;
}
