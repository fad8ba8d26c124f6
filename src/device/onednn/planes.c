/* planes.c -- average pools, zero padding, upsampling and concat: own loops, any layout of planes.
 */
#include "device/simd/planes.h"

#include "device/onednn/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef pn_status run_fn(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx);

struct planes {
  pn_pool pool;
  int64_t channels;
  bool pad_counts;
  int threads;
};

#define RUN(name, ...)                                                                             \
  static pn_status name(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {     \
    const struct planes *s = state;                                                                \
    (void)ctx;                                                                                     \
    __VA_ARGS__;                                                                                   \
    return PN_OK;                                                                                  \
  }

RUN(gap_run, pn_gap_forward(&s->pool, s->channels, ptr[PN_SRC], ptr[PN_DST], s->threads))
RUN(gap_back, pn_gap_backward(&s->pool, s->channels, ptr[PN_DDST], ptr[PN_DSRC], s->threads))
RUN(avg_run, pn_avg_forward(&s->pool, s->pad_counts, ptr[PN_SRC], ptr[PN_DST], s->threads))
RUN(avg_back, pn_avg_backward(&s->pool, s->pad_counts, ptr[PN_DDST], ptr[PN_DSRC], s->threads))
RUN(pad_run, pn_zeropad(&s->pool, ptr[PN_SRC], ptr[PN_DST], s->threads))
RUN(pad_back, pn_zeropad_back(&s->pool, ptr[PN_DDST], ptr[PN_DSRC], s->threads))
RUN(up_run, pn_upsample(&s->pool, ptr[PN_SRC], ptr[PN_DST], s->threads))
RUN(up_back, pn_upsample_back(&s->pool, ptr[PN_DDST], ptr[PN_DSRC], s->threads))

static run_fn *find_run(pn_op_kind kind, bool forward) {
  switch (kind) {
  case PN_OP_GAP:
    return forward ? gap_run : gap_back;
  case PN_OP_AVGPOOL:
    return forward ? avg_run : avg_back;
  case PN_OP_ZEROPAD:
    return forward ? pad_run : pad_back;
  default:
    return forward ? up_run : up_back;
  }
}

static void copy_tag(pn_layout *to, const char *tag) {
  snprintf(to->tag, sizeof to->tag, "%s", tag);
}

/* Backward keeps the layout of the forward's input, so that the diff fits what comes before. */
pn_status dnn_planes_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  const pn_op_desc *op = t->op[0];
  bool forward = t->pass == PN_FORWARD;
  pn_layout *l = t->layout, *in = &l[forward ? PN_SRC : PN_DSRC];
  pn_layout *result = &l[forward ? PN_DST : PN_DDST];
  struct planes *s;

  if (!forward && t->pass != PN_BACKWARD_DATA)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: %s has no weights", pn_op_name(op->kind));
  if (!(s = calloc(1, sizeof *s))) return PN_FAIL(PN_ERR_NOMEM, "onednn: planes");
  *s = (struct planes){
      .channels = op->in.dim[1], .pad_counts = op->pad_counts, .threads = d->threads};
  if (!forward) copy_tag(in, l[PN_SRC].tag);
  in->type = result->type = t->precision;
  if (!pn_pool_make(op, in, &s->pool)) {
    *in = pn_layout_plain(op->in);
    in->type = t->precision;
    (void)pn_pool_make(op, in, &s->pool);
  }
  copy_tag(result, op->kind == PN_OP_GAP ? "ab" : in->tag);
  t->uses = forward ? 1u << PN_SRC | 1u << PN_DST : 1u << PN_DDST | 1u << PN_DSRC;
  t->scratch_bytes = 0;
  if (forward) t->aux_bytes = 0;
  *out = (pn_kernel){.run = find_run(op->kind, forward), .destroy = free, .state = s};
  snprintf(out->impl, sizeof out->impl, "simd");
  return PN_OK;
}

/* ---- concat: per image, the inputs' bytes one after the other ---- */

struct concat {
  int64_t images;
  int n;
  int64_t count[PN_MAX_INPUTS]; /* elements of an image */
};

static pn_role input_role(int k, pn_role first, pn_role more) {
  return k == 0 ? first : (pn_role)((int)more + k - 1);
}

static pn_status concat_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct concat *s = state;
  float *to = ptr[PN_DST];
  (void)ctx;

  for (int64_t i = 0; i < s->images; i++)
    for (int k = 0; k < s->n; to += s->count[k], k++)
      memcpy(to, (float *)ptr[input_role(k, PN_SRC, PN_SRC1)] + i * s->count[k],
             (size_t)s->count[k] * sizeof *to);
  return PN_OK;
}

static pn_status concat_back(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct concat *s = state;
  const float *from = ptr[PN_DDST];
  (void)ctx;

  for (int64_t i = 0; i < s->images; i++)
    for (int k = 0; k < s->n; from += s->count[k], k++)
      memcpy((float *)ptr[input_role(k, PN_DSRC, PN_DSRC1)] + i * s->count[k], from,
             (size_t)s->count[k] * sizeof *from);
  return PN_OK;
}

static const pn_shape *input_shape(const pn_op_desc *op, int k) {
  return k ? &op->more[k - 1] : &op->in;
}

/* The tag that all share: blocked where every input fills its blocks, else plain. */
static void common_tag(const pn_op_desc *op, const char *first, char tag[PN_TAG_BYTES]) {
  int64_t block = strcmp(first, "aBcd16b") == 0 ? 16 : strcmp(first, "aBcd8b") == 0 ? 8 : 0;

  for (int k = 0; k <= op->n_more && block; k++)
    if (input_shape(op, k)->dim[1] % block) block = 0;
  snprintf(tag, PN_TAG_BYTES, "%s", block ? first : op->in.n_dims == 4 ? "abcd" : "ab");
}

pn_status dnn_concat_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  const pn_op_desc *op = t->op[0];
  bool forward = t->pass == PN_FORWARD;
  char tag[PN_TAG_BYTES];
  struct concat *s;
  (void)d;

  if ((!forward && t->pass != PN_BACKWARD_DATA) || (op->in.n_dims != 4 && op->in.n_dims != 2))
    return PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: no such pass of concat");
  if (!(s = calloc(1, sizeof *s))) return PN_FAIL(PN_ERR_NOMEM, "onednn: concat");
  common_tag(op, t->layout[PN_SRC].tag, tag);
  *s = (struct concat){.images = op->in.dim[0], .n = op->n_more + 1};
  t->uses = 1u << (forward ? PN_DST : PN_DDST);
  for (int k = 0; k < s->n; k++) {
    pn_role r = forward ? input_role(k, PN_SRC, PN_SRC1) : input_role(k, PN_DSRC, PN_DSRC1);
    s->count[k] = pn_shape_count(*input_shape(op, k)) / s->images;
    t->uses |= 1u << r;
    if (k > 0 || !forward) copy_tag(&t->layout[r], tag);
  }
  copy_tag(&t->layout[forward ? PN_DST : PN_DDST], tag);
  if (forward) copy_tag(&t->layout[PN_SRC], tag);
  t->scratch_bytes = 0;
  if (forward) t->aux_bytes = 0;
  *out = (pn_kernel){
      .run = forward ? concat_run : concat_back, .destroy = free, .state = s, .impl = "copy"};
  return PN_OK;
}
