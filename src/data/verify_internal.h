/* verify_internal.h -- what the checks of verify.c and verify_shard.c share.  Private to them. */
#ifndef PN_DATA_VERIFY_INTERNAL_H
#define PN_DATA_VERIFY_INTERNAL_H

#include "data/dataset.h"
#include "data/verify.h"

enum { PN_VERIFY_CLASSES = 256 };

typedef struct {
  const char *path; /* folder */
  json_t *index;
  char classes[4096]; /* comma separated, as the shards have them */
  int n_classes;
  pn_verify_problem *problem; /* [PN_VERIFY_MOST] of this rank; owned */
  int64_t n_listed, n_problems;
  /* Summed over the ranks at the end. */
  int64_t shards, images, bytes;
  int64_t class_count[PN_VERIFY_CLASSES], split_count[PN_SPLIT_COUNT];
} pn_verify;

void pn_verify_add(pn_verify *v, int64_t shard, const char *file, int64_t image, const char *fmt,
                   ...) __attribute__((format(printf, 5, 6)));
/* Shard number k of the index.  Errors: NOMEM. */
pn_status pn_verify_shard(pn_verify *v, int64_t k);

#endif
