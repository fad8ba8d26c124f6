/* resident.h -- arenas of a strategy that live in a device's own memory.
 *
 * Strategies go on to speak of their host arenas; each part of those has a far twin, and parameters
 * and optimizer state are computed and updated there.  The host's arenas stay: copies for
 * checkpoints, evaluation and hashes, and stages for communicators that move host memory. */
#ifndef PN_PARALLEL_RESIDENT_H
#define PN_PARALLEL_RESIDENT_H

#include "parallel/strategy.h"

/* In setup, after the host arenas are filled: open, add or alias every part, close.  Open does
 * nothing (s->resident stays NULL, and so do the others) where the device works in host memory, and
 * where gradients are summed on the host (exact sums). */
pn_status pn_resident_open(pn_strategy *s);
/* copied: fetched for checkpoints and the like; gradients need not be. */
pn_status pn_resident_add(pn_strategy *s, const char *what, float *host, int64_t count,
                          bool copied);
/* Far memory of its own for several parts that are not there at the same time, and one of these. */
pn_status pn_resident_room(pn_strategy *s, const char *what, int64_t count, float **far);
pn_status pn_resident_alias(pn_strategy *s, float *host, int64_t count, float *far);
/* State and average: count elements each; where they are kept. */
pn_status pn_resident_add_state(pn_strategy *s, int64_t count);
/* Copies all that is `copied` to the device; s->own's pieces are far from now on. */
pn_status pn_resident_close(pn_strategy *s);
/* All of it for strategies with whole arenas of parameters and gradients. */
pn_status pn_resident_make(pn_strategy *s, int64_t state_count);
void pn_resident_free(pn_strategy *s);

/* The far twin of a place in a host arena; the place itself where nothing is resident. */
float *pn_resident_far(const pn_strategy *s, const float *host);
/* The communicator moves device memory: between ranks without the host. */
bool pn_resident_in_place(const pn_strategy *s);

/* The device's state to the host arenas; s->own's pieces are those of the host until return. */
pn_status pn_resident_fetch(pn_strategy *s);
pn_status pn_resident_look(pn_strategy *s);
/* changed: the host's state to the device. */
pn_status pn_resident_return(pn_strategy *s, bool changed);
/* Part of an arena. */
pn_status pn_resident_fetch_part(pn_strategy *s, float *host, int64_t count);
pn_status pn_resident_push_part(pn_strategy *s, const float *host, int64_t count);
/* Waits for the device with an eye on the other ranks: before the host needs what it computes. */
pn_status pn_resident_settle(pn_strategy *s);

#endif
