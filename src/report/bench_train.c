/* bench_train.c -- the trainer's step without its data set, records and evaluation. */
#include "report/bench_train.h"

#include "base/clock.h"
#include "report/bench_batch.h"

#include <stdlib.h>

struct pn_train_bench {
  pn_train_bench_spec spec;
  pn_bench_batch batch;
  pn_strategy *strategy;
  pn_phases *phases;
  double *sample; /* [steps] */
  int64_t done, skipped;
  double host_s; /* of the steps kept */
};

static pn_status make_strategy(pn_train_bench *b) {
  const pn_train_bench_spec *s = &b->spec;
  pn_strategy_spec spec = {.graph = s->graph,
                           .map = pn_plan_param_map(s->plan),
                           .optim = s->optim,
                           .data = s->data,
                           .device = s->device,
                           .bucket_bytes = s->bucket_bytes,
                           .seed = 1,
                           .keep_whole = s->keep_whole,
                           .loss_scaling = s->loss_scale > 0,
                           .micro_batches = 1};
  return pn_strategy_create(s->strategy, &spec, &b->strategy);
}

static pn_status allocate(pn_train_bench *b) {
  const pn_train_bench_spec *s = &b->spec;
  pn_status st = PN_OK;

  b->sample = calloc((size_t)s->steps, sizeof *b->sample);
  if (!b->sample) st = PN_FAIL(PN_ERR_NOMEM, "bench train: %lld steps", (long long)s->steps);
  PN_TRY(st);
  PN_TRY(pn_phases_create(s->steps, &b->phases));
  PN_TRY(pn_bench_batch_make(s->graph, s->batch, &b->batch));
  for (int64_t i = 0; i < s->batch; i++)
    b->batch.scale[i] *=
        (float)((s->loss_scale > 0 ? s->loss_scale : 1) / (double)pn_comm_size(s->world));
done:
  return st;
}

pn_status pn_train_bench_create(const pn_train_bench_spec *s, pn_train_bench **out) {
  pn_train_bench *b = calloc(1, sizeof *b);
  pn_status st = b ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "bench train: out of memory");

  *out = NULL;
  if (b) b->spec = *s;
  if (b) st = allocate(b);
  PN_TRY(pn_agree(s->world, st));
  PN_TRY(make_strategy(b));
  b->strategy->grad_scale = s->loss_scale > 0 ? 1 / s->loss_scale : 1;
  pn_plan_bind(s->plan, b->strategy->params, b->strategy->grads);
  if (b->strategy->far) pn_plan_bind_far(s->plan, b->strategy->far);
  *out = b;
  b = NULL;
done:
  pn_train_bench_destroy(b);
  return st;
}

void pn_train_bench_destroy(pn_train_bench *b) {
  if (!b) return;
  if (b->strategy && b->strategy->far) pn_plan_bind_far(b->spec.plan, NULL);
  pn_strategy_destroy(b->strategy);
  pn_phases_destroy(b->phases);
  pn_bench_batch_free(&b->batch);
  free(b->sample);
  free(b);
}

/* Communication inside a phase is not its computation. */
static void settle(pn_train_bench *b, pn_phase phase, double *before) {
  pn_phases_move(b->phases, phase, PN_PHASE_COMM, b->strategy->comm_exposed_s - *before);
  *before = b->strategy->comm_exposed_s;
}

static pn_status step_by_passes(pn_train_bench *b, const pn_step_ctx *ctx,
                                const pn_plan_hooks *hooks) {
  double before = 0;
  pn_status st;

  PN_TRY(pn_plan_forward(b->spec.plan, ctx, hooks));
  settle(b, PN_PHASE_FORWARD, &before);
  pn_phases_enter(b->phases, PN_PHASE_BACKWARD);
  PN_TRY(pn_plan_backward(b->spec.plan, ctx, hooks));
  settle(b, PN_PHASE_BACKWARD, &before);
  pn_phases_enter(b->phases, PN_PHASE_UPDATE);
  PN_TRY(pn_strategy_update(b->strategy, ++b->done, b->spec.lr, NULL));
  settle(b, PN_PHASE_UPDATE, &before);
done:
  return st;
}

