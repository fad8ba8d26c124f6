/* shard_columns.h -- all of a shard but its pixels, in memory, and its checksums.  For the writer
 * and for `pneuma verify`. */
#ifndef PN_DATA_SHARD_COLUMNS_H
#define PN_DATA_SHARD_COLUMNS_H

#include "data/shard.h"

/* Order of the root attribute PN_SHARD_SUMS, u32[PN_SHARD_COLUMNS]: CRC-32C of each column. */
enum { PN_SHARD_COLUMNS = 7 };
#define PN_SHARD_SUMS "column_crc32c"
const char *pn_shard_column_name(int i); /* "label", "crc32c", "sha256", ... */

typedef struct {
  int64_t images, n_boxes;
  uint8_t *label;      /* [images] */
  uint32_t *crc;       /* [images] */
  uint8_t *sha;        /* [images][32] */
  uint32_t *box_start; /* [images + 1] */
  float (*box)[5];     /* [n_boxes] */
  char *id;            /* [images][32], no NULs */
  pn_shard_meta *meta; /* [images] */
  /* Root attributes, read only. */
  int32_t number;
  char *classes, *decoder, *plan;
  uint32_t sums[PN_SHARD_COLUMNS];
} pn_shard_columns;

/* Read a published shard; *out owns its arrays: pn_shard_columns_free (a zeroed one is allowed).
 * Errors: IO, FORMAT (names the part), NOMEM. */
pn_status pn_shard_columns_read(const char *path, pn_shard_columns *out);
void pn_shard_columns_free(pn_shard_columns *c);

void pn_shard_columns_sums(const pn_shard_columns *c, uint32_t crc[PN_SHARD_COLUMNS]);
/* SHA-256 of sha256, label, box_start, boxes, id, meta: what index.json says of the shard. */
pn_status pn_shard_columns_digest(const pn_shard_columns *c, char hex[65]);

#endif
