/* graph_build.c -- adding nodes: checks, shape inference, parameters. */
#include "nn/graph_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for one more element of `item` bytes in an array that doubles. */
static pn_status grow(void **array, int used, int *room, size_t item) {
  int wanted = *room ? 2 * *room : 16;
  void *bigger;

  if (used < *room) return PN_OK;
  if (!(bigger = realloc(*array, (size_t)wanted * item)))
    return PN_FAIL(PN_ERR_NOMEM, "graph: out of memory");
  *array = bigger;
  *room = wanted;
  return PN_OK;
}

static pn_status check_name(const pn_graph *g, const char *name) {
  if (!name || !name[0] || strlen(name) + sizeof ".weight" > PN_NAME_BYTES)
    return PN_FAIL(PN_ERR_ARG, "%s: node name '%s' is empty or too long", g->name,
                   name ? name : "");
  for (int i = 0; i < g->n_nodes; i++)
    if (strcmp(g->node[i].name, name) == 0)
      return PN_FAIL(PN_ERR_ARG, "%s: two nodes are named '%s'", g->name, name);
  return PN_OK;
}

static bool is_loss(pn_op_kind k) {
  return k == PN_OP_BCE || k == PN_OP_SOFTMAX_CE;
}

/* Checks the name and the input; fills what all nodes share. */
static pn_status begin_node(const pn_graph *g, const char *name, int in, pn_op_kind kind,
                            pn_node *out) {
  pn_status st = check_name(g, name);

  if (st != PN_OK) return st;
  if (in < 0 || in >= g->n_nodes)
    return PN_FAIL(PN_ERR_ARG, "%s: input node %d does not exist (there are %d)", name, in,
                   g->n_nodes);
  if (is_loss(g->node[in].op.kind))
    return PN_FAIL(PN_ERR_ARG, "%s: a loss (%s) cannot be an input", name, g->node[in].name);
  *out = (pn_node){.input = in, .weight = -1, .bias = -1, .unit = g->unit};
  out->op = (pn_op_desc){.kind = kind, .id = g->n_nodes, .in = g->node[in].op.out};
  out->op.out = out->op.in;
  snprintf(out->name, sizeof out->name, "%s", name);
  return PN_OK;
}

static pn_status add_node(pn_graph *g, const pn_node *node, int *out) {
  pn_status st = grow((void **)&g->node, g->n_nodes, &g->nodes_room, sizeof *g->node);

  if (st != PN_OK) return st;
  *out = g->n_nodes;
  g->node[g->n_nodes++] = *node;
  return PN_OK;
}

static pn_status add_param(pn_graph *g, const pn_node *node, const char *suffix, pn_shape shape,
                           int *out) {
  pn_status st = grow((void **)&g->param, g->n_params, &g->params_room, sizeof *g->param);
  int64_t fan_in = pn_shape_count(node->op.weight) / node->op.weight.dim[0];
  pn_param *p;

  if (st != PN_OK) return st;
  p = &g->param[g->n_params];
  *p = (pn_param){.shape = shape, .unit = node->unit, .init = PN_INIT_UNIFORM};
  p->decay = shape.n_dims > 1;
  p->bound = 1.0 / sqrt((double)fan_in);
  memcpy(p->name, node->name, sizeof p->name);
  strncat(p->name, suffix, sizeof p->name - strlen(p->name) - 1);
  *out = g->n_params++;
  return PN_OK;
}

/* Weight and bias of a node, PyTorch's default initial values. */
static pn_status add_weights(pn_graph *g, pn_node *node) {
  pn_status st = add_param(g, node, ".weight", node->op.weight, &node->weight);

  node->op.bias = true;
  if (st != PN_OK) return st;
  return add_param(g, node, ".bias", pn_shape1(node->op.weight.dim[0]), &node->bias);
}

static pn_status window_output(const pn_node *node, const pn_window *w, int64_t out[2]) {
  char in[64];
  pn_shape_text(node->op.in, in, sizeof in);

  if (node->op.in.n_dims != 4)
    return PN_FAIL(PN_ERR_ARG, "%s: input %s, expected an image (N C H W)", node->name, in);
  for (int i = 0; i < 2; i++) {
    int64_t padded = node->op.in.dim[2 + i] + w->pad_before[i] + w->pad_after[i];
    if (w->kernel[i] < 1 || w->stride[i] < 1 || w->pad_before[i] < 0 || w->pad_after[i] < 0)
      return PN_FAIL(PN_ERR_ARG, "%s: kernel and stride must be at least 1, padding 0", node->name);
    if (padded < w->kernel[i])
      return PN_FAIL(PN_ERR_ARG,
                     "%s: input %s with padding is smaller than the kernel %" PRId64 "x%" PRId64,
                     node->name, in, w->kernel[0], w->kernel[1]);
    out[i] = (padded - w->kernel[i]) / w->stride[i] + 1;
  }
  return PN_OK;
}

