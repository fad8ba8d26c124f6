/* checkpoint_file.h -- the HDF5 parts of a checkpoint: named f32 tensors; private to src/train. */
#ifndef PN_TRAIN_CHECKPOINT_FILE_H
#define PN_TRAIN_CHECKPOINT_FILE_H

#include "parallel/strategy.h"

/* Write what this rank owns to `path`.  *n: number of tensors; 0 = no file. Not collective. */
pn_status pn_part_write(const char *path, const pn_graph *g, pn_strategy *s, int64_t *n);

/* Read /param/NAME of every parameter that is in `path` into the arena and mark it in found[].
 */
pn_status pn_part_read(const char *path, const pn_graph *g, const pn_param_map *map, float *params,
                       bool *found);

#endif
