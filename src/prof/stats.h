/* stats.h -- order statistics of measured times.  No assumption of normality. */
#ifndef PN_PROF_STATS_H
#define PN_PROF_STATS_H

#include "base/status.h"

#include <stdint.h>

typedef struct {
  int64_t n;
  double min, max, mean, sd; /* sd with n - 1; 0 for n = 1 */
  double median, p95;
  double ci95[2];  /* of the median, see pn_median_ci95 */
  double coverage; /* probability that ci95 really has: >= 0.95 from n = 6 on */
} pn_stats;

/* x: [n], any order, not changed.  Errors: ARG (n < 1), NUMERIC (a value is not finite), NOMEM. */
pn_status pn_stats_make(const double *x, int64_t n, pn_stats *out);

void pn_sort_doubles(double *x, int64_t n);                      /* ascending, in place */
double pn_percentile(const double *sorted, int64_t n, double p); /* p in [0, 100], linear */
double pn_median(const double *sorted, int64_t n);

/* Confidence interval of the median by order statistics: the narrowest symmetric pair
 * [x(k), x(n+1-k)] that covers the median with probability >= 0.95 when the n values are
 * independent draws (binomial, exact; any distribution).  For n < 6 no pair does: the result is
 * [min, max].  Returns the coverage. */
double pn_median_ci95(const double *sorted, int64_t n, double ci[2]);

#endif
