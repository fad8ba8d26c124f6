/* graph.c -- life, questions and initial values of a graph. */
#include "nn/graph_internal.h"

#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>

pn_status pn_graph_create(const char *name, pn_graph **out) {
  pn_graph *g = calloc(1, sizeof *g);

  *out = g;
  if (!g) return PN_FAIL(PN_ERR_NOMEM, "graph %s: out of memory", name);
  snprintf(g->name, sizeof g->name, "%s", name);
  return PN_OK;
}

void pn_graph_destroy(pn_graph *g) {
  if (!g) return;
  free(g->node);
  free(g->param);
  free(g);
}

void pn_graph_next_unit(pn_graph *g) {
  g->unit++;
}

void pn_graph_set_style(pn_graph *g, pn_graph_style s) {
  g->style = s;
}

const char *pn_graph_name(const pn_graph *g) {
  return g->name;
}

int pn_graph_n_nodes(const pn_graph *g) {
  return g->n_nodes;
}

const pn_node *pn_graph_node(const pn_graph *g, int i) {
  return &g->node[i];
}

int pn_graph_n_params(const pn_graph *g) {
  return g->n_params;
}

const pn_param *pn_graph_param(const pn_graph *g, int i) {
  return &g->param[i];
}

int pn_graph_n_units(const pn_graph *g) {
  return g->unit + 1;
}

int64_t pn_graph_param_count(const pn_graph *g) {
  int64_t count = 0;
  for (int i = 0; i < g->n_params; i++)
    if (!g->param[i].uncounted) count += pn_shape_count(g->param[i].shape);
  return count;
}

void pn_graph_freeze(pn_graph *g, int i) {
  g->param[i].trainable = false;
  for (int k = 0; k < g->n_nodes; k++)
    if (g->node[k].mean == i || g->node[k].var == i) g->node[k].op.norm.frozen = true;
}

int pn_graph_frozen_norms(const pn_graph *g) {
  int n = 0;
  for (int k = 0; k < g->n_nodes; k++) n += g->node[k].mean >= 0 && g->node[k].op.norm.frozen;
  return n;
}

int64_t pn_graph_trainable_count(const pn_graph *g) {
  int64_t count = 0;
  for (int i = 0; i < g->n_params; i++)
    if (g->param[i].trainable) count += pn_shape_count(g->param[i].shape);
  return count;
}

int64_t pn_graph_flop(const pn_graph *g) {
  int64_t flop = 0;
  for (int i = 0; i < g->n_nodes; i++) flop += pn_op_flop(&g->node[i].op);
  return flop;
}

void pn_graph_init_param(const pn_graph *g, int i, uint64_t seed, float *out) {
  const pn_param *p = &g->param[i];
  pn_rng r = pn_rng_make(seed, PN_RNG_INIT, (uint64_t)i, 0);
  int64_t count = pn_shape_count(p->shape);

  if (p->init == PN_INIT_UNIFORM)
    for (int64_t k = 0; k < count; k++) out[k] = (float)pn_rng_range(&r, -p->bound, p->bound);
  else if (p->init == PN_INIT_NORMAL)
    for (int64_t k = 0; k < count; k++) out[k] = (float)(p->bound * pn_rng_normal(&r));
  else
    for (int64_t k = 0; k < count; k++) out[k] = p->init == PN_INIT_ONE ? 1.0f : 0.0f;
}
