/* fuzz_table.c -- any labels CSV: any bytes, with folds asked for. */
#include "data/labels.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  static const pn_table_rules rules[] = {{"", "", ""}, {"path=a,label=b", "1", "2"}};
  pn_labels out = {0};
  char *text = malloc(bytes + 1); /* its last byte is 0, so that a step too far is seen */

  if (!text) abort();
  for (int k = 0; k < 2; k++) {
    memcpy(text, data, bytes);
    text[bytes] = 0;
    pn_labels_is_table(text, bytes, rules[k].columns);
    if (pn_labels_table((pn_csv_text){"t.csv", text, bytes}, &rules[k], &out) == PN_OK) {
      if (pn_labels_order(&out, "") != PN_OK) abort();
      for (int64_t i = 0; i < out.n; i++)
        if (pn_labels_find(&out, out.label[i].id) != &out.label[i]) abort();
    }
    pn_labels_free(&out);
  }
  free(text);
  return 0;
}
