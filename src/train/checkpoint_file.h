/* checkpoint_file.h -- folders of a run's checkpoints and their HDF5 parts; private to src/train.
 */
#ifndef PN_TRAIN_CHECKPOINT_FILE_H
#define PN_TRAIN_CHECKPOINT_FILE_H

#include "parallel/strategy.h"
#include "train/checkpoint.h"

enum { PN_PART_NAME_BYTES = 32 };

/* RUN/checkpoints/step_N, and step_N.TOKEN.tmp beside it: no two processes share that. */
typedef struct {
  char parent[PN_RUN_PATH_BYTES], final[PN_RUN_PATH_BYTES], tmp[PN_RUN_PATH_BYTES];
} pn_step_folder;

pn_status pn_step_folder_make(const char *run, int64_t step, const char *token,
                              pn_step_folder *out);
pn_status pn_step_folder_start(const pn_step_folder *f); /* an empty .tmp */
/* Complete checkpoints of a run: the newest step, -1 if there is none. */
int64_t pn_step_folder_newest(const char *run);
/* Delete all complete checkpoints but the `keep` newest and step `best` (-1: none). */
pn_status pn_step_folder_prune(const char *run, int64_t keep, int64_t best);
/* Delete what an interrupted save or deletion left. */
pn_status pn_step_folder_sweep(const char *run);

void pn_part_name(int rank, char out[PN_PART_NAME_BYTES]); /* part_0000.h5 */

/* Write what this rank owns to `path`.  *n: number of tensors; 0 = no file. Not collective.
 * Errors: IO, NUMERIC (a value is not finite). */
pn_status pn_part_write(const char *path, const pn_graph *g, pn_strategy *s, int64_t *n);

#endif
