/* bucket.c -- cuts the gradients arena into buckets, last parameter first. */
#include "parallel/bucket.h"

#include <stdlib.h>

enum { ALIGN = 16, FIRST_BUCKET_BYTES = 1 << 20 };

/* Upper bound of the number of buckets: one per parameter, and the pieces of large ones. */
static int64_t most_buckets(const pn_param_map *map, int64_t limit) {
  return map->n + map->trainable / limit + 2;
}

/* Append [lo, hi) in pieces of `limit` to twice that, highest piece first. */
static void push(pn_bucket_plan *b, int64_t lo, int64_t hi, int64_t limit, int trigger) {
  int64_t pieces = (hi - lo) / limit > 1 ? (hi - lo) / limit : 1;
  int64_t piece = ((hi - lo) / pieces + ALIGN - 1) / ALIGN * ALIGN;

  for (int64_t end = hi; end > lo;) {
    int64_t first = end - lo > piece ? end - piece : lo;
    b->bucket[b->n++] = (pn_bucket){.first = first, .count = end - first, .trigger = trigger};
    end = first;
  }
}

pn_status pn_buckets_make(const pn_param_map *map, int64_t first_bytes, int64_t bucket_bytes,
                          pn_bucket_plan *out) {
  int64_t limit = bucket_bytes / (int64_t)sizeof(float) / ALIGN * ALIGN;
  int64_t close = first_bytes / (int64_t)sizeof(float), hi = map->trainable;
  int lowest = 0;

  *out = (pn_bucket_plan){0};
  if (limit < ALIGN || close < 1)
    return PN_FAIL(PN_ERR_ARG, "buckets of %lld and %lld bytes: expected 64 or more",
                   (long long)first_bytes, (long long)bucket_bytes);
  out->bucket = calloc((size_t)most_buckets(map, limit), sizeof *out->bucket);
  if (!out->bucket) return PN_FAIL(PN_ERR_NOMEM, "gradient buckets: out of memory");
  while (lowest < map->n && !map->slot[lowest].trainable) lowest++;
  for (int p = map->n - 1; p >= lowest; p--) {
    int64_t lo = p == lowest ? 0 : map->slot[p].offset;
    if (!map->slot[p].trainable || (p > lowest && hi - lo < close)) continue;
    push(out, lo, hi, limit, p);
    hi = lo;
    close = limit;
  }
  return PN_OK;
}

pn_status pn_buckets_of(const pn_strategy_spec *spec, pn_bucket_plan *out) {
  int64_t bytes = spec->bucket_bytes;
  int64_t first = bytes < FIRST_BUCKET_BYTES ? bytes : FIRST_BUCKET_BYTES;
  return pn_buckets_make(spec->map, first, bytes, out);
}

void pn_buckets_free(pn_bucket_plan *b) {
  if (!b) return;
  free(b->bucket);
  *b = (pn_bucket_plan){0};
}
