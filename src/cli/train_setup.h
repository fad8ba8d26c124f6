/* train_setup.h -- from options to what trainer, planner and models take; shared by train, study
 * and info. */
#ifndef PN_CLI_TRAIN_SETUP_H
#define PN_CLI_TRAIN_SETUP_H

#include "cli/options.h"
#include "comm/place.h"
#include "train/trainer.h"

/* Fill every field of cfg but `threads`, `out_path`, `options` and `versions` (set to 1 and NULL)
 * from options, and size, channels and classes from the data.  ranks resolves train.strategy=auto.
 * The options have passed pn_effects_check.  Not collective.  Errors: ARG. */
pn_status pn_train_setup(const pn_options *o, const pn_dataset *d, int ranks, pn_train_config *cfg);

/* train.precision where it is given, else NULL: that of the run. */
const char *pn_precision_given(const pn_options *o);
pn_images_where pn_images_setup(const pn_options *o); /* device.images */
/* model.* of the options; size, channels and classes keep their defaults. */
void pn_model_setup(const pn_options *o, pn_model_config *cfg);
/* model.head=auto: by the number of classes, once that is known. */
void pn_model_head_setup(const pn_options *o, pn_model_config *cfg);

/* augment.* and train.seed of the options. */
void pn_augment_setup(const pn_options *o, pn_augment_config *cfg);

/* data.path opened on every rank; no path, no index: a message with the way out.  Collective,
 * errors are agreed upon.  *out is owned by the caller. */
pn_status pn_data_open(const pn_options *o, pn_comm *c, pn_dataset **out);

int pn_threads_wanted(const pn_options *o); /* per rank; 0: as many as it has cores */

/* Place of all ranks for train.threads; warnings are printed by rank 0.  Collective, agreed.
 * *threads: of this rank. */
pn_status pn_place_setup(const pn_options *o, pn_comm *c, pn_place_map *map, int *threads);

enum { PN_OUT_PATH_BYTES = 1024 };
typedef struct {
  char path[PN_OUT_PATH_BYTES];
  pn_lock lock; /* held by rank 0; its token is known to all */
} pn_out_folder;

/* Decide out.path on rank 0 (auto: results/NAME-UTC), refuse a folder that holds another run, make
 * and lock it, and tell all ranks.  what: "training", "study", for messages.  Collective, agreed.
 * Release it in any case. */
pn_status pn_out_setup(const pn_options *o, const char *name, const char *what, pn_comm *c,
                       pn_out_folder *out);
void pn_out_release(pn_out_folder *out);

/* optim.*, schedule.* and what else of train.* says how a run learns. */
void pn_recipe_setup(const pn_options *o, pn_train_config *cfg);
/* The rows of a study: what is set for all of them may be for some of them. */
typedef struct {
  const pn_options *all;
  pn_options *const *row; /* [n] */
  int n;
} pn_row_options;

/* An option that would have no effect beside the others is an error, but for what stands in a file
 * whose choice (model.name, optim.name, ...) the command line overrides.  rows: NULL, or those of
 * the study that `o` is a row of.  Errors: ARG. */
pn_status pn_effects_check(const pn_options *o, const pn_row_options *rows);
/* The same of model.* alone. */
pn_status pn_model_effects_check(const pn_options *o, const pn_row_options *rows);
/* augment.fill alone is an error. */
pn_status pn_augment_check(const pn_options *o);

/* With train.resume: options that are not given get the values of the newest checkpoint in
 * out.path. Not collective (each rank reads).  No checkpoint: nothing changes.  Errors: ARG, IO,
 * FORMAT. */
pn_status pn_resume_options(pn_options *o);

#endif
