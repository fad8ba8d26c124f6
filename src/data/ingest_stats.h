/* ingest_stats.h -- what the report of an ingest says, counted from the merged records alone: the
 * same at any number of ranks.  Private to ingest_*.c. */
#ifndef PN_DATA_INGEST_STATS_H
#define PN_DATA_INGEST_STATS_H

#include "data/ingest_internal.h"

enum {
  PN_STATS_CLASSES = 32, /* further ones are counted as one */
  PN_STATS_AGES = 11,    /* 0-9, ..., 80-89, 90 or more; missing */
  PN_STATS_SEXES = 4,    /* F, M, O, missing */
  PN_STATS_VIEWS = 8,    /* the most frequent; the last: missing or another */
  PN_STATS_SIDES = 9,    /* longer side of the source: powers of 2 from 128 */
  PN_STATS_REASONS = 64
};

typedef struct {
  char reason[PN_REASON_BYTES];
  int32_t outcome;
  int64_t n;
} pn_stats_reason;

typedef struct {
  int n_classes;
  const char *class_name[PN_STATS_CLASSES]; /* borrowed from the index */
  int64_t written, dropped;                 /* dropped: stored duplicates */
  int64_t by_split[PN_STATS_CLASSES][PN_SPLIT_COUNT];
  int64_t by_sex[PN_STATS_CLASSES][PN_STATS_SEXES];
  int64_t by_age[PN_STATS_CLASSES][PN_STATS_AGES];
  int64_t by_view[PN_STATS_CLASSES][PN_STATS_VIEWS];
  char view[PN_STATS_VIEWS][PN_SHARD_VIEW_BYTES];
  int64_t sides[PN_STATS_SIDES];
  int64_t levels[PN_INGEST_LEVELS];
  int32_t least[2], most[2]; /* height, width of the source images */
  int64_t boxes, boxes_clipped;
  int64_t patients, leaking; /* groups; those with images in more than one split */
  int n_reasons;
  pn_stats_reason reason[PN_STATS_REASONS]; /* by outcome, the most frequent first */
} pn_ingest_stats;

/* Errors: NOMEM. */
pn_status pn_ingest_stats_make(const pn_ingest *x, const json_t *index, pn_ingest_stats *out);
const char *pn_stats_sex(int i);
void pn_stats_age(int i, char out[16]);  /* "20-29", "90+", "missing" */
void pn_stats_side(int i, char out[16]); /* "512-1023" */

/* ingest_preview.c: preview.png in the output folder. */
pn_status pn_ingest_write_preview(const pn_ingest *x, const pn_ingest_stats *s);

#endif
