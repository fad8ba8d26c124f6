/* bench_train.c -- `pneuma bench train`: images per second of a model as it would be trained here,
 * on random images in memory; phases, memory, start-up. */
#include "report/bench_train.h"
#include "base/clock.h"
#include "cli/bench.h"
#include "cli/info.h"
#include "cli/train_setup.h"
#include "cli/units.h"
#include "pn_version.h"
#include "prof/memory.h"
#include "report/bench_batch.h"

#include <stdlib.h>
#include <string.h>

enum { WARM_UP = 2 }; /* the first step, whose end is told, and another one */

struct figures {
  int64_t batch, before, peak; /* images of a step over all ranks; bytes, largest rank */
  double ready, first;         /* s after the start of the process: first step begins, ends */
  pn_train_bench_times times;
};

static double speed(const struct figures *f) {
  return (double)f->batch / (1e-3 * f->times.step_ms.median);
}

static pn_status run_steps(pn_cli *x, pn_train_bench *b, struct figures *f) {
  int64_t n = pn_options_int(x->opt, "bench.steps");
  double age[2];
  pn_status st = PN_OK;

  age[0] = pn_process_age();
  PN_TRY(pn_train_bench_step(b, true));
  age[1] = pn_process_age();
  for (int i = 1; i < WARM_UP; i++) PN_TRY(pn_train_bench_step(b, true));
  for (int64_t i = 0; i < n; i++) PN_TRY(pn_train_bench_step(b, false));
  f->peak = pn_memory_peak();
  PN_TRY(pn_allreduce(x->comm, "start-up", age, 2, PN_F64, PN_MAX));
  PN_TRY(pn_allreduce(x->comm, "peak memory", &f->peak, 1, PN_I64, PN_MAX));
  PN_TRY(pn_train_bench_reduce(b, &f->times));
  f->ready = age[0];
  f->first = age[1];
done:
  return st;
}

/* With what the options say of strategy, optimizer and buckets. */
static pn_status measure(pn_cli *x, pn_info_model *m, struct figures *f) {
  const char *strategy = pn_options_text(x->opt, "train.strategy");
  pn_train_config cfg = {.epochs = 0};
  pn_train_bench_spec s = {.world = x->comm,
                           .graph = pn_info_model_graph(m),
                           .device = pn_info_model_device(m),
                           .plan = pn_info_model_plan(m),
                           .batch = pn_info_model_batch(m),
                           .steps = pn_options_int(x->opt, "bench.steps"),
                           .lr = PN_BENCH_LR,
                           .keep_whole = !pn_options_bool(x->opt, "train.reshard")};
  pn_train_bench *b = NULL;
  pn_status st = PN_OK;

  if (strcmp(strategy, "auto") == 0) strategy = pn_comm_size(x->comm) > 1 ? "ddp" : "single";
  pn_recipe_setup(x->opt, &cfg);
  s.strategy = strategy;
  if (strcmp(pn_options_origin(x->opt, "optim.lr"), "default") != 0) s.lr = cfg.optim.lr;
  if (strcmp(pn_options_text(x->opt, "train.precision"), "fp16") == 0)
    s.loss_scale = pn_options_float(x->opt, "train.loss_scale");
  s.bucket_bytes = (int64_t)(pn_options_float(x->opt, "train.bucket_mb") * (1 << 20));
  PN_TRY(pn_comm_data(x->comm, pn_options_text(x->opt, "train.comm"), &s.data));
  PN_TRY(pn_agree(x->comm, pn_optim_create(&cfg.optim, &s.optim)));
  PN_TRY(pn_train_bench_create(&s, &b));
  PN_TRY(run_steps(x, b, f));
  f->batch = s.batch * pn_comm_size(x->comm);
done:
  pn_train_bench_destroy(b);
  pn_optim_destroy(s.optim);
  pn_comm_destroy(s.data);
  return st;
}

static void print_device(const pn_train_bench_times *t) {
  const char *why = t->no_graph ? t->no_graph : "it could not be recorded";

  if (t->whole)
    printf("device: idle %.2f %% of the time, host %.1f us a step; ", t->idle_percent, t->host_us);
  else
    printf("device: ");
  if (t->graph)
    printf("a step is one graph\n");
  else
    printf("a step is not one graph: %s\n", why);
}

