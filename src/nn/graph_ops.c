/* graph_ops.c -- adding the nodes of residual networks: norms, sums, other pools, activations. */
#include "nn/graph_internal.h"

static pn_status add_norm_params(pn_graph *g, pn_node *node) {
  static const char *const suffix[2][4] = {{".weight", ".bias", ".running_mean", ".running_var"},
                                           {".gamma", ".beta", ".moving_mean", ".moving_variance"}};
  int *const index[] = {&node->gamma, &node->beta, &node->mean, &node->var};
  pn_param like = {.shape = pn_shape1(node->op.in.dim[1])};
  pn_status st = PN_OK;

  for (int i = 0; i < 4 && st == PN_OK; i++) {
    like.trainable = i < 2;
    like.uncounted = i >= 2 && g->style != PN_STYLE_KERAS;
    like.init = i % 3 == 0 ? PN_INIT_ONE : PN_INIT_ZERO; /* gamma and variance */
    st = pn_node_param(g, node, suffix[g->style == PN_STYLE_KERAS][i], &like, index[i]);
  }
  return st;
}

pn_status pn_graph_norm(pn_graph *g, const char *name, int in, pn_norm norm, int *out) {
  pn_node node;
  pn_status st = pn_node_begin(g, name, &in, 1, PN_OP_NORM, &node);

  if (st != PN_OK) return st;
  if (!(norm.eps > 0.0f) || !(norm.update >= 0.0f && norm.update <= 1.0f))
    return PN_FAIL(PN_ERR_ARG, "%s: eps %g and update %g, expected > 0 and [0, 1]", name,
                   (double)norm.eps, (double)norm.update);
  node.op.norm = norm;
  if ((st = add_norm_params(g, &node)) != PN_OK) return st;
  return pn_node_add(g, &node, out);
}

pn_status pn_graph_add(pn_graph *g, const char *name, int a, int b, int *out) {
  const int in[] = {a, b};
  char left[64], right[64];
  pn_node node;
  pn_status st = pn_node_begin(g, name, in, 2, PN_OP_ADD, &node);

  if (st != PN_OK) return st;
  pn_shape_text(node.op.in, left, sizeof left);
  pn_shape_text(node.op.more[0], right, sizeof right);
  if (!pn_shape_equal(node.op.in, node.op.more[0]))
    return PN_FAIL(PN_ERR_ARG, "%s: the inputs %s and %s differ in shape", name, left, right);
  return pn_node_add(g, &node, out);
}

/* All dimensions but the second. */
static bool same_but_channels(const pn_shape *a, const pn_shape *b) {
  pn_shape c = *b;
  if (a->n_dims < 2 || b->n_dims != a->n_dims) return false;
  c.dim[1] = a->dim[1];
  return pn_shape_equal(*a, c);
}

pn_status pn_graph_concat(pn_graph *g, const char *name, const int *in, int n, int *out) {
  pn_node node;
  pn_status st;

  if (n < 2 || n > PN_MAX_INPUTS)
    return PN_FAIL(PN_ERR_ARG, "%s: %d inputs, expected 2 to %d", name, n, PN_MAX_INPUTS);
  if ((st = pn_node_begin(g, name, in, n, PN_OP_CONCAT, &node)) != PN_OK) return st;
  for (int i = 0; i < node.op.n_more; i++) {
    if (!same_but_channels(&node.op.in, &node.op.more[i]))
      return PN_FAIL(PN_ERR_ARG, "%s: input %d differs in more than its channels", name, i + 1);
    node.op.out.dim[1] += node.op.more[i].dim[1];
  }
  return pn_node_add(g, &node, out);
}

pn_status pn_graph_avgpool(pn_graph *g, const char *name, int in, pn_window w, bool pad_counts,
                           int *out) {
  pn_node node;
  int64_t size[2];
  pn_status st = pn_node_begin(g, name, &in, 1, PN_OP_AVGPOOL, &node);

  if (st == PN_OK) st = pn_node_window(&node, &w, size);
  if (st != PN_OK) return st;
  for (int i = 0; i < 2; i++)
    if (w.pad_before[i] >= w.kernel[i] || w.pad_after[i] >= w.kernel[i])
      return PN_FAIL(PN_ERR_ARG, "%s: a window would lie in the padding alone", name);
  node.op.window = w;
  node.op.pad_counts = pad_counts;
  node.op.out = pn_shape4(1, node.op.in.dim[1], size[0], size[1]);
  return pn_node_add(g, &node, out);
}

pn_status pn_graph_zeropad(pn_graph *g, const char *name, int in, pn_window w, int *out) {
  pn_node node;
  int64_t size[2];
  pn_status st = pn_node_begin(g, name, &in, 1, PN_OP_ZEROPAD, &node);

  for (int i = 0; i < 2; i++) w.kernel[i] = w.stride[i] = 1;
  if (st == PN_OK) st = pn_node_window(&node, &w, size);
  if (st != PN_OK) return st;
  node.op.window = w;
  node.op.out = pn_shape4(1, node.op.in.dim[1], size[0], size[1]);
  return pn_node_add(g, &node, out);
}

pn_status pn_graph_simple(pn_graph *g, const char *name, int in, pn_op_kind kind, int *out) {
  bool image = kind == PN_OP_GAP || kind == PN_OP_UPSAMPLE;
  pn_node node;
  pn_status st = pn_node_begin(g, name, &in, 1, kind, &node);
  pn_shape *to = &node.op.out;

  if (st != PN_OK) return st;
  if (!image && kind != PN_OP_SIGMOID && kind != PN_OP_SILU && kind != PN_OP_SOFTMAX)
    return PN_FAIL(PN_ERR_ARG, "%s: %s needs attributes", name, pn_op_name(kind));
  if (image && to->n_dims != 4)
    return PN_FAIL(PN_ERR_ARG, "%s: %s expects an image (N C H W)", name, pn_op_name(kind));
  if (kind == PN_OP_GAP) *to = pn_shape2(1, to->dim[1]);
  if (kind == PN_OP_UPSAMPLE) *to = pn_shape4(1, to->dim[1], 2 * to->dim[2], 2 * to->dim[3]);
  return pn_node_add(g, &node, out);
}
