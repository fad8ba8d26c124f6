/* initial.c -- see initial.h. */
#include "interop/initial.h"

#include "base/log.h"
#include "optim/groups.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WHY_BYTES = 160, NO_TENSOR = -1, MAX_LISTED = 12 };

typedef struct {
  int tensor;          /* index in the file or NO_TENSOR */
  char why[WHY_BYTES]; /* why not */
  int64_t flat[3];     /* dense after a flatten of C, H, W; flat[0] 0: not */
} match;

struct pn_initial {
  const pn_graph *graph; /* borrowed */
  pn_tensor_file *file;
  match *match; /* [parameters], owned */
  bool *used;   /* [tensors], owned */
  bool *skip;   /* [parameters], owned */
  int n_params, n_tensors, n_matched;
  bool by_position;
};

static int find_tensor(const pn_initial *x, const char *name) {
  char plain[PN_TENSOR_NAME_BYTES];

  pn_tensor_plain_name(name, plain);
  for (int i = 0; i < x->n_tensors; i++)
    if (strcmp(pn_tensor_file_info(x->file, i)->name, plain) == 0) return i;
  return NO_TENSOR;
}

static void match_one(pn_initial *x, int param, int tensor) {
  const pn_param *p = pn_graph_param(x->graph, param);
  match *m = &x->match[param];
  const pn_tensor_info *t = tensor < 0 ? NULL : pn_tensor_file_info(x->file, tensor);
  char have[64], want[64];

  m->tensor = NO_TENSOR;
  if (x->skip[param]) {
    snprintf(m->why, sizeof m->why, "asked for by train.weights_skip");
  } else if (!t) {
    snprintf(m->why, sizeof m->why, "not in the file");
  } else if (t->problem) {
    snprintf(m->why, sizeof m->why, "%s", t->problem);
  } else if (!pn_shape_equal(t->shape, p->shape)) {
    pn_shape_text(t->shape, have, sizeof have);
    pn_shape_text(p->shape, want, sizeof want);
    snprintf(m->why, sizeof m->why, "shape %s in the file, %s in the model", have, want);
  } else {
    m->tensor = tensor;
    m->why[0] = 0;
    x->n_matched++;
  }
  if (t) x->used[tensor] = true;
}

static void match_by_name(pn_initial *x) {
  for (int i = 0; i < x->n_params; i++)
    match_one(x, i, find_tensor(x, pn_graph_param(x->graph, i)->name));
}

/* Keras numbers its layers by class (conv2d_1): such files have no names to go by. */
static void match_by_position(pn_initial *x) {
  if (x->n_params != x->n_tensors) return;
  for (int i = 0; i < x->n_params; i++)
    if (!pn_shape_equal(pn_tensor_file_info(x->file, i)->shape, pn_graph_param(x->graph, i)->shape))
      return;
  for (int i = 0; i < x->n_params; i++) match_one(x, i, i);
  x->by_position = true;
}

/* Keras flattens H, W, C; the graph C, H, W. */
static void note_flattens(pn_initial *x) {
  for (int i = 0; i < pn_graph_n_nodes(x->graph); i++) {
    const pn_node *n = pn_graph_node(x->graph, i);
    bool flat = n->op.kind == PN_OP_DENSE && n->op.in.n_dims == 4;
    for (int k = 0; flat && k < 3; k++) x->match[n->weight].flat[k] = n->op.in.dim[k + 1];
  }
}

static bool in_head(const pn_graph *g, int param) {
  for (int i = 0; i < pn_graph_n_nodes(g); i++) {
    const pn_node *n = pn_graph_node(g, i);
    if (n->op.kind == PN_OP_DENSE && (n->weight == param || n->bias == param)) return true;
  }
  return false;
}

static pn_status check(const pn_initial *x, pn_may_miss may_miss) {
  const char *path = pn_tensor_file_path(x->file);

  if (x->n_matched == 0)
    return PN_FAIL(PN_ERR_FORMAT, "%s: none of its %d tensors fits model %s, e.g. %s: %s", path,
                   x->n_tensors, pn_graph_name(x->graph), pn_graph_param(x->graph, 0)->name,
                   x->match[0].why);
  for (int i = 0; i < x->n_params && may_miss != PN_MAY_MISS_ANY; i++) {
    if (x->match[i].tensor >= 0 || x->skip[i]) continue;
    if (may_miss == PN_MAY_MISS_HEAD && in_head(x->graph, i)) continue;
    return PN_FAIL(PN_ERR_FORMAT,
                   "%s: %s: %s; train.weights_missing=any lets it keep random values", path,
                   pn_graph_param(x->graph, i)->name, x->match[i].why);
  }
  return PN_OK;
}

