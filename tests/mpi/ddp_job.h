/* ddp_job.h -- one small training on a strategy, step by step: what the tests of strategies share.
 */
#ifndef PN_TESTS_DDP_JOB_H
#define PN_TESTS_DDP_JOB_H

#include "base/clock.h"
#include "base/digest.h"
#include "base/rng.h"
#include "data/dataset.h"
#include "mpi/mpi_test.h"
#include "parallel/strategy.h"
#include "train/plan_set.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 12, PIXELS = SIDE * SIDE, STEPS = 50 };

/* conv, relu, pool, dense, dropout, dense, loss: every kind of parameter, and randomness that must
 * not depend on the rank. */
static inline pn_graph *make_graph(int64_t hidden, bool norm) {
  pn_window conv = {{3, 3}, {1, 1}, {1, 1}, {1, 1}}, pool = {{2, 2}, {2, 2}, {0, 0}, {0, 0}};
  pn_graph *g = NULL;
  int n;

  ok(pn_graph_create("test", &g));
  ok(pn_graph_input(g, 1, SIDE, SIDE, &n));
  ok(pn_graph_conv(g, "conv1", n, 5, conv, &n));
  if (norm) ok(pn_graph_norm(g, "norm1", n, (pn_norm){.eps = 1e-5f, .update = 0.1f}, &n));
  ok(pn_graph_relu(g, "relu1", n, &n));
  ok(pn_graph_maxpool(g, "pool1", n, pool, &n));
  pn_graph_next_unit(g);
  ok(pn_graph_dense(g, "dense1", n, hidden, &n));
  ok(pn_graph_relu(g, "relu2", n, &n));
  pn_graph_next_unit(g); /* without parameters */
  ok(pn_graph_dropout(g, "drop", n, 0.25f, &n));
  pn_graph_next_unit(g);
  ok(pn_graph_dense(g, "dense2", n, hidden, &n));
  ok(pn_graph_relu(g, "relu3", n, &n));
  pn_graph_next_unit(g);
  ok(pn_graph_dense(g, "dense4", n, hidden, &n));
  ok(pn_graph_relu(g, "relu4", n, &n));
  pn_graph_next_unit(g);
  ok(pn_graph_dense(g, "dense3", n, 1, &n));
  ok(pn_graph_loss(g, "loss", n, PN_OP_BCE, &n));
  return g;
}

typedef struct {
  const char *strategy, *comm; /* comm: "shm", "mpi" */
  int64_t batch, hidden;
  const char *optim;
  double clip, ema;
  bool half; /* fp16, with scaled gradients */
  bool keep_whole, norm;
  int64_t bucket_bytes; /* 0: several buckets, dense1.weight in pieces; -1: auto */
  int parts;            /* that a rank's images of a step are computed in; 0: 1 */
  int hosts;            /* to act as if there were so many; 0: 1 */
  bool late;            /* each rank in turn is late in every part of its backward pass, and looks
                         * at its parameters */
  /* NULL: ref, and the communicator that `comm` names */
  pn_status (*open_device)(pn_device **out);
  pn_status (*open_comm)(pn_comm *c, pn_comm **out);
} job_spec;

/* One set of training: a few steps of `batch` images on the ranks of c. */
typedef struct {
  job_spec spec;
  pn_graph *graph;
  pn_comm *comm, *bulk;
  pn_device *device;
  pn_optim *optim;
  pn_plan_set plans;
  pn_strategy *strategy;
  int64_t batch, first, mine;
  int steps;                 /* of the run */
  double loss[STEPS], norm;  /* summed over the ranks */
  float *grad, *first_param; /* logical: gradients of the first step, weights after it */
  float *param;              /* logical: weights after the last step */
  int64_t count;
} job;

