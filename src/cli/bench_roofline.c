/* bench_roofline.c -- `pneuma bench roofline`: where the time of a training step goes. */
#include "cli/bench.h"
#include "cli/info.h"
#include "cli/train_setup.h"
#include "cli/units.h"
#include "report/roofline.h"
#include "report/tables.h"

#include <stdlib.h>

static const char *limit_of(const pn_roofline_row *r) {
  return r->bound <= 0 ? "-" : r->by_memory ? "bytes" : "FLOP";
}

static double percent_of(const pn_roofline_row *r) {
  return r->seconds > 0 ? 100 * r->bound / r->seconds : 0;
}

static double gflops_of(const pn_roofline_row *r) {
  return r->seconds > 0 ? 1e-9 * (double)r->info.flop / r->seconds : 0;
}

static double gbps_of(const pn_roofline_row *r) {
  return r->seconds > 0 ? 1e-9 * (double)r->info.bytes / r->seconds : 0;
}

static pn_text number(double x, int digits) {
  pn_text t;
  snprintf(t.s, sizeof t.s, "%.*f", digits, x);
  return t;
}

static pn_status add_row(pn_table *t, const pn_roofline *r, const pn_roofline_row *x) {
  double share = r->step_seconds > 0 ? 100 * x->seconds / r->step_seconds : 0;

  return pn_table_add(
      t, (const char *[]){
             x->info.name, x->info.pass, x->info.impl, number(1e3 * x->seconds, 3).s,
             number(share, 1).s, x->info.flop ? pn_text_flop((double)x->info.flop).s : "-",
             pn_text_bytes((double)x->info.bytes).s, x->info.flop ? number(gflops_of(x), 1).s : "-",
             number(gbps_of(x), 1).s, number(percent_of(x), 0).s, limit_of(x)});
}

static pn_status print_rows(const pn_roofline *r) {
  static const pn_table_column columns[] = {
      {"step", "", false},     {"pass", "", false},       {"implementation", "", false},
      {"time", "ms", true},    {"of step", "%", true},    {"computes", "", true},
      {"moves", "", true},     {"rate", "GFLOP/s", true}, {"bandwidth", "GB/s", true},
      {"of limit", "%", true}, {"limit", "", false}};
  char *text = NULL;
  pn_table *t = NULL;
  pn_status st = PN_OK;

  PN_TRY(pn_table_create(columns, 11, &t));
  for (int i = 0; i < r->n; i++) PN_TRY(add_row(t, r, &r->row[i]));
  PN_TRY(pn_table_text(t, &text));
  fputs(text, stdout);
done:
  free(text);
  pn_table_destroy(t);
  return st;
}

static pn_status print_text(const pn_roofline *r, const pn_info_model *m) {
  double bound = 0;

  for (int i = 0; i < r->n; i++) bound += r->row[i].bound;
  printf("%s, %lld images a step, %d thread%s, %s (%s)\n", pn_graph_name(pn_info_model_graph(m)),
         (long long)pn_info_model_batch(m), pn_info_model_device(m)->threads,
         pn_info_model_device(m)->threads == 1 ? "" : "s", pn_device_library(), pn_device_isa());
  printf("measured: %.1f GFLOP/s of multiply-adds, %.1f GB/s of memory (a = b + s c)\n",
         1e-9 * r->peak_flops, 1e-9 * r->bandwidth);
  printf("step %s: %.1f images/s, %.1f GFLOP/s; at the limits %s\n\n",
         pn_text_ms(1e3 * r->step_seconds).s, (double)pn_info_model_batch(m) / r->step_seconds,
         1e-9 * (double)r->flop / r->step_seconds, pn_text_ms(1e3 * bound).s);
  return print_rows(r);
}

static json_t *row_json(const pn_roofline_row *x) {
  return json_pack("{s:s, s:s, s:s, s:s, s:f, s:I, s:I, s:f, s:f, s:f, s:s}", "op", x->info.name,
                   "pass", x->info.pass, "device", x->info.device, "implementation", x->info.impl,
                   "ms", 1e3 * x->seconds, "flop", (json_int_t)x->info.flop, "bytes",
                   (json_int_t)x->info.bytes, "gflops", gflops_of(x), "GBps", gbps_of(x), "percent",
                   percent_of(x), "limit", limit_of(x));
}

static json_t *result_json(const pn_roofline *r, const pn_info_model *m) {
  json_t *rows = json_array();

  for (int i = 0; i < r->n; i++) json_array_append_new(rows, row_json(&r->row[i]));
  return json_pack("{s:s, s:I, s:i, s:s, s:s, s:f, s:f, s:f, s:I, s:o}", "model",
                   pn_graph_name(pn_info_model_graph(m)), "batch",
                   (json_int_t)pn_info_model_batch(m), "threads", pn_info_model_device(m)->threads,
                   "library", pn_device_library(), "isa", pn_device_isa(), "peak_gflops",
                   1e-9 * r->peak_flops, "bandwidth_GBps", 1e-9 * r->bandwidth, "step_ms",
                   1e3 * r->step_seconds, "flop", (json_int_t)r->flop, "rows", rows);
}

/* On every rank at the same time: they share the memory's bandwidth. */
static pn_status measure(pn_cli *x, pn_info_model *m, pn_roofline *r) {
  pn_roofline_spec spec = {.graph = pn_info_model_graph(m),
                           .device = pn_info_model_device(m),
                           .plan = pn_info_model_plan(m),
                           .batch = pn_info_model_batch(m),
                           .rounds = pn_options_int(x->opt, "bench.steps")};
  pn_train_config cfg = {.epochs = 0};
  pn_optim *optim = NULL;
  pn_status st = PN_OK;

  pn_recipe_setup(x->opt, &cfg);
  PN_TRY(pn_optim_create(&cfg.optim, &optim));
  spec.optim = optim;
  PN_TRY(pn_roofline_make(&spec, r));
done:
  pn_optim_destroy(optim);
  return st;
}

static pn_status check_device(const pn_info_model *m) {
  if (!pn_info_model_device(m)->ops->far) return PN_OK;
  return PN_FAIL(PN_ERR_ARG,
                 "bench roofline measures the limits of the CPU, not of %s: expected "
                 "train.device=cpu or ref; for the device: pneuma bench train",
                 pn_bench_library(m));
}

pn_status pn_bench_roofline(pn_cli *x) {
  pn_place_map places = {0};
  pn_info_model *m = NULL;
  pn_roofline r = {0};
  int threads = 1;
  pn_status st = PN_OK;

  PN_TRY(pn_place_setup(x->opt, x->comm, &places, &threads));
  PN_TRY(pn_bench_model(x, threads, &m));
  PN_TRY(pn_agree(x->comm, check_device(m)));
  PN_TRY(pn_agree(x->comm, measure(x, m, &r)));
  if (pn_cli_speaks(x)) st = print_text(&r, m);
  PN_TRY(pn_agree(x->comm, st));
  x->result = result_json(&r, m);
done:
  pn_roofline_free(&r);
  pn_info_model_destroy(m);
  pn_place_free(&places);
  return st;
}
