/* clock.c -- monotonic seconds, sleep, UTC text. */
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double pn_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double pn_cpu_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* proc(5): field 22 of /proc/self/stat is the start in clock ticks since boot; field 2, the name,
 * may hold blanks and ends with the last parenthesis. */
double pn_process_age(void) {
  enum { BEFORE_START = 20 }; /* blanks between the parenthesis and the field */
  struct timespec now;
  char line[1024] = "";
  const char *p;
  FILE *f = fopen("/proc/self/stat", "r");

  if (!f) return 0;
  p = fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
  fclose(f);
  for (int i = 0; p && i < BEFORE_START; i++) p = strchr(p + 1, ' ');
  if (!p || clock_gettime(CLOCK_BOOTTIME, &now) != 0) return 0;
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec -
         strtod(p, NULL) / (double)sysconf(_SC_CLK_TCK);
}

void pn_sleep(double seconds) {
  struct timespec t = {.tv_sec = (time_t)seconds};
  t.tv_nsec = (long)(1e9 * (seconds - (double)t.tv_sec));
  nanosleep(&t, NULL);
}

void pn_utc_text(char *out, size_t out_bytes) {
  time_t now = time(NULL);
  struct tm tm;
  gmtime_r(&now, &tm);
  strftime(out, out_bytes, "%Y-%m-%dT%H:%M:%SZ", &tm);
}
