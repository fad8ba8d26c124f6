/* clock.c -- monotonic seconds, sleep, UTC text. */
#include "base/clock.h"

#include <time.h>

double pn_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
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
