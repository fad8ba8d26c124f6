/* dataset.h -- published shards opened for reading (index.json + HDF5 files), and who reads what.
 */
#ifndef PN_DATA_DATASET_H
#define PN_DATA_DATASET_H

#include "base/status.h"

#include <stdint.h>

typedef struct pn_dataset pn_dataset;
typedef enum { PN_TRAIN, PN_VAL, PN_TEST, PN_SPLIT_COUNT } pn_split;

const char *pn_split_name(pn_split s); /* "train", "val", "test" */

/* One image: a view into the mapped shard. */
typedef struct {
  const uint8_t *pixels; /* channels x height x width; u8, or native u16 when the set has 16 bits */
  int label;             /* class index */
  uint64_t id;           /* 0 .. number of images - 1 over all splits: stable, keys the RNG */
} pn_sample;

/* When the CRC-32C of an image is compared. */
typedef enum {
  PN_CHECK_FIRST, /* when it is read for the first time since the set was opened */
  PN_CHECK_ALWAYS,
  PN_CHECK_NEVER
} pn_check;

/* Read index.json in `path` and see that its shards are there; a set of a few hundred shards is
 * mapped at once, of a larger one each shard when it is first needed.  Not collective: every rank
 * opens for itself, then pn_agree.  Errors: IO (with the command that makes shards), FORMAT. */
pn_status pn_dataset_open(const char *path, pn_dataset **out);
void pn_dataset_close(pn_dataset *d);

int64_t pn_dataset_count(const pn_dataset *d, pn_split s);
void pn_dataset_shape(const pn_dataset *d, int64_t *channels, int64_t *height, int64_t *width);
int pn_dataset_bits(const pn_dataset *d);        /* of a pixel: 8 or 16 */
const char *pn_dataset_fit(const pn_dataset *d); /* ingest.fit: "stretch", ... */
int pn_dataset_n_classes(const pn_dataset *d);
const char *pn_dataset_class_name(const pn_dataset *d, int i);
const char *pn_dataset_digest(const pn_dataset *d); /* SHA-256 hex of index and pixels */
/* What to know before believing an accuracy on this set, as sentences: classes that go with their
 * source. */
int pn_dataset_n_warnings(const pn_dataset *d);
const char *pn_dataset_warning(const pn_dataset *d, int i);
void pn_dataset_set_check(pn_dataset *d, pn_check check); /* PN_CHECK_FIRST until then */

/* pn_sample.id of an image, without reading it; 0 <= i < count. */
uint64_t pn_dataset_id(const pn_dataset *d, pn_split s, int64_t i);
/* Its class, without reading its pixels.  Errors: ARG, those of opening its shard. */
pn_status pn_dataset_label(pn_dataset *d, pn_split s, int64_t i, int *label);
/* Open the shards of images index[0 .. n) and ask the kernel for their pixels, without waiting.
 * Errors: ARG, IO, FORMAT.  Thread-safe: no (HDF5). */
pn_status pn_dataset_reach(pn_dataset *d, pn_split s, const int64_t *index, int64_t n);
/* i-th image of a split, 0 <= i < count; checks its CRC-32C as pn_dataset_set_check says.
 * Errors: ARG, FORMAT (CRC: names shard and image), those of opening its shard.  Thread-safe for
 * images that pn_dataset_reach was called for. */
pn_status pn_dataset_get(pn_dataset *d, pn_split s, int64_t i, pn_sample *out);

/* sampler: order[k] for k in [0, n) is a permutation of 0..n-1, by (seed, epoch) only. */
void pn_sampler_permute(uint64_t seed, uint32_t epoch, int64_t n, int64_t *order);
/* The same with equally many images of each class that there is (within 1): those of a class take
 * turns, so that rare ones come several times and of frequent ones not all. */
typedef struct {
  const uint8_t *label; /* [n]; borrowed */
  int64_t n;
  int n_classes;
} pn_label_list;
pn_status pn_sampler_balanced(const pn_label_list *l, uint64_t seed, uint32_t epoch,
                              int64_t *order);
/* The images of each class that there is: group g has image[first[g]] to image[first[g + 1] - 1].
 */
typedef struct {
  int n;
  int64_t *first, *image; /* [n + 1], [images of the split], owned */
} pn_class_groups;
pn_status pn_class_groups_make(const pn_label_list *l, pn_class_groups *out);
void pn_class_groups_free(pn_class_groups *g);
/* One image of 32 random bits: of any class as often, within it of any image. */
int64_t pn_class_groups_pick(const pn_class_groups *g, uint32_t bits);
/* The part of `count` items that belongs to `rank` of `size`: contiguous, sizes differ by at
 * most 1. */
void pn_partition(int64_t count, int64_t rank, int64_t size, int64_t *first, int64_t *n);

#endif
