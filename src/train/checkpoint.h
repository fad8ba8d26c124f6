/* checkpoint.h -- what a run leaves behind to go on from: RUN/checkpoints/step_N.
 *
 *   manifest.json   format, model, precision, data, tensors (name, shape, kinds), parts, step,
 * epoch, state of the run (sums of the epoch, epochs so far, best, ...), options part_RRRR.h5 what
 * rank R owns: /KIND/NAME, f32 in the logical order (N C H W, O I H W, O I), attribute crc32c; KIND
 * is param or an optimizer state (exp_avg, ...)
 *
 * Written as step_N.tmp, synced, renamed: a folder without .tmp is complete.  Older ones go only
 * after that.  The files depend neither on the device's layouts nor on the number of ranks. */
#ifndef PN_TRAIN_CHECKPOINT_H
#define PN_TRAIN_CHECKPOINT_H

#include "parallel/strategy.h"
#include "train/trainer.h"

#define PN_CHECKPOINT_FORMAT "pneuma-checkpoint"
enum { PN_CHECKPOINT_VERSION = 1, PN_RUN_PATH_BYTES = 4096 };

typedef struct {
  const pn_train_config *cfg;   /* all borrowed; cfg->out_path names the run */
  const pn_model_config *model; /* as built */
  const pn_dataset *data;
  const pn_graph *graph;
  pn_dtype precision; /* in effect; the file is f32 in any case */
  pn_strategy *strategy;
  pn_comm *comm;
  int64_t step, epoch; /* steps and epochs done */
  int64_t best;        /* step of the best checkpoint, which stays; -1: none */
  json_t *state;       /* of the trainer (state.c); may be NULL */
} pn_checkpoint;

/* Collective; errors are agreed upon: IO, NUMERIC (a parameter is not finite).  The cfg->keep
 * newest (at least one) and the best stay. */
pn_status pn_checkpoint_save(const pn_checkpoint *k);

typedef struct {
  char folder[PN_RUN_PATH_BYTES]; /* of the checkpoint */
  char model[32], precision[8];   /* what the run computed in */
  int64_t step;
  pn_model_config config;
  json_t *manifest; /* owned */
} pn_saved_run;

/* which: "last" (the newest), "best" (of the validations), "auto" (best if the run ended with it by
 * train.restore_best, else last) or a step's number.  Not collective.
 * Errors: IO (no run, no such checkpoint: says what to do), FORMAT. */
pn_status pn_saved_run_open(const char *run_path, const char *which, pn_saved_run *out);
void pn_saved_run_close(pn_saved_run *s);
/* Names of the classes in the order of the outputs; borrowed, NULL: the manifest is damaged. */
const json_t *pn_saved_run_classes(const pn_saved_run *s);

/* FORMAT, with the way out: `what` is wrong with `file` of a step's folder. */
pn_status pn_checkpoint_damaged(const char *folder, const char *file, const char *what);

/* Read all parameters into an arena of map->total elements.  Errors: IO, FORMAT (missing tensor,
 * shape, CRC). */
pn_status pn_saved_run_load(const pn_saved_run *s, const pn_graph *g, const pn_param_map *map,
                            float *params);
/* Name and shape of tensor i, 0 <= i; NULL: there are fewer, or the manifest is damaged. */
const char *pn_saved_run_tensor(const pn_saved_run *s, int i, pn_shape *shape);
/* Its values (averaged ones, where the run kept them), row-major; without a graph.  Errors as
 * above. */
pn_status pn_saved_run_read(const pn_saved_run *s, int i, float *logical);
/* Read all that this rank holds: parameters and optimizer state.  Not collective. */
pn_status pn_saved_run_restore(const pn_saved_run *s, const pn_graph *g, pn_strategy *to);

#endif
