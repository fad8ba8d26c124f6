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
  if (!name || !name[0] || strlen(name) + sizeof ".moving_variance" > PN_NAME_BYTES)
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

static pn_status check_input(const pn_graph *g, const char *name, int in) {
  if (in < 0 || in >= g->n_nodes)
    return PN_FAIL(PN_ERR_ARG, "%s: input node %d does not exist (there are %d)", name, in,
                   g->n_nodes);
  if (is_loss(g->node[in].op.kind))
    return PN_FAIL(PN_ERR_ARG, "%s: a loss (%s) cannot be an input", name, g->node[in].name);
  return PN_OK;
}

static pn_node empty_node(const pn_graph *g) {
  return (pn_node){.input = {-1, -1, -1, -1},
                   .weight = -1,
                   .bias = -1,
                   .gamma = -1,
                   .beta = -1,
                   .mean = -1,
                   .var = -1,
                   .unit = g->unit};
}

pn_status pn_node_begin(const pn_graph *g, const char *name, const int *in, int n_in,
                        pn_op_kind kind, pn_node *out) {
  pn_status st = check_name(g, name);

  for (int i = 0; i < n_in && st == PN_OK; i++) st = check_input(g, name, in[i]);
  if (st != PN_OK) return st;
  *out = empty_node(g);
  out->op = (pn_op_desc){.kind = kind, .id = g->n_nodes, .n_more = n_in - 1};
  for (int i = 0; i < n_in; i++) {
    out->input[i] = in[i];
    *(i ? &out->op.more[i - 1] : &out->op.in) = g->node[in[i]].op.out;
  }
  out->op.out = out->op.in;
  snprintf(out->name, sizeof out->name, "%s", name);
  return PN_OK;
}

pn_status pn_node_add(pn_graph *g, const pn_node *node, int *out) {
  pn_status st = grow((void **)&g->node, g->n_nodes, &g->nodes_room, sizeof *g->node);

  if (st != PN_OK) return st;
  *out = g->n_nodes;
  g->node[g->n_nodes++] = *node;
  return PN_OK;
}

pn_status pn_node_param(pn_graph *g, const pn_node *node, const char *suffix, const pn_param *like,
                        int *out) {
  pn_status st = grow((void **)&g->param, g->n_params, &g->params_room, sizeof *g->param);
  pn_param *p;

  if (st != PN_OK) return st;
  p = &g->param[g->n_params];
  *p = *like;
  p->unit = node->unit;
  memcpy(p->name, node->name, sizeof p->name);
  strncat(p->name, suffix, sizeof p->name - strlen(p->name) - 1);
  *out = g->n_params++;
  return PN_OK;
}

/* Initial values of a weight O I [KH KW] and its bias, by the graph's style. */
static void init_of(const pn_graph *g, const pn_shape *weight, pn_param *w, pn_param *b) {
  double field = weight->n_dims == 4 ? (double)(weight->dim[2] * weight->dim[3]) : 1;
  double fan_in = field * (double)weight->dim[1], fan_out = field * (double)weight->dim[0];

  *w = (pn_param){.shape = *weight, .trainable = true, .decay = true, .init = PN_INIT_UNIFORM};
  *b = (pn_param){.shape = pn_shape1(weight->dim[0]), .trainable = true, .init = PN_INIT_ZERO};
  switch (g->style) {
  case PN_STYLE_TORCH:
    b->init = PN_INIT_UNIFORM;
    w->bound = b->bound = 1.0 / sqrt(fan_in);
    break;
  case PN_STYLE_TORCHVISION:
    w->init = PN_INIT_NORMAL;
    w->bound = sqrt(2.0 / fan_out);
    break;
  case PN_STYLE_KERAS:
    w->bound = sqrt(6.0 / (fan_in + fan_out));
    break;
  }
}

/* Weight, and bias where wanted. */
static pn_status add_weights(pn_graph *g, pn_node *node, bool bias) {
  const char *suffix = g->style == PN_STYLE_KERAS ? ".kernel" : ".weight";
  pn_param w, b;
  pn_status st;

  init_of(g, &node->op.weight, &w, &b);
  st = pn_node_param(g, node, suffix, &w, &node->weight);
  node->op.bias = bias;
  if (st != PN_OK || !bias) return st;
  return pn_node_param(g, node, ".bias", &b, &node->bias);
}

