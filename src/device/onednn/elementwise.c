/* elementwise.c -- ReLU, max-pool and dropout on the oneDNN device: own kernels, any layout. */
#include "device/dropout.h"
#include "device/onednn/api.h"
#include "device/simd/simd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef pn_status run_fn(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx);

struct flat {
  pn_op_desc op;
  int64_t count; /* elements in memory */
  pn_dtype type;
  bool nhwc; /* dropout: "acdb" */
  int threads;
};

struct pool {
  pn_pool pool;
  int threads;
};

static pn_status relu_forward(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct flat *s = state;
  (void)ctx;
  if (s->type == PN_BF16)
    pn_simd_relu_bf16(ptr[PN_SRC], ptr[PN_DST], s->count, s->threads);
  else
    pn_simd_relu(ptr[PN_SRC], ptr[PN_DST], s->count, s->threads);
  return PN_OK;
}

static void relu_back(const struct flat *s, void *const ptr[PN_ROLE_COUNT], pn_role to) {
  if (s->type == PN_BF16)
    pn_simd_relu_back_bf16(ptr[PN_DST], ptr[PN_DDST], ptr[to], s->count, s->threads);
  else
    pn_simd_relu_back(ptr[PN_DST], ptr[PN_DDST], ptr[to], s->count, s->threads);
}

static pn_status relu_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  (void)ctx;
  relu_back(state, ptr, PN_DSRC);
  return PN_OK;
}

static pn_status relu_post(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  (void)ctx;
  relu_back(state, ptr, PN_DMID);
  return PN_OK;
}

static void copy_tag(pn_layout *to, const pn_layout *from) {
  snprintf(to->tag, sizeof to->tag, "%s", from->tag);
  to->type = from->type;
}

/* A kernel over all elements of `like`, its two other operands laid out alike. */
static pn_status flat_kernel(pn_device *d, pn_task *t, const pn_layout *like, run_fn *run,
                             pn_kernel *out) {
  int64_t count;
  struct flat *s;
  pn_status st = pn_layout_count(like, &count);
  if (st != PN_OK) return st;
  if (!(s = malloc(sizeof *s))) return PN_FAIL(PN_ERR_NOMEM, "onednn: elementwise");
  *s = (struct flat){*t->op[0], count, like->type, strcmp(like->tag, "acdb") == 0, d->threads};
  t->scratch_bytes = 0;
  if (t->pass == PN_FORWARD) t->aux_bytes = 0;
  *out = (pn_kernel){.run = run, .destroy = free, .state = s, .impl = "simd"};
  return PN_OK;
}

pn_status dnn_relu_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  pn_layout *l = t->layout;
  if (t->pass == PN_FORWARD) {
    if (!l[PN_SRC].tag[0]) l[PN_SRC] = pn_layout_plain(l[PN_SRC].shape);
    l[PN_SRC].type = t->precision;
    copy_tag(&l[PN_DST], &l[PN_SRC]);
    t->uses = 1u << PN_SRC | 1u << PN_DST;
    return flat_kernel(d, t, &l[PN_SRC], relu_forward, out);
  }
  if (t->pass != PN_BACKWARD_DATA)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: relu has no weights");
  l[PN_DST].type = t->precision;
  copy_tag(&l[PN_DDST], &l[PN_DST]);
  copy_tag(&l[PN_DSRC], &l[PN_DST]);
  t->uses = 1u << PN_DST | 1u << PN_DDST | 1u << PN_DSRC;
  return flat_kernel(d, t, &l[PN_DST], relu_data, out);
}

pn_status dnn_relu_post(pn_device *d, pn_task *t, pn_kernel *out) {
  pn_layout *l = t->layout;
  l[PN_DST].type = t->precision;
  copy_tag(&l[PN_DDST], &l[PN_DST]);
  copy_tag(&l[PN_DMID], &l[PN_DST]);
  t->uses = 1u << PN_DST | 1u << PN_DDST | 1u << PN_DMID;
  return flat_kernel(d, t, &l[PN_DST], relu_post, out);
}

static pn_status pool_forward(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct pool *s = state;
  (void)ctx;
  pn_pool_forward(&s->pool, ptr[PN_SRC], ptr[PN_DST], ptr[PN_AUX], s->threads);
  return PN_OK;
}

/* In evaluation nobody keeps the places of the maxima. */
static pn_status pool_evaluate(void *state, void *const ptr[PN_ROLE_COUNT],
                               const pn_step_ctx *ctx) {
  const struct pool *s = state;
  (void)ctx;
  pn_pool_forward(&s->pool, ptr[PN_SRC], ptr[PN_DST], ptr[PN_SCRATCH], s->threads);
  return PN_OK;
}

static pn_status pool_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct pool *s = state;
  (void)ctx;
  pn_pool_backward(&s->pool, ptr[PN_DDST], ptr[PN_AUX], NULL, ptr[PN_DSRC], s->threads);
  return PN_OK;
}

static pn_status pool_post(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct pool *s = state;
  (void)ctx;
  pn_pool_backward(&s->pool, ptr[PN_DDST], ptr[PN_AUX], ptr[PN_DST], ptr[PN_DMID], s->threads);
  return PN_OK;
}

