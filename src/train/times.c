/* times.c -- from the times of the steps to the numbers that are reported. */
#include "prof/stats.h"
#include "train/record.h"

#include <stdlib.h>

enum { MIN_WARMUP = 3 };

/* The first 3 steps or 10 % are warm-up; at least one step stays. */
static int64_t warmup_steps(int64_t n) {
  int64_t drop = n / 10 > MIN_WARMUP ? n / 10 : MIN_WARMUP;
  return drop < n ? drop : n - 1;
}

/* Steps that count: after warm-up and of the largest batch (an epoch's last step may be smaller);
 * x receives the chosen rows' indices. */
static int64_t choose(const pn_step_row *rows, int64_t n, int64_t *x) {
  int64_t drop = warmup_steps(n), largest = 0, chosen = 0;

  for (int64_t i = drop; i < n; i++)
    if (rows[i].images > largest) largest = rows[i].images;
  for (int64_t i = drop; i < n; i++)
    if (rows[i].images == largest) x[chosen++] = i;
  return chosen;
}

static pn_status column_ms(const pn_step_row *rows, const int64_t *index, int64_t n, pn_column c,
                           pn_stats *out) {
  double *x = malloc((size_t)n * sizeof *x);
  pn_status st;

  if (!x) return PN_FAIL(PN_ERR_NOMEM, "times of %lld steps: out of memory", (long long)n);
  for (int64_t i = 0; i < n; i++) x[i] = 1e3 * rows[index[i]].seconds[c];
  st = pn_stats_make(x, n, out);
  free(x);
  return st;
}

pn_status pn_record_times(const pn_step_row *rows, int64_t n, pn_train_result *r) {
  double *const phase[] = {&r->data_ms,         &r->forward_ms,     &r->backward_ms,
                           &r->comm_exposed_ms, &r->comm_hidden_ms, &r->comm_late_ms,
                           &r->update_ms};
  int64_t *index, chosen;
  pn_stats s;
  pn_status st = PN_OK;

  if (n == 0) return PN_OK; /* all steps were done by processes before: no times, zeros */
  index = malloc((size_t)n * sizeof *index);
  if (!index) return PN_FAIL(PN_ERR_NOMEM, "times of %lld steps: out of memory", (long long)n);
  chosen = choose(rows, n, index);
  for (int c = 0; c < PN_COL_STEP; c++) {
    PN_TRY(column_ms(rows, index, chosen, (pn_column)c, &s));
    *phase[c] = s.median;
  }
  PN_TRY(column_ms(rows, index, chosen, PN_COL_STEP, &s));
  r->step_ms = (pn_step_time){s.median, s.p95, {s.ci95[0], s.ci95[1]}, chosen};
  r->images_per_s = (double)rows[index[0]].images / (s.median * 1e-3);
done:
  free(index);
  return st;
}