static inline void start(job *j, const job_spec *x, pn_comm *c) {
  pn_optim_config o;
  int64_t sizes[PN_MAX_PLANS] = {0}, batch = x->batch;
  int ranks = pn_comm_size(c), parts = x->parts ? x->parts : 1;

  *j = (job){.spec = *x, .comm = c, .batch = batch};
  j->graph = make_graph(x->hidden ? x->hidden : 24, x->norm);
  pn_optim_defaults(&o);
  strcpy(o.name, x->optim ? x->optim : "sgd");
  if (strcmp(o.name, "adam") != 0) o.momentum = 0.9;
  if (x->hosts == 2) setenv("PN_COMM_HOSTS", "2", 1);
  if (x->open_comm)
    ok(x->open_comm(c, &j->bulk));
  else
    ok(pn_comm_data(c, x->comm ? x->comm : "auto", &j->bulk));
  unsetenv("PN_COMM_HOSTS");
  ok(pn_optim_create(&o, &j->optim));
  ok(x->open_device ? x->open_device(&j->device) : pn_device_create("ref", 1, &j->device));
  pn_partition(batch, pn_comm_rank(c), ranks, &j->first, &j->mine);
  sizes[0] = (j->mine + parts - 1) / parts;
  sizes[1] = j->mine / parts;
  pn_plan_spec like = {.graph = j->graph,
                       .device = j->device,
                       .batch = ((batch + ranks - 1) / ranks + parts - 1) / parts,
                       .training = true,
                       .precision = x->half ? PN_FP16 : PN_F32};
  ok(pn_plan_set_create(&like, sizes, &j->plans));
  pn_strategy_spec spec = {.graph = j->graph,
                           .map = &j->plans.map,
                           .optim = j->optim,
                           .data = j->bulk,
                           .device = j->device,
                           .bucket_bytes = x->bucket_bytes < 0   ? 0
                                           : x->bucket_bytes > 0 ? x->bucket_bytes
                                                                 : 2048,
                           .seed = 7,
                           .clip_norm = x->clip,
                           .micro_batches = parts,
                           .keep_whole = x->keep_whole,
                           .ema = x->ema,
                           .loss_scaling = x->half};
  ok(pn_strategy_create(x->strategy, &spec, &j->strategy));
  pn_plan_set_bind(&j->plans, j->strategy->params, j->strategy->grads);
  pn_plan_set_bind_far(&j->plans, j->strategy->far);
  for (int i = 0; i < j->plans.map.n; i++)
    j->count += pn_shape_count(j->plans.map.slot[i].layout.shape);
  j->grad = calloc((size_t)j->count, sizeof *j->grad);
  j->first_param = calloc((size_t)j->count, sizeof *j->first_param);
  j->param = calloc((size_t)j->count, sizeof *j->param);
}

static inline void stop(job *j) {
  pn_plan_set_free(&j->plans);
  pn_strategy_destroy(j->strategy);
  pn_comm_destroy(j->bulk);
  pn_optim_destroy(j->optim);
  pn_device_destroy(j->device);
  pn_graph_destroy(j->graph);
  free(j->grad);
  free(j->first_param);
  free(j->param);
}

static inline void to_logical(const job *j, const float *arena, float *out) {
  for (int i = 0; i < j->plans.map.n; i++) {
    const struct pn_slot *s = &j->plans.map.slot[i];
    ok(pn_layout_unpack(&s->layout, arena + s->offset, out));
    out += pn_shape_count(s->layout.shape);
  }
}

/* Each rank's pieces hold their part of the sum. */
static inline void grads_to_logical(const job *j, float *out) {
  const pn_strategy *s0 = j->strategy;
  int64_t n = j->plans.map.trainable;
  float *sum = calloc((size_t)n, sizeof *sum);

  for (int k = 0; k < s0->own.n; k++) {
    const pn_piece *p = &s0->own.piece[k];
    if (s0->own.cut || pn_comm_rank(j->comm) == 0)
      memcpy(sum + p->first, p->grad, (size_t)p->count * sizeof *sum);
  }
  ok(pn_allreduce(j->comm, "gradients", sum, n, PN_F32, PN_SUM));
  for (int i = 0; i < j->plans.map.n; i++) {
    const struct pn_slot *s = &j->plans.map.slot[i];
    if (s->trainable) ok(pn_layout_unpack(&s->layout, sum + s->offset, out));
    out += pn_shape_count(s->layout.shape);
  }
  free(sum);
}

/* Images [first, first + count) of a step. */
static inline void fill(pn_plan *plan, int step, int64_t first, int64_t count, uint64_t *id) {
  for (int64_t i = 0; i < count; i++) {
    id[i] = (uint64_t)(step * 1000 + first + i);
    pn_rng r = pn_rng_make(1, PN_RNG_TEST, id[i], 0);
    for (int p = 0; p < PIXELS; p++) pn_plan_input(plan)[i * PIXELS + p] = pn_rng_uniform(&r);
    pn_plan_labels(plan)[i] = (int32_t)pn_rng_below(&r, 2);
  }
}

/* Nobody may change a rank's parameters before its update. */
static struct {
  pn_status (*tick)(void *);
  uint32_t crc;
} late;

static inline uint32_t crc_of_params(const pn_strategy *s) {
  bool whole = !s->ops->by_units || pn_one_host(s);
  return whole ? pn_crc32c(0, s->params, (size_t)s->spec.map->trainable * sizeof(float)) : 0;
}

static pn_status late_tick(void *ctx) {
  pn_sleep(5e-4);
  assert_true(crc_of_params(ctx) == late.crc);
  return late.tick ? late.tick(ctx) : PN_OK;
}

static inline pn_step_ctx context(int t, uint64_t *id, float *scale, int64_t batch) {
  for (int i = 0; i < 64; i++) scale[i] = 1.0f / (float)batch;
  return (pn_step_ctx){
      .seed = 3, .epoch = 1 + (uint32_t)t / 4, .sample_id = id, .sample_scale = scale};
}

