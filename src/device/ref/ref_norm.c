/* ref_norm.c -- batch norm, small_cnns.md 3.5.  AUX: doubles mean, 1/sd, sum of diffs, sum of diffs
 * times normalised inputs; one of each per channel. */
#include "device/ref/ref.h"

#include <math.h>

struct norm_shape {
  int64_t n, c, area; /* area 1 for rows */
};

static struct norm_shape shape_of(const pn_op_desc *op) {
  int64_t area = op->in.n_dims == 4 ? op->in.dim[2] * op->in.dim[3] : 1;
  return (struct norm_shape){op->in.dim[0], op->in.dim[1], area};
}

/* Element i of channel c, counted over images and pixels. */
static int64_t place(const struct norm_shape *s, int64_t c, int64_t i) {
  return (i / s->area * s->c + c) * s->area + i % s->area;
}

/* Mean and biased variance of a channel. */
static void statistics(const struct norm_shape *s, const float *x, int64_t c, double *mean,
                       double *var) {
  int64_t count = s->n * s->area;

  *mean = *var = 0;
  for (int64_t i = 0; i < count; i++) *mean += (double)x[place(s, c, i)];
  *mean /= (double)count;
  for (int64_t i = 0; i < count; i++) {
    double d = (double)x[place(s, c, i)] - *mean;
    *var += d * d;
  }
  *var /= (double)count;
}

static void update(const pn_op_desc *op, int64_t count, double mean, double var,
                   float *running_mean, float *running_var) {
  double m = (double)op->norm.update;

  if (!op->norm.biased && count > 1) var *= (double)count / (double)(count - 1);
  *running_mean = (float)((1 - m) * (double)*running_mean + m * mean);
  *running_var = (float)((1 - m) * (double)*running_var + m * var);
}

static pn_status norm_forward(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const ref_state *r = state;
  struct norm_shape s = shape_of(&r->op);
  const float *x = ptr[PN_SRC], *gamma = ptr[PN_GAMMA], *beta = ptr[PN_BETA];
  float *y = ptr[PN_DST], *running_mean = ptr[PN_MEAN], *running_var = ptr[PN_VAR];
  double *aux = ptr[PN_AUX];
  (void)ctx;

  for (int64_t c = 0; c < s.c; c++) {
    double mean = (double)running_mean[c], var = (double)running_var[c], inv;
    if (r->training && !r->op.norm.frozen) {
      statistics(&s, x, c, &mean, &var);
      update(&r->op, s.n * s.area, mean, var, &running_mean[c], &running_var[c]);
    }
    inv = 1.0 / sqrt(var + (double)r->op.norm.eps);
    for (int64_t i = 0; i < s.n * s.area; i++)
      y[place(&s, c, i)] =
          (float)(((double)x[place(&s, c, i)] - mean) * inv * (double)gamma[c] + (double)beta[c]);
    if (!r->training) continue;
    aux[c] = mean;
    aux[s.c + c] = inv;
  }
  return PN_OK;
}

static pn_status norm_weight(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  struct norm_shape s = shape_of(&((ref_state *)state)->op);
  const float *x = ptr[PN_SRC], *dy = ptr[PN_DDST];
  float *dgamma = ptr[PN_DGAMMA], *dbeta = ptr[PN_DBETA];
  double *aux = ptr[PN_AUX];
  (void)ctx;

  for (int64_t c = 0; c < s.c; c++) {
    double sum = 0, product = 0;
    for (int64_t i = 0; i < s.n * s.area; i++) {
      int64_t k = place(&s, c, i);
      sum += (double)dy[k];
      product += (double)dy[k] * ((double)x[k] - aux[c]) * aux[s.c + c];
    }
    dbeta[c] = (float)(aux[2 * s.c + c] = sum);
    dgamma[c] = (float)(aux[3 * s.c + c] = product);
  }
  return PN_OK;
}

static pn_status norm_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const pn_op_desc *op = &((ref_state *)state)->op;
  struct norm_shape s = shape_of(op);
  const float *x = ptr[PN_SRC], *dy = ptr[PN_DDST], *gamma = ptr[PN_GAMMA];
  const double *aux = ptr[PN_AUX];
  float *dx = ptr[PN_DSRC];
  double count = (double)(s.n * s.area);
  (void)ctx;

  for (int64_t c = 0; c < s.c; c++) {
    double inv = aux[s.c + c], sum = aux[2 * s.c + c] / count, product = aux[3 * s.c + c] / count;
    if (op->norm.frozen) sum = product = 0;
    for (int64_t i = 0; i < s.n * s.area; i++) {
      int64_t k = place(&s, c, i);
      double normal = ((double)x[k] - aux[c]) * inv;
      dx[k] = (float)((double)gamma[c] * inv * ((double)dy[k] - sum - normal * product));
    }
  }
  return PN_OK;
}

static size_t norm_aux(const pn_op_desc *op) {
  return 4 * (size_t)op->in.dim[1] * sizeof(double);
}

const ref_op ref_norm = {
    .pass[PN_FORWARD] = {norm_forward, REF_BIT(PN_SRC) | REF_BIT(PN_DST) | REF_BIT(PN_GAMMA) |
                                           REF_BIT(PN_BETA) | REF_BIT(PN_MEAN) | REF_BIT(PN_VAR) |
                                           REF_BIT(PN_AUX)},
    .pass[PN_BACKWARD_WEIGHT] = {norm_weight, REF_BIT(PN_SRC) | REF_BIT(PN_DDST) | REF_BIT(PN_AUX) |
                                                  REF_BIT(PN_DGAMMA) | REF_BIT(PN_DBETA)},
    .pass[PN_BACKWARD_DATA] = {norm_data, REF_BIT(PN_SRC) | REF_BIT(PN_DDST) | REF_BIT(PN_AUX) |
                                              REF_BIT(PN_GAMMA) | REF_BIT(PN_DSRC)},
    .aux_bytes = norm_aux,
};
