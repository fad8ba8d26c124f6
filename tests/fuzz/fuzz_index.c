/* fuzz_index.c -- any bytes as the index.json of a folder.  PN_FUZZ_DIR: a folder with the shards
 * that the seeds name; its index.json is overwritten. */
#include "data/dataset.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void read_all(pn_dataset *d) {
  for (int s = 0; s < PN_SPLIT_COUNT; s++)
    for (int64_t i = 0; i < pn_dataset_count(d, (pn_split)s) && i < 64; i++) {
      pn_sample sample;
      if (pn_dataset_get(d, (pn_split)s, i, &sample) != PN_OK) return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  const char *folder = getenv("PN_FUZZ_DIR");
  pn_dataset *d = NULL;
  char path[PATH_MAX];
  FILE *f;

  snprintf(path, sizeof path, "%s/index.json", folder ? folder : "");
  if (!folder || !(f = fopen(path, "wb")) || fwrite(data, 1, bytes, f) != bytes || fclose(f) != 0) {
    fprintf(stderr, "fuzz_index: set PN_FUZZ_DIR to a folder of shards that may be written\n");
    exit(1);
  }
  if (pn_dataset_open(folder, &d) == PN_OK) read_all(d);
  pn_dataset_close(d);
  return 0;
}
