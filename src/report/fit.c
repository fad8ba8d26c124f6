/* fit.c -- checks of the points, goodness of fit, and the parametric bootstrap of all laws. */
#include "report/fit.h"

#include "base/rng.h"
#include "prof/stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { DRAWS = 2000 };
static const double REL_SE_FLOOR = 0.002; /* no timing on a shared machine is better than 0.2 % */

double pn_fit_chi2(const pn_fit_law *law, const pn_fit_problem *q, const double *theta) {
  double sum = 0;
  for (int i = 0; i < q->n; i++) {
    double r = (q->s[i] - law->predict(theta, q->p[i])) / q->sd[i];
    sum += r * r;
  }
  return sum;
}

/* 97.5 % quantile of Student's t. */
static double t975(int dof) {
  static const double t[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                             2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086};
  if (dof < 1) return INFINITY;
  return dof <= 20 ? t[dof - 1] : 1.96 + 2.5 / dof;
}

static int distinct_sizes(const pn_scaling_data *d, bool *has_one) {
  int n = 0;
  *has_one = false;
  for (int i = 0; i < d->n; i++) {
    bool seen = false;
    for (int k = 0; k < i; k++) seen = seen || d->points[k].p == d->points[i].p;
    n += !seen;
    *has_one = *has_one || d->points[i].p == 1;
  }
  return n;
}

static pn_status check_points(const pn_scaling_data *d) {
  if (d->n > PN_FIT_MAX_POINTS)
    return PN_FAIL(PN_ERR_ARG, "fit of %d points, at most %d", d->n, PN_FIT_MAX_POINTS);
  for (int i = 0; i < d->n; i++) {
    const pn_scaling_point *p = &d->points[i];
    if (!(p->p >= 1) || !(p->speedup > 0) || !isfinite(p->p) || !isfinite(p->speedup))
      return PN_FAIL(PN_ERR_ARG, "fit: point %d is p = %g, speedup = %g; expected p >= 1, S > 0", i,
                     p->p, p->speedup);
  }
  return PN_OK;
}

/* Too few sizes: the fit says so.  True when it was refused. */
static bool refuse(const pn_fit_law *law, const pn_scaling_data *d, pn_fit_info *info) {
  bool has_one;

  info->sizes = distinct_sizes(d, &has_one);
  if (info->sizes >= law->min_sizes && has_one) return false;
  snprintf(info->refused, sizeof info->refused,
           "%s needs %d different numbers of cores, the base's included; %d can be used%s",
           law->name, law->min_sizes, info->sizes,
           has_one || info->sizes == 0 ? "" : ", the base is not among them");
  return true;
}

static void load(const pn_fit_law *law, const pn_scaling_data *d, pn_fit_problem *q) {
  q->n = 0;
  for (int i = 0; i < d->n; i++) {
    const pn_scaling_point *p = &d->points[i];
    double own = fmax(p->rel_se, REL_SE_FLOOR);
    if (p->p == 1 && !law->uses_base) continue;
    q->p[q->n] = p->p;
    q->s[q->n] = p->speedup;
    q->rel_se[q->n] = own;
    q->sd[q->n++] = p->speedup * hypot(own, d->base_rel_se);
  }
}

static double rms_residual(const pn_fit_law *law, const pn_fit_problem *q, const double *theta) {
  double sum = 0;
  for (int i = 0; i < q->n; i++) {
    double r = q->s[i] / law->predict(theta, q->p[i]) - 1;
    sum += r * r;
  }
  return sqrt(sum / q->n);
}

/* Refit on speedups drawn around the fitted curve; sample[k * DRAWS + i] = value k of draw i. */
static void draw(const pn_fit_law *law, const pn_fit_problem *q, const pn_scaling_data *d,
                 const double *theta, double scale, double *sample) {
  for (int i = 0; i < DRAWS; i++) {
    pn_rng rng = pn_rng_make(d->seed, PN_RNG_BOOTSTRAP, (uint64_t)i, 0);
    double shared = d->base_rel_se * pn_rng_normal(&rng), refit[PN_FIT_MAX_PARAMS],
           value[PN_FIT_MAX_PARAMS];
    pn_fit_problem drawn = *q;
    for (int k = 0; k < q->n; k++) {
      double shift = scale * (q->rel_se[k] * pn_rng_normal(&rng) + shared);
      drawn.s[k] = law->predict(theta, q->p[k]) * exp(shift);
    }
    law->solve(&drawn, refit);
    law->derive(refit, value);
    for (int k = 0; k < law->n_out; k++) sample[k * DRAWS + i] = value[k];
  }
}

/* The estimate itself always lies inside its interval, also where a bound skews the draws. */
static void intervals(const pn_fit_law *law, double *sample, pn_estimate *out) {
  for (int k = 0; k < law->n_out; k++) {
    double *x = sample + k * DRAWS;
    pn_sort_doubles(x, DRAWS);
    out[k].ci95[0] = fmin(x[DRAWS / 40], out[k].value); /* order statistics: infinities are fine */
    out[k].ci95[1] = fmax(x[DRAWS - 1 - DRAWS / 40], out[k].value);
  }
}

static pn_status bootstrap(const pn_fit_law *law, const pn_fit_problem *q, const pn_scaling_data *d,
                           const double *theta, pn_estimate *out) {
  int dof = q->n - law->n_theta;
  double misfit = sqrt(fmax(1, pn_fit_chi2(law, q, theta) / dof));
  double *sample = malloc(sizeof *sample * DRAWS * (size_t)law->n_out);

  if (!sample) return PN_FAIL(PN_ERR_NOMEM, "bootstrap of the %s fit", law->name);
  draw(law, q, d, theta, misfit * t975(dof) / 1.96, sample);
  intervals(law, sample, out);
  free(sample);
  return PN_OK;
}

static void warn(const pn_fit_law *law, const pn_fit_problem *q, pn_fit_info *info) {
  if (info->rms > 0.05)
    snprintf(info->warning, sizeof info->warning, "%s misses the points by %.1f %% (rms)",
             law->name, 100 * info->rms);
  else if (law->n_theta > 1 && info->sizes < 6)
    snprintf(info->warning, sizeof info->warning,
             "%d sizes for %d parameters: six or more are advised", info->sizes, law->n_theta);
  else if (q->n - law->n_theta < 2)
    snprintf(info->warning, sizeof info->warning,
             "one degree of freedom: repeats or more sizes narrow the interval");
}

pn_status pn_fit_run(const pn_fit_law *law, const pn_scaling_data *d, pn_fit_info *info,
                     pn_estimate *out) {
  double theta[PN_FIT_MAX_PARAMS], value[PN_FIT_MAX_PARAMS];
  pn_status st = PN_OK;
  pn_fit_problem *q = NULL;

  *info = (pn_fit_info){0};
  PN_TRY(check_points(d));
  if (refuse(law, d, info)) return PN_OK;
  if (!(q = malloc(sizeof *q))) return PN_FAIL(PN_ERR_NOMEM, "%s fit", law->name);
  load(law, d, q);
  law->solve(q, theta);
  law->derive(theta, value);
  for (int k = 0; k < law->n_out; k++) out[k].value = value[k];
  info->points = q->n;
  info->rms = rms_residual(law, q, theta);
  warn(law, q, info);
  st = bootstrap(law, q, d, theta, out);
done:
  free(q);
  return st;
}
