/* memory.c -- /proc/self: VmHWM and clear_refs; getrusage elsewhere. */
#include "train/memory.h"

#include <stdio.h>
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

int64_t pn_memory_peak(void) {
  FILE *f = fopen("/proc/self/status", "r");
  char line[256];
  long long kb = -1;

  if (!f) return peak_of_rusage();
  while (kb < 0 && fgets(line, sizeof line, f))
    if (sscanf(line, "VmHWM: %lld kB", &kb) != 1) kb = -1;
  fclose(f);
  return kb >= 0 ? (int64_t)kb * 1024 : peak_of_rusage();
}
