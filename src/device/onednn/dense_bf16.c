/* dense_bf16.c -- fully connected layer in bf16 through oneDNN's matmul: f32 sums, f32 gradients of
 * the weights, which are stored as dense.c says. */
#include "device/onednn/api.h"
#include "device/simd/simd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dense {
  struct dnn_device *device; /* borrowed */
  struct dnn_exec exec;
  int64_t n, o; /* batch, outputs */
  bool bias;    /* BACKWARD_WEIGHT: sum the rows of DDST */
};

static pn_status run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  struct dense *s = state;
  (void)ctx;
  if (s->bias) pn_simd_sum_rows_bf16(ptr[PN_DDST], s->n, s->o, ptr[PN_DBIAS]);
  return dnn_exec_run(s->device, &s->exec, ptr);
}

static void destroy(void *state) {
  struct dense *s = state;
  if (!s) return;
  dnn_exec_free(&s->exec);
  free(s);
}

/* A pass as a product; tag "ba": the matrix lies transposed. */
static const struct product {
  pn_role src, weight, dst;
  const char *src_tag, *weight_tag;
} products[PN_PASS_COUNT] = {
    [PN_FORWARD] = {PN_SRC, PN_WEIGHT, PN_DST, "ab", "ba"},
    [PN_BACKWARD_WEIGHT] = {PN_DDST, PN_SRC, PN_DWEIGHT, "ba", "ab"},
    [PN_BACKWARD_DATA] = {PN_DDST, PN_WEIGHT, PN_DSRC, "ab", "ab"},
};

static pn_status matrix(int64_t rows, int64_t cols, const char *tag, pn_dtype type,
                        struct dnn_md *out) {
  pn_layout l = pn_layout_any(pn_shape2(rows, cols));
  snprintf(l.tag, sizeof l.tag, "%s", tag);
  l.type = type;
  return dnn_md_make(&l, out);
}

/* Rows, sum, columns of the product of a pass. */
static void extents(const pn_task *t, int64_t n, int64_t o, int64_t i, int64_t out[3]) {
  const int64_t forward[] = {n, i, o}, weight[] = {o, n, i}, data[] = {n, o, i};
  memcpy(out,
         t->pass == PN_FORWARD         ? forward
         : t->pass == PN_BACKWARD_DATA ? data
                                       : weight,
         sizeof forward);
}

static pn_status make_descriptors(const pn_task *t, const int64_t e[3],
                                  struct dnn_md m[DNN_MATMUL_TENSORS]) {
  const struct product *p = &products[t->pass];
  pn_status st = PN_OK;

  PN_TRY(matrix(e[0], e[1], p->src_tag, PN_BF16, &m[DNN_MATMUL_SRC]));
  PN_TRY(matrix(e[1], e[2], p->weight_tag, PN_BF16, &m[DNN_MATMUL_WEIGHT]));
  PN_TRY(matrix(e[0], e[2], "ab", t->layout[p->dst].type, &m[DNN_MATMUL_DST]));
  if (t->op[0]->bias && t->pass == PN_FORWARD)
    PN_TRY(matrix(1, e[2], "ab", PN_F32, &m[DNN_MATMUL_BIAS]));
done:
  return st;
}

static pn_status make_product(struct dense *s, const pn_task *t, int64_t inputs, pn_kernel *out,
                              size_t *scratch) {
  const struct product *p = &products[t->pass];
  struct dnn_md m[DNN_MATMUL_TENSORS] = {{.made = false}};
  struct dnn_post post = {.relu = t->pass == PN_FORWARD && t->n_ops == 2};
  dnnl_primitive_attr_t attr = NULL;
  dnnl_primitive_desc_t pd = NULL;
  int64_t e[3];
  pn_status st = PN_OK;

  extents(t, s->n, s->o, inputs, e);
  PN_TRY(make_descriptors(t, e, m));
  PN_TRY(dnn_attr_make(&post, &attr));
  PN_TRY(dnn_check(dnn_matmul_create(s->device->engine, m, attr, &pd), "matmul"));
  const struct dnn_arg args[] = {{DNNL_ARG_SRC, dnn_md_use(&m[DNN_MATMUL_SRC]), p->src},
                                 {DNNL_ARG_WEIGHTS, dnn_md_use(&m[DNN_MATMUL_WEIGHT]), p->weight},
                                 {DNNL_ARG_DST, dnn_md_use(&m[DNN_MATMUL_DST]), p->dst},
                                 {DNNL_ARG_BIAS, dnn_md_use(&m[DNN_MATMUL_BIAS]), PN_BIAS}};
  PN_TRY(dnn_exec_make(s->device, pd, args, m[DNN_MATMUL_BIAS].made ? 4 : 3, &s->exec));
  *scratch = dnn_pd_scratch(pd);
  snprintf(out->impl, sizeof out->impl, "matmul:%.48s", dnn_pd_impl(pd));
done:
  if (pd) dnnl_primitive_desc_destroy(pd);
  if (attr) dnnl_primitive_attr_destroy(attr);
  for (int k = 0; k < DNN_MATMUL_TENSORS; k++) dnn_md_free(&m[k]);
  return st;
}

pn_status dnn_dense_bf16_prepare(pn_device *d, pn_task *t, int64_t inputs, pn_kernel *out) {
  const struct product *p = &products[t->pass];
  const pn_op_desc *op = t->op[0];
  struct dense *s = calloc(1, sizeof *s);
  pn_status st = PN_OK;

  if (!s) return PN_FAIL(PN_ERR_NOMEM, "onednn: dense");
  s->device = d->impl;
  s->n = op->in.dim[0];
  s->o = op->weight.dim[0];
  s->bias = op->bias && t->pass == PN_BACKWARD_WEIGHT;
  t->layout[p->src].type = t->layout[p->weight].type = PN_BF16;
  PN_TRY(make_product(s, t, inputs, out, &t->scratch_bytes));
  t->uses = 1u << p->src | 1u << p->weight | 1u << p->dst;
  if (op->bias && t->pass == PN_FORWARD) t->uses |= 1u << PN_BIAS;
  if (s->bias) t->uses |= 1u << PN_DBIAS;
  if (t->scratch_bytes) t->uses |= 1u << PN_SCRATCH;
  if (t->pass == PN_FORWARD) t->aux_bytes = 0;
  out->run = run;
  out->destroy = destroy;
  out->state = s;
  s = NULL;
done:
  destroy(s);
  return st;
}
