/* sampler.c -- which images come in which order, and which rank reads them. */
#include "base/rng.h"
#include "data/dataset.h"

#include <assert.h>

/* Fisher-Yates on the stream of (seed, epoch): the same order on every rank. */
void pn_sampler_permute(uint64_t seed, uint32_t epoch, int64_t n, int64_t *order) {
  pn_rng rng = pn_rng_make(seed, PN_RNG_SHUFFLE, epoch, 0);

  assert(n < UINT32_MAX);
  for (int64_t i = 0; i < n; i++) order[i] = i;
  for (int64_t i = n - 1; i > 0; i--) {
    int64_t j = pn_rng_below(&rng, (uint32_t)(i + 1)), t = order[i];
    order[i] = order[j];
    order[j] = t;
  }
}

void pn_partition(int64_t count, int64_t rank, int64_t size, int64_t *first, int64_t *n) {
  int64_t base = count / size, extra = count % size;
  *n = base + (rank < extra);
  *first = base * rank + (rank < extra ? rank : extra);
}