pn_status pn_initial_open(const char *path, const pn_graph *g, pn_initial_rules rules,
                          pn_initial **out) {
  pn_initial *x = calloc(1, sizeof *x);
  pn_status st = PN_OK;

  *out = NULL;
  if (!x) return PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", path);
  x->graph = g;
  PN_TRY(pn_tensor_file_open(path, &x->file));
  x->n_params = pn_graph_n_params(g);
  x->n_tensors = pn_tensor_file_count(x->file);
  x->match = calloc((size_t)x->n_params + 1, sizeof *x->match);
  x->used = calloc((size_t)x->n_tensors + 1, sizeof *x->used);
  x->skip = calloc((size_t)x->n_params + 1, sizeof *x->skip);
  if (!x->match || !x->used || !x->skip) PN_TRY(PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", path));
  if (rules.skip) PN_TRY(pn_groups_select(g, "train.weights_skip", rules.skip, x->skip));
  match_by_name(x);
  if (pn_tensor_file_keras(x->file)) {
    if (x->n_matched == 0) match_by_position(x);
    note_flattens(x);
  }
  PN_TRY(check(x, rules.may_miss));
  *out = x;
  x = NULL;
done:
  pn_initial_close(x);
  return st;
}

void pn_initial_close(pn_initial *x) {
  if (!x) return;
  pn_tensor_file_close(x->file);
  free(x->match);
  free(x->used);
  free(x->skip);
  free(x);
}

/* Columns from H, W, C order to C, H, W, row by row. */
static pn_status unflatten(float *w, pn_shape s, const int64_t chw[3]) {
  int64_t n = s.dim[1], pixels = chw[1] * chw[2];
  float *row = malloc((size_t)n * sizeof *row);

  if (!row) return PN_FAIL(PN_ERR_NOMEM, "dense weights: out of memory");
  for (int64_t o = 0; o < s.dim[0]; o++, w += n) {
    memcpy(row, w, (size_t)n * sizeof *row);
    for (int64_t c = 0; c < chw[0]; c++)
      for (int64_t p = 0; p < pixels; p++) w[c * pixels + p] = row[p * chw[0] + c];
  }
  free(row);
  return PN_OK;
}

pn_status pn_initial_value(pn_initial *x, int param, float *logical, bool *found) {
  const match *m = &x->match[param];
  pn_status st;

  *found = m->tensor >= 0;
  if (!*found) return PN_OK;
  st = pn_tensor_file_read(x->file, m->tensor, logical);
  if (st == PN_OK && m->flat[0] > 0)
    st = unflatten(logical, pn_graph_param(x->graph, param)->shape, m->flat);
  return st;
}

const json_t *pn_initial_classes(const pn_initial *x) {
  for (int i = pn_graph_n_nodes(x->graph) - 1; i >= 0; i--) {
    const pn_node *n = pn_graph_node(x->graph, i);
    if (n->op.kind != PN_OP_DENSE) continue;
    return x->match[n->weight].tensor >= 0 ? pn_tensor_file_classes(x->file) : NULL;
  }
  return NULL;
}

json_t *pn_initial_json(const pn_initial *x) {
  json_t *kept = json_array(), *unused = json_array();

  for (int i = 0; i < x->n_params; i++)
    if (x->match[i].tensor < 0)
      json_array_append_new(kept, json_pack("{s:s, s:s}", "name", pn_graph_param(x->graph, i)->name,
                                            "why", x->match[i].why));
  for (int i = 0; i < x->n_tensors; i++)
    if (!x->used[i])
      json_array_append_new(unused, json_string(pn_tensor_file_info(x->file, i)->name));
  return json_pack("{s:s, s:s, s:b, s:i, s:o, s:o}", "file", pn_tensor_file_path(x->file), "format",
                   pn_tensor_file_format(x->file), "by_position", x->by_position, "matched",
                   x->n_matched, "initialised", kept, "unused", unused);
}

void pn_initial_print(const pn_initial *x) {
  int unused = 0, listed = 0;

  for (int i = 0; i < x->n_tensors; i++) unused += !x->used[i];
  pn_info("weights      %s (%s): %d of %d parameters matched by %s", pn_tensor_file_path(x->file),
          pn_tensor_file_format(x->file), x->n_matched, x->n_params,
          x->by_position ? "position" : "name");
  for (int i = 0; i < x->n_params; i++)
    if (x->match[i].tensor < 0 && listed++ < MAX_LISTED)
      pn_info("  random values: %s: %s", pn_graph_param(x->graph, i)->name, x->match[i].why);
  if (listed > MAX_LISTED) pn_info("  random values: %d more, see run.json", listed - MAX_LISTED);
  for (int i = 0, shown = 0; i < x->n_tensors && shown < MAX_LISTED; i++)
    if (!x->used[i]) pn_info("  not used: %s", pn_tensor_file_info(x->file, i)->name), shown++;
  if (unused > MAX_LISTED) pn_info("  not used: %d more, see run.json", unused - MAX_LISTED);
}
