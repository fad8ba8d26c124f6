/* ingest_journal.h -- what a finished piece left behind, so that the same command can go on after a
 * crash.  Private to ingest_*.c.
 *
 * OUT/.ingest/plan       the plan digest: whose pieces these are
 * OUT/.ingest/NNNNN      one piece: its records and events, and the CRC-32C of its shard file
 *
 * Nothing here is synced to disk before index.json is written, and nothing is trusted: a journal
 * counts when its own CRC, the plan, the sizes and times of its input files and the CRC of its
 * shard all agree.  Else the piece is done again. */
#ifndef PN_DATA_INGEST_JOURNAL_H
#define PN_DATA_INGEST_JOURNAL_H

#include "data/ingest_internal.h"

/* Lengths of this rank's arrays before a piece: what came after belongs to it. */
typedef struct {
  int64_t events, records, shards, hits;
} pn_ingest_mark;
pn_ingest_mark pn_ingest_mark_now(const pn_ingest *x);

/* Size and time of the files of a piece, as one number: take it before they are read. */
uint32_t pn_ingest_stamp(const pn_ingest *x, int64_t piece);

/* Keep what came after `mark`.  Errors: IO, NOMEM. */
pn_status pn_ingest_journal_save(const pn_ingest *x, int64_t piece, uint32_t stamp,
                                 const pn_ingest_mark *mark);
/* *good: the piece was finished before; its entries were added to this rank's arrays.  Errors:
 * NOMEM. */
pn_status pn_ingest_journal_load(pn_ingest *x, int64_t piece, bool *good);

/* "OUT/shard-NNNNN.h5" of a piece. */
pn_status pn_ingest_shard_path(const pn_ingest *x, int64_t piece, char *path, size_t bytes);

#endif
