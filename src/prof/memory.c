/* memory.c -- /proc/self: VmHWM, VmRSS and clear_refs; getrusage elsewhere. */
#include "prof/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

void pn_memory_reset_peak(void) {
  FILE *f = fopen("/proc/self/clear_refs", "w");
  if (!f) return;
  fputs("5\n", f); /* proc(5): reset VmHWM to VmRSS; refused = the old peak stays */
  fclose(f);
}

static int64_t peak_of_rusage(void) {
  struct rusage u;
  return getrusage(RUSAGE_SELF, &u) == 0 ? (int64_t)u.ru_maxrss * 1024 : 0;
}

/* Of a line such as "VmHWM:   1234 kB" of /proc/self/status, in bytes; -1: there is none. */
static int64_t status_bytes(const char *field) {
  FILE *f = fopen("/proc/self/status", "r");
  char line[256];
  long long kb = -1;

  if (!f) return -1;
  while (kb < 0 && fgets(line, sizeof line, f))
    if (strncmp(line, field, strlen(field)) == 0) kb = strtoll(line + strlen(field), NULL, 10);
  fclose(f);
  return kb >= 0 ? (int64_t)kb * 1024 : -1;
}

int64_t pn_memory_peak(void) {
  int64_t bytes = status_bytes("VmHWM:");
  return bytes >= 0 ? bytes : peak_of_rusage();
}

int64_t pn_memory_now(void) {
  int64_t bytes = status_bytes("VmRSS:");
  return bytes >= 0 ? bytes : 0;
}
