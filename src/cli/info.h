/* info.h -- the parts of `pneuma info`: machine and model. */
#ifndef PN_CLI_INFO_H
#define PN_CLI_INFO_H

#include "cli/cli.h"
#include "comm/place.h"
#include "nn/plan.h"

/* Everything known of a model as it would be trained here.  Rank 0 alone makes and prints it. */
typedef struct pn_info_model pn_info_model;

/* model.name with the options of x for `ranks` ranks on such devices; not collective.  Takes the
 * device, on errors too; *out owned by the caller.  Errors: ARG, and those of the planner. */
pn_status pn_info_model_create(const pn_options *o, int ranks, pn_device *d, pn_info_model **out);
void pn_info_model_destroy(pn_info_model *m);
/* What it is made of; borrowed. */
const pn_graph *pn_info_model_graph(const pn_info_model *m);
pn_device *pn_info_model_device(const pn_info_model *m);
pn_plan *pn_info_model_plan(const pn_info_model *m); /* for training */
int64_t pn_info_model_batch(const pn_info_model *m); /* of one rank */
pn_status pn_info_model_print(const pn_info_model *m);
/* Adds model, parameters, flop_per_image, batch, plan, memory to `to`. */
void pn_info_model_json(const pn_info_model *m, json_t *to);

void pn_info_machine_print(const pn_place_map *places, const char *backend);
/* Adds versions, simd, isa, ranks, warnings to `to`. */
void pn_info_machine_json(const pn_place_map *places, const char *backend, json_t *to);

#endif
