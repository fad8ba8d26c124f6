/* fit.h -- what the scaling fits share: points with weights, refusal, bootstrap.  Private to
 * src/report. */
#ifndef PN_REPORT_FIT_H
#define PN_REPORT_FIT_H

#include "report/scaling.h"

enum { PN_FIT_MAX_PARAMS = 4 };

/* Points of a weighted least squares problem: sum of ((s - model(p)) / sd)^2. */
typedef struct {
  int n;
  double p[PN_FIT_MAX_POINTS], s[PN_FIT_MAX_POINTS], sd[PN_FIT_MAX_POINTS];
  double rel_se[PN_FIT_MAX_POINTS]; /* of the point alone, floor applied */
} pn_fit_problem;

/* A law: theta are its free parameters, `derived` values follow from them. */
typedef struct {
  const char *name;
  int n_theta, n_out, min_sizes;
  bool uses_base; /* p = 1 tells something about theta */
  double (*predict)(const double *theta, double p);
  void (*solve)(const pn_fit_problem *q, double *theta);
  void (*derive)(const double *theta, double *out); /* the n_out values that are reported */
} pn_fit_law;

double pn_fit_chi2(const pn_fit_law *law, const pn_fit_problem *q, const double *theta);

/* Check, solve, bootstrap.  out: [law->n_out].  Errors: ARG, NOMEM. */
pn_status pn_fit_run(const pn_fit_law *law, const pn_scaling_data *d, pn_fit_info *info,
                     pn_estimate *out);

#endif