pn_status dnn_pool_post(pn_device *d, pn_task *t, pn_kernel *out) {
  pn_layout *l = t->layout;
  struct pool *s = calloc(1, sizeof *s);
  if (!s) return PN_FAIL(PN_ERR_NOMEM, "onednn: maxpool");
  s->threads = d->threads;
  l[PN_DST].type = t->precision;
  if (!pn_pool_make(t->op[t->n_ops - 1], &l[PN_DST], &s->pool)) {
    free(s);
    return PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: pool of layout %s", l[PN_DST].tag);
  }
  copy_tag(&l[PN_DDST], &l[PN_DST]);
  copy_tag(&l[PN_DMID], &l[PN_DST]);
  t->uses = 1u << PN_DDST | 1u << PN_DST | 1u << PN_AUX | 1u << PN_DMID;
  t->scratch_bytes = 0;
  *out = (pn_kernel){.run = pool_post, .destroy = free, .state = s, .impl = "simd"};
  return PN_OK;
}

static void pool_answer(pn_task *t, const pn_pool *pool) {
  pn_layout *l = t->layout;
  pn_role code = t->training ? PN_AUX : PN_SCRATCH;
  if (t->pass != PN_FORWARD) {
    copy_tag(&l[PN_DDST], &l[PN_DST]);
    copy_tag(&l[PN_DSRC], &l[PN_DST]);
    t->uses = 1u << PN_DDST | 1u << PN_AUX | 1u << PN_DSRC;
    t->scratch_bytes = 0;
    return;
  }
  copy_tag(&l[PN_DST], &l[PN_SRC]);
  t->uses = 1u << PN_SRC | 1u << PN_DST | 1u << code;
  t->aux_bytes = t->training ? (size_t)pn_pool_out_count(pool) : 0;
  t->scratch_bytes = t->training ? 0 : (size_t)pn_pool_out_count(pool);
}

pn_status dnn_pool_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  pn_layout *like = &t->layout[t->pass == PN_FORWARD ? PN_SRC : PN_DST];
  struct pool *s;
  if (t->pass != PN_FORWARD && t->pass != PN_BACKWARD_DATA)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: maxpool has no weights");
  if (!(s = calloc(1, sizeof *s))) return PN_FAIL(PN_ERR_NOMEM, "onednn: maxpool");
  s->threads = d->threads;
  like->type = t->precision;
  if (!pn_pool_make(t->op[0], like, &s->pool)) {
    *like = pn_layout_plain(like->shape);
    like->type = t->precision;
    if (t->pass != PN_FORWARD || !pn_pool_make(t->op[0], like, &s->pool)) {
      free(s);
      return PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: maxpool with this window or layout");
    }
  }
  pool_answer(t, &s->pool);
  *out = (pn_kernel){.destroy = free, .state = s, .impl = "simd"};
  out->run = t->pass != PN_FORWARD ? pool_data : t->training ? pool_forward : pool_evaluate;
  return PN_OK;
}

static void scale(const float *from, const float *factor, float *to, int64_t n) {
  for (int64_t i = 0; i < n; i++) to[i] = from[i] * factor[i];
}

static void scale_bf16(const pn_bf16 *from, const float *factor, pn_bf16 *to, int64_t n) {
  for (int64_t i = 0; i < n; i++) to[i] = pn_bf16_of(pn_bf16_to_f32(from[i]) * factor[i]);
}

/* An image's C H W numbers to H W C. */
static void channels_last(const pn_shape *s, const float *from, float *to) {
  int64_t pixels = s->dim[2] * s->dim[3];
  for (int64_t p = 0; p < pixels; p++)
    for (int64_t c = 0; c < s->dim[1]; c++) *to++ = from[c * pixels + p];
}

/* to = from * factor, the same factors in both directions. */
static pn_status drop(const struct flat *s, const void *from, void *to, float *factor,
                      const pn_step_ctx *ctx) {
  int64_t batch = s->op.in.dim[0], each = pn_shape_count(s->op.in) / batch;
  float *in_order = s->nhwc ? factor + each : factor;
  for (int64_t n = 0; n < batch; n++) {
    pn_status st = pn_dropout_factors(&s->op, ctx, n, 0, each, factor);
    if (st != PN_OK) return st;
    if (s->nhwc) channels_last(&s->op.in, factor, in_order);
    if (s->type == PN_BF16)
      scale_bf16((const pn_bf16 *)from + n * each, in_order, (pn_bf16 *)to + n * each, each);
    else
      scale((const float *)from + n * each, in_order, (float *)to + n * each, each);
  }
  return PN_OK;
}

static pn_status drop_forward(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  return drop(state, ptr[PN_SRC], ptr[PN_DST], ptr[PN_SCRATCH], ctx);
}

static pn_status drop_data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  return drop(state, ptr[PN_DDST], ptr[PN_DSRC], ptr[PN_SCRATCH], ctx);
}

pn_status dnn_dropout_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  pn_role from = t->pass == PN_FORWARD ? PN_SRC : PN_DDST;
  pn_role to = t->pass == PN_FORWARD ? PN_DST : PN_DSRC;
  const pn_shape *s = &t->op[0]->in;
  pn_status st;
  if ((t->pass != PN_FORWARD && t->pass != PN_BACKWARD_DATA) || !t->training)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: dropout outside of training");
  if (strcmp(t->layout[from].tag, "acdb") != 0) t->layout[from] = pn_layout_plain(*s);
  t->layout[from].type = t->precision;
  t->layout[to] = t->layout[from];
  t->uses = 1u << from | 1u << to | 1u << PN_SCRATCH;
  st = flat_kernel(d, t, &t->layout[from], t->pass == PN_FORWARD ? drop_forward : drop_data, out);
  t->scratch_bytes = 2 * (size_t)(pn_shape_count(*s) / s->dim[0]) * sizeof(float);
  return st;
}
