/* model_json.h -- a model's configuration as JSON and back; private to src/train. */
#ifndef PN_TRAIN_MODEL_JSON_H
#define PN_TRAIN_MODEL_JSON_H

#include "models/models.h"

#include <jansson.h>

json_t *pn_model_config_json(const pn_model_config *c); /* new reference */
/* where: file named in messages.  Errors: FORMAT. */
pn_status pn_model_config_parse(json_t *j, const char *where, pn_model_config *out);

#endif