pn_status pn_graph_input(pn_graph *g, int64_t channels, int64_t height, int64_t width, int *out) {
  pn_node node = {.input = -1, .weight = -1, .bias = -1, .unit = g->unit};

  if (g->n_nodes) return PN_FAIL(PN_ERR_ARG, "%s: the input must be the first node", g->name);
  if (channels < 1 || height < 1 || width < 1)
    return PN_FAIL(PN_ERR_ARG, "%s: input %" PRId64 "x%" PRId64 "x%" PRId64 " is empty", g->name,
                   channels, height, width);
  node.op = (pn_op_desc){.kind = PN_OP_INPUT, .in = pn_shape4(1, channels, height, width)};
  node.op.out = node.op.in;
  snprintf(node.name, sizeof node.name, "input");
  return add_node(g, &node, out);
}

pn_status pn_graph_conv(pn_graph *g, const char *name, int in, int64_t filters, pn_window w,
                        int *out) {
  pn_node node;
  int64_t size[2];
  pn_status st = begin_node(g, name, in, PN_OP_CONV, &node);

  if (st == PN_OK) st = window_output(&node, &w, size);
  if (st != PN_OK) return st;
  if (filters < 1) return PN_FAIL(PN_ERR_ARG, "%s: %" PRId64 " filters", name, filters);
  node.op.window = w;
  node.op.out = pn_shape4(1, filters, size[0], size[1]);
  node.op.weight = pn_shape4(filters, node.op.in.dim[1], w.kernel[0], w.kernel[1]);
  if ((st = add_weights(g, &node)) != PN_OK) return st;
  return add_node(g, &node, out);
}

pn_status pn_graph_dense(pn_graph *g, const char *name, int in, int64_t units, int *out) {
  pn_node node;
  pn_status st = begin_node(g, name, in, PN_OP_DENSE, &node);

  if (st != PN_OK) return st;
  if (units < 1) return PN_FAIL(PN_ERR_ARG, "%s: %" PRId64 " units", name, units);
  node.op.out = pn_shape2(1, units);
  node.op.weight = pn_shape2(units, pn_shape_count(node.op.in));
  if ((st = add_weights(g, &node)) != PN_OK) return st;
  return add_node(g, &node, out);
}

pn_status pn_graph_relu(pn_graph *g, const char *name, int in, int *out) {
  pn_node node;
  pn_status st = begin_node(g, name, in, PN_OP_RELU, &node);

  return st != PN_OK ? st : add_node(g, &node, out);
}

pn_status pn_graph_maxpool(pn_graph *g, const char *name, int in, pn_window w, int *out) {
  pn_node node;
  int64_t size[2];
  pn_status st = begin_node(g, name, in, PN_OP_MAXPOOL, &node);

  if (st == PN_OK) st = window_output(&node, &w, size);
  if (st != PN_OK) return st;
  node.op.window = w;
  node.op.out = pn_shape4(1, node.op.in.dim[1], size[0], size[1]);
  return add_node(g, &node, out);
}

pn_status pn_graph_dropout(pn_graph *g, const char *name, int in, float rate, int *out) {
  pn_node node;
  pn_status st = begin_node(g, name, in, PN_OP_DROPOUT, &node);

  if (st != PN_OK) return st;
  if (!(rate >= 0.0f && rate < 1.0f))
    return PN_FAIL(PN_ERR_ARG, "%s: dropout rate %g, expected [0, 1)", name, (double)rate);
  node.op.rate = rate;
  return add_node(g, &node, out);
}

pn_status pn_graph_loss(pn_graph *g, const char *name, int in, pn_op_kind kind, int *out) {
  pn_node node;
  pn_status st = begin_node(g, name, in, kind, &node);
  char text[64];

  if (st != PN_OK) return st;
  if (!is_loss(kind)) return PN_FAIL(PN_ERR_ARG, "%s: %s is no loss", name, pn_op_name(kind));
  pn_shape_text(node.op.in, text, sizeof text);
  if (node.op.in.n_dims != 2 || (kind == PN_OP_BCE) != (node.op.in.dim[1] == 1))
    return PN_FAIL(PN_ERR_ARG, "%s: input %s, %s expects %s", name, text, pn_op_name(kind),
                   kind == PN_OP_BCE ? "one logit (N x 1)" : "two or more logits (N x K)");
  for (int i = 0; i < g->n_nodes; i++)
    if (is_loss(g->node[i].op.kind))
      return PN_FAIL(PN_ERR_ARG, "%s: the graph has a loss already (%s)", name, g->node[i].name);
  node.op.out = pn_shape1(1);
  return add_node(g, &node, out);
}
