/* batch.h -- which images a rank trains on in a step, and their way into a plan. */
#ifndef PN_TRAIN_BATCH_H
#define PN_TRAIN_BATCH_H

#include "data/dataset.h"
#include "models/models.h"
#include "nn/plan.h"

/* How an epoch is cut: every image once, the same number of steps on all ranks. */
typedef struct {
  int64_t n;      /* images of the split */
  int64_t global; /* images of a step over all ranks; the last step of an epoch may have fewer */
  int64_t steps;  /* per epoch */
  int rank, size;
} pn_batches;

/* One step's part of one rank: positions [first, first + count) of the epoch's order. */
typedef struct {
  int64_t first, count; /* count may be 0 */
  int64_t global;       /* images of this step over all ranks, >= 1 */
} pn_share;

pn_batches pn_batches_make(int64_t n, int64_t global, int rank, int size); /* n, global >= 1 */
pn_share pn_batches_share(const pn_batches *b, int64_t step);
int64_t pn_batches_largest(const pn_batches *b); /* most images that any rank gets in a step */

/* Buffers of one batch. */
typedef struct {
  int64_t capacity;
  pn_sample *sample; /* [capacity], owned */
  uint64_t *id;      /* [capacity], owned */
  float *scale;      /* [capacity], owned */
} pn_batch;

pn_status pn_batch_create(int64_t capacity, pn_batch *out);
void pn_batch_free(pn_batch *b);

/* Fill the plan's input ((pixel / 255 - input_mean) / input_sd) and labels with images index[0 ..
 * n) of the split, and b->id; rows from n to the plan's batch become zero.  n <= capacity.  Errors:
 * those of pn_dataset_get. */
typedef struct {
  pn_dataset *data;             /* borrowed */
  const pn_model_config *model; /* input_mean, input_sd; borrowed */
  pn_split split;
  const int64_t *index; /* [n]; borrowed */
  int64_t n, plan_batch;
  int threads;
} pn_batch_source;
pn_status pn_batch_load(pn_batch *b, const pn_batch_source *src, pn_plan *plan);

#endif
