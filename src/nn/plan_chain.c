/* plan_chain.c -- what the planner knows of a graph before it asks a device. */
#include "nn/plan_internal.h"

/* Dropout vanishes in evaluation and at rate 0. */
static bool is_alias(const pn_plan *p, int node) {
  const pn_op_desc *op = &p->op[node];
  return op->kind == PN_OP_DROPOUT && (!p->spec.training || op->rate == 0.0f);
}

bool pn_is_loss(pn_op_kind k) {
  return k == PN_OP_BCE || k == PN_OP_SOFTMAX_CE;
}

static int input_of(const pn_plan *p, int node, int k) {
  int in = k < PN_MAX_INPUTS ? pn_graph_node(p->spec.graph, node)->input[k] : -1;
  return in < 0 ? -1 : p->source[in];
}

static bool trains(const pn_plan *p, int node) {
  const pn_node *n = pn_graph_node(p->spec.graph, node);
  const int param[] = {n->weight, n->bias, n->gamma, n->beta};

  for (size_t i = 0; i < sizeof param / sizeof *param; i++)
    if (param[i] >= 0 && pn_graph_param(p->spec.graph, param[i])->trainable) return true;
  return false;
}

static pn_status check_graph(const pn_plan *p) {
  const char *name = pn_graph_name(p->spec.graph);

  if (p->n_nodes == 0 || p->op[0].kind != PN_OP_INPUT)
    return PN_FAIL(PN_ERR_ARG, "graph %s has no input", name);
  if (p->loss < 0) return PN_FAIL(PN_ERR_ARG, "graph %s has no loss", name);
  if (p->logits == 0) return PN_FAIL(PN_ERR_ARG, "graph %s has no layer", name);
  if (p->spec.training && !p->needs_grad[p->loss])
    return PN_FAIL(PN_ERR_ARG, "graph %s has nothing to train", name);
  return PN_OK;
}

/* A node that the loss does not depend on is not computed. */
static void mark_live(pn_plan *p) {
  p->live[p->loss] = true;
  for (int i = p->loss; i > 0; i--)
    for (int k = 0; p->live[i] && input_of(p, i, k) >= 0; k++) p->live[input_of(p, i, k)] = true;
  for (int i = 1; i < p->n_nodes; i++)
    for (int k = 0; p->live[i] && p->source[i] == i && input_of(p, i, k) >= 0; k++)
      p->consumers[input_of(p, i, k)]++;
}

pn_status pn_plan_analyse(pn_plan *p) {
  p->loss = p->logits = -1;
  for (int i = 0; i < p->n_nodes; i++) {
    p->source[i] = is_alias(p, i) ? p->source[pn_graph_node(p->spec.graph, i)->input[0]] : i;
    p->needs_grad[i] = trains(p, i);
    for (int k = 0; input_of(p, i, k) >= 0; k++)
      p->needs_grad[i] = p->needs_grad[i] || p->needs_grad[input_of(p, i, k)];
    p->longest[i] = PN_MAX_CHAIN;
    if (pn_is_loss(p->op[i].kind)) {
      p->loss = i;
      p->logits = input_of(p, i, 0);
    }
  }
  if (p->loss >= 0) mark_live(p);
  return check_graph(p);
}

/* The only reader of a node's value; -1 where it has none, several, or must stay visible. */
static int only_consumer(const pn_plan *p, int node) {
  if (p->consumers[node] != 1 || node == p->logits) return -1;
  for (int i = node + 1; i < p->n_nodes; i++)
    for (int k = 0; p->live[i] && p->source[i] == i && input_of(p, i, k) >= 0; k++)
      if (input_of(p, i, k) == node) return i;
  return -1;
}

static bool follow(const pn_plan *p, const struct pn_chain_pattern *pattern, int start, int *node) {
  int at = start;

  if (pattern->evaluation && p->spec.training) return false;
  for (int k = 0; k < pattern->n; k++) {
    if (at < 0 || p->op[at].kind != pattern->op[k]) return false;
    node[k] = at;
    at = only_consumer(p, at);
  }
  return true;
}

/* What the chain reads: the inputs of its first node, then the other input of an add inside. */
static void find_inputs(const pn_plan *p, pn_chain *c) {
  c->n_in = 0;
  c->norm = -1;
  for (int k = 0; input_of(p, c->node[0], k) >= 0; k++)
    c->input[c->n_in++] = input_of(p, c->node[0], k);
  for (int i = 0; i < c->n; i++) {
    int node = c->node[i], first = input_of(p, node, 0);
    if (p->op[node].kind == PN_OP_NORM) c->norm = node;
    if (i > 0 && p->op[node].kind == PN_OP_ADD)
      c->input[c->n_in++] = first == c->node[i - 1] ? input_of(p, node, 1) : first;
  }
}

void pn_chain_match(const pn_plan *p, int start, pn_chain *c) {
  const struct pn_chain_pattern *row = p->spec.device->ops->fuse;

  c->n = 0;
  for (; row && row->n > 0 && c->n == 0; row++)
    if (row->n <= p->longest[start] && follow(p, row, start, c->node)) c->n = row->n;
  if (c->n == 0) {
    c->node[0] = start;
    c->n = 1;
  }
  find_inputs(p, c);
}

bool pn_chain_feeds_norm(const pn_plan *p, const pn_chain *c) {
  int reader = only_consumer(p, c->node[0]);

  if (!p->spec.training || c->n > 1 || p->op[c->node[0]].kind != PN_OP_CONV) return false;
  return reader >= 0 && p->op[reader].kind == PN_OP_NORM && !p->op[reader].norm.frozen;
}
