/* bench_batch.h -- random images in memory, as a benchmark's data. */
#ifndef PN_REPORT_BENCH_BATCH_H
#define PN_REPORT_BENCH_BATCH_H

#include "nn/plan.h"

/* A learning rate that leaves the network as it begins: one that has died on random images is full
 * of zeros, which some kernels leave out. */
#define PN_BENCH_LR 1e-5

typedef struct {
  int64_t images, pixels, classes; /* pixels: of all images */
  float *image;                    /* [pixels], owned */
  uint64_t *id;                    /* [images], owned */
  float *scale;                    /* [images]: 1 / images, owned */
} pn_bench_batch;

/* For the graph's input and head.  Errors: NOMEM. */
pn_status pn_bench_batch_make(const pn_graph *g, int64_t images, pn_bench_batch *out);
void pn_bench_batch_free(pn_bench_batch *b);
void pn_bench_batch_load(const pn_bench_batch *b, pn_plan *plan); /* a copy, as in a training */
pn_step_ctx pn_bench_batch_context(const pn_bench_batch *b);      /* borrows id and scale */

#endif