static void print_text(const pn_cli *x, const pn_info_model *m, const pn_place_map *places,
                       const struct figures *f) {
  const pn_stats *t = &f->times.step_ms;

  printf("%s, %s, %lld images a step, %s, %s", pn_graph_name(pn_info_model_graph(m)),
         pn_options_text(x->opt, "optim.name"), (long long)f->batch,
         pn_options_text(x->opt, "train.precision"), pn_bench_library(m));
  if (*pn_bench_isa(m)) printf(" (%s)", pn_bench_isa(m));
  printf("\n");
  printf("  pneuma %s, commit %s, %s; %s\n", PN_VERSION, PN_COMMIT, PN_COMPILER, pn_comm_library());
  for (int i = 0; i < places->size; i++)
    printf("  rank %d on %s, cpus %s: %d thread%s\n", i, places->rank[i].host,
           places->rank[i].cores, places->rank[i].threads, places->rank[i].threads == 1 ? "" : "s");
  printf("%.1f images/s: step %s (%s %s to %s, p95 %s, %lld steps)\n", speed(f),
         pn_text_ms(t->median).s, t->n < 6 ? "range" : "95 % interval", pn_text_ms(t->ci95[0]).s,
         pn_text_ms(t->ci95[1]).s, pn_text_ms(t->p95).s, (long long)t->n);
  for (int p = 0; p < PN_PHASE_COUNT; p++)
    printf("  %-10s %10s\n", pn_phase_name((pn_phase)p), pn_text_ms(f->times.phase_ms[p]).s);
  if (f->times.far) print_device(&f->times);
  printf("memory of a rank: %s before the model, %s at most\n", pn_text_bytes((double)f->before).s,
         pn_text_bytes((double)f->peak).s);
  printf("start-up: first step begins %.2f s and ends %.2f s after the start of the process\n",
         f->ready, f->first);
}

static json_t *phases_json(const struct figures *f) {
  json_t *o = json_object();
  for (int p = 0; p < PN_PHASE_COUNT; p++)
    json_object_set_new(o, pn_phase_name((pn_phase)p), json_real(f->times.phase_ms[p]));
  return o;
}

static json_t *cores_json(const pn_place_map *places) {
  json_t *list = json_array();
  for (int i = 0; i < places->size; i++)
    json_array_append_new(list, json_string(places->rank[i].cores));
  return list;
}

static json_t *result_json(const pn_cli *x, const pn_info_model *m, const pn_place_map *places,
                           const struct figures *f) {
  const pn_stats *t = &f->times.step_ms;
  json_t *row = json_pack(
      "{s:s, s:s, s:i, s:i, s:o, s:I, s:f, s:{s:f, s:f, s:[f, f]}, s:o, s:I, s:I, s:f, s:f, s:n}",
      "model", pn_graph_name(pn_info_model_graph(m)), "precision",
      pn_options_text(x->opt, "train.precision"), "ranks", places->size, "threads",
      places->rank[0].threads, "cores", cores_json(places), "batch", (json_int_t)f->batch,
      "images_per_s", speed(f), "step_ms", "median", t->median, "p95", t->p95, "ci95", t->ci95[0],
      t->ci95[1], "phases_ms", phases_json(f), "before_bytes", (json_int_t)f->before, "peak_bytes",
      (json_int_t)f->peak, "first_step_begins_s", f->ready, "first_step_ends_s", f->first, "peer");

  if (f->times.whole) {
    json_object_set_new(row, "gpu_idle_percent", json_real(f->times.idle_percent));
    json_object_set_new(row, "host_us_per_step", json_real(f->times.host_us));
    json_object_set_new(row, "graph", json_boolean(f->times.graph));
  }
  return json_pack("{s:[o], s:s, s:s, s:o}", "rows", row, "library", pn_bench_library(m), "isa",
                   pn_bench_isa(m), "versions", pn_versions_json());
}

pn_status pn_bench_train(pn_cli *x) {
  struct figures f = {.before = pn_memory_now()};
  pn_place_map places = {0};
  pn_info_model *m = NULL;
  int threads = 1;
  pn_status st = PN_OK;

  PN_TRY(pn_place_setup(x->opt, x->comm, &places, &threads));
  PN_TRY(pn_bench_model(x, threads, &m));
  PN_TRY(measure(x, m, &f));
  PN_TRY(pn_allreduce(x->comm, "memory before", &f.before, 1, PN_I64, PN_MAX));
  if (pn_cli_speaks(x)) print_text(x, m, &places, &f);
  x->result = result_json(x, m, &places, &f);
done:
  pn_info_model_destroy(m);
  pn_place_free(&places);
  return st;
}
