/* oracle_case.h -- reads what tools/make_oracle.py wrote, and makes the network it speaks of. */
#ifndef PN_TESTS_ORACLE_CASE_H
#define PN_TESTS_ORACLE_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/file.h"
#include "base/rng.h"
#include "interop/tensor_file.h"
#include "models/models.h"
#include "nn/plan.h"
#include "optim/optim.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BATCH = 16 };

typedef struct {
  json_t *json;
  pn_graph *graph;
  pn_model_config config;
  int64_t batch;
  uint64_t seed;
  const float *grad, *delta; /* every parameter after the other, plain; NULL: summaries only */
  char *bin;                 /* owns them */
  float scale[MAX_BATCH];
  bool spread; /* a network with norms: parameters from oracle_values, "buffers", "eval_logits" */
} oracle;

static inline const json_t *field(const json_t *j, const char *key) {
  const json_t *v = json_object_get(j, key);
  if (!v) fail_msg("oracle: no field %s", key);
  return v;
}

static inline double number(const json_t *j, const char *key) {
  return json_number_value(field(j, key));
}

static inline void read_config(oracle *o) {
  pn_model_config *c = &o->config;

  pn_model_defaults(c);
  for (size_t i = 0; i < 2; i++)
    c->size[i] = json_integer_value(json_array_get(field(o->json, "size"), i));
  o->spread = json_is_true(json_object_get(o->json, "spread"));
  if (o->spread)
    c->width = (int64_t)number(o->json, "width");
  else {
    for (size_t i = 0; i < 2; i++)
      c->filters[i] = json_integer_value(json_array_get(field(o->json, "filters"), i));
    c->kernel = (int64_t)number(o->json, "kernel");
    c->padding = json_is_true(field(o->json, "padding"));
  }
  c->dropout = 0.0f;
  c->channels = (int64_t)number(o->json, "channels");
  c->classes = (int64_t)number(o->json, "classes");
  c->hidden = (int64_t)number(o->json, "hidden");
  c->softmax = json_is_true(field(o->json, "softmax"));
  o->batch = (int64_t)number(o->json, "batch");
  o->seed = (uint64_t)number(o->json, "seed");
}

static inline void oracle_open(oracle *o, const char *name) {
  const char *root = getenv("SOURCE_DIR");
  const char *model;
  char path[512];
  json_error_t why;
  size_t bytes = 0;

  memset(o, 0, sizeof *o);
  snprintf(path, sizeof path, "%s/tests/oracle/%s.json", root ? root : "..", name);
  if (!(o->json = json_load_file(path, 0, &why))) fail_msg("%s: %s", path, why.text);
  read_config(o);
  model = json_string_value(json_object_get(o->json, "model"));
  assert_int_equal(pn_model_build(model ? model : "custom_cnn", &o->config, &o->graph), PN_OK);
  for (int64_t i = 0; i < o->batch; i++) o->scale[i] = 1.0f / (float)o->batch;
  if (!json_is_true(field(o->json, "whole"))) return;
  snprintf(path, sizeof path, "%s/tests/oracle/%s.bin", root ? root : "..", name);
  assert_int_equal(pn_file_read(path, &o->bin, &bytes), PN_OK);
  assert_int_equal(bytes, 2 * sizeof(float) * (size_t)pn_graph_param_count(o->graph));
  o->grad = (const float *)(const void *)o->bin;
  o->delta = o->grad + pn_graph_param_count(o->graph);
}

static inline void oracle_close(oracle *o) {
  json_decref(o->json);
  pn_graph_destroy(o->graph);
  free(o->bin);
}

static inline bool ends_with(const char *text, const char *end) {
  size_t n = strlen(text), k = strlen(end);
  return n >= k && strcmp(text + n - k, end) == 0;
}

/* Values of parameter i, as spread_values of make_oracle.py. */
static inline void oracle_values(const oracle *o, int i, float *out) {
  const pn_param *p = pn_graph_param(o->graph, i);
  pn_rng r = pn_rng_make(o->seed, PN_RNG_TEST, 1000 + (uint64_t)i, 0);
  int64_t n = pn_shape_count(p->shape);
  char name[PN_TENSOR_NAME_BYTES];
  double lo = -0.2, hi = 0.2;

  if (!o->spread || !p->trainable) {
    pn_graph_init_param(o->graph, i, o->seed, out);
    return;
  }
  pn_tensor_plain_name(p->name, name); /* PyTorch's words */
  if (p->shape.n_dims > 1) {
    hi = sqrt(3.0 / (double)(n / p->shape.dim[0]));
    if (ends_with(name, "_3_conv.weight")) hi *= 0.25;
    lo = -hi;
  } else if (ends_with(name, ".weight")) {
    lo = 0.5;
    hi = 1.5;
  }
  for (int64_t k = 0; k < n; k++) out[k] = (float)(lo + (hi - lo) * (double)pn_rng_uniform(&r));
}

static inline void oracle_batch(const oracle *o, pn_plan *p) {
  pn_rng r = pn_rng_make(o->seed, PN_RNG_TEST, 0, 0);
  int64_t n = o->batch * o->config.channels * o->config.size[0] * o->config.size[1];

  for (int64_t i = 0; i < n; i++) pn_plan_input(p)[i] = pn_rng_uniform(&r);
  for (int64_t i = 0; i < o->batch; i++)
    pn_plan_labels(p)[i] = (int32_t)((3 * i + 1) % o->config.classes);
}

static inline pn_optim *oracle_optim(const oracle *o) {
  pn_optim_config c;
  pn_optim *optim;

  pn_optim_defaults(&c);
  snprintf(c.name, sizeof c.name, "%s", json_string_value(field(o->json, "optim")));
  c.lr = number(o->json, "lr");
  c.momentum = number(o->json, "momentum");
  c.nesterov = c.momentum > 0;
  if (json_object_get(o->json, "eps")) c.eps = number(o->json, "eps");
  c.weight_decay = number(o->json, "weight_decay");
  assert_int_equal(pn_optim_create(&c, &optim), PN_OK);
  return optim;
}

#endif
