/* far_update.h -- the optimizer on pieces (s->own) that lie in a device's own memory: one launch
 * for all of them, norms and clipping on the device.  Strategies call pn_pieces_*, which calls
 * this. */
#ifndef PN_PARALLEL_FAR_UPDATE_H
#define PN_PARALLEL_FAR_UPDATE_H

#include "parallel/strategy.h"

/* After the far pieces are placed: the table of ranges, to the device.  Fills s->far_update. */
pn_status pn_far_update_make(pn_strategy *s);
void pn_far_update_free(pn_strategy *s);

/* The coefficients of step t to the device; once per step, the functions below see to it where the
 * caller has not.  Only queued, and never part of a graph. */
pn_status pn_far_update_stage(pn_strategy *s, int64_t t, double lr);

/* The pieces that lie wholly in [lo, hi) of the arenas; not with clipping or LARS. */
pn_status pn_far_update_pieces(pn_strategy *s, int64_t lo, int64_t hi, int64_t t, double lr);
/* All of them.  grad_norm: see pn_pieces_update_all; with it the host waits for the device.
 * Collective where the pieces are cut. */
pn_status pn_far_update_all(pn_strategy *s, int64_t t, double lr, double *grad_norm);

/* fp16, where all of an update is queued: the device looks whether the gradients are finite, and
 * changes nothing where they are not.  Tell queues a copy of what it found, for a mark behind it;
 * outcome sets s->overflow, told: when that mark has passed, else it waits itself. */
pn_status pn_far_update_tell(pn_strategy *s);
pn_status pn_far_update_outcome(pn_strategy *s, bool told);

/* The average of the running statistics, after one of the two. */
pn_status pn_far_update_rest(pn_strategy *s);

#endif
