/* dataset_internal.h -- shared by the dataset*.c files only. */
#ifndef PN_DATA_DATASET_INTERNAL_H
#define PN_DATA_DATASET_INTERNAL_H

#include "data/dataset.h"
#include "data/shard_read.h"

enum { PN_DIGEST_BYTES = 65 };

struct pn_dataset {
  char *path; /* folder */
  char digest[PN_DIGEST_BYTES];
  int64_t channels, height, width, bits;
  char fit[16]; /* stretch where the index does not say */
  int n_classes;
  char **class_name; /* [n_classes] */
  int n_warnings;
  char **warning; /* [n_warnings] */
  int n_shards;
  pn_shard_map *shard; /* [n_shards]: all zero until opened */
  char **file;         /* [n_shards] */
  int64_t *bytes;      /* [n_shards] of the file, by the index */
  int64_t *first;      /* [n_shards + 1]: number of the shard's first image */
  int64_t count[PN_SPLIT_COUNT];
  uint32_t *number[PN_SPLIT_COUNT]; /* [count]: image numbers of a split, ascending */
  _Atomic uint8_t *checked;         /* bitset over all images: its CRC was right */
  pn_check check;
};

/* Fill all but the shard maps from the folder's index.json. */
pn_status pn_dataset_read_index(pn_dataset *d);

#endif
