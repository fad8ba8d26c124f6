/* info_model.c -- a model's layers, and the plan it gets on this machine. */
#include "cli/info.h"

#include "base/log.h"
#include "cli/train_setup.h"
#include "cli/units.h"
#include "nn/plan.h"
#include "report/tables.h"
#include "train/precision.h"

#include <stdlib.h>
#include <string.h>

enum { SHAPE_BYTES = 64 };

struct pn_info_model {
  pn_graph *graph;
  pn_device *device;
  pn_plan *plan;
  pn_dtype precision;
  int64_t batch; /* of one rank */
};

/* Height, width, channels and classes: of the data, unless model.size and its like are given. */
static pn_status input_setup(const pn_options *o, pn_model_config *m) {
  const char *path = pn_options_text(o, "data.path");
  pn_dataset *d = NULL;

  const pn_model *known = pn_model_find(pn_options_text(o, "model.name"));

  pn_options_size(o, "model.size", m->size);
  m->channels = pn_options_int(o, "model.channels");
  m->classes = pn_options_int(o, "model.classes");
  if (known && !pn_options_given(o, "model.size")) m->size[0] = m->size[1] = known->size;
  if (known && !pn_options_given(o, "model.channels")) m->channels = known->channels;
  if (known && !pn_options_given(o, "model.classes")) m->classes = known->classes;
  if (!*path) return PN_OK;
  if (pn_options_given(o, "model.size") || pn_options_given(o, "model.channels") ||
      pn_options_given(o, "model.classes"))
    return PN_FAIL(PN_ERR_ARG,
                   "model.size, model.channels and model.classes are for a plan without "
                   "data: leave them out, or data.path (%s)",
                   path);
  if (pn_dataset_open(path, &d) != PN_OK) {
    pn_warn("no data in %s yet: the plan is for %lld x %lld pixels, %lld channel(s), %lld classes",
            path, (long long)m->size[0], (long long)m->size[1], (long long)m->channels,
            (long long)m->classes);
    return PN_OK;
  }
  pn_dataset_shape(d, &m->channels, &m->size[0], &m->size[1]);
  m->classes = pn_dataset_n_classes(d);
  pn_dataset_close(d);
  return PN_OK;
}

static int64_t rank_batch(const pn_options *o, int ranks) {
  int64_t batch = pn_options_int(o, "train.batch");
  bool global = strcmp(pn_options_text(o, "train.batch_rule"), "global") == 0;
  return global ? (batch + ranks - 1) / ranks : batch;
}

pn_status pn_info_model_create(const pn_options *o, int ranks, pn_device *d, pn_info_model **out) {
  pn_status st = PN_OK;
  pn_model_config cfg;
  pn_info_model *m = calloc(1, sizeof *m);

  *out = NULL;
  if (!m) {
    pn_device_destroy(d);
    return PN_FAIL(PN_ERR_NOMEM, "info: out of memory");
  }
  m->device = d;
  m->batch = rank_batch(o, ranks);
  pn_model_setup(o, &cfg);
  PN_TRY(pn_model_effects_check(o, NULL));
  PN_TRY(input_setup(o, &cfg));
  pn_model_head_setup(o, &cfg);
  PN_TRY(pn_model_build(pn_options_text(o, "model.name"), &cfg, &m->graph));
  PN_TRY(pn_precision_of(m->device, pn_options_text(o, "train.precision"), &m->precision));
  PN_TRY(pn_plan_create(&(pn_plan_spec){.graph = m->graph,
                                        .device = m->device,
                                        .batch = m->batch,
                                        .training = true,
                                        .precision = m->precision},
                        &m->plan));
  *out = m;
  m = NULL;
done:
  pn_info_model_destroy(m);
  return st;
}

void pn_info_model_destroy(pn_info_model *m) {
  if (!m) return;
  pn_plan_destroy(m->plan);
  pn_device_destroy(m->device);
  pn_graph_destroy(m->graph);
  free(m);
}

const pn_graph *pn_info_model_graph(const pn_info_model *m) {
  return m->graph;
}

pn_device *pn_info_model_device(const pn_info_model *m) {
  return m->device;
}

pn_plan *pn_info_model_plan(const pn_info_model *m) {
  return m->plan;
}

int64_t pn_info_model_batch(const pn_info_model *m) {
  return m->batch;
}

static int64_t node_params(const pn_graph *g, const pn_node *n) {
  const int param[] = {n->weight, n->bias, n->gamma, n->beta, n->mean, n->var};
  int64_t count = 0;
  for (size_t i = 0; i < sizeof param / sizeof *param; i++)
    if (param[i] >= 0) count += pn_shape_count(pn_graph_param(g, param[i])->shape);
  return count;
}

/* Output shape without the batch: "32 x 128 x 128". */
static void shape_text(const pn_shape *s, char out[SHAPE_BYTES]) {
  size_t n = 0;
  out[0] = '\0';
  for (int i = 1; i < s->n_dims && n < SHAPE_BYTES - 24; i++)
    n += (size_t)snprintf(out + n, SHAPE_BYTES - n, "%s%lld", i > 1 ? " x " : "",
                          (long long)s->dim[i]);
}

static pn_status print_table(pn_table *t) {
  char *text = NULL;
  pn_status st = pn_table_text(t, &text);
  if (st == PN_OK) fputs(text, stdout);
  free(text);
  return st;
}

