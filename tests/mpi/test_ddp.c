/* test_ddp.c -- gradients, losses and weights of ddp at any number of ranks equal those of one rank
 * on the whole batch. */
#include "base/rng.h"
#include "data/dataset.h"
#include "mpi/mpi_test.h"
#include "parallel/strategy.h"
#include "train/plan_set.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 12, PIXELS = SIDE * SIDE, STEPS = 3 };

/* conv, relu, pool, dense, dropout, dense, loss: every kind of parameter, and randomness that must
 * not depend on the rank. */
static pn_graph *make_graph(void) {
  pn_window conv = {{3, 3}, {1, 1}, {1, 1}, {1, 1}}, pool = {{2, 2}, {2, 2}, {0, 0}, {0, 0}};
  pn_graph *g = NULL;
  int n;

  ok(pn_graph_create("test", &g));
  ok(pn_graph_input(g, 1, SIDE, SIDE, &n));
  ok(pn_graph_conv(g, "conv1", n, 5, conv, &n));
  ok(pn_graph_relu(g, "relu1", n, &n));
  ok(pn_graph_maxpool(g, "pool1", n, pool, &n));
  ok(pn_graph_dense(g, "dense1", n, 24, &n));
  ok(pn_graph_relu(g, "relu2", n, &n));
  ok(pn_graph_dropout(g, "drop", n, 0.25f, &n));
  ok(pn_graph_dense(g, "dense2", n, 1, &n));
  ok(pn_graph_loss(g, "loss", n, PN_OP_BCE, &n));
  return g;
}

/* One set of training: a few steps of `batch` images on the ranks of c. */
typedef struct {
  pn_graph *graph;
  pn_comm *comm;
  pn_device *device;
  pn_optim *optim;
  pn_plan_set plans;
  pn_strategy *strategy;
  int64_t batch, first, mine;
  double loss[STEPS], norm;  /* summed over the ranks */
  float *grad, *first_param; /* logical: gradients of the first step, weights after it */
  float *param;              /* logical: weights after the last step */
  int64_t count;
} job;

static void start(job *j, const char *strategy, pn_comm *c, int64_t batch) {
  pn_optim_config o;
  int64_t sizes[PN_MAX_PLANS] = {0};
  int ranks = pn_comm_size(c);

  *j = (job){.comm = c, .batch = batch, .graph = make_graph()};
  pn_optim_defaults(&o);
  strcpy(o.name, "sgd");
  o.momentum = 0.9;
  ok(pn_optim_create(&o, &j->optim));
  ok(pn_device_create("ref", 1, &j->device));
  pn_partition(batch, pn_comm_rank(c), ranks, &j->first, &j->mine);
  sizes[0] = j->mine;
  ok(pn_plan_set_create(j->graph, j->device, (batch + ranks - 1) / ranks, sizes, &j->plans));
  pn_strategy_spec spec = {.graph = j->graph,
                           .map = &j->plans.map,
                           .optim = j->optim,
                           .data = c,
                           .device = j->device,
                           .bucket_bytes = 2048, /* several buckets, dense1.weight in pieces */
                           .seed = 7};
  ok(pn_strategy_create(strategy, &spec, &j->strategy));
  pn_plan_set_bind(&j->plans, j->strategy->params, j->strategy->grads);
  j->count = pn_graph_param_count(j->graph);
  j->grad = calloc((size_t)j->count, sizeof *j->grad);
  j->first_param = calloc((size_t)j->count, sizeof *j->first_param);
  j->param = calloc((size_t)j->count, sizeof *j->param);
}

static void stop(job *j) {
  pn_plan_set_free(&j->plans);
  pn_strategy_destroy(j->strategy);
  pn_optim_destroy(j->optim);
  pn_device_destroy(j->device);
  pn_graph_destroy(j->graph);
  free(j->grad);
  free(j->first_param);
  free(j->param);
}

static void to_logical(const job *j, const float *arena, float *out) {
  for (int i = 0; i < j->plans.map.n; i++) {
    const struct pn_slot *s = &j->plans.map.slot[i];
    ok(pn_layout_unpack(&s->layout, arena + s->offset, out));
    out += pn_shape_count(s->layout.shape);
  }
}

static void fill(const job *j, pn_plan *plan, int step, uint64_t *id) {
  for (int64_t i = 0; i < j->mine; i++) {
    id[i] = (uint64_t)(step * 1000 + j->first + i);
    pn_rng r = pn_rng_make(1, PN_RNG_TEST, id[i], 0);
    for (int p = 0; p < PIXELS; p++) pn_plan_input(plan)[i * PIXELS + p] = pn_rng_uniform(&r);
    pn_plan_labels(plan)[i] = (int32_t)pn_rng_below(&r, 2);
  }
}

