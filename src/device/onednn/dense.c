/* dense.c -- fully connected layer by oneDNN's sgemm.  The weights are stored with their input
 * index in the order of the activation's layout, so that forward, backward-data and backward-weight
 * are plain matrix products and no step reorders the 33 MB matrix. */
#include "device/onednn/api.h"
#include "device/simd/simd.h"

#include <stdlib.h>
#include <string.h>

struct dense {
  struct dnn_device *device; /* borrowed */
  int64_t n, o, i;           /* batch, outputs, inputs (padding of the layout included) */
  bool bias, relu;
};

static pn_status forward_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct dense *s = state;
  dnnl_status_t rc;
  (void)ctx;
  dnn_use_threads(s->device);
  rc = dnnl_sgemm('N', 'T', s->n, s->o, s->i, 1.0f, ptr[PN_SRC], s->i, ptr[PN_WEIGHT], s->i, 0.0f,
                  ptr[PN_DST], s->o);
  if (rc == dnnl_success)
    pn_simd_bias_rows(ptr[PN_DST], s->bias ? ptr[PN_BIAS] : NULL, s->n, s->o, s->relu);
  return dnn_check(rc, "sgemm");
}

static pn_status weight_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct dense *s = state;
  (void)ctx;
  dnn_use_threads(s->device);
  if (s->bias) pn_simd_sum_rows(ptr[PN_DDST], s->n, s->o, ptr[PN_DBIAS]);
  return dnn_check(dnnl_sgemm('T', 'N', s->o, s->i, s->n, 1.0f, ptr[PN_DDST], s->o, ptr[PN_SRC],
                              s->i, 0.0f, ptr[PN_DWEIGHT], s->i),
                   "sgemm");
}

static pn_status data_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct dense *s = state;
  (void)ctx;
  dnn_use_threads(s->device);
  return dnn_check(dnnl_sgemm('N', 'N', s->n, s->i, s->o, 1.0f, ptr[PN_DDST], s->o, ptr[PN_WEIGHT],
                              s->i, 0.0f, ptr[PN_DSRC], s->i),
                   "sgemm");
}

/* Images follow each other: the batch is the outermost dimension and not blocked. */
static bool by_image(const pn_layout *l) {
  return l->tag[0] == 'a';
}

/* The common layout of an input (SRC or DSRC) and the weights; types stay.  What is fixed stays. */
static pn_status agree_tags(const pn_op_desc *op, pn_layout *in, pn_layout *weight) {
  bool chosen = weight->tag[0] != '\0';
  if (op->in.n_dims != 4) {
    *in = pn_layout_plain(op->in);
    *weight = pn_layout_plain(op->weight);
    return PN_OK;
  }
  if (!chosen && by_image(in)) {
    weight->shape = pn_shape4(op->weight.dim[0], op->in.dim[1], op->in.dim[2], op->in.dim[3]);
    memcpy(weight->tag, in->tag, sizeof weight->tag);
    return PN_OK;
  }
  if (!chosen || (weight->shape.n_dims == 2 && pn_layout_is_plain(weight))) {
    *in = pn_layout_plain(op->in);
    *weight = pn_layout_plain(op->weight);
    return PN_OK;
  }
  if (weight->shape.n_dims != 4 || !by_image(weight))
    return PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: dense with weights in layout %s", weight->tag);
  memcpy(in->tag, weight->tag, sizeof in->tag);
  return PN_OK;
}

static pn_status agree_layouts(const pn_op_desc *op, pn_layout *in, pn_layout *weight) {
  pn_dtype type = in->type;
  pn_status st = agree_tags(op, in, weight);
  in->type = type;
  return st;
}

/* Per pass: which roles are the input and the weights, and the rest of the operands. */
static const struct pass_row {
  pn_role in, weight, out, bias;
  pn_status (*run)(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx);
} pass_rows[PN_PASS_COUNT] = {
    [PN_FORWARD] = {PN_SRC, PN_WEIGHT, PN_DST, PN_BIAS, forward_run},
    [PN_BACKWARD_WEIGHT] = {PN_SRC, PN_DWEIGHT, PN_DDST, PN_DBIAS, weight_run},
    [PN_BACKWARD_DATA] = {PN_DSRC, PN_WEIGHT, PN_DDST, PN_BIAS, data_run},
};

pn_status dnn_dense_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  const struct pass_row *row = &pass_rows[t->pass];
  const pn_op_desc *op = t->op[0];
  struct dense *s;
  pn_dtype out_type;
  int64_t count;
  pn_status st;

  if (dnn_amx_fits(t)) return dnn_amx_prepare(d, t, out);
  if (t->pass == PN_BACKWARD_POST) return dnn_relu_post(d, t, out);
  if ((st = agree_layouts(op, &t->layout[row->in], &t->layout[row->weight])) != PN_OK) return st;
  if ((st = pn_layout_count(&t->layout[row->in], &count)) != PN_OK) return st;
  out_type = t->layout[row->out].type;
  t->layout[row->out] = pn_layout_plain(op->out);
  if (t->precision == PN_BF16) {
    t->layout[row->out].type = out_type;
    return dnn_dense_bf16_prepare(d, t, count / op->in.dim[0], out);
  }
  if (!(s = malloc(sizeof *s))) return PN_FAIL(PN_ERR_NOMEM, "onednn: dense");
  *s = (struct dense){d->impl,  op->in.dim[0], op->weight.dim[0], count / op->in.dim[0],
                      op->bias, t->n_ops == 2};
  t->uses = 1u << row->in | 1u << row->weight | 1u << row->out;
  if (op->bias && t->pass != PN_BACKWARD_DATA) t->uses |= 1u << row->bias;
  t->scratch_bytes = 0;
  if (t->pass == PN_FORWARD) t->aux_bytes = 0;
  *out = (pn_kernel){.run = row->run, .destroy = free, .state = s, .impl = "sgemm"};
  return PN_OK;
}