/* One backward pass; without images a rank only takes part in the communication. */
static inline void pass(job *j, int t, int64_t first, int64_t count, bool last) {
  pn_plan *plan = pn_plan_set_get(&j->plans, count);
  pn_plan_hooks hooks = pn_strategy_hooks(j->strategy, last);
  uint64_t id[64];
  float scale[64];
  pn_step_ctx ctx = context(t, id, scale, j->batch);

  if (!plan) {
    ok(pn_strategy_skip(j->strategy));
    return;
  }
  fill(plan, t, first, count, id);
  ok(pn_plan_forward(plan, &ctx, &hooks));
  j->strategy->fed++;
  for (int64_t i = 0; i < count; i++)
    j->loss[t] += (double)pn_plan_losses(plan)[i] / (double)j->batch;
  late.tick = hooks.tick;
  late.crc = crc_of_params(j->strategy);
  if (j->spec.late && t % pn_comm_size(j->comm) == pn_comm_rank(j->comm)) hooks.tick = late_tick;
  ok(pn_plan_backward(plan, &ctx, &hooks));
}

/* How many parts a rank's share of a step has, and how many the ranks wait for: as many as any has
 * where all parts are shared. */
static inline void count_parts(const job *j, int64_t *own, int64_t *all) {
  int64_t parts = j->spec.parts ? j->spec.parts : 1, ranks = pn_comm_size(j->comm);
  int64_t most = (j->batch + ranks - 1) / ranks;

  *own = j->mine < parts ? j->mine : parts;
  *all = most < parts ? most : parts;
  if (!j->strategy->ops->next_pass) *all = *own > 0 ? *own : 1;
}

static inline void add_losses(job *j, pn_plan *plan, int t, int ago, int64_t count) {
  pn_plan_result result;

  ok(pn_plan_result_of(plan, ago, &result));
  for (int64_t i = 0; i < count; i++)
    j->loss[t - ago] += (double)result.losses[i] * (double)result.scale[i];
}

/* As the trainer where everything is on the device; the loss of a step with one part is read one
 * step late. */
static inline void whole_part(job *j, int t, int64_t first, int64_t count) {
  pn_plan *plan = pn_plan_set_get(&j->plans, count);
  pn_plan_hooks hooks = pn_strategy_hooks(j->strategy, j->strategy->part.last);
  uint64_t id[64];
  float scale[64];
  pn_step_ctx ctx = context(t, id, scale, j->batch);
  pn_plan_tail tail;

  fill(plan, t, first, count, id);
  ok(pn_strategy_stage(j->strategy, t + 1, 0.05, &tail));
  ok(pn_plan_step(plan, &ctx, &hooks, &tail));
  j->strategy->fed++;
  if (j->spec.parts > 1)
    add_losses(j, plan, t, 0, count);
  else
    for (int ago = t > 0; ago >= (t == j->steps - 1 ? 0 : 1); ago--)
      add_losses(j, plan, t, ago, count);
}

static inline void whole_step(job *j, int t) {
  int64_t own, all, first, count;

  count_parts(j, &own, &all);
  for (int64_t m = 0; m < all; m++) {
    pn_strategy_begin_part(j->strategy, (int)m, m == all - 1);
    if (m < own) {
      pn_partition(j->mine, (int)m, (int)own, &first, &count);
      whole_part(j, t, j->first + first, count);
      continue;
    }
    ok(pn_strategy_skip(j->strategy));
    if (m < all - 1) ok(pn_strategy_keep_grads(j->strategy));
  }
  if (own < all) ok(pn_strategy_update(j->strategy, t + 1, 0.05, NULL));
}

/* As the trainer: no more parts than images; where all parts are shared, as many as any rank. */
static inline void step(job *j, int t) {
  int64_t most, own, first, count;

  count_parts(j, &own, &most);
  for (int64_t m = 0; m < most; m++) {
    if (m > 0) ok(pn_strategy_keep_grads(j->strategy));
    first = count = 0;
    if (m < own) pn_partition(j->mine, (int)m, (int)own, &first, &count);
    pass(j, t, j->first + first, count, m == most - 1);
  }
  /* the norm once: both ways through step() are taken */
  ok(pn_strategy_update(j->strategy, t + 1, 0.05, t == 0 ? &j->norm : NULL));
  j->strategy->carrying = false;
}

static inline void weights(job *j, bool average, float *out) {
  float *arena = NULL;
  ok(pn_strategy_sync_buffers(j->strategy));
  ok(pn_strategy_gather(j->strategy, average, &arena));
  to_logical(j, arena, out);
  pn_strategy_release(j->strategy);
}

static inline void run(job *j, int steps) {
  j->steps = steps;
  for (int t = 0; t < steps; t++) {
    if (pn_strategy_steps_whole(j->strategy))
      whole_step(j, t);
    else
      step(j, t);
    if (t > 0) continue;
    if (!j->strategy->far) grads_to_logical(j, j->grad);
    weights(j, false, j->first_param);
  }
  weights(j, false, j->param);
  ok(pn_allreduce(j->comm, "losses", j->loss, steps, PN_F64, PN_SUM));
}

/* Largest difference of each tensor, relative to its largest value. */
static inline double difference(const job *j, const float *a, const float *b) {
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

#endif
