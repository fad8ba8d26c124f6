/* fuzz_yaml.c -- any bytes as a configuration file. */
#include "cli/yaml.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  json_t *value = NULL, *lines = NULL;
  char path[64];
  int fd = memfd_create("yaml", MFD_CLOEXEC);

  if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes) abort();
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  if (pn_yaml_load_lines(path, &value, &lines) == PN_OK && (!value || !lines)) abort();
  json_decref(value);
  json_decref(lines);
  close(fd);
  return 0;
}