/* fp16: as the trainer, before the numbers of the next step are sent. */
static pn_status look_back(pn_train_bench *b) {
  pn_plan_result result;
  pn_status st = PN_OK;

  if (b->spec.loss_scale <= 0 || b->done == 0) return PN_OK;
  PN_TRY(pn_plan_result_of(b->spec.plan, 0, &result));
  PN_TRY(pn_strategy_outcome(b->strategy, true));
  b->skipped += b->strategy->overflow;
done:
  return st;
}

/* All at once; the host's time is what it does not wait. */
static pn_status whole_step(pn_train_bench *b, const pn_step_ctx *ctx, const pn_plan_hooks *hooks) {
  double waited = pn_plan_step_times(b->spec.plan).waited_s, start_s = pn_now();
  pn_plan_tail tail;
  pn_status st;

  PN_TRY(look_back(b));
  PN_TRY(pn_strategy_stage(b->strategy, ++b->done - b->skipped, b->spec.lr, &tail));
  PN_TRY(pn_plan_step(b->spec.plan, ctx, hooks, &tail));
  b->host_s += pn_now() - start_s - (pn_plan_step_times(b->spec.plan).waited_s - waited);
done:
  return st;
}

static void forget_times(pn_train_bench *b) {
  pn_phases_reset(b->phases);
  pn_plan_reset_times(b->spec.plan);
  b->host_s = 0;
}

pn_status pn_train_bench_step(pn_train_bench *b, bool warm_up) {
  pn_plan_hooks hooks = pn_strategy_hooks(b->strategy, true);
  pn_step_ctx ctx = pn_bench_batch_context(&b->batch);
  pn_status st = PN_OK;

  b->strategy->comm_total_s = b->strategy->comm_exposed_s = 0;
  pn_phases_begin(b->phases);
  pn_phases_enter(b->phases, PN_PHASE_DATA);
  pn_bench_batch_load(&b->batch, b->spec.plan);
  pn_phases_enter(b->phases, PN_PHASE_FORWARD);
  if (pn_strategy_steps_whole(b->strategy))
    PN_TRY(whole_step(b, &ctx, &hooks));
  else
    PN_TRY(step_by_passes(b, &ctx, &hooks));
  pn_phases_end(b->phases);
  if (warm_up) forget_times(b);
done:
  return st;
}

/* The slowest rank of each step. */
static pn_status slowest_ms(pn_train_bench *b, const double *seconds, int64_t n, pn_stats *out) {
  pn_status st = PN_OK;

  for (int64_t i = 0; i < n; i++) b->sample[i] = 1e3 * seconds[i];
  PN_TRY(pn_allreduce(b->spec.world, "times of the steps", b->sample, n, PN_F64, PN_MAX));
  PN_TRY(pn_stats_make(b->sample, n, out));
done:
  return st;
}

/* The slowest host, the idlest device. */
static pn_status device_times(pn_train_bench *b, int64_t n, pn_train_bench_times *out) {
  pn_plan_times t = pn_plan_step_times(b->spec.plan);
  double all = t.busy_s + t.idle_s;
  double v[2] = {1e6 * b->host_s / (double)n, all > 0 ? 100 * t.idle_s / all : 0};
  pn_status st = PN_OK;

  out->far = b->strategy->far != NULL;
  out->whole = pn_strategy_steps_whole(b->strategy) && t.steps > 0;
  out->graph = pn_plan_is_graph(b->spec.plan);
  out->no_graph = pn_strategy_no_graph(b->strategy);
  if (!out->whole) return PN_OK;
  PN_TRY(pn_allreduce(b->spec.world, "times of the devices", v, 2, PN_F64, PN_MAX));
  out->host_us = v[0];
  out->idle_percent = v[1];
done:
  return st;
}

pn_status pn_train_bench_reduce(pn_train_bench *b, pn_train_bench_times *out) {
  int64_t n = pn_phases_count(b->phases);
  pn_stats s;
  pn_status st = PN_OK;

  for (int p = 0; p < PN_PHASE_COUNT; p++) {
    PN_TRY(slowest_ms(b, pn_phases_seconds(b->phases, (pn_phase)p), n, &s));
    out->phase_ms[p] = s.median;
  }
  PN_TRY(slowest_ms(b, pn_phases_step_seconds(b->phases), n, &out->step_ms));
  PN_TRY(device_times(b, n, out));
done:
  return st;
}
