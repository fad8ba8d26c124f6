/* log.c -- messages on stderr, progress bar on a terminal and plain lines elsewhere. */
#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static int log_rank;
static bool log_is_quiet;
static FILE *log_file; /* NULL: none */

void pn_log_init(int rank, bool quiet) {
  log_rank = rank;
  log_is_quiet = quiet;
}

bool pn_log_quiet(void) {
  return log_is_quiet;
}

bool pn_log_file(const char *path) {
  if (log_file) fclose(log_file);
  log_file = path ? fopen(path, "a") : NULL;
  return !path || log_file;
}

static void write_down(const char *prefix, const char *text) {
  char now[32];

  if (!log_file) return;
  pn_utc_text(now, sizeof now);
  fprintf(log_file, "%s %s%s\n", now, prefix, text);
  fflush(log_file);
}

/* shown: on stderr too. */
static void say(bool shown, const char *prefix, const char *fmt, va_list ap) {
  char text[2048];
  vsnprintf(text, sizeof text, fmt, ap);
  if (shown) fprintf(stderr, "%s%s\n", prefix, text); /* one write: lines of ranks do not mix */
  write_down(prefix, text);
}

void pn_info(const char *fmt, ...) {
  va_list ap;
  if (log_rank != 0) return;
  va_start(ap, fmt);
  say(!log_is_quiet, "", fmt, ap);
  va_end(ap);
}

void pn_log_note(const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  say(false, "", fmt, ap);
  va_end(ap);
}

void pn_warn(const char *fmt, ...) {
  va_list ap;
  if (log_rank != 0) return;
  va_start(ap, fmt);
  say(true, "warning: ", fmt, ap);
  va_end(ap);
}

void pn_error(const char *fmt, ...) {
  char prefix[48];
  va_list ap;
  snprintf(prefix, sizeof prefix, "pneuma: rank %d: ", log_rank);
  va_start(ap, fmt);
  say(true, prefix, fmt, ap);
  va_end(ap);
}

void pn_progress_start(pn_progress *p, const char *what, const char *unit, int64_t total) {
  *p = (pn_progress){.what = what, .unit = unit, .total = total, .t_start_s = pn_now()};
  p->t_last_s = p->t_start_s;
}

static void draw_bar(const pn_progress *p, int64_t done, double rate, const char *note) {
  enum { WIDTH = 24 };
  char bar[WIDTH + 1];
  double share = p->total > 0 ? (double)done / (double)p->total : 0;
  int full = (int)(share * WIDTH);

  for (int i = 0; i < WIDTH; i++) bar[i] = i < full ? '#' : '.';
  bar[WIDTH] = '\0';
  fprintf(stderr, "\r\033[K%s [%s] %3.0f%%  %.4g %s/s  ETA %.0f s  %s", p->what, bar, 100 * share,
          rate, p->unit, rate > 0 ? (double)(p->total - done) / rate : 0.0, note ? note : "");
}

void pn_progress_update(pn_progress *p, int64_t done, const char *note) {
  bool terminal = isatty(STDERR_FILENO);
  double now = pn_now(), rate = (double)done / (now - p->t_start_s + 1e-9);

  if (log_rank != 0 || log_is_quiet || now - p->t_last_s < (terminal ? 0.1 : 10.0)) return;
  p->t_last_s = now;
  p->shown = true;
  if (terminal) {
    draw_bar(p, done, rate, note);
    return;
  }
  fprintf(stderr, "%s: %lld of %lld %s, %.4g %s/s, ETA %.0f s %s\n", p->what, (long long)done,
          (long long)p->total, p->unit, rate, p->unit,
          rate > 0 ? (double)(p->total - done) / rate : 0.0, note ? note : "");
}

void pn_progress_end(pn_progress *p) {
  if (p->shown && isatty(STDERR_FILENO)) fprintf(stderr, "\r\033[K");
  p->shown = false;
}
