/* batch.h -- which images a rank trains on in a step, and their way into a plan. */
#ifndef PN_TRAIN_BATCH_H
#define PN_TRAIN_BATCH_H

#include "data/reader.h"
#include "nn/plan.h"

/* What becomes of an epoch's images that do not fill a step. */
typedef enum {
  PN_LAST_SHORT, /* the last step has only them */
  PN_LAST_EVEN,  /* all steps are a little smaller: their sizes differ by one image at most */
  PN_LAST_DROP   /* they have no part in this epoch; with less than a step's images: as SHORT */
} pn_last_batch;

/* How an epoch is cut: every image once (DROP: at most), the same number of steps on all ranks. */
typedef struct {
  int64_t n;      /* images of the split */
  int64_t global; /* images of a step over all ranks; some steps may have fewer: last */
  pn_last_batch last;
  int64_t steps; /* per epoch */
  int64_t parts; /* that a rank's share of a step is computed in, one after another */
  int leaves;    /* exact sums: a step is cut into so many parts, or as many as it has images, and
                    a rank has those of pn_tree_range; 0: ordinary */
  int rank, size;
} pn_batches;

/* One step's part of one rank: positions [first, first + count) of the epoch's order. */
typedef struct {
  int64_t first, count; /* count may be 0 */
  int64_t global;       /* images of this step over all ranks, >= 1 */
} pn_share;

/* n, global >= 1; parts: 1 */
pn_batches pn_batches_make(int64_t n, int64_t global, pn_last_batch last, int rank, int size);
int64_t pn_batches_start(const pn_batches *b, int64_t step);  /* position of its first image */
int64_t pn_batches_images(const pn_batches *b, int64_t step); /* over all ranks, >= 1 */
pn_share pn_batches_share(const pn_batches *b, int64_t step);
int pn_batches_leaves(const pn_batches *b, int64_t step);     /* over all ranks; 0: ordinary */
int pn_batches_first_leaf(const pn_batches *b, int64_t step); /* of this rank */
int64_t pn_batches_rounds(const pn_batches *b, int64_t step); /* most parts of any rank, >= 1 */
/* Largest and smallest part of this rank (exact: of any); 0: it has none. */
void pn_batches_sizes(const pn_batches *b, int64_t step, int64_t sizes[2]);
int64_t pn_batches_parts(const pn_batches *b, int64_t step); /* with images of this rank */
pn_share pn_batches_part(const pn_batches *b, int64_t step, int64_t part);
int64_t pn_batches_largest(const pn_batches *b); /* most images of any rank's part of a step */

/* What a step knows of its images beside the plan's input and labels. */
typedef struct {
  int64_t capacity;
  uint64_t *id;    /* [capacity], owned */
  float *scale;    /* [capacity], owned */
  int32_t *label2; /* [capacity], owned; see pn_step_ctx */
  float *mix;      /* [capacity], owned */
  int threads;
  float *scratch; /* [threads][pn_reader_scratch], owned */
} pn_batch;

/* threads: that load, >= 1. */
pn_status pn_batch_create(const pn_reader *r, int64_t capacity, int threads, pn_batch *out);
void pn_batch_free(pn_batch *b);

typedef struct {
  const pn_reader *reader; /* borrowed */
  uint32_t epoch;
  const int64_t *index; /* [n]; borrowed */
  int64_t n, plan_batch;
} pn_batch_source;
/* Fill the plan's input and labels, and b, with images index[0 .. n) of the split; rows from n to
 * the plan's batch become zero.  n <= capacity.  Errors: those of pn_dataset_get. */
pn_status pn_batch_load(pn_batch *b, const pn_batch_source *src, pn_plan *plan);
/* The same from rows that are ready. */
void pn_batch_copy(pn_batch *b, const pn_reader *r, const pn_rows *rows, int64_t n, pn_plan *plan);
/* Of such rows b's part alone: ids and mixed targets. */
void pn_batch_note(pn_batch *b, const pn_rows *rows, int64_t n);

#endif
