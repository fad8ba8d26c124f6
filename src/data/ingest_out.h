/* ingest_out.h -- the output folder: who may write there, what already lies there.  Private. */
#ifndef PN_DATA_INGEST_OUT_H
#define PN_DATA_INGEST_OUT_H

#include "data/ingest_internal.h"

/* Rank 0: make the folder and lock it.  *lock is a file descriptor.  Errors: ARG (another ingest
 * is at work there), IO. */
pn_status pn_ingest_lock(const char *out, int *lock);
void pn_ingest_unlock(const char *out, int lock); /* lock -1: nothing */
/* Rank 0: an index that is there already.  *text (owned by the caller) is NULL where there is
 * none; leftovers of a job that died are then removed.  Errors: ARG: it is another ingest's. */
pn_status pn_ingest_previous(const pn_ingest *x, char **text, size_t *bytes);

#endif