static pn_status print_layers(const pn_graph *g) {
  static const pn_table_column columns[] = {{"layer", "", false},
                                            {"kind", "", false},
                                            {"output", "C x H x W", true},
                                            {"parameters", "", true},
                                            {"forward", "per image", true}};
  pn_status st = PN_OK;
  pn_table *t = NULL;

  PN_TRY(pn_table_create(columns, 5, &t));
  for (int i = 0; i < pn_graph_n_nodes(g); i++) {
    const pn_node *n = pn_graph_node(g, i);
    char shape[SHAPE_BYTES];
    int64_t params = node_params(g, n), flop = pn_op_flop(&n->op);
    shape_text(&n->op.out, shape);
    PN_TRY(pn_table_add(t, (const char *[]){n->name, pn_op_name(n->op.kind), shape,
                                            params ? pn_text_count(params).s : "-",
                                            flop ? pn_text_flop((double)flop).s : "-"}));
  }
  PN_TRY(print_table(t));
done:
  pn_table_destroy(t);
  return st;
}

static pn_status print_plan(const pn_plan *p) {
  static const pn_table_column columns[] = {
      {"step", "", true},    {"pass", "", false},           {"operation", "", false},
      {"device", "", false}, {"implementation", "", false}, {"layout", "", false},
      {"moves", "", true},   {"computes", "", true}};
  pn_status st = PN_OK;
  pn_table *t = NULL;

  PN_TRY(pn_table_create(columns, 8, &t));
  for (int i = 0; i < pn_plan_n_steps(p); i++) {
    pn_step_info s;
    pn_plan_step_info(p, i, &s);
    PN_TRY(pn_table_add(t, (const char *[]){pn_text_count(i + 1).s, s.pass, s.name, s.device,
                                            s.impl, s.layout, pn_text_bytes((double)s.bytes).s,
                                            s.flop ? pn_text_flop((double)s.flop).s : "-"}));
  }
  PN_TRY(print_table(t));
done:
  pn_table_destroy(t);
  return st;
}

static int64_t plan_flop(const pn_plan *p) {
  int64_t flop = 0;
  for (int i = 0; i < pn_plan_n_steps(p); i++) {
    pn_step_info s;
    pn_plan_step_info(p, i, &s);
    flop += s.flop;
  }
  return flop;
}

pn_status pn_info_model_print(const pn_info_model *m) {
  pn_plan_memory use = pn_plan_memory_use(m->plan);
  pn_status st = PN_OK;

  printf("\n%s: %s parameters (%s trainable), %s forward per image\n\n", pn_graph_name(m->graph),
         pn_text_count(pn_graph_param_count(m->graph)).s,
         pn_text_count(pn_graph_trainable_count(m->graph)).s,
         pn_text_flop((double)pn_graph_flop(m->graph)).s);
  PN_TRY(print_layers(m->graph));
  printf("\nPlan of one rank: training, %lld images, %d thread%s, %s\n\n", (long long)m->batch,
         m->device->threads, m->device->threads == 1 ? "" : "s", pn_dtype_name(m->precision));
  PN_TRY(print_plan(m->plan));
  printf("\n  %-28s %12s\n", "computes per step", pn_text_flop((double)plan_flop(m->plan)).s);
  printf("  %-28s %12s\n", "parameters",
         pn_text_bytes((double)pn_plan_param_map(m->plan)->total * sizeof(float)).s);
  printf("  %-28s %12s\n", "activations", pn_text_bytes((double)use.activations).s);
  printf("  %-28s %12s\n", "workspace", pn_text_bytes((double)use.workspace).s);
  printf("  %-28s %12s   activations and workspace share it by lifetime\n", "arena",
         pn_text_bytes((double)use.arena).s);
done:
  return st;
}

static json_t *plan_json(const pn_plan *p) {
  json_t *steps = json_array();
  for (int i = 0; i < pn_plan_n_steps(p); i++) {
    pn_step_info s;
    pn_plan_step_info(p, i, &s);
    json_array_append_new(steps, json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "step",
                                           i + 1, "op", s.name, "pass", s.pass, "device", s.device,
                                           "implementation", s.impl, "layout", s.layout, "bytes",
                                           (json_int_t)s.bytes, "flop", (json_int_t)s.flop));
  }
  return steps;
}

void pn_info_model_json(const pn_info_model *m, json_t *to) {
  pn_plan_memory use = pn_plan_memory_use(m->plan);
  int64_t params = pn_plan_param_map(m->plan)->total * (int64_t)sizeof(float);

  json_object_set_new(to, "model", json_string(pn_graph_name(m->graph)));
  json_object_set_new(to, "parameters", json_integer(pn_graph_param_count(m->graph)));
  json_object_set_new(to, "trainable", json_integer(pn_graph_trainable_count(m->graph)));
  json_object_set_new(to, "flop_per_image", json_integer(pn_graph_flop(m->graph)));
  json_object_set_new(to, "batch", json_integer(m->batch));
  json_object_set_new(to, "precision", json_string(pn_dtype_name(m->precision)));
  json_object_set_new(to, "plan", plan_json(m->plan));
  json_object_set_new(to, "memory",
                      json_pack("{s:I, s:I, s:I, s:I}", "parameters", (json_int_t)params,
                                "activations", (json_int_t)use.activations, "workspace",
                                (json_int_t)use.workspace, "arena", (json_int_t)use.arena));
}
