/* cifar_cnn.c -- Keras's CIFAR network with batch norm (small_cnns 1): conv, ReLU, BN, conv, ReLU,
 * pool, dropout, twice; dense, ReLU, BN, dropout, dense.  The convolutions of a block pad `same`
 * and `valid`.  Units: one per block, one for the dense layers. */
#include "models/builders.h"

#include <stdio.h>

static const pn_norm keras_norm = {.eps = 1e-3f, .update = 0.01f, .biased = true};

static const char *numbered(char out[PN_NAME_BYTES], const char *stem, int n) {
  snprintf(out, PN_NAME_BYTES, "%s%d", stem, n);
  return out;
}

static pn_status block(pn_graph *g, int index, int64_t filters, float dropout, int *at) {
  char name[PN_NAME_BYTES];
  pn_status st;

  PN_TRY(pn_graph_conv(g, numbered(name, "conv", 2 * index - 1), *at, filters, pn_square(3, 1, 1),
                       at));
  PN_TRY(pn_graph_relu(g, numbered(name, "relu", 2 * index - 1), *at, at));
  PN_TRY(pn_graph_norm(g, numbered(name, "bn", index), *at, keras_norm, at));
  PN_TRY(pn_graph_conv(g, numbered(name, "conv", 2 * index), *at, filters, pn_square(3, 1, 0), at));
  PN_TRY(pn_graph_relu(g, numbered(name, "relu", 2 * index), *at, at));
  PN_TRY(pn_graph_maxpool(g, numbered(name, "pool", index), *at, pn_square(2, 2, 0), at));
  if (dropout > 0.0f)
    PN_TRY(pn_graph_dropout(g, numbered(name, "dropout", index), *at, dropout, at));
  pn_graph_next_unit(g);
done:
  return st;
}

pn_status pn_build_cifar_cnn(const pn_model_config *cfg, pn_graph *g) {
  int64_t width = pn_own(cfg->width, 32);
  float dropout = pn_own_dropout(cfg, 0.5f);
  int at;
  pn_status st;

  pn_graph_set_style(g, PN_STYLE_KERAS);
  PN_TRY(pn_graph_input(g, cfg->channels, cfg->size[0], cfg->size[1], &at));
  PN_TRY(block(g, 1, width, dropout / 2, &at));
  PN_TRY(block(g, 2, 2 * width, dropout / 2, &at));
  PN_TRY(pn_graph_dense(g, "dense1", at, pn_own(cfg->hidden, 16 * width), &at));
  PN_TRY(pn_graph_relu(g, "relu5", at, &at));
  PN_TRY(pn_graph_norm(g, "bn3", at, keras_norm, &at));
  if (dropout > 0.0f) PN_TRY(pn_graph_dropout(g, "dropout3", at, dropout, &at));
  PN_TRY(pn_build_head(cfg, g, "dense2", &at));
done:
  return st;
}
