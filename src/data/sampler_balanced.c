/* sampler_balanced.c -- an epoch with equally many images of each class. */
#include "base/rng.h"
#include "data/dataset.h"

#include <stdlib.h>

/* members[first[c] .. first[c + 1]): the images of class c, shuffled. */
static void sort_members(const pn_label_list *l, uint64_t seed, uint32_t epoch, int64_t *first,
                         int64_t *members) {
  for (int c = 0; c < l->n_classes; c++) {
    pn_rng rng = pn_rng_make(seed, PN_RNG_SHUFFLE, epoch, (uint32_t)c + 1);
    int64_t at = first[c];
    for (int64_t i = 0; i < l->n; i++)
      if (l->label[i] == c) members[at++] = i;
    for (int64_t i = at - 1; i > first[c]; i--) {
      int64_t j = first[c] + pn_rng_below(&rng, (uint32_t)(i - first[c] + 1)), t = members[i];
      members[i] = members[j];
      members[j] = t;
    }
    first[c + 1] = at;
  }
}

pn_status pn_sampler_balanced(const pn_label_list *l, uint64_t seed, uint32_t epoch,
                              int64_t *order) {
  int64_t *members = malloc((size_t)(2 * l->n) * sizeof *members), *place = members + l->n;
  int64_t *first = calloc((size_t)l->n_classes + 1, sizeof *first), turn = 0;
  pn_status st = PN_OK;

  if (!members || !first) {
    st = PN_FAIL(PN_ERR_NOMEM, "order of %lld images: out of memory", (long long)l->n);
    goto done;
  }
  sort_members(l, seed, epoch, first, members);
  pn_sampler_permute(seed, epoch, l->n, place);
  for (int64_t k = 0; k < l->n; turn++) /* one of each class in turn */
    for (int c = 0; c < l->n_classes && k < l->n; c++) {
      int64_t n = first[c + 1] - first[c];
      if (n > 0) order[place[k++]] = members[first[c] + turn % n];
    }
done:
  free(members);
  free(first);
  return st;
}
