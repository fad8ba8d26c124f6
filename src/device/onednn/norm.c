/* norm.c -- batch norm, alone or with ReLU, or with add and ReLU, by our own kernels. */
#include "device/simd/norm.h"
#include "device/onednn/api.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct norm {
  pn_norm_job job;
  bool batch; /* statistics of the batch, else the running ones */
  int64_t padded;
};

static float *array(const struct norm *s, float *aux, int which) {
  return aux + which * s->padded;
}

/* Running statistics: moved by the batch's, or taken for them. */
static void settle(const struct norm *s, float *aux, float *mean, float *var) {
  const pn_norm *n = &s->job.norm;
  int64_t count = s->job.view.images * s->job.view.pixels, channels = s->job.view.channels;
  float *m = array(s, aux, PN_NORM_MEAN), *v = array(s, aux, PN_NORM_INV);
  double unbiased = n->biased || count < 2 ? 1.0 : (double)count / (double)(count - 1);
  double part = (double)n->update;

  for (int64_t c = 0; c < channels; c++) {
    if (s->batch) {
      mean[c] = (float)((1 - part) * (double)mean[c] + part * (double)m[c]);
      var[c] = (float)((1 - part) * (double)var[c] + part * unbiased * (double)v[c]);
    } else {
      m[c] = mean[c];
      v[c] = var[c];
    }
  }
}

/* From mean and variance to what the loops take. */
static void coefficients(const struct norm *s, const float *gamma, const float *beta, float *aux) {
  float *m = array(s, aux, PN_NORM_MEAN), *v = array(s, aux, PN_NORM_INV);
  float *scale = array(s, aux, PN_NORM_SCALE), *shift = array(s, aux, PN_NORM_SHIFT);

  for (int64_t c = 0; c < s->job.view.channels; c++) {
    double inv = 1.0 / sqrt((double)v[c] + (double)s->job.norm.eps);
    v[c] = (float)inv;
    scale[c] = (float)((double)gamma[c] * inv);
    shift[c] = (float)((double)beta[c] - (double)m[c] * (double)gamma[c] * inv);
  }
}

/* SCRATCH: sums, then in evaluation what training keeps in AUX. */
static pn_status forward_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct norm *s = state;
  float *aux = ptr[PN_AUX];
  (void)ctx;

  if (!aux) aux = (float *)((double *)ptr[PN_SCRATCH] + pn_norm_scratch(&s->job.view));
  memset(aux, 0, (size_t)(PN_NORM_ARRAYS * s->padded) * sizeof *aux);
  if (s->batch) pn_norm_statistics(&s->job, ptr[PN_SRC], aux, ptr[PN_SCRATCH]);
  settle(s, aux, ptr[PN_MEAN], ptr[PN_VAR]);
  coefficients(s, ptr[PN_GAMMA], ptr[PN_BETA], aux);
  pn_norm_apply(&s->job, ptr[PN_SRC], ptr[PN_SRC1], aux, ptr[PN_DST]);
  return PN_OK;
}

static pn_norm_diffs diffs(void *const ptr[PN_ROLE_COUNT]) {
  return (pn_norm_diffs){.x = ptr[PN_SRC], .d = ptr[PN_DDST], .d1 = ptr[PN_DDST1]};
}

static pn_status post_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct norm *s = state;
  pn_norm_diffs p = diffs(ptr);
  (void)ctx;

  p.y = ptr[PN_DST];
  p.out = ptr[PN_DMID];
  pn_norm_post(&s->job, &p, ptr[PN_AUX], ptr[PN_SCRATCH]);
  return PN_OK;
}

static void give_gradients(const struct norm *s, float *aux, float *dgamma, float *dbeta) {
  size_t bytes = (size_t)s->job.view.channels * sizeof *aux;
  memcpy(dgamma, array(s, aux, PN_NORM_PRODUCT), bytes);
  memcpy(dbeta, array(s, aux, PN_NORM_SUM), bytes);
}

static pn_status weight_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct norm *s = state;
  pn_norm_diffs p = diffs(ptr);
  (void)ctx;

  pn_norm_sums(&s->job, &p, ptr[PN_AUX], ptr[PN_SCRATCH]);
  give_gradients(s, ptr[PN_AUX], ptr[PN_DGAMMA], ptr[PN_DBETA]);
  return PN_OK;
}

/* POST has summed already. */
static pn_status given_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  (void)ctx;
  give_gradients(state, ptr[PN_AUX], ptr[PN_DGAMMA], ptr[PN_DBETA]);
  return PN_OK;
}

