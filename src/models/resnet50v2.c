/* resnet50v2.c -- Keras's ResNet50V2 (resnet.md part 2) with the head of transfer learning: pool,
 * dense 128, dropout, dense.  Parameters in the order of Keras's files.  Units: the stem, one per
 * bottleneck, the head. */
#include "models/builders.h"

#include <stdio.h>

static const pn_norm keras_norm = {.eps = 1.001e-5f, .update = 0.01f, .biased = true};

struct block {
  char name[32];
  int64_t filters, stride;
  bool projects; /* the shortcut is a convolution */
};

static const char *member(char out[PN_NAME_BYTES], const struct block *b, const char *name) {
  snprintf(out, PN_NAME_BYTES, "%s%s", b->name, name);
  return out;
}

/* BN and ReLU, named PREFIX_bn and PREFIX_relu. */
static pn_status norm_relu(pn_graph *g, const struct block *b, const char *prefix, int *at) {
  char part[PN_NAME_BYTES], suffix[32];
  pn_status st;

  snprintf(suffix, sizeof suffix, "%s_bn", prefix);
  PN_TRY(pn_graph_norm(g, member(part, b, suffix), *at, keras_norm, at));
  snprintf(suffix, sizeof suffix, "%s_relu", prefix);
  PN_TRY(pn_graph_relu(g, member(part, b, suffix), *at, at));
done:
  return st;
}

/* 1x1, 3x3, with norms between; the last 1x1 comes after the shortcut's convolution. */
static pn_status branch(pn_graph *g, const struct block *b, int *at) {
  char part[PN_NAME_BYTES];
  pn_status st;

  PN_TRY(
      pn_graph_conv_bare(g, member(part, b, "_1_conv"), *at, b->filters, pn_square(1, 1, 0), at));
  PN_TRY(norm_relu(g, b, "_1", at));
  PN_TRY(pn_graph_conv_bare(g, member(part, b, "_2_conv"), *at, b->filters,
                            pn_square(3, b->stride, 1), at));
  PN_TRY(norm_relu(g, b, "_2", at));
done:
  return st;
}

/* The projection takes the activated input, the other shortcuts the raw one. */
static pn_status shortcut(pn_graph *g, const struct block *b, int raw, int active, int *out) {
  char part[PN_NAME_BYTES];

  *out = raw;
  if (b->projects)
    return pn_graph_conv(g, member(part, b, "_0_conv"), active, 4 * b->filters, pn_square(1, 1, 0),
                         out);
  if (b->stride == 1) return PN_OK;
  return pn_graph_maxpool(g, member(part, b, "_0_pool"), raw, pn_square(1, b->stride, 0), out);
}

static pn_status add_block(pn_graph *g, const struct block *b, int *at) {
  char part[PN_NAME_BYTES];
  int raw = *at, active = *at, deep, side;
  pn_status st;

  PN_TRY(norm_relu(g, b, "_preact", &active));
  deep = active;
  PN_TRY(branch(g, b, &deep));
  PN_TRY(shortcut(g, b, raw, active, &side));
  PN_TRY(pn_graph_conv(g, member(part, b, "_3_conv"), deep, 4 * b->filters, pn_square(1, 1, 0),
                       &deep));
  PN_TRY(pn_graph_add(g, member(part, b, "_out"), side, deep, at));
  pn_graph_next_unit(g);
done:
  return st;
}

/* `blocks` bottlenecks; the last one halves height and width, but in the last stage. */
static pn_status stack(pn_graph *g, int stage, int64_t filters, int blocks, int *at) {
  pn_status st = PN_OK;

  for (int i = 1; i <= blocks && st == PN_OK; i++) {
    struct block b = {.filters = filters, .stride = i == blocks && stage < 5 ? 2 : 1};
    b.projects = i == 1;
    snprintf(b.name, sizeof b.name, "conv%d_block%d", stage, i);
    st = add_block(g, &b, at);
  }
  return st;
}

/* The zeros around the pool take part in the maximum. */
static pn_status stem(pn_graph *g, int64_t width, int *at) {
  pn_status st;

  PN_TRY(pn_graph_conv(g, "conv1_conv", *at, width, pn_square(7, 2, 3), at));
  PN_TRY(pn_graph_zeropad(g, "pool1_pad", *at, pn_square(1, 1, 1), at));
  PN_TRY(pn_graph_maxpool(g, "pool1_pool", *at, pn_square(3, 2, 0), at));
  pn_graph_next_unit(g);
done:
  return st;
}

pn_status pn_build_resnet50v2(const pn_model_config *cfg, pn_graph *g) {
  static const int blocks[] = {3, 4, 6, 3};
  int64_t width = pn_own(cfg->width, 64);
  float dropout = pn_own_dropout(cfg, 0.5f);
  const struct block post = {.name = "post"};
  int at;
  pn_status st;

  pn_graph_set_style(g, PN_STYLE_KERAS);
  PN_TRY(pn_graph_input(g, cfg->channels, cfg->size[0], cfg->size[1], &at));
  PN_TRY(stem(g, width, &at));
  for (int i = 0; i < 4; i++) PN_TRY(stack(g, i + 2, width << i, blocks[i], &at));
  PN_TRY(norm_relu(g, &post, "", &at));
  PN_TRY(pn_graph_simple(g, "avg_pool", at, PN_OP_GAP, &at));
  PN_TRY(pn_graph_dense(g, "dense", at, pn_own(cfg->hidden, 128), &at));
  PN_TRY(pn_graph_relu(g, "dense_relu", at, &at));
  if (dropout > 0.0f) PN_TRY(pn_graph_dropout(g, "dropout", at, dropout, &at));
  PN_TRY(pn_build_head(cfg, g, "dense_1", &at));
done:
  return st;
}
