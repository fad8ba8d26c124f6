/* scaling.h -- speedup, efficiency, Karp-Flatt and the three scaling laws, with 95 % intervals.
 *
 * Every fit is weighted least squares on measured speedups.  It refuses, with the reason, where the
 * points cannot carry it.  Intervals: parametric bootstrap around the fitted curve; each draw moves
 * every point by its own standard error and all points together by the base's, both widened by
 * max(1, sqrt(chi2 / dof)) where the law misses the points, and by t(dof) / 1.96 for few points. */
#ifndef PN_REPORT_SCALING_H
#define PN_REPORT_SCALING_H

#include "base/status.h"

#include <stdint.h>

enum { PN_FIT_TEXT = 480, PN_FIT_MAX_POINTS = 256 };

/* One measurement.  Repeats of a size are points of their own; base points have p = 1. */
typedef struct {
  double p;       /* cores (or GPUs) relative to the base: >= 1 */
  double speedup; /* relative to the base, > 0 */
  double rel_se;  /* standard error of this point's time / its time; 0 = unknown */
} pn_scaling_point;

typedef struct {
  const pn_scaling_point *points; /* [n], borrowed */
  int n;
  double base_rel_se; /* standard error of the base's time / its time: shared by all points */
  uint64_t seed;      /* of the bootstrap: same seed, same interval */
} pn_scaling_data;

typedef struct {
  double value, ci95[2];
} pn_estimate;

/* What every fit says about itself. */
typedef struct {
  char refused[PN_FIT_TEXT]; /* "" = fitted; else why not, and nothing else is valid */
  char warning[PN_FIT_TEXT]; /* "" = none */
  int points, sizes;         /* measurements used; distinct p among all, p = 1 included */
  double rms;                /* root mean square of (measured - fitted) / fitted */
} pn_fit_info;

typedef struct {
  pn_fit_info info;
  pn_estimate serial_fraction; /* in [0, 1] */
} pn_fraction_fit;

typedef struct {
  pn_fit_info info;
  pn_estimate sigma, kappa, lambda; /* contention >= 0, crosstalk >= 0, throughput at 1 */
  pn_estimate n_max;                /* p of the highest throughput; INFINITY if kappa = 0 */
} pn_usl_fit;

double pn_efficiency(double speedup, double p);
/* (1/S - 1/p) / (1 - 1/p): constant over p = a serial part, rising = overhead.  NaN for p <= 1. */
double pn_karp_flatt(double speedup, double p);

double pn_amdahl(double serial_fraction, double p);    /* 1 / (f + (1 - f) / p) */
double pn_gustafson(double serial_fraction, double p); /* p - f (p - 1) */
double pn_usl(const double sigma_kappa_lambda[3], double p);

/* Strong scaling: needs 3 distinct p, p = 1 included.  Errors: ARG (a point is no measurement). */
pn_status pn_fit_amdahl(const pn_scaling_data *d, pn_fraction_fit *out);
/* Weak scaling (scaled speedup): needs 3 distinct p, p = 1 included.  Errors: ARG. */
pn_status pn_fit_gustafson(const pn_scaling_data *d, pn_fraction_fit *out);
/* Universal scalability law: needs 4 distinct p, p = 1 included; warns under 6.  Errors: ARG. */
pn_status pn_fit_usl(const pn_scaling_data *d, pn_usl_fit *out);

#endif
