/* resnet18.c -- torchvision's ResNet18 (resnet.md part 1), its names and initial values.  Units:
 * the stem, one per residual block, the dense layer. */
#include "models/builders.h"

#include <stdio.h>

static const pn_norm torch_norm = {.eps = 1e-5f, .update = 0.1f};

/* "layer2.0" + ".conv1" */
static const char *member(char out[PN_NAME_BYTES], const char *block, const char *name) {
  snprintf(out, PN_NAME_BYTES, "%s%s", block, name);
  return out;
}

/* conv1, bn1, relu, conv2, bn2: the residual branch. */
static pn_status branch(pn_graph *g, const char *name, int64_t filters, int64_t stride, int *at) {
  char part[PN_NAME_BYTES];
  pn_status st;

  PN_TRY(pn_graph_conv_bare(g, member(part, name, ".conv1"), *at, filters, pn_square(3, stride, 1),
                            at));
  PN_TRY(pn_graph_norm(g, member(part, name, ".bn1"), *at, torch_norm, at));
  PN_TRY(pn_graph_relu(g, member(part, name, ".relu1"), *at, at));
  PN_TRY(pn_graph_conv_bare(g, member(part, name, ".conv2"), *at, filters, pn_square(3, 1, 1), at));
  PN_TRY(pn_graph_norm(g, member(part, name, ".bn2"), *at, torch_norm, at));
done:
  return st;
}

static pn_status block(pn_graph *g, int stage, int index, int64_t filters, int *at) {
  int64_t stride = stage > 1 && index == 0 ? 2 : 1;
  int identity = *at, out = *at;
  char name[16], part[PN_NAME_BYTES];
  pn_status st;

  snprintf(name, sizeof name, "layer%d.%d", stage, index);
  PN_TRY(branch(g, name, filters, stride, &out));
  if (stride != 1) {
    PN_TRY(pn_graph_conv_bare(g, member(part, name, ".downsample.0"), identity, filters,
                              pn_square(1, stride, 0), &identity));
    PN_TRY(pn_graph_norm(g, member(part, name, ".downsample.1"), identity, torch_norm, &identity));
  }
  PN_TRY(pn_graph_add(g, member(part, name, ".add"), out, identity, &out));
  PN_TRY(pn_graph_relu(g, member(part, name, ".relu2"), out, at));
  pn_graph_next_unit(g);
done:
  return st;
}

static pn_status stem(pn_graph *g, int64_t width, int *at) {
  pn_status st;

  PN_TRY(pn_graph_conv_bare(g, "conv1", *at, width, pn_square(7, 2, 3), at));
  PN_TRY(pn_graph_norm(g, "bn1", *at, torch_norm, at));
  PN_TRY(pn_graph_relu(g, "relu", *at, at));
  PN_TRY(pn_graph_maxpool(g, "maxpool", *at, pn_square(3, 2, 1), at));
  pn_graph_next_unit(g);
done:
  return st;
}

pn_status pn_build_resnet18(const pn_model_config *cfg, pn_graph *g) {
  int64_t width = pn_own(cfg->width, 64);
  float dropout = pn_own_dropout(cfg, 0.0f);
  int at;
  pn_status st;

  pn_graph_set_style(g, PN_STYLE_TORCHVISION);
  PN_TRY(pn_graph_input(g, cfg->channels, cfg->size[0], cfg->size[1], &at));
  PN_TRY(stem(g, width, &at));
  for (int stage = 1; stage <= 4; stage++)
    for (int i = 0; i < 2; i++) PN_TRY(block(g, stage, i, width << (stage - 1), &at));
  PN_TRY(pn_graph_simple(g, "avgpool", at, PN_OP_GAP, &at));
  if (dropout > 0.0f) PN_TRY(pn_graph_dropout(g, "dropout", at, dropout, &at));
  pn_graph_set_style(g, PN_STYLE_TORCH);
  PN_TRY(pn_build_head(cfg, g, "fc", &at));
done:
  return st;
}
