/* scaling.c -- speedup figures, and the laws with one free parameter: Amdahl and Gustafson. */
#include "report/scaling.h"

#include "report/fit.h"

#include <math.h>

double pn_efficiency(double speedup, double p) {
  return speedup / p;
}

double pn_karp_flatt(double speedup, double p) {
  return p > 1 ? (1 / speedup - 1 / p) / (1 - 1 / p) : NAN;
}

double pn_amdahl(double serial_fraction, double p) {
  return 1 / (serial_fraction + (1 - serial_fraction) / p);
}

double pn_gustafson(double serial_fraction, double p) {
  return p - serial_fraction * (p - 1);
}

static double predict_amdahl(const double *theta, double p) {
  return pn_amdahl(theta[0], p);
}

static double predict_gustafson(const double *theta, double p) {
  return pn_gustafson(theta[0], p);
}

/* Golden section on [lo, hi], which holds one minimum. */
static double golden(const pn_fit_law *law, const pn_fit_problem *q, double lo, double hi) {
  const double ratio = 0.6180339887498949;
  double a = hi - ratio * (hi - lo), b = lo + ratio * (hi - lo);
  double fa = pn_fit_chi2(law, q, &a), fb = pn_fit_chi2(law, q, &b);

  while (hi - lo > 1e-7) {
    if (fa <= fb) {
      hi = b, b = a, fb = fa;
      a = hi - ratio * (hi - lo);
      fa = pn_fit_chi2(law, q, &a);
    } else {
      lo = a, a = b, fa = fb;
      b = lo + ratio * (hi - lo);
      fb = pn_fit_chi2(law, q, &b);
    }
  }
  return (lo + hi) / 2;
}

/* A coarse grid finds the right valley (chi2 of Amdahl's law need not be convex in f); near a bound
 * the bound itself may be the minimum. */
static void solve_fraction(const pn_fit_law *law, const pn_fit_problem *q, double *theta) {
  enum { GRID = 64 };
  int best = 0;
  double least = INFINITY, inner;

  for (int i = 0; i <= GRID; i++) {
    double f = (double)i / GRID, c = pn_fit_chi2(law, q, &f);
    if (c < least) least = c, best = i;
  }
  inner = golden(law, q, fmax(0, (best - 1.0) / GRID), fmin(1, (best + 1.0) / GRID));
  *theta = pn_fit_chi2(law, q, &inner) < least ? inner : (double)best / GRID;
}

static void solve_amdahl(const pn_fit_problem *q, double *theta);
static void solve_gustafson(const pn_fit_problem *q, double *theta);

static void derive_fraction(const double *theta, double *out) {
  out[0] = theta[0];
}

static const pn_fit_law amdahl = {.name = "Amdahl's law",
                                  .n_theta = 1,
                                  .n_out = 1,
                                  .min_sizes = 3,
                                  .predict = predict_amdahl,
                                  .solve = solve_amdahl,
                                  .derive = derive_fraction};
static const pn_fit_law gustafson = {.name = "Gustafson's law",
                                     .n_theta = 1,
                                     .n_out = 1,
                                     .min_sizes = 3,
                                     .predict = predict_gustafson,
                                     .solve = solve_gustafson,
                                     .derive = derive_fraction};

static void solve_amdahl(const pn_fit_problem *q, double *theta) {
  solve_fraction(&amdahl, q, theta);
}

static void solve_gustafson(const pn_fit_problem *q, double *theta) {
  solve_fraction(&gustafson, q, theta);
}

pn_status pn_fit_amdahl(const pn_scaling_data *d, pn_fraction_fit *out) {
  return pn_fit_run(&amdahl, d, &out->info, &out->serial_fraction);
}

pn_status pn_fit_gustafson(const pn_scaling_data *d, pn_fraction_fit *out) {
  return pn_fit_run(&gustafson, d, &out->info, &out->serial_fraction);
}
