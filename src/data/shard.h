/* shard.h -- one HDF5 file of images: schema and writer.  docs/shards.md is the full contract;
 * the reader is in shard_read.c.
 *
 *   /images     u8 or u16 [N, H, W] (one channel) or [N, C, H, W]; contiguous, so that pixels can
 *                   be mapped at H5Dget_offset
 *   /label      u8  [N]     class index
 *   /crc32c     u32 [N]     CRC-32C of each image's pixels
 *   /sha256     u8  [N, 32] SHA-256 of each image's pixels
 *   /box_start  u32 [N+1]   boxes of image i are rows box_start[i] .. box_start[i+1]-1 of /boxes
 *   /boxes      f32 [M, 5]  x, y, width, height (pixels of the stored image, x,y upper left
 *                   corner), class index; M = 0: dataset of 0 rows
 *   /id         string [N]   fixed 32 characters, salted hash of the source id
 *   /meta       compound [N] pn_shard_meta
 *
 * Root attributes: format (string), version (i32), number (i32, of this shard), classes (one
 * comma-separated string), decoder (string), plan (string: SHA-256 of the inputs and options).
 *
 * No time, host or rank is stored: the same input and options give the same bytes. */
#ifndef PN_DATA_SHARD_H
#define PN_DATA_SHARD_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

#define PN_SHARD_FORMAT "pneuma-shard"
#define PN_INDEX_FORMAT "pneuma-shards"
#define PN_INDEX_NAME   "index.json"
enum {
  PN_SHARD_VERSION = 2,
  PN_INDEX_VERSION = 2,
  PN_SHARD_ID_BYTES = 33, /* 32 hex digits and NUL */
  PN_SHARD_NAME_BYTES = 32,
  PN_SHARD_VIEW_BYTES = 10 /* leaves no padding in pn_shard_meta */
};
/* index.json: "split" of a shard is a string with one of these characters per image. */
#define PN_SPLIT_CHARS   "tve" /* [PN_TRAIN], [PN_VAL], [PN_TEST] */
#define PN_SPLIT_DROPPED '-'   /* stored, but a duplicate of another image: never handed out */

/* One row of /meta; member names are those of the struct. */
typedef struct {
  int32_t height, width;          /* of the source image */
  float spacing_mm[2];            /* row, column; 0 = missing */
  int16_t age;                    /* years, 90 = 90 or more, -1 = missing */
  uint16_t warnings;              /* PN_DICOM_W_* */
  uint8_t sex;                    /* 'M', 'F', 'O', 0 = missing */
  uint8_t inverted;               /* 1: stored inverted in the source (MONOCHROME1) */
  char view[PN_SHARD_VIEW_BYTES]; /* "PA", "AP", "" */
} pn_shard_meta;

typedef struct {
  float x, y, width, height; /* pixels; x, y: upper left corner */
  float label;               /* class index */
} pn_box;

/* What all images of a data set share; strings borrowed. */
typedef struct {
  int64_t channels, height, width;
  int bits;                             /* of a pixel: 8 or 16 */
  const char *classes, *decoder, *plan; /* root attributes */
} pn_shard_format;

typedef struct {
  int label; /* 0..255 */
  const char *id;
  const pn_box *boxes;
  int64_t n_boxes;
  pn_shard_meta meta;
} pn_shard_row;

/* What index.json says of a shard. */
typedef struct {
  char file[PN_SHARD_NAME_BYTES]; /* "shard-00042.h5" */
  int64_t images, bytes;          /* bytes of the file */
  char sha256[65]; /* of the bytes of /sha256, /label, /box_start, /boxes, /id, /meta */
} pn_shard_summary;

/* A shard is collected in memory and written in one go.  Not collective: one rank writes one file.
 */
typedef struct pn_shard_writer pn_shard_writer;
pn_status pn_shard_writer_create(const pn_shard_format *format, int64_t capacity,
                                 pn_shard_writer **out);
void pn_shard_writer_destroy(pn_shard_writer *w);
/* Room of the next image (channels x height x width u8 or u16): fill it, then append.  NULL: full.
 */
void *pn_shard_writer_next(pn_shard_writer *w);
/* sha256 (may be NULL): receives the SHA-256 of the pixels.  Errors: ARG (full), NOMEM. */
pn_status pn_shard_writer_append(pn_shard_writer *w, const pn_shard_row *row, uint8_t sha256[32]);
int64_t pn_shard_writer_count(const pn_shard_writer *w);
/* Write dir/shard-NNNNN.h5 (temporary name, rename) and empty the writer for the next one.  Safe
 * against a crash of the process; pn_file_sync makes it safe against a power cut, and must come
 * before an index names it.  Errors: IO with HDF5's or the system's reason. */
pn_status pn_shard_writer_publish(pn_shard_writer *w, const char *dir, int number,
                                  pn_shard_summary *out);

const char *pn_shard_library(void); /* "HDF5 1.10.8" */

#endif
