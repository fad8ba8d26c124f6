/* fuzz_csv.c -- the label files: any bytes as labels, and, from the first form feed on, as the
 * class file. */
#include "data/labels.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* A copy that ends in 0 at its last allocated byte, so that a step too far is seen. */
static char *copy(const uint8_t *data, size_t bytes) {
  char *text = malloc(bytes + 1);
  if (!text) abort();
  memcpy(text, data, bytes);
  text[bytes] = 0;
  return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  const uint8_t *cut = bytes ? memchr(data, '\f', bytes) : NULL;
  size_t first = cut ? (size_t)(cut - data) : bytes;
  char *text = copy(data, first), *more = cut ? copy(cut + 1, bytes - first - 1) : NULL;
  pn_csv_text labels = {"labels.csv", text, first};
  pn_csv_text classes = {"classes.csv", more, cut ? bytes - first - 1 : 0};
  pn_labels out = {0};

  if (pn_labels_parse(labels, classes, &out) == PN_OK)
    for (int64_t i = 0; i < out.n; i++)
      if (pn_labels_find(&out, out.label[i].id) != &out.label[i]) abort();
  pn_labels_free(&out);
  free(text);
  free(more);
  return 0;
}
