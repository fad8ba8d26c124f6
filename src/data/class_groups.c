/* class_groups.c -- the images of each class, to draw one from classes equally often. */
#include "data/dataset.h"

#include <stdlib.h>

pn_status pn_class_groups_make(const pn_label_list *l, pn_class_groups *out) {
  int64_t at = 0;

  *out = (pn_class_groups){.first = calloc((size_t)l->n_classes + 1, sizeof *out->first),
                           .image = calloc((size_t)l->n + 1, sizeof *out->image)};
  if (!out->first || !out->image) {
    pn_class_groups_free(out);
    return PN_FAIL(PN_ERR_NOMEM, "classes of %lld images: out of memory", (long long)l->n);
  }
  for (int c = 0; c < l->n_classes; c++) {
    for (int64_t i = 0; i < l->n; i++)
      if (l->label[i] == c) out->image[at++] = i;
    if (at > out->first[out->n]) out->first[++out->n] = at;
  }
  return PN_OK;
}

void pn_class_groups_free(pn_class_groups *g) {
  free(g->first);
  free(g->image);
  *g = (pn_class_groups){0};
}

int64_t pn_class_groups_pick(const pn_class_groups *g, uint32_t bits) {
  const int64_t *first = &g->first[bits % (uint32_t)g->n];

  return g->image[first[0] + bits / (uint32_t)g->n % (first[1] - first[0])];
}
