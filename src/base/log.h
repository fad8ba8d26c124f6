/* log.h -- stderr messages and the progress line.  stdout is for results only.
 *
 * Rank 0 speaks; other ranks are silent except for their own errors.  A progress bar with rate
 * and ETA is drawn on a terminal; a plain line at most every 10 s elsewhere. */
#ifndef PN_BASE_LOG_H
#define PN_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Set once at start.  quiet: only warnings and errors. */
void pn_log_init(int rank, bool quiet);
bool pn_log_quiet(void);

/* What is said from now on also goes to a file (appended), each line with the time; quiet does not
 * count there.  NULL: no more.  False: it cannot be opened (errno). */
bool pn_log_file(const char *path);
void pn_log_note(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* file only */

void pn_info(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* rank 0, not quiet */
void pn_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* rank 0 */
void pn_error(const char *fmt, ...)
    __attribute__((format(printf, 1, 2))); /* any rank; says which */

/* One progress line.  what, unit: borrowed strings, e.g. "ingest", "images". */
typedef struct {
  const char *what, *unit;
  int64_t total;
  double t_start_s, t_last_s;
  bool shown;
} pn_progress;

void pn_progress_start(pn_progress *p, const char *what, const char *unit, int64_t total);
void pn_progress_update(pn_progress *p, int64_t done, const char *note); /* note: may be NULL */
void pn_progress_end(pn_progress *p);                                    /* erases the bar */

#ifdef __cplusplus
}
#endif
#endif
