/* conv_norm.c -- evaluation: a convolution with the norm, the sum and the ReLU after it as post-ops
 * of one primitive.  A norm of running statistics is scale[c] * y + shift[c]; both follow from the
 * parameters at each run, since training goes on between evaluations. */
#include "device/onednn/api.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

struct conv_norm {
  struct dnn_device *device; /* borrowed */
  struct dnn_exec exec;
  pn_norm norm;
  int64_t channels; /* of the norm; 0: none */
  size_t scale_at;  /* bytes in SCRATCH, after oneDNN's */
};

static size_t align_up(size_t n) {
  return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static void coefficients(const struct conv_norm *c, void *const ptr[PN_ROLE_COUNT], float *scale,
                         float *shift) {
  const float *gamma = ptr[PN_GAMMA], *beta = ptr[PN_BETA];
  const float *mean = ptr[PN_MEAN], *var = ptr[PN_VAR];
  for (int64_t i = 0; i < c->channels; i++) {
    double s = (double)gamma[i] / sqrt((double)var[i] + (double)c->norm.eps);
    scale[i] = (float)s;
    shift[i] = (float)((double)beta[i] - (double)mean[i] * s);
  }
}

static pn_status run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  struct conv_norm *c = state;
  void *at[PN_ROLE_COUNT];
  (void)ctx;

  memcpy(at, ptr, sizeof at);
  if (c->channels) {
    at[PN_GAMMA] = (char *)ptr[PN_SCRATCH] + c->scale_at;
    at[PN_BETA] = (char *)at[PN_GAMMA] + align_up((size_t)c->channels * sizeof(float));
    coefficients(c, ptr, at[PN_GAMMA], at[PN_BETA]);
  }
  return dnn_exec_run(c->device, &c->exec, at);
}

static void destroy(void *state) {
  struct conv_norm *c = state;
  if (!c) return;
  dnn_exec_free(&c->exec);
  free(c);
}

/* The op of a kind in the chain, NULL: none. */
static const pn_op_desc *find(const pn_task *t, pn_op_kind kind) {
  for (int i = 1; i < t->n_ops; i++)
    if (t->op[i]->kind == kind) return t->op[i];
  return NULL;
}

bool dnn_conv_norm_fits(const pn_task *t) {
  return t->pass == PN_FORWARD && (find(t, PN_OP_NORM) || find(t, PN_OP_ADD));
}

/* NHWC everywhere, what is added too. */
static pn_status choose_bf16(struct dnn_conv_request *r, pn_task *t, bool added,
                             pn_layout found[DNN_CONV_TENSORS], dnnl_primitive_desc_t *pd) {
  static const char *const nhwc = "acdb";
  pn_layout want[DNN_CONV_TENSORS] = {t->layout[PN_SRC], t->layout[PN_WEIGHT], t->layout[PN_DST]};
  pn_status st;

  if (added) {
    snprintf(t->layout[PN_SRC1].tag, PN_TAG_BYTES, "%s", nhwc);
    t->layout[PN_SRC1].type = PN_BF16;
    r->post.added = &t->layout[PN_SRC1];
  }
  if ((st = dnn_conv_choose(r, want, found, pd)) != PN_OK) return st;
  if (!added || strcmp(found[DNN_CONV_DST].tag, nhwc) == 0) return PN_OK;
  return PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: no bf16 convolution with a sum");
}

/* Where the layouts of training have fast code they stay: neither weights nor activations are
 * reordered, and unlike oneDNN's own choice for inference that code takes the sum.  What is added
 * has the layout of the result. */
static pn_status choose(struct dnn_conv_request *r, pn_task *t, bool added,
                        pn_layout found[DNN_CONV_TENSORS], dnnl_primitive_desc_t *pd) {
  const pn_layout any = pn_layout_any(t->layout[PN_DST].shape);
  pn_layout want[DNN_CONV_TENSORS] = {t->layout[PN_SRC], t->layout[PN_WEIGHT],
                                      added ? t->layout[PN_SRC1] : any};

  if (r->type == PN_BF16) return choose_bf16(r, t, added, found, pd);
  if (added) r->post.added = &t->layout[PN_SRC1];
  if (dnn_conv_take_stored(r, want, found, pd)) return PN_OK;
  if (added) return PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: no convolution with a sum");
  return dnn_conv_choose(r, want, found, pd);
}

static void answer(struct conv_norm *c, const pn_op_desc *conv, size_t conv_scratch, bool added,
                   const pn_layout found[DNN_CONV_TENSORS], pn_task *t) {
  t->layout[PN_SRC] = found[DNN_CONV_SRC];
  t->layout[PN_WEIGHT] = found[DNN_CONV_WEIGHT];
  t->layout[PN_DST] = found[DNN_CONV_DST];
  if (added) t->layout[PN_SRC1] = found[DNN_CONV_DST];
  t->uses = 1u << PN_SRC | 1u << PN_WEIGHT | 1u << PN_DST;
  if (conv->bias) t->uses |= 1u << PN_BIAS;
  if (added) t->uses |= 1u << PN_SRC1;
  if (c->channels) t->uses |= 1u << PN_GAMMA | 1u << PN_BETA | 1u << PN_MEAN | 1u << PN_VAR;
  c->scale_at = align_up(conv_scratch);
  t->scratch_bytes = c->scale_at + 2 * align_up((size_t)c->channels * sizeof(float));
  if (t->scratch_bytes) t->uses |= 1u << PN_SCRATCH;
  t->aux_bytes = 0;
}

pn_status dnn_conv_norm_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  const pn_op_desc *norm = find(t, PN_OP_NORM);
  bool added = find(t, PN_OP_ADD) != NULL;
  struct dnn_conv_request r = {d->impl, PN_FORWARD, t->op[0], false, t->precision, {.affine = 0}};
  pn_layout found[DNN_CONV_TENSORS];
  dnnl_primitive_desc_t pd = NULL;
  struct conv_norm *c = calloc(1, sizeof *c);
  pn_status st = PN_OK;

  if (!c) return PN_FAIL(PN_ERR_NOMEM, "onednn: conv+norm");
  c->device = d->impl;
  if (norm) {
    c->norm = norm->norm;
    r.post.affine = c->channels = norm->in.dim[1];
  }
  r.post.relu = t->op[t->n_ops - 1]->kind == PN_OP_RELU;
  PN_TRY(choose(&r, t, added, found, &pd));
  PN_TRY(dnn_conv_exec(&r, pd, &c->exec));
  answer(c, t->op[0], dnn_pd_scratch(pd), added, found, t);
  dnn_conv_storage(&r, t);
  *out = (pn_kernel){.run = run, .destroy = destroy, .state = c};
  snprintf(out->impl, sizeof out->impl, "%s", dnn_pd_impl(pd));
  c = NULL;
done:
  if (pd) dnnl_primitive_desc_destroy(pd);
  destroy(c);
  return st;
}
