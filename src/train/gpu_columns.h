/* gpu_columns.h -- what the GPUs of a run did in each step; private to src/train. */
#ifndef PN_TRAIN_GPU_COLUMNS_H
#define PN_TRAIN_GPU_COLUMNS_H

#include "comm/comm.h"
#include "prof/gpu_watch.h"

typedef struct pn_gpu_columns pn_gpu_columns;

/* bus: PCI address of this rank's GPU, "": it uses none.  A GPU of several ranks is watched by the
 * first of them.  *out is NULL, without an error, where no rank uses a GPU, or one cannot be
 * watched: a warning says why.  steps: kept between two reductions.  Collective, agreed. */
pn_status pn_gpu_columns_create(pn_comm *c, const char *bus, int64_t steps, pn_gpu_columns **out);
void pn_gpu_columns_destroy(pn_gpu_columns *g);

/* Around step k of those kept.  NULL is allowed. */
void pn_gpu_columns_begin(pn_gpu_columns *g);
void pn_gpu_columns_end(pn_gpu_columns *g, int64_t k);

/* Over the ranks: utilization is the mean, power and energy are sums, memory is that of the fullest
 * GPU, the clock that of the slowest.  NAN: not told by some GPU.  Collective. */
pn_status pn_gpu_columns_reduce(pn_gpu_columns *g, pn_comm *c, int64_t n);
void pn_gpu_columns_row(const pn_gpu_columns *g, int64_t k, double out[PN_GPU_FIGURES]);

/* Figures of an epoch from those of its steps: means over the time, largest memory, sum of energy.
 */
typedef struct {
  double sum[PN_GPU_FIGURES], seconds;
} pn_gpu_part;
void pn_gpu_part_add(pn_gpu_part *p, const double row[PN_GPU_FIGURES], double seconds);
void pn_gpu_part_figures(const pn_gpu_part *p, double out[PN_GPU_FIGURES]);

#endif
