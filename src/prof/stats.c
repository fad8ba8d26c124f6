/* stats.c -- sorting, percentiles, the exact binomial interval of the median. */
#include "prof/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

void pn_sort_doubles(double *x, int64_t n) {
  if (n > 1) qsort(x, (size_t)n, sizeof *x, compare);
}

double pn_percentile(const double *sorted, int64_t n, double p) {
  double at = p / 100 * (double)(n - 1);
  int64_t i = (int64_t)at;

  if (i >= n - 1) return sorted[n - 1];
  return sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]);
}

double pn_median(const double *sorted, int64_t n) {
  return pn_percentile(sorted, n, 50);
}

/* Probability of i heads in n throws; logarithms, so that 2^-n does not underflow. */
static double binomial_half(int64_t n, int64_t i) {
  double a = (double)n, b = (double)i;
  return exp(lgamma(a + 1) - lgamma(b + 1) - lgamma(a - b + 1) - a * 0.6931471805599453);
}

double pn_median_ci95(const double *sorted, int64_t n, double ci[2]) {
  int64_t k = 1;
  double tail = binomial_half(n, 0); /* P(fewer than k values below the median) */

  while (k < n / 2) { /* x(k+1) is still low enough while that tail is <= 2.5 % */
    double next = tail + binomial_half(n, k);
    if (next > 0.025) break;
    tail = next;
    k++;
  }
  ci[0] = sorted[k - 1];
  ci[1] = sorted[n - k];
  return n > 1 ? 1 - 2 * tail : 0;
}

static void moments(const double *x, int64_t n, pn_stats *out) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < n; i++) sum += x[i];
  out->mean = sum / (double)n;
  for (int64_t i = 0; i < n; i++) squares += (x[i] - out->mean) * (x[i] - out->mean);
  out->sd = n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
}

pn_status pn_stats_make(const double *x, int64_t n, pn_stats *out) {
  double *sorted;

  *out = (pn_stats){.n = n};
  if (n < 1) return PN_FAIL(PN_ERR_ARG, "statistics of %lld values", (long long)n);
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(x[i]))
      return PN_FAIL(PN_ERR_NUMERIC, "value %lld of %lld is %g", (long long)i, (long long)n, x[i]);
  if (!(sorted = malloc((size_t)n * sizeof *sorted)))
    return PN_FAIL(PN_ERR_NOMEM, "statistics of %lld values", (long long)n);
  memcpy(sorted, x, (size_t)n * sizeof *sorted);
  pn_sort_doubles(sorted, n);
  out->min = sorted[0];
  out->max = sorted[n - 1];
  out->median = pn_median(sorted, n);
  out->p95 = pn_percentile(sorted, n, 95);
  out->coverage = pn_median_ci95(sorted, n, out->ci95);
  moments(sorted, n, out);
  free(sorted);
  return PN_OK;
}
