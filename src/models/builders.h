/* builders.h -- one builder per model file, for table.c only. */
#ifndef PN_MODELS_BUILDERS_H
#define PN_MODELS_BUILDERS_H

#include "models/models.h"

pn_status pn_build_custom_cnn(const pn_model_config *cfg, pn_graph *g);
pn_status pn_build_cifar_cnn(const pn_model_config *cfg, pn_graph *g);
pn_status pn_build_resnet18(const pn_model_config *cfg, pn_graph *g);
pn_status pn_build_resnet50v2(const pn_model_config *cfg, pn_graph *g);

/* A square window, padded alike on all sides. */
pn_window pn_square(int64_t kernel, int64_t stride, int64_t pad);
/* The configured value, or the model's own where it is not set (0; dropout: below 0). */
int64_t pn_own(int64_t configured, int64_t own);
float pn_own_dropout(const pn_model_config *cfg, float own);
/* Last dense layer and loss on node *at: one logit for sigmoid, one per class for softmax.  Errors:
 * ARG (sigmoid with other than 2 classes). */
pn_status pn_build_head(const pn_model_config *cfg, pn_graph *g, const char *dense, int *at);

#endif
