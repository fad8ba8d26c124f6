/* conv_columns.c -- the first convolution of a network in bf16, image by image as a product of
 * windows and weights (amx_conv.h). */
#include "device/onednn/api.h"
#include "device/simd/amx_conv.h"
#include "device/simd/simd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct columns {
  pn_amx_columns shape;
  int64_t images, strips; /* strips of an image */
  int64_t in, out;        /* elements of an image, of a strip's result */
  int64_t filters;
  bool bias, relu;
  size_t padded_at, packed_at, work_at; /* in SCRATCH, after the matrix */
  int threads;
};

static void *at(void *const ptr[PN_ROLE_COUNT], size_t bytes) {
  return (char *)ptr[PN_SCRATCH] + bytes;
}

/* Rows of `width` to rows of the product's width, or back. */
static void widen(const struct columns *s, const float *weight, float *padded) {
  const int64_t width = s->shape.width, row = s->shape.product.c;
  for (int64_t k = 0; k < s->filters; k++) {
    memcpy(padded + k * row, weight + k * width, (size_t)width * sizeof *padded);
    memset(padded + k * row + width, 0, (size_t)(row - width) * sizeof *padded);
  }
}

static void narrow(const struct columns *s, const float *padded, float *weight) {
  const int64_t width = s->shape.width, row = s->shape.product.c;
  for (int64_t k = 0; k < s->filters; k++)
    memcpy(weight + k * width, padded + k * row, (size_t)width * sizeof *padded);
}

/* The matrix of strip i, counted over all images. */
static const pn_bf16 *strip_at(const struct columns *s, void *const ptr[PN_ROLE_COUNT], int64_t i) {
  const pn_bf16 *image = (const pn_bf16 *)ptr[PN_SRC] + i / s->strips * s->in;
  return pn_amx_columns_fill(&s->shape, image, i % s->strips * s->shape.strip, at(ptr, 0),
                             s->threads);
}

static pn_status forward_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct columns *s = state;
  pn_amx_gather_io io = {
      .packed = at(ptr, s->packed_at), .shift = s->bias ? ptr[PN_BIAS] : NULL, .relu = s->relu};
  (void)ctx;

  widen(s, ptr[PN_WEIGHT], at(ptr, s->padded_at));
  pn_amx_pack(&s->shape.product, false, at(ptr, s->padded_at), at(ptr, s->packed_at), s->threads);
  for (int64_t i = 0; i < s->images * s->strips; i++) {
    io.x = strip_at(s, ptr, i);
    io.y = (pn_bf16 *)ptr[PN_DST] + i * s->out;
    pn_amx_gather(&s->shape.product, &io, at(ptr, s->work_at), s->threads);
  }
  return PN_OK;
}

static pn_status weight_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct columns *s = state;
  pn_amx_weight_io io = {.dweight = at(ptr, s->padded_at)};
  (void)ctx;

  for (int64_t i = 0; i < s->images * s->strips; i++) {
    io.x = strip_at(s, ptr, i);
    io.dy = (const pn_bf16 *)ptr[PN_DDST] + i * s->out;
    io.add = i > 0;
    pn_amx_weight(&s->shape.product, &io, at(ptr, s->work_at), s->threads);
  }
  narrow(s, io.dweight, ptr[PN_DWEIGHT]);
  if (s->bias)
    pn_simd_sum_rows_bf16(ptr[PN_DDST], s->images * s->strips * s->out / s->filters, s->filters,
                          ptr[PN_DBIAS]);
  return PN_OK;
}

static void tag(pn_layout *l, pn_dtype type) {
  snprintf(l->tag, sizeof l->tag, "acdb");
  l->type = type;
}

static size_t align_up(size_t n) {
  return (n + 63) / 64 * 64;
}

static void answer(struct columns *s, pn_task *t) {
  bool forward = t->pass == PN_FORWARD;
  pn_role weight = forward ? PN_WEIGHT : PN_DWEIGHT, result = forward ? PN_DST : PN_DDST;
  size_t count = (size_t)pn_amx_packed(&s->shape.product), work;

  tag(&t->layout[PN_SRC], PN_BF16);
  tag(&t->layout[result], PN_BF16);
  tag(&t->layout[weight], PN_F32);
  t->uses = 1u << PN_SRC | 1u << weight | 1u << result | 1u << PN_SCRATCH;
  if (s->bias) t->uses |= 1u << (forward ? PN_BIAS : PN_DBIAS);
  s->padded_at = align_up(pn_amx_columns_bytes(&s->shape));
  s->packed_at = s->padded_at + align_up(count * sizeof(float));
  s->work_at = s->packed_at + align_up(count * sizeof(pn_bf16));
  work = forward ? pn_amx_gather_scratch(&s->shape.product, s->threads)
                 : pn_amx_weight_scratch(&s->shape.product);
  t->scratch_bytes = s->work_at + work;
  if (forward) t->aux_bytes = 0;
}

bool dnn_columns_fits(const pn_task *t) {
  const pn_layout *l = &t->layout[PN_WEIGHT];
  pn_amx_columns c;

  if (t->precision != PN_BF16 || t->n_ops > 2 || !dnn_tiles()) return false;
  if (t->pass == PN_BACKWARD_DATA || t->pass == PN_BACKWARD_POST) return false;
  if (t->n_ops == 2 && t->op[1]->kind != PN_OP_RELU) return false;
  if (l->tag[0] && strcmp(l->tag, "acdb") != 0) return false; /* stored for another kernel */
  return pn_amx_columns_make(t->op[0], &c);
}

pn_status dnn_columns_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  const pn_op_desc *op = t->op[0];
  struct columns *s = calloc(1, sizeof *s);

  if (!s) return PN_FAIL(PN_ERR_NOMEM, "onednn: tiles");
  (void)pn_amx_columns_make(op, &s->shape);
  s->images = op->in.dim[0];
  s->in = pn_shape_count(op->in) / s->images;
  s->strips = op->out.dim[2] / s->shape.strip;
  s->out = pn_shape_count(op->out) / s->images / s->strips;
  s->filters = op->out.dim[1];
  s->bias = op->bias;
  s->relu = t->n_ops == 2;
  s->threads = d->threads;
  answer(s, t);
  *out = (pn_kernel){.run = t->pass == PN_FORWARD ? forward_run : weight_run,
                     .destroy = free,
                     .state = s,
                     .impl = "amx:columns"};
  return PN_OK;
}
