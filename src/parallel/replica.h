/* replica.h -- what strategies share that keep all parameters on every rank (single, ddp). */
#ifndef PN_PARALLEL_REPLICA_H
#define PN_PARALLEL_REPLICA_H

#include "parallel/strategy.h"

/* Allocate params, grads and state arenas and write the initial values.  Collective, agreed. */
pn_status pn_replica_alloc(pn_strategy *s);
void pn_replica_free(pn_strategy *s);

/* Optimizer step of the elements [first, first + count) of the arenas, alone or while gradients of
 * others are still on their way; not where pn_replica_needs_all. */
void pn_replica_update(pn_strategy *s, int64_t first, int64_t count, int64_t t, double lr);

/* Clipping and LARS look at norms first: all gradients must be there before the first update. */
bool pn_replica_needs_all(const pn_strategy *s);
/* Optimizer step of everything.  *grad_norm (may be NULL): Euclidean norm of the gradients of what
 * is not frozen, before clipping. */
void pn_replica_update_all(pn_strategy *s, int64_t t, double lr, double *grad_norm);

/* Rank 0 visits every parameter, then every optimizer state; other ranks nothing. */
pn_status pn_replica_visit_owned(pn_strategy *s, pn_visit_fn fn, void *ctx);
/* Every rank visits all of it. */
pn_status pn_replica_visit_held(pn_strategy *s, pn_visit_fn fn, void *ctx);

#endif
