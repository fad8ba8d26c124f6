/* resident.h -- parameters, gradients and optimizer state that live on a device with memory of its
 * own, for strategies of one rank: nothing but the batch and the results travels in a step.  The
 * host arenas stay, as copies for checkpoints, evaluation and hashes. */
#ifndef PN_PARALLEL_RESIDENT_H
#define PN_PARALLEL_RESIDENT_H

#include "parallel/strategy.h"

/* After the host arenas are filled.  Does nothing (s->resident stays NULL) where the device works
 * in host memory, and where gradients are summed on the host (micro-batches, exact sums). */
pn_status pn_resident_make(pn_strategy *s);
void pn_resident_free(pn_strategy *s);

/* The device's state to the host arenas, and back. */
pn_status pn_resident_fetch(pn_strategy *s);
pn_status pn_resident_push(pn_strategy *s);
/* s->own's pieces are those of the host, or the device's. */
void pn_resident_point(pn_strategy *s, bool host);

/* Optimizer on a range of s->own, wherever it lies. */
pn_status pn_range_update(pn_strategy *s, int64_t t, double lr, const pn_optim_range *r);
pn_status pn_range_average(pn_strategy *s, int64_t t, const pn_ema_range *r);
pn_status pn_range_squares(pn_strategy *s, const pn_optim_range *r, pn_optim_squares *out);

#endif
