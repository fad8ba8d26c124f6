/* models.h -- the table of networks.  A builder adds nodes to a graph and nothing else. */
#ifndef PN_MODELS_MODELS_H
#define PN_MODELS_MODELS_H

#include "nn/graph.h"

typedef struct {
  int64_t size[2], channels;  /* input height, width, channels */
  int64_t classes;            /* 2 with sigmoid head = one logit */
  int64_t filters[2], kernel; /* custom_cnn: 32, 64, 3 */
  int64_t hidden;             /* units of the hidden dense layer; 0 = the model's own */
  int64_t
      width;    /* filters of the first stage (cifar_cnn, resnet*), others in proportion; 0 = own */
  bool padding; /* custom_cnn: same (true) or valid */
  float dropout; /* before the last dense layer; 0 = none, below 0 = the model's own */
  float input_mean,
      input_sd; /* of pixels / 255: the input is (pixel / 255 - mean) / sd; 0.5, 0.25 */
  bool softmax; /* head: softmax over `classes` logits instead of one sigmoid */
} pn_model_config;

typedef struct {
  const char *name, *help;
  pn_status (*build)(const pn_model_config *cfg, pn_graph *g);
  int64_t size, channels, classes; /* what it was published for: shown where there is no data */
  const char *ignores;             /* options of section model that it has no use for: "a|b" */
} pn_model;

const pn_model *pn_model_table(int *count);
/* Build by name.  Errors: ARG (unknown name: names the nearest), or the builder's. */
pn_status pn_model_build(const char *name, const pn_model_config *cfg, pn_graph **out);
const pn_model *pn_model_find(const char *name); /* NULL: unknown */
/* 128x128x1, 2 classes; custom_cnn: filters 32 64, kernel 3; else each model's own. */
void pn_model_defaults(pn_model_config *cfg);

#endif
