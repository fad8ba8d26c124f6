/* replica.h -- what strategies share that keep everything on every rank (single, ddp). */
#ifndef PN_PARALLEL_REPLICA_H
#define PN_PARALLEL_REPLICA_H

#include "parallel/strategy.h"

/* Sizes of params, grads and state arenas.  Not collective. */
pn_status pn_replica_plan(pn_strategy *s);
/* Allocate them, on the device too, and write the initial values.  Collective, agreed. */
pn_status pn_replica_alloc(pn_strategy *s);
void pn_replica_free(pn_strategy *s);

/* The host's copy, brought up to date. */
pn_status pn_replica_gather(pn_strategy *s, bool average, float **out);

/* Rank 0 visits every parameter, then every optimizer state; other ranks nothing. */
pn_status pn_replica_visit_owned(pn_strategy *s, pn_visit_fn fn, void *ctx);
/* Every rank visits all of it. */
pn_status pn_replica_visit_held(pn_strategy *s, pn_visit_fn fn, void *ctx);

#endif
