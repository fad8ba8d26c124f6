/* status.c -- last error of this thread, status names, exit codes. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTES = 1024 };

static _Thread_local char last_error[MESSAGE_BYTES] = "";
static _Thread_local bool agreed;

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

pn_status pn_fail(pn_status st, const char *file, int line, const char *fmt, ...) {
  char text[MESSAGE_BYTES]; /* arguments may point into last_error: format aside, then copy */
  va_list ap;
  int n = snprintf(text, sizeof text, "%s:%d: ", base_name(file), line);

  va_start(ap, fmt);
  vsnprintf(text + n, sizeof text - (size_t)n, fmt, ap);
  va_end(ap);
  memcpy(last_error, text, sizeof text);
  agreed = false;
  return st;
}

const char *pn_status_name(pn_status st) {
  static const char *const names[] = {"ok",      "argument",    "memory",  "io",
                                      "format",  "unsupported", "device",  "communication",
                                      "timeout", "peer",        "numeric", "stopped"};
  return (size_t)st < sizeof names / sizeof *names ? names[st] : "unknown";
}

const char *pn_last_error(void) {
  return last_error;
}

int pn_status_exit_code(pn_status st) {
  if (st == PN_OK) return 0;
  if (st == PN_ERR_ARG) return 2;
  if (st == PN_ERR_STOPPED) return 75; /* EX_TEMPFAIL: Slurm's RequeueExit */
  return st == PN_ERR_TIMEOUT ? 4 : 1;
}

void pn_error_set_agreed(void) {
  agreed = true;
}

bool pn_error_agreed(void) {
  return agreed;
}
