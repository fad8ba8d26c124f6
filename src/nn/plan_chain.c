/* plan_chain.c -- what the planner knows of a graph before it asks a device. */
#include "nn/plan_internal.h"

/* Dropout vanishes in evaluation and at rate 0. */
static bool is_alias(const pn_plan *p, int node) {
  const pn_op_desc *op = &p->op[node];
  return op->kind == PN_OP_DROPOUT && (!p->spec.training || op->rate == 0.0f);
}

static int input_of(const pn_plan *p, int node) {
  int in = pn_graph_node(p->spec.graph, node)->input;
  return in < 0 ? -1 : p->source[in];
}

static pn_status check_graph(const pn_plan *p) {
  const char *name = pn_graph_name(p->spec.graph);

  if (p->n_nodes == 0 || p->op[0].kind != PN_OP_INPUT)
    return PN_FAIL(PN_ERR_ARG, "graph %s has no input", name);
  if (p->loss < 0) return PN_FAIL(PN_ERR_ARG, "graph %s has no loss", name);
  if (p->logits == 0) return PN_FAIL(PN_ERR_ARG, "graph %s has no layer", name);
  if (!p->spec.training) return PN_OK;
  for (int i = 0; i < p->n_nodes; i++)
    if (p->needs_grad[i] && p->consumers[i] > 1)
      return PN_FAIL(PN_ERR_UNSUPPORTED,
                     "graph %s: the output of %s is used %d times; summing the gradients of "
                     "branches is not supported yet",
                     name, pn_graph_node(p->spec.graph, i)->name, p->consumers[i]);
  return PN_OK;
}

pn_status pn_plan_analyse(pn_plan *p) {
  p->loss = p->logits = -1;
  for (int i = 0; i < p->n_nodes; i++) {
    int in = pn_graph_node(p->spec.graph, i)->input;
    p->source[i] = is_alias(p, i) ? p->source[in] : i;
    in = input_of(p, i);
    p->needs_grad[i] = p->op[i].weight.n_dims > 0 || (in >= 0 && p->needs_grad[in]);
    p->longest[i] = PN_MAX_CHAIN;
    if (in >= 0 && p->source[i] == i) p->consumers[in]++;
    if (p->op[i].kind == PN_OP_BCE || p->op[i].kind == PN_OP_SOFTMAX_CE) {
      p->loss = i;
      p->logits = in;
    }
  }
  return check_graph(p);
}

/* The only reader of a node's value; -1 where it has none, several, or must stay visible. */
static int only_consumer(const pn_plan *p, int node) {
  if (p->consumers[node] != 1 || node == p->logits) return -1;
  for (int i = node + 1; i < p->n_nodes; i++)
    if (p->source[i] == i && input_of(p, i) == node) return i;
  return -1;
}

static bool follow(const pn_plan *p, const struct pn_chain_pattern *pattern, int start, int *node) {
  int at = start;

  for (int k = 0; k < pattern->n; k++) {
    if (at < 0 || p->op[at].kind != pattern->op[k]) return false;
    node[k] = at;
    at = only_consumer(p, at);
  }
  return true;
}

int pn_chain_match(const pn_plan *p, int start, int *node) {
  const struct pn_chain_pattern *row = p->spec.device->ops->fuse;

  for (; row && row->n > 0; row++)
    if (row->n <= p->longest[start] && follow(p, row, start, node)) return row->n;
  node[0] = start;
  return 1;
}
