/* bucket.h -- the gradients arena cut into pieces that are summed over the ranks one by one.
 *
 * Buckets follow the order in which gradients become ready: from the end of the arena to its start.
 * The cut depends on nothing but the parameter map and the two sizes, so it is the same on all
 * ranks and in all runs. */
#ifndef PN_PARALLEL_BUCKET_H
#define PN_PARALLEL_BUCKET_H

#include "parallel/strategy.h"

typedef struct {
  int64_t first, count; /* elements of the arena; first is a multiple of 16 */
  int trigger;          /* the bucket is complete when this parameter's gradient is: the lowest one
                           that it touches */
} pn_bucket;

typedef struct {
  int n;
  pn_bucket *bucket; /* [n], descending `first`, together all gradients; owned */
} pn_bucket_plan;

/* A bucket closes at the first parameter where it holds `first_bytes` (the first one: small, so
 * that communication starts early) or `bucket_bytes`.  A parameter much larger than that becomes
 * several buckets, which all start together: their updates then overlap with the rest's sums.
 * Errors: ARG (sizes below 1), NOMEM. */
pn_status pn_buckets_make(const pn_param_map *map, int64_t first_bytes, int64_t bucket_bytes,
                          pn_bucket_plan *out);
/* With the size of a strategy, spec->bucket_bytes; the first is at most 1 MiB. */
pn_status pn_buckets_of(const pn_strategy_spec *spec, pn_bucket_plan *out);
void pn_buckets_free(pn_bucket_plan *b);

#endif
