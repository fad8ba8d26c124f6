/* custom_cnn.c -- conv, ReLU, pool, conv, ReLU, pool, dense, ReLU, dense (small_cnns 2).  Units:
 * one per convolution block, one for the dense layers. */
#include "models/builders.h"

static pn_window same_or_valid(int64_t kernel, bool padding) {
  int64_t before = padding ? (kernel - 1) / 2 : 0, after = padding ? kernel - 1 - before : 0;
  return (pn_window){.kernel = {kernel, kernel},
                     .stride = {1, 1},
                     .pad_before = {before, before},
                     .pad_after = {after, after}};
}

/* conv -> ReLU -> 2x2 max pool (floor) */
static pn_status block(const pn_model_config *cfg, pn_graph *g, int index, int *at) {
  static const char *const conv[] = {"conv1", "conv2"}, *const relu[] = {"relu1", "relu2"},
                           *const pool[] = {"pool1", "pool2"};
  pn_window half = {.kernel = {2, 2}, .stride = {2, 2}};
  pn_window window = same_or_valid(cfg->kernel, cfg->padding);
  pn_status st;

  PN_TRY(pn_graph_conv(g, conv[index], *at, cfg->filters[index], window, at));
  PN_TRY(pn_graph_relu(g, relu[index], *at, at));
  PN_TRY(pn_graph_maxpool(g, pool[index], *at, half, at));
  pn_graph_next_unit(g);
done:
  return st;
}

static pn_status head(const pn_model_config *cfg, pn_graph *g, int *at) {
  float dropout = pn_own_dropout(cfg, 0.0f);
  pn_status st;

  PN_TRY(pn_graph_dense(g, "fc1", *at, pn_own(cfg->hidden, 128), at));
  PN_TRY(pn_graph_relu(g, "relu3", *at, at));
  if (dropout != 0.0f) PN_TRY(pn_graph_dropout(g, "dropout", *at, dropout, at));
  PN_TRY(pn_build_head(cfg, g, "fc2", at));
done:
  return st;
}

pn_status pn_build_custom_cnn(const pn_model_config *cfg, pn_graph *g) {
  int at;
  pn_status st;

  PN_TRY(pn_graph_input(g, cfg->channels, cfg->size[0], cfg->size[1], &at));
  PN_TRY(block(cfg, g, 0, &at));
  PN_TRY(block(cfg, g, 1, &at));
  PN_TRY(head(cfg, g, &at));
done:
  return st;
}
