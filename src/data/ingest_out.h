/* ingest_out.h -- the output folder: who may write there, what already lies there.  Private. */
#ifndef PN_DATA_INGEST_OUT_H
#define PN_DATA_INGEST_OUT_H

#include "data/ingest_internal.h"

/* Rank 0, with the lock: an index that is there already.  *text (owned by the caller) is NULL where
 * there is none; pieces of an earlier try are then kept if they are of this very plan, else
 * removed. Errors: ARG: it is another ingest's; IO. */
pn_status pn_ingest_previous(const pn_ingest *x, char **text, size_t *bytes);
pn_status pn_ingest_forget(const char *out); /* rank 0: the journal of a finished job */
/* This rank's part of: every shard is there whole, and on the disk.  Errors: IO, FORMAT. */
pn_status pn_ingest_sync(const pn_ingest *x);

#endif