static void step(job *j, int t) {
  pn_plan *plan = pn_plan_set_get(&j->plans, j->mine);
  pn_plan_hooks hooks = pn_strategy_hooks(j->strategy, true);
  uint64_t id[64];
  float scale[64];
  pn_step_ctx ctx = {.seed = 3, .epoch = 1, .sample_id = id, .sample_scale = scale};

  for (int i = 0; i < 64; i++) scale[i] = 1.0f / (float)j->batch;
  if (plan) {
    fill(j, plan, t, id);
    ok(pn_plan_forward(plan, &ctx, &hooks));
    for (int64_t i = 0; i < j->mine; i++)
      j->loss[t] += (double)pn_plan_losses(plan)[i] / (double)j->batch;
    ok(pn_plan_backward(plan, &ctx, &hooks));
  } else {
    ok(pn_strategy_skip(j->strategy));
  }
  /* the norm once: both ways through step() are taken */
  ok(j->strategy->ops->step(j->strategy, t + 1, 0.05, t == 0 ? &j->norm : NULL));
  if (t > 0) return;
  to_logical(j, j->strategy->grads, j->grad);
  to_logical(j, j->strategy->params, j->first_param);
}

static void run(job *j) {
  for (int t = 0; t < STEPS; t++) step(j, t);
  to_logical(j, j->strategy->params, j->param);
  ok(pn_allreduce(j->comm, "losses", j->loss, STEPS, PN_F64, PN_SUM));
}

/* Largest difference of each tensor, relative to its largest value. */
static double difference(const job *j, const float *a, const float *b) {
  double worst = 0;

  for (int i = 0; i < j->plans.map.n; i++) {
    int64_t n = pn_shape_count(j->plans.map.slot[i].layout.shape);
    double top = 0, diff = 0;
    for (int64_t k = 0; k < n; k++) {
      top = fmax(top, fabs((double)a[k]));
      diff = fmax(diff, fabs((double)a[k] - (double)b[k]));
    }
    worst = fmax(worst, top > 0 ? diff / top : diff);
    a += n;
    b += n;
  }
  return worst;
}

/* batch: also smaller than the number of ranks, and not divisible by it. */
static void equal_to_single(pn_comm *self, int64_t batch) {
  job one, many;
  char hash[65], again[65];

  start(&one, "single", self, batch);
  start(&many, "ddp", world, batch);
  run(&one);
  run(&many);
  assert_true(difference(&one, one.grad, many.grad) < 1e-6);
  assert_true(difference(&one, one.first_param, many.first_param) < 1e-6);
  /* rounding may flip a ReLU or the choice of a max-pool: not held to 1e-6 over several steps */
  assert_true(difference(&one, one.param, many.param) < 1e-4);
  assert_true(fabs(one.norm - many.norm) < 1e-6 * one.norm);
  assert_true(one.norm > 1e-3);
  for (int t = 0; t < STEPS; t++)
    assert_true(fabs(one.loss[t] - many.loss[t]) < 1e-6 * one.loss[t]);
  assert_true(many.strategy->comm_exposed_s > 0);
  assert_true(many.strategy->comm_total_s > many.strategy->comm_exposed_s - 1e-9);
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
  start(&j, "ddp", world, 8);
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

/* Over all ranks each weight and each momentum exactly once. */
static void test_visit(void **state) {
  job j;
  int64_t n = 0;

  (void)state;
  start(&j, "ddp", world, 8);
  assert_true(j.strategy->ops->visit_owned(j.strategy, count_range, &n) == PN_OK);
  ok(pn_allreduce(world, "visited", &n, 1, PN_I64, PN_SUM));
  assert_true(n == 2 * j.count);
  stop(&j);
}

static void test_refusals(void **state) {
  job j;
  pn_strategy *s = NULL;

  (void)state;
  start(&j, "ddp", world, 8);
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
  for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) equal_to_single(self, batches[i]);
  pn_comm_destroy(self);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_equal),
      cmocka_unit_test(test_divergence),
      cmocka_unit_test(test_visit),
      cmocka_unit_test(test_refusals),
  };
  if (pn_test_start(60) != PN_OK) return 3;
  return pn_test_end(cmocka_run_group_tests(tests, NULL, NULL));
}
