/* shard_read.h -- one published shard mapped for reading.  For dataset.c and the checks of it; the
 * schema is in shard.h. */
#ifndef PN_DATA_SHARD_READ_H
#define PN_DATA_SHARD_READ_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct {
  int64_t images, channels, height, width;
  int bits;              /* of a pixel: 8 or 16 (native u16) */
  size_t image_bytes;    /* channels * height * width * bits / 8 */
  const uint8_t *pixels; /* [images][image_bytes], a view into the map, aligned for u16 */
  uint8_t *label;        /* [images], owned */
  uint32_t *crc;         /* [images], owned */
  void *map;             /* owned: unmapped by close */
  size_t map_bytes;
} pn_shard_map;

/* Check format, version and shapes of `path`, read labels and checksums, map the pixels.  The file
 * is closed again: only the mapping stays.  Not collective.  Release with pn_shard_unmap.
 * Errors: IO (cannot open; says what to do), FORMAT, NOMEM. */
pn_status pn_shard_open_map(const char *path, pn_shard_map *out);
void pn_shard_unmap(pn_shard_map *m); /* a zeroed map is allowed */

#endif
