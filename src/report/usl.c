/* usl.c -- Gunther's universal scalability law, C(N) = lambda N / (1 + sigma (N-1) + kappa N
 * (N-1)). Levenberg-Marquardt with sigma, kappa >= 0; lambda is fitted too, because C(1) is one
 * noisy measurement. */
#include "report/fit.h"

#include <math.h>
#include <string.h>

enum { SIGMA, KAPPA, LAMBDA, N_THETA, N_MAX = N_THETA };

double pn_usl(const double t[3], double p) {
  return t[LAMBDA] * p / (1 + t[SIGMA] * (p - 1) + t[KAPPA] * p * (p - 1));
}

/* Gradient g = J'r and curvature h = J'J of chi2 / 2 at theta. */
static void derivatives(const pn_fit_problem *q, const double *t, double g[N_THETA],
                        double h[N_THETA][N_THETA]) {
  memset(g, 0, sizeof(double[N_THETA]));
  memset(h, 0, sizeof(double[N_THETA][N_THETA]));
  for (int i = 0; i < q->n; i++) {
    double p = q->p[i], c = pn_usl(t, p), d = t[LAMBDA] * p / c;
    double j[N_THETA] = {-c * (p - 1) / d, -c * p * (p - 1) / d, c / t[LAMBDA]};
    double w = 1 / (q->sd[i] * q->sd[i]), r = q->s[i] - c;
    for (int a = 0; a < N_THETA; a++) {
      g[a] += w * j[a] * r;
      for (int b = 0; b < N_THETA; b++) h[a][b] += w * j[a] * j[b];
    }
  }
}

/* Solve h x = g by elimination; h is positive definite after damping. */
static void solve3(double h[N_THETA][N_THETA], const double *g, double *x) {
  memcpy(x, g, sizeof(double[N_THETA]));
  for (int k = 0; k < N_THETA; k++)
    for (int r = k + 1; r < N_THETA; r++) {
      double m = h[r][k] / h[k][k];
      for (int c = k; c < N_THETA; c++) h[r][c] -= m * h[k][c];
      x[r] -= m * x[k];
    }
  for (int k = N_THETA - 1; k >= 0; k--) {
    for (int c = k + 1; c < N_THETA; c++) x[k] -= h[k][c] * x[c];
    x[k] /= h[k][k];
  }
}

/* A parameter that sits on its bound and wants to leave through it stays where it is. */
static void hold_bounds(const double *t, double *g, double h[N_THETA][N_THETA]) {
  for (int a = SIGMA; a <= KAPPA; a++) {
    if (t[a] > 0 || g[a] > 0) continue;
    g[a] = 0;
    for (int b = 0; b < N_THETA; b++) h[a][b] = h[b][a] = 0;
    h[a][a] = 1;
  }
}

static void damped_step(const pn_fit_problem *q, const double *t, double damping, double *next) {
  double g[N_THETA], h[N_THETA][N_THETA], x[N_THETA];

  derivatives(q, t, g, h);
  hold_bounds(t, g, h);
  for (int a = 0; a < N_THETA; a++) h[a][a] += damping * h[a][a] + 1e-12;
  solve3(h, g, x);
  next[SIGMA] = fmax(0, t[SIGMA] + x[SIGMA]);
  next[KAPPA] = fmax(0, t[KAPPA] + x[KAPPA]);
  next[LAMBDA] = fmax(1e-9, t[LAMBDA] + x[LAMBDA]);
}

static void solve_usl(const pn_fit_problem *q, double *theta);

static void derive_usl(const double *t, double *out) {
  memcpy(out, t, sizeof(double[N_THETA]));
  out[N_MAX] = t[KAPPA] > 0 && t[SIGMA] < 1 ? sqrt((1 - t[SIGMA]) / t[KAPPA])
               : t[KAPPA] > 0               ? 1
                                            : INFINITY;
}

static const pn_fit_law usl = {.name = "The USL",
                               .n_theta = N_THETA,
                               .n_out = N_THETA + 1,
                               .min_sizes = 4,
                               .uses_base = true,
                               .predict = pn_usl,
                               .solve = solve_usl,
                               .derive = derive_usl};

static double descend(const pn_fit_problem *q, double *theta) {
  double damping = 1e-3, chi2 = pn_fit_chi2(&usl, q, theta);

  for (int i = 0; i < 200 && damping < 1e12; i++) {
    double next[N_THETA], c;
    damped_step(q, theta, damping, next);
    c = pn_fit_chi2(&usl, q, next);
    if (!(c < chi2)) {
      damping *= 10;
      continue;
    }
    memcpy(theta, next, sizeof next);
    damping = fmax(damping / 10, 1e-9);
    if (chi2 - c < 1e-12 * (1 + chi2)) break;
    chi2 = c;
  }
  return fmin(chi2, pn_fit_chi2(&usl, q, theta));
}

/* From two starts, the better end: little contention, and much. */
static void solve_usl(const pn_fit_problem *q, double *theta) {
  double a[N_THETA] = {0.02, 0.001, 1}, b[N_THETA] = {0.5, 0.05, 1};
  memcpy(theta, descend(q, a) <= descend(q, b) ? a : b, sizeof a);
}

pn_status pn_fit_usl(const pn_scaling_data *d, pn_usl_fit *out) {
  pn_estimate e[N_THETA + 1] = {{0}};
  pn_status st = pn_fit_run(&usl, d, &out->info, e);

  out->sigma = e[SIGMA];
  out->kappa = e[KAPPA];
  out->lambda = e[LAMBDA];
  out->n_max = e[N_MAX];
  return st;
}
