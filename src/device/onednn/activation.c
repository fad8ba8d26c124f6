/* activation.c -- sum, sigmoid, SiLU and softmax on the oneDNN device: own loops. */
#include "device/simd/activation.h"

#include "device/onednn/api.h"

#include <stdio.h>
#include <stdlib.h>

typedef pn_status run_fn(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx);

struct range {
  int64_t count; /* elements in memory */
  int64_t rows, classes, step;
  int threads;
};

#define RUN(name, ...)                                                                             \
  static pn_status name(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {     \
    const struct range *s = state;                                                                 \
    (void)ctx;                                                                                     \
    __VA_ARGS__;                                                                                   \
    return PN_OK;                                                                                  \
  }

RUN(add_run, pn_simd_add(ptr[PN_SRC], ptr[PN_SRC1], ptr[PN_DST], s->count, s->threads))
RUN(add_half, pn_simd_add_bf16(ptr[PN_SRC], ptr[PN_SRC1], ptr[PN_DST], s->count, s->threads))
RUN(sigmoid_run, pn_simd_sigmoid(ptr[PN_SRC], ptr[PN_DST], s->count, s->threads))
RUN(sigmoid_back,
    pn_simd_sigmoid_back(ptr[PN_DST], ptr[PN_DDST], ptr[PN_DSRC], s->count, s->threads))
RUN(silu_run, pn_simd_silu(ptr[PN_SRC], ptr[PN_DST], s->count, s->threads))
RUN(silu_back, pn_simd_silu_back(ptr[PN_SRC], ptr[PN_DDST], ptr[PN_DSRC], s->count, s->threads))
RUN(softmax_run, pn_simd_softmax(ptr[PN_SRC], ptr[PN_DST], s->rows, s->classes, s->step))
RUN(softmax_back,
    pn_simd_softmax_back(ptr[PN_DST], ptr[PN_DDST], ptr[PN_DSRC], s->rows, s->classes, s->step))

static const struct row {
  run_fn *forward, *back;
  pn_role kept; /* what backward reads beside the diff */
  bool padding; /* makes zeros of zeros: blocks need not be full */
  bool blocked; /* elementwise: any layout */
} rows[PN_OP_COUNT] = {
    [PN_OP_ADD] = {add_run, NULL, PN_SRC, true, true},
    [PN_OP_SIGMOID] = {sigmoid_run, sigmoid_back, PN_DST, false, true},
    [PN_OP_SILU] = {silu_run, silu_back, PN_SRC, true, true},
    [PN_OP_SOFTMAX] = {softmax_run, softmax_back, PN_DST, false, false},
};

/* The layout all operands share; `like` is the one that is there. */
static pn_status choose(const struct row *row, pn_layout *like, int64_t *count) {
  pn_dtype type = like->type;
  pn_status st = PN_OK;

  if (!row->blocked || !like->tag[0]) *like = pn_layout_plain(like->shape);
  PN_TRY(pn_layout_count(like, count));
  if (row->padding || *count == pn_shape_count(like->shape)) return PN_OK;
  *like = pn_layout_plain(like->shape);
  PN_TRY(pn_layout_count(like, count));
done:
  like->type = type;
  return st;
}

static unsigned share_layout(pn_task *t, const struct row *row, const pn_layout *like) {
  unsigned forward = 1u << PN_SRC | 1u << PN_DST, uses;

  if (t->op[0]->n_more) forward |= 1u << PN_SRC1;
  uses = t->pass == PN_FORWARD ? forward : 1u << row->kept | 1u << PN_DDST | 1u << PN_DSRC;
  for (int r = 0; r < PN_ROLE_COUNT; r++)
    if (uses & 1u << r) t->layout[r] = *like;
  return uses;
}

pn_status dnn_activation_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  const pn_op_desc *op = t->op[0];
  const struct row *row = &rows[op->kind];
  bool forward = t->pass == PN_FORWARD;
  pn_layout like = t->layout[forward ? PN_SRC : row->kept];
  struct range *s;
  pn_status st;

  if (!forward && (t->pass != PN_BACKWARD_DATA || !row->back))
    return PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: no such pass of %s", pn_op_name(op->kind));
  if (!(s = calloc(1, sizeof *s))) return PN_FAIL(PN_ERR_NOMEM, "onednn: activation");
  like.type = t->precision; /* bf16: sums only, see takes_bf16 */
  s->threads = d->threads;
  s->rows = op->in.dim[0];
  s->classes = op->in.n_dims > 1 ? op->in.dim[1] : 1;
  s->step = pn_shape_count(op->in) / (s->rows * s->classes);
  if ((st = choose(row, &like, &s->count)) != PN_OK) {
    free(s);
    return st;
  }
  t->uses = share_layout(t, row, &like);
  t->scratch_bytes = 0;
  if (forward) t->aux_bytes = 0;
  *out = (pn_kernel){.run = forward ? row->forward : row->back, .destroy = free, .state = s};
  if (t->precision == PN_BF16) out->run = add_half;
  snprintf(out->impl, sizeof out->impl, "simd");
  return PN_OK;
}
