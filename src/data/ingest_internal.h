/* ingest_internal.h -- the steps of one ingest and what they hand on.  Private to ingest_*.c.
 *
 * list (rank 0) -> broadcast -> plan (pieces of the sorted list) -> pieces (each by one rank) ->
 * merge (all ranks know all records: duplicates, splits) -> index (rank 0 writes). */
#ifndef PN_DATA_INGEST_INTERNAL_H
#define PN_DATA_INGEST_INTERNAL_H

#include "data/ingest.h"
#include "data/labels.h"
#include "data/reject.h"
#include "data/shard.h"

enum { PN_INGEST_LEVELS = 16 }; /* bars of the grey level histogram */

/* The last two are lines of rejects.csv, not part of the account. */
typedef enum {
  PN_OUT_REJECTED,
  PN_OUT_DUPLICATE,
  PN_OUT_SKIPPED,
  PN_OUT_LABEL_ROW,
  PN_OUT_LEAK
} pn_outcome;

/* One image to be: a file found below the input folder, or image `number` of one that holds
 * several. Everything is counted in these. */
typedef struct {
  const char *path;        /* relative to config.in; borrowed from pn_ingest_source.list */
  int64_t size;            /* bytes of the file when it was listed */
  const char *skip_reason; /* not opened: why; NULL = a candidate */
  int64_t number, of;      /* 0 <= number < of: images that the file holds */
  int64_t label;           /* of labels.label, by the name; negative: kind.h */
} pn_ingest_file;

/* Files beside the images. */
typedef enum { PN_TEXT_LABELS, PN_TEXT_CLASSES, PN_TEXT_GROUPS, PN_TEXT_COUNT } pn_text_role;
typedef struct {
  char *name, *data; /* base name, for messages and rejects.csv; owned; NULL: there is none */
  size_t bytes;
} pn_ingest_text;

struct pn_kind; /* kind.h */

/* The same on every rank. */
typedef struct {
  const struct pn_kind *kind;
  int channels; /* of the stored images */
  char *list;   /* owned */
  size_t list_bytes;
  pn_ingest_text text[PN_TEXT_COUNT];
  pn_ingest_file *file; /* [n], sorted by path and number; owned */
  int64_t n;
  pn_labels labels;
  char plan[65]; /* SHA-256 of the inputs and of the options that shape the shards */
} pn_ingest_source;

/* Plain data: gathered over the ranks as bytes. */
typedef struct {
  int64_t file; /* index in pn_ingest_source.file */
  int32_t outcome, padding;
  pn_reject why;
} pn_ingest_event;

typedef struct {
  int64_t file, piece, row;
  int32_t label, height, width; /* height, width of the source image */
  uint32_t frame_crc;           /* CRC-32C of the decoded pixels before the resize */
  uint64_t group, uid[2];       /* hashes of the patient and of the SOP instance; uid 0: absent */
  uint32_t warnings;
  int32_t split; /* filled by merge: a pn_split, or -1: dropped */
  int32_t given; /* the split that came with the data, or -1 */
  int32_t padding;
  uint8_t sha256[32]; /* of the stored pixels */
  int16_t age;        /* as in pn_shard_meta, and sex and view too */
  uint8_t sex, pad;
  char view[PN_SHARD_VIEW_BYTES];
  uint16_t boxes, boxes_clipped;     /* stored; cut by ingest.fit=crop */
  uint16_t levels[PN_INGEST_LEVELS]; /* sampled pixels by grey level, dark to bright */
} pn_ingest_record;

typedef struct {
  int64_t piece;
  pn_shard_summary shard;
  uint32_t file_crc, padding; /* CRC-32C of the whole file */
} pn_ingest_shard;

typedef struct {
  void *data; /* owned */
  int64_t n, capacity;
  size_t item_bytes;
} pn_ingest_array;
pn_status pn_ingest_array_add(pn_ingest_array *a, const void *item);

typedef struct {
  const pn_ingest_config *cfg;
  pn_comm *comm;
  pn_ingest_source source;
  int64_t *cut;               /* [n_pieces + 1]: piece p is files cut[p] .. cut[p + 1] - 1; owned */
  int64_t n_pieces, capacity; /* capacity: most images in a piece */
  char decoder[320], *classes; /* classes: names with commas; owned */
  pn_shard_format format;      /* of every shard; borrows the texts above and source.plan */
  /* This rank's; after merge everybody's, sorted.  hits: int64_t, labels that a file carries. */
  pn_ingest_array events, records, shards, hits;
  int64_t resumed; /* pieces taken over from an earlier try; of all ranks after the merge */
  int64_t listed, rejected, duplicates, skipped, bad_label_rows, labels_without_file, leaks;
  int64_t dropped; /* rows of shards without a split: duplicates, leaks */
} pn_ingest;

/* ingest_list.c, rank 0: which kind of input it is, its files, the texts that go with them. */
pn_status pn_ingest_list(const pn_ingest_config *cfg, pn_ingest_source *s);
/* The command that unpacks a file of that name; NULL: no archive. */
const char *pn_unpack_command(const char *name);
/* ingest_source.c: to all ranks, parse, plan digest. Collective. */
pn_status pn_ingest_share(pn_ingest *x);
void pn_ingest_source_free(pn_ingest_source *s);
/* ingest_cut.c: the sorted list in pieces. */
pn_status pn_ingest_cut(pn_ingest *x);
/* ingest_piece.c (walk), ingest_image.c (one file), ingest_store.c (one image): pieces -> shards,
 * events, records.  Collective: one rank that fails stops all. */
pn_status pn_ingest_pieces(pn_ingest *x);
/* ingest_merge.c.  Collective. */
pn_status pn_ingest_merge(pn_ingest *x);
/* ingest_split.c, all ranks from the same sorted records: leaks between given splits, and a split
 * for every kept image that has none. */
pn_status pn_ingest_splits(pn_ingest *x);
pn_status pn_ingest_leaks(pn_ingest *x);
/* Log: classes without images, or without any in one of the splits. */
void pn_ingest_warn_classes(const pn_ingest *x);
/* After the merge: nothing was lost, and the limits of the options hold. */
pn_status pn_ingest_check_account(const pn_ingest *x);
/* ingest_index.c: *out is a new reference, with digest. */
pn_status pn_ingest_index(const pn_ingest *x, json_t **out);
pn_status pn_ingest_write_rejects(const pn_ingest *x);
/* ingest_report.c, ingest_preview.c, rank 0: report.md and preview.png, from the merged records. */
pn_status pn_ingest_write_report(const pn_ingest *x, const json_t *index);
pn_status pn_ingest_write_index(const pn_ingest *x, json_t *index);
/* The counts of the index are those of the shards and of the account. */
pn_status pn_ingest_check_index(const pn_ingest *x, const json_t *index);
pn_status pn_ingest_result_of_index(const json_t *index, pn_ingest_result *out);

#endif
