/* roofline.c -- runs a plan step by step and times each. */
#include "report/roofline.h"

#include "base/clock.h"
#include "device/peak.h"
#include "report/bench_batch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { PARAMS, GRADS, N_ARENAS = 4 }; /* and two states of the optimizer */

struct job {
  const pn_roofline_spec *spec;
  pn_bench_batch batch;
  float *arena[N_ARENAS];
  int64_t step;
};

static void job_free(struct job *j) {
  for (int i = 0; i < N_ARENAS; i++)
    if (j->arena[i]) j->spec->device->ops->free(j->spec->device, j->arena[i]);
  pn_bench_batch_free(&j->batch);
}

static pn_status init_params(const struct job *j) {
  const pn_param_map *m = pn_plan_param_map(j->spec->plan);
  pn_status st = PN_OK;

  for (int i = 0; i < m->n && st == PN_OK; i++) {
    int64_t n = pn_shape_count(pn_graph_param(j->spec->graph, i)->shape);
    float *logical = malloc((size_t)n * sizeof *logical);
    if (!logical) return PN_FAIL(PN_ERR_NOMEM, "roofline: out of memory");
    pn_graph_init_param(j->spec->graph, i, 1, logical);
    st = pn_layout_pack(&m->slot[i].layout, logical, j->arena[PARAMS] + m->slot[i].offset);
    free(logical);
  }
  return st;
}

static pn_status job_setup(struct job *j) {
  const pn_param_map *m = pn_plan_param_map(j->spec->plan);
  int n = 2 + pn_optim_n_states(j->spec->optim);
  pn_status st = PN_OK;

  for (int i = 0; i < n; i++) {
    void *p = NULL;
    int64_t count = i == PARAMS ? m->total : m->trainable;
    PN_TRY(pn_device_alloc(j->spec->device, (size_t)count * sizeof(float), &p));
    j->arena[i] = p;
  }
  PN_TRY(init_params(j));
  PN_TRY(pn_bench_batch_make(j->spec->graph, j->spec->batch, &j->batch));
  pn_plan_bind(j->spec->plan, j->arena[PARAMS], j->arena[GRADS]);
done:
  return st;
}

static void update(struct job *j) {
  pn_optim_range range = {.param = j->arena[PARAMS],
                          .grad = j->arena[GRADS],
                          .state = {j->arena[2], j->arena[3]},
                          .count = pn_plan_param_map(j->spec->plan)->trainable,
                          .grad_scale = 1};
  pn_optim_update(j->spec->optim, ++j->step, PN_BENCH_LR, &range, j->spec->device->threads);
}

static void keep_fastest(double *best, double seconds) {
  if (*best == 0 || seconds < *best) *best = seconds;
}

/* One whole step; the first one only warms up. */
static pn_status round_of(struct job *j, bool counts, pn_roofline *r) {
  pn_step_ctx ctx = pn_bench_batch_context(&j->batch);
  double t0, t1, start;
  pn_status st;

  pn_bench_batch_load(&j->batch, j->spec->plan);
  start = t0 = pn_now();
  for (int i = 0; i < r->n; i++) {
    if (i < r->n - 1 && (st = pn_plan_run_step(j->spec->plan, i, &ctx)) != PN_OK) return st;
    if (i == r->n - 1) update(j);
    t1 = pn_now();
    if (counts) keep_fastest(&r->row[i].seconds, t1 - t0);
    t0 = t1;
  }
  if (counts) keep_fastest(&r->step_seconds, t0 - start);
  return PN_OK;
}

static void describe(const struct job *j, pn_roofline *r) {
  pn_step_info *u = &r->row[r->n - 1].info;
  int64_t count = pn_plan_param_map(j->spec->plan)->trainable;

  for (int i = 0; i < r->n - 1; i++) pn_plan_step_info(j->spec->plan, i, &r->row[i].info);
  *u = (pn_step_info){.pass = "update", .device = "cpu", .impl = "simd", .layout = "-"};
  snprintf(u->name, sizeof u->name, "all parameters");
  u->bytes = (size_t)(count * (2 + pn_optim_n_states(j->spec->optim))) * sizeof(float);
}

static void set_bounds(pn_roofline *r) {
  for (int i = 0; i < r->n; i++) {
    pn_roofline_row *x = &r->row[i];
    double math = r->peak_flops > 0 ? (double)x->info.flop / r->peak_flops : 0;
    double memory = r->bandwidth > 0 ? (double)x->info.bytes / r->bandwidth : 0;
    x->by_memory = memory > math;
    x->bound = fmax(math, memory);
    r->flop += x->info.flop;
  }
}

static int slowest_first(const void *a, const void *b) {
  const pn_roofline_row *x = a, *y = b;
  return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

pn_status pn_roofline_make(const pn_roofline_spec *s, pn_roofline *out) {
  struct job j = {.spec = s};
  pn_status st = PN_OK;

  *out = (pn_roofline){.n = pn_plan_n_steps(s->plan) + 1};
  out->row = calloc((size_t)out->n, sizeof *out->row);
  if (!out->row) st = PN_FAIL(PN_ERR_NOMEM, "roofline: out of memory");
  PN_TRY(st);
  PN_TRY(job_setup(&j));
  describe(&j, out);
  for (int64_t k = 0; k <= s->rounds; k++) {
    out->peak_flops = fmax(out->peak_flops, pn_peak_flops(s->device->threads));
    out->bandwidth = fmax(out->bandwidth, pn_peak_bandwidth(s->device->threads));
    PN_TRY(round_of(&j, k > 0, out));
  }
  set_bounds(out);
  qsort(out->row, (size_t)out->n, sizeof *out->row, slowest_first);
done:
  job_free(&j);
  if (st != PN_OK) pn_roofline_free(out);
  return st;
}

void pn_roofline_free(pn_roofline *r) {
  free(r->row);
  *r = (pn_roofline){0};
}