/* dx = scale * (d - mean(d) - normal * mean(d * normal)), normal = (x - mean) / sd */
static pn_status data_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct norm *s = state;
  float *aux = ptr[PN_AUX], *const m = array(s, aux, PN_NORM_MEAN);
  double count = (double)(s->job.view.images * s->job.view.pixels);
  pn_norm_diffs p = diffs(ptr);
  (void)ctx;

  for (int64_t c = 0; c < s->job.view.channels; c++) {
    double scale = (double)array(s, aux, PN_NORM_SCALE)[c], x = 0, constant = 0;
    if (s->batch) {
      x = -scale * (double)array(s, aux, PN_NORM_INV)[c] *
          (double)array(s, aux, PN_NORM_PRODUCT)[c] / count;
      constant = -scale * (double)array(s, aux, PN_NORM_SUM)[c] / count - x * (double)m[c];
    }
    array(s, aux, PN_NORM_D)[c] = (float)scale;
    array(s, aux, PN_NORM_X)[c] = (float)x;
    array(s, aux, PN_NORM_C)[c] = (float)constant;
  }
  p.add = ptr[PN_DADD];
  p.out = ptr[PN_DSRC];
  pn_norm_data(&s->job, &p, aux);
  return PN_OK;
}

typedef pn_status run_fn(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx);

/* Operands and code of a pass; `added`: the chain has an add inside. */
static run_fn *answer(const struct norm *s, pn_task *t, bool added) {
  unsigned scratch = 1u << PN_SCRATCH, aux = t->training ? 1u << PN_AUX : 0;
  unsigned two = t->layout[PN_DDST1].tag[0] ? 1u << PN_DDST1 : 0;
  unsigned join = t->layout[PN_DADD].tag[0] ? 1u << PN_DADD : 0;
  unsigned diff = 1u << PN_SRC | 1u << PN_DDST | aux;

  t->scratch_bytes = (size_t)pn_norm_scratch(&s->job.view) * sizeof(double);
  switch (t->pass) {
  case PN_FORWARD:
    t->aux_bytes = t->training ? (size_t)(PN_NORM_ARRAYS * s->padded) * sizeof(float) : 0;
    if (!t->training) t->scratch_bytes += (size_t)(PN_NORM_ARRAYS * s->padded) * sizeof(float);
    t->uses = 1u << PN_SRC | 1u << PN_DST | 1u << PN_GAMMA | 1u << PN_BETA | 1u << PN_MEAN |
              1u << PN_VAR | scratch | aux;
    if (added) t->uses |= 1u << PN_SRC1;
    return forward_run;
  case PN_BACKWARD_POST:
    t->uses = diff | 1u << PN_DST | 1u << PN_DMID | scratch | two;
    return added ? post_run : NULL;
  case PN_BACKWARD_WEIGHT:
    t->uses = (added ? aux : diff | scratch | two) | 1u << PN_DGAMMA | 1u << PN_DBETA;
    return added ? given_run : weight_run;
  default:
    t->uses = diff | 1u << PN_DSRC | join | (added ? 0 : two);
    return data_run;
  }
}

/* All big operands are laid out like the input. */
static void like_source(pn_task *t) {
  const pn_layout *src = &t->layout[PN_SRC];
  static const pn_role roles[] = {PN_DST, PN_DSRC, PN_DDST, PN_DMID, PN_SRC1, PN_DDST1, PN_DADD};
  for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
    if ((roles[i] != PN_DDST1 && roles[i] != PN_DADD) || t->layout[roles[i]].tag[0]) {
      snprintf(t->layout[roles[i]].tag, PN_TAG_BYTES, "%s", src->tag);
      t->layout[roles[i]].type = src->type;
    }
}

pn_status dnn_norm_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  const pn_op_desc *op = t->op[0];
  bool added = t->n_ops == 3;
  struct norm *s = calloc(1, sizeof *s);

  if (!s) return PN_FAIL(PN_ERR_NOMEM, "onednn: norm");
  s->job = (pn_norm_job){.norm = op->norm, .threads = d->threads};
  s->job.relu = t->n_ops == 2 || (added && t->pass == PN_FORWARD);
  s->batch = t->training && !op->norm.frozen;
  t->layout[PN_SRC].type = t->precision;
  if (!pn_norm_view_make(&t->layout[PN_SRC], dnn_lanes(), &s->job.view)) {
    t->layout[PN_SRC] = pn_layout_plain(op->in);
    t->layout[PN_SRC].type = t->precision;
    if (!pn_norm_view_make(&t->layout[PN_SRC], dnn_lanes(), &s->job.view)) {
      free(s);
      return PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: norm of %d dimensions", op->in.n_dims);
    }
  }
  s->padded = pn_norm_padded(&s->job.view);
  like_source(t);
  *out = (pn_kernel){.run = answer(s, t, added), .destroy = free, .state = s};
  snprintf(out->impl, sizeof out->impl, "simd:norm");
  return PN_OK;
}
