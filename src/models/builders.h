/* builders.h -- one builder per model file, for table.c only. */
#ifndef PN_MODELS_BUILDERS_H
#define PN_MODELS_BUILDERS_H

#include "models/models.h"

pn_status pn_build_custom_cnn(const pn_model_config *cfg, pn_graph *g);

#endif
