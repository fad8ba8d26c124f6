/* conv_amx.c -- bf16 convolutions and dense layers by our own tile kernels, where the processor has
 * tiles and the channels fill them.  Weights are stored O H W I and packed in each run. */
#include "device/onednn/api.h"
#include "device/simd/amx.h"
#include "device/simd/amx_conv.h"
#include "device/simd/simd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct amx {
  pn_amx_pass pass; /* BACKWARD_WEIGHT: the forward one */
  bool data, bias, relu;
  int64_t rows; /* of DDST, for the bias */
  size_t packed_at;
  int threads;
};

static pn_status gather_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct amx *s = state;
  pn_bf16 *packed = (void *)((char *)ptr[PN_SCRATCH] + s->packed_at);
  pn_amx_gather_io io = {.x = ptr[s->data ? PN_DDST : PN_SRC],
                         .packed = packed,
                         .add = s->data ? ptr[PN_DADD] : NULL,
                         .shift = s->bias ? ptr[PN_BIAS] : NULL,
                         .relu = s->relu,
                         .y = ptr[s->data ? PN_DSRC : PN_DST]};
  (void)ctx;
  pn_amx_pack(&s->pass, s->data, ptr[PN_WEIGHT], packed, s->threads);
  pn_amx_gather(&s->pass, &io, ptr[PN_SCRATCH], s->threads);
  return PN_OK;
}

static pn_status weight_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct amx *s = state;
  pn_amx_weight_io io = {.x = ptr[PN_SRC], .dy = ptr[PN_DDST], .dweight = ptr[PN_DWEIGHT]};
  (void)ctx;
  pn_amx_weight(&s->pass, &io, ptr[PN_SCRATCH], s->threads);
  if (s->bias) pn_simd_sum_rows_bf16(ptr[PN_DDST], s->rows, s->pass.k, ptr[PN_DBIAS]);
  return PN_OK;
}

static const struct pass_row {
  pn_role src, weight, dst;
} rows[PN_PASS_COUNT] = {
    [PN_FORWARD] = {PN_SRC, PN_WEIGHT, PN_DST},
    [PN_BACKWARD_WEIGHT] = {PN_SRC, PN_DWEIGHT, PN_DDST},
    [PN_BACKWARD_DATA] = {PN_DSRC, PN_WEIGHT, PN_DDST},
};

/* Weights of a dense layer over an image: O C H W, stored like the image. */
static pn_layout weight_layout(const pn_op_desc *op) {
  pn_layout l = pn_layout_any(op->weight);

  if (op->kind == PN_OP_DENSE && op->in.n_dims == 4)
    l.shape = pn_shape4(op->weight.dim[0], op->in.dim[1], op->in.dim[2], op->in.dim[3]);
  snprintf(l.tag, sizeof l.tag, "%s", l.shape.n_dims == 4 ? "acdb" : "ab");
  return l;
}

static void nhwc(pn_layout *l) {
  snprintf(l->tag, sizeof l->tag, "%s", l->shape.n_dims == 4 ? "acdb" : "ab");
  l->type = PN_BF16;
}

static void answer(struct amx *s, pn_task *t) {
  const struct pass_row *r = &rows[t->pass];
  pn_layout *l = t->layout;
  bool add = s->data && l[PN_DADD].tag[0];

  nhwc(&l[r->src]);
  nhwc(&l[r->dst]);
  if (add) nhwc(&l[PN_DADD]);
  l[r->weight] = weight_layout(t->op[0]);
  t->uses = 1u << r->src | 1u << r->weight | 1u << r->dst | 1u << PN_SCRATCH;
  if (add) t->uses |= 1u << PN_DADD;
  if (s->bias) t->uses |= 1u << (t->pass == PN_FORWARD ? PN_BIAS : PN_DBIAS);
  if (t->pass == PN_FORWARD) t->aux_bytes = 0;
  if (t->pass == PN_BACKWARD_WEIGHT) {
    t->scratch_bytes = pn_amx_weight_scratch(&s->pass);
    return;
  }
  s->packed_at = (pn_amx_gather_scratch(&s->pass, s->threads) + 63) / 64 * 64;
  t->scratch_bytes = s->packed_at + (size_t)pn_amx_packed(&s->pass) * sizeof(pn_bf16);
}

/* Where the weights have another layout already, they were made for another kernel. */
static bool stored_otherwise(const pn_task *t) {
  const pn_layout *l = &t->layout[PN_WEIGHT];
  pn_layout own = weight_layout(t->op[0]);
  return l->tag[0] && !pn_layout_equal(l, &own);
}

bool dnn_amx_fits_shorter(const pn_task *t) {
  pn_task shorter = *t;

  shorter.n_ops = 2;
  return t->n_ops == 3 && t->pass == PN_FORWARD &&
         (dnn_amx_fits(&shorter) || dnn_columns_fits(&shorter));
}

bool dnn_amx_fits(const pn_task *t) {
  const pn_op_desc *op = t->op[0];
  pn_amx_pass p;

  if (t->precision != PN_BF16 || t->n_ops > 2 || !dnn_tiles()) return false;
  if (t->pass == PN_FORWARD && t->layout[PN_DST].type != PN_BF16) return false; /* logits */
  if (t->n_ops == 2 && t->op[1]->kind != PN_OP_RELU) return false;
  return !stored_otherwise(t) && pn_amx_forward_make(op, &p) && pn_amx_data_make(op, &p);
}

pn_status dnn_amx_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  const pn_op_desc *op = t->op[0];
  struct amx *s;

  if (t->pass == PN_BACKWARD_POST) return dnn_relu_post(d, t, out);
  if (!(s = calloc(1, sizeof *s))) return PN_FAIL(PN_ERR_NOMEM, "onednn: tiles");
  s->threads = d->threads;
  s->data = t->pass == PN_BACKWARD_DATA;
  s->bias = op->bias && !s->data;
  s->relu = t->pass == PN_FORWARD && t->n_ops == 2;
  s->rows = pn_shape_count(op->out) / op->weight.dim[0];
  (void)(s->data ? pn_amx_data_make : pn_amx_forward_make)(op, &s->pass);
  answer(s, t);
  *out = (pn_kernel){
      .run = t->pass == PN_BACKWARD_WEIGHT ? weight_run : gather_run, .destroy = free, .state = s};
  snprintf(out->impl, sizeof out->impl, "amx:%s", s->pass.direct ? "product" : "conv");
  return PN_OK;
}