pn_status pn_node_window(const pn_node *node, const pn_window *w, int64_t out[2]) {
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
  pn_node node = empty_node(g);

  if (g->n_nodes) return PN_FAIL(PN_ERR_ARG, "%s: the input must be the first node", g->name);
  if (channels < 1 || height < 1 || width < 1)
    return PN_FAIL(PN_ERR_ARG, "%s: input %" PRId64 "x%" PRId64 "x%" PRId64 " is empty", g->name,
                   channels, height, width);
  node.op = (pn_op_desc){.kind = PN_OP_INPUT, .in = pn_shape4(1, channels, height, width)};
  node.op.out = node.op.in;
  snprintf(node.name, sizeof node.name, "input");
  return pn_node_add(g, &node, out);
}

static pn_status add_conv(pn_graph *g, pn_node *node, int64_t filters, const pn_window *w,
                          bool bias, int *out) {
  int64_t size[2];
  pn_status st = pn_node_window(node, w, size);

  if (st != PN_OK) return st;
  if (filters < 1) return PN_FAIL(PN_ERR_ARG, "%s: %" PRId64 " filters", node->name, filters);
  node->op.window = *w;
  node->op.out = pn_shape4(1, filters, size[0], size[1]);
  node->op.weight = pn_shape4(filters, node->op.in.dim[1], w->kernel[0], w->kernel[1]);
  if ((st = add_weights(g, node, bias)) != PN_OK) return st;
  return pn_node_add(g, node, out);
}

pn_status pn_graph_conv(pn_graph *g, const char *name, int in, int64_t filters, pn_window w,
                        int *out) {
  pn_node node;
  pn_status st = pn_node_begin(g, name, &in, 1, PN_OP_CONV, &node);
  return st != PN_OK ? st : add_conv(g, &node, filters, &w, true, out);
}

pn_status pn_graph_conv_bare(pn_graph *g, const char *name, int in, int64_t filters, pn_window w,
                             int *out) {
  pn_node node;
  pn_status st = pn_node_begin(g, name, &in, 1, PN_OP_CONV, &node);
  return st != PN_OK ? st : add_conv(g, &node, filters, &w, false, out);
}

pn_status pn_graph_dense(pn_graph *g, const char *name, int in, int64_t units, int *out) {
  pn_node node;
  pn_status st = pn_node_begin(g, name, &in, 1, PN_OP_DENSE, &node);

  if (st != PN_OK) return st;
  if (units < 1) return PN_FAIL(PN_ERR_ARG, "%s: %" PRId64 " units", name, units);
  node.op.out = pn_shape2(1, units);
  node.op.weight = pn_shape2(units, pn_shape_count(node.op.in));
  if ((st = add_weights(g, &node, true)) != PN_OK) return st;
  return pn_node_add(g, &node, out);
}

pn_status pn_graph_relu(pn_graph *g, const char *name, int in, int *out) {
  pn_node node;
  pn_status st = pn_node_begin(g, name, &in, 1, PN_OP_RELU, &node);

  return st != PN_OK ? st : pn_node_add(g, &node, out);
}

pn_status pn_graph_maxpool(pn_graph *g, const char *name, int in, pn_window w, int *out) {
  pn_node node;
  int64_t size[2];
  pn_status st = pn_node_begin(g, name, &in, 1, PN_OP_MAXPOOL, &node);

  if (st == PN_OK) st = pn_node_window(&node, &w, size);
  if (st != PN_OK) return st;
  node.op.window = w;
  node.op.out = pn_shape4(1, node.op.in.dim[1], size[0], size[1]);
  return pn_node_add(g, &node, out);
}

pn_status pn_graph_dropout(pn_graph *g, const char *name, int in, float rate, int *out) {
  pn_node node;
  pn_status st = pn_node_begin(g, name, &in, 1, PN_OP_DROPOUT, &node);

  if (st != PN_OK) return st;
  if (!(rate >= 0.0f && rate < 1.0f))
    return PN_FAIL(PN_ERR_ARG, "%s: dropout rate %g, expected [0, 1)", name, (double)rate);
  node.op.rate = rate;
  return pn_node_add(g, &node, out);
}

pn_status pn_graph_loss(pn_graph *g, const char *name, int in, pn_op_kind kind, int *out) {
  pn_node node;
  pn_status st = pn_node_begin(g, name, &in, 1, kind, &node);
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
  return pn_node_add(g, &node, out);
}
