/* conv_pool.c -- conv + ReLU + max-pool as one chain: the convolution's output, and its diff, live
 * a few images at a time in the cache and never reach memory. */
#include "device/onednn/api.h"
#include "device/simd/simd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 20, ALIGN = 64 };

/* State of any of the three passes; sizes are of one chunk. */
struct conv_pool {
  struct dnn_device *device; /* borrowed */
  struct dnn_exec conv;
  pn_pool pool;
  int64_t chunks;
  int64_t src, dst;       /* elements of the conv's input and of the pool's output */
  int64_t weight, bias;   /* elements of the gradients; bias 0: none */
  size_t mid_at, more_at; /* in SCRATCH: conv's output or its diff; see below */
  bool keep_code;
  pn_dtype type;
};

static size_t align_up(size_t n) {
  return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static void *at_bytes(void *p, size_t bytes) {
  return (char *)p + bytes;
}

static void *at_element(const struct conv_pool *c, void *p, int64_t i) {
  return (char *)p + (size_t)i * pn_dtype_bytes(c->type);
}

/* SCRATCH: oneDNN's, the conv's output, and in evaluation the code that nobody keeps. */
static pn_status forward_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  struct conv_pool *c = state;
  void *at[PN_ROLE_COUNT];
  pn_status st = PN_OK;
  (void)ctx;
  memcpy(at, ptr, sizeof at);
  at[PN_DST] = at_bytes(ptr[PN_SCRATCH], c->mid_at);
  for (int64_t i = 0; i < c->chunks && st == PN_OK; i++) {
    uint8_t *code =
        c->keep_code ? (uint8_t *)ptr[PN_AUX] + i * c->dst : at_bytes(ptr[PN_SCRATCH], c->more_at);
    at[PN_SRC] = at_element(c, ptr[PN_SRC], i * c->src);
    st = dnn_exec_run(c->device, &c->conv, at);
    pn_pool_forward(&c->pool, at[PN_DST], at_element(c, ptr[PN_DST], i * c->dst), code,
                    c->device->threads);
  }
  return st;
}

/* The diff of chunk i of the conv's output, into SCRATCH. */
static void *unpool(const struct conv_pool *c, void *const ptr[PN_ROLE_COUNT], int64_t i) {
  void *mid = at_bytes(ptr[PN_SCRATCH], c->mid_at);
  pn_pool_backward(&c->pool, at_element(c, ptr[PN_DDST], i * c->dst),
                   (const uint8_t *)ptr[PN_AUX] + i * c->dst,
                   at_element(c, ptr[PN_DST], i * c->dst), mid, c->device->threads);
  return mid;
}

static pn_status data_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  struct conv_pool *c = state;
  void *at[PN_ROLE_COUNT];
  pn_status st = PN_OK;
  (void)ctx;
  memcpy(at, ptr, sizeof at);
  for (int64_t i = 0; i < c->chunks && st == PN_OK; i++) {
    at[PN_DDST] = unpool(c, ptr, i);
    at[PN_DSRC] = at_element(c, ptr[PN_DSRC], i * c->src);
    st = dnn_exec_run(c->device, &c->conv, at);
  }
  return st;
}

static void add(float *to, const float *from, int64_t n) {
  for (int64_t i = 0; i < n; i++) to[i] += from[i];
}

/* SCRATCH: oneDNN's, the diff, and the gradients of a chunk after the first. */
static pn_status weight_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  struct conv_pool *c = state;
  float *part = at_bytes(ptr[PN_SCRATCH], c->more_at);
  void *at[PN_ROLE_COUNT];
  pn_status st = PN_OK;
  (void)ctx;
  memcpy(at, ptr, sizeof at);
  for (int64_t i = 0; i < c->chunks; i++) {
    at[PN_DDST] = unpool(c, ptr, i);
    at[PN_SRC] = at_element(c, ptr[PN_SRC], i * c->src);
    if ((st = dnn_exec_run(c->device, &c->conv, at)) != PN_OK) return st;
    if (i > 0) {
      add(ptr[PN_DWEIGHT], part, c->weight);
      if (c->bias) add(ptr[PN_DBIAS], at[PN_DBIAS], c->bias);
    }
    at[PN_DWEIGHT] = part;
    at[PN_DBIAS] = at_bytes(part, align_up((size_t)c->weight * sizeof(float)));
  }
  return st;
}

static pn_layout tagged(pn_shape shape, const char *tag) {
  pn_layout l = pn_layout_any(shape);
  snprintf(l.tag, sizeof l.tag, "%s", tag);
  return l;
}

static void conv_pool_destroy(void *state) {
  struct conv_pool *c = state;
  if (!c) return;
  dnn_exec_free(&c->conv);
  free(c);
}

/* Images per chunk: a divisor of the batch whose conv output stays in the cache. */
static int64_t chunk_images(const pn_op_desc *conv, pn_dtype type, int threads) {
  int64_t batch = conv->in.dim[0], best = 1;
  int64_t image = pn_shape_count(conv->out) / batch * (int64_t)pn_dtype_bytes(type);
  for (int64_t n = 1; n <= batch; n++)
    if (batch % n == 0 && n * image <= (int64_t)CHUNK_BYTES * threads) best = n;
  return best;
}

/* Sizes of a chunk, and where things lie in SCRATCH. */
static pn_status measure(struct conv_pool *c, const pn_layout found[DNN_CONV_TENSORS],
                         size_t conv_scratch, pn_task *t) {
  int64_t mid;
  size_t more = 0;
  pn_status st = PN_OK;
  PN_TRY(pn_layout_count(&found[DNN_CONV_SRC], &c->src));
  PN_TRY(pn_layout_count(&found[DNN_CONV_WEIGHT], &c->weight));
  PN_TRY(pn_layout_count(&found[DNN_CONV_DST], &mid));
  c->dst = pn_pool_out_count(&c->pool);
  c->bias = t->op[0]->bias ? t->op[0]->weight.dim[0] : 0;
  c->keep_code = t->training;
  if (t->pass == PN_FORWARD && !c->keep_code) more = (size_t)c->dst;
  if (t->pass == PN_BACKWARD_WEIGHT)
    more = align_up((size_t)c->weight * sizeof(float)) + (size_t)c->bias * sizeof(float);
  c->mid_at = align_up(conv_scratch);
  c->more_at = c->mid_at + align_up((size_t)mid * pn_dtype_bytes(c->type));
  t->scratch_bytes = c->more_at + more;
  if (t->pass == PN_FORWARD) t->aux_bytes = c->keep_code ? (size_t)(c->dst * c->chunks) : 0;
done:
  return st;
}

/* Which operands a pass touches, and which of them are the conv's input and weights. */
static const struct pass_row {
  pn_role src, weight;
  unsigned uses;
  pn_status (*run)(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx);
} rows[PN_PASS_COUNT] = {
    [PN_FORWARD] = {PN_SRC, PN_WEIGHT,
                    1u << PN_SRC | 1u << PN_WEIGHT | 1u << PN_BIAS | 1u << PN_DST, forward_run},
    [PN_BACKWARD_WEIGHT] = {PN_SRC, PN_DWEIGHT,
                            1u << PN_SRC | 1u << PN_DWEIGHT | 1u << PN_DBIAS | 1u << PN_DDST |
                                1u << PN_DST,
                            weight_run},
    [PN_BACKWARD_DATA] = {PN_DSRC, PN_WEIGHT,
                          1u << PN_DSRC | 1u << PN_WEIGHT | 1u << PN_DDST | 1u << PN_DST, data_run},
};

/* The shapes are the whole batch's. */
static void pool_operand(pn_layout *to, const pn_layout *found) {
  memcpy(to->tag, found->tag, PN_TAG_BYTES);
  to->type = found->type;
}

static void answer(pn_task *t, const pn_layout found[DNN_CONV_TENSORS]) {
  const struct pass_row *row = &rows[t->pass];
  pn_layout *l = t->layout;
  pool_operand(&l[row->src], &found[DNN_CONV_SRC]);
  pool_operand(&l[PN_DST], &found[DNN_CONV_DST]);
  pool_operand(&l[PN_DDST], &found[DNN_CONV_DST]);
  l[row->weight] = found[DNN_CONV_WEIGHT];
  t->uses = row->uses | 1u << PN_SCRATCH;
  if (!t->op[0]->bias) t->uses &= ~(1u << PN_BIAS | 1u << PN_DBIAS);
  if (t->training) t->uses |= 1u << PN_AUX;
}

/* Backward keeps the layout of the forward result, which is the code's too: another choice than
 * the free one where that differs; with the same code, or with any. */
static bool keep_layout(const struct dnn_conv_request *r, const char *tag, bool same_code,
                        pn_layout found[DNN_CONV_TENSORS], dnnl_primitive_desc_t *pd) {
  const pn_layout want[DNN_CONV_TENSORS] = {pn_layout_any(r->op->in), pn_layout_any(r->op->weight),
                                            tagged(r->op->out, tag)};
  dnnl_primitive_desc_t kept = NULL;
  if (strcmp(found[DNN_CONV_DST].tag, tag) == 0) return true;
  if (!dnn_conv_take(r, want, dnn_pd_impl(*pd), found, &kept) &&
      (same_code || !dnn_conv_take(r, want, "", found, &kept)))
    return false;
  dnnl_primitive_desc_destroy(*pd);
  *pd = kept;
  return true;
}

/* The descriptor of one chunk's convolution. */
static pn_status choose(const struct dnn_conv_request *r, const pn_task *t,
                        pn_layout found[DNN_CONV_TENSORS], dnnl_primitive_desc_t *pd) {
  const struct pass_row *row = &rows[t->pass];
  const char *tag = t->pass == PN_FORWARD ? "" : t->layout[PN_DST].tag;
  const pn_layout want[DNN_CONV_TENSORS] = {tagged(r->op->in, t->layout[row->src].tag),
                                            t->layout[row->weight], tagged(r->op->out, tag)};
  pn_status st = dnn_conv_choose(r, want, found, pd);
  if (st != PN_OK) return st;
  if ((!*tag || keep_layout(r, tag, false, found, pd)) &&
      found[DNN_CONV_SRC].tag[0] == 'a') /* images follow each other */
    return PN_OK;
  return PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: conv+pool of layout %s to %s",
                 found[DNN_CONV_SRC].tag, found[DNN_CONV_DST].tag);
}

/* One chunk: the ops of the chain with fewer images. */
static int64_t cut_batch(const struct dnn_device *m, const pn_task *t, pn_op_desc *conv,
                         pn_op_desc *pool) {
  int64_t images = chunk_images(t->op[0], t->precision, m->threads),
          chunks = t->op[0]->in.dim[0] / images;
  *conv = *t->op[0];
  *pool = *t->op[2];
  conv->in.dim[0] = conv->out.dim[0] = pool->in.dim[0] = pool->out.dim[0] = images;
  return chunks;
}

/* Can this backward pass of the convolution read the pool's layout at full speed? */
static bool reads_layout(struct dnn_device *m, const pn_task *t, pn_pass pass) {
  pn_op_desc conv, pool;
  struct dnn_conv_request r = {m, pass, &conv, t->training, t->precision, {.relu = false}};
  pn_layout want[DNN_CONV_TENSORS], found[DNN_CONV_TENSORS];
  dnnl_primitive_desc_t pd = NULL;
  bool yes;
  cut_batch(m, t, &conv, &pool);
  want[DNN_CONV_SRC] = pn_layout_any(conv.in);
  want[DNN_CONV_WEIGHT] = pn_layout_any(conv.weight);
  want[DNN_CONV_DST] = pn_layout_any(conv.out);
  yes = dnn_conv_choose(&r, want, found, &pd) == PN_OK &&
        keep_layout(&r, t->layout[PN_DST].tag, true, found, &pd);
  if (pd) dnnl_primitive_desc_destroy(pd);
  return yes;
}

static pn_status prepare_pass(struct conv_pool *c, pn_task *t, pn_kernel *out) {
  pn_op_desc conv, pool;
  struct dnn_conv_request r = {c->device,   t->pass,      &conv,
                               t->training, t->precision, {.relu = t->pass == PN_FORWARD}};
  pn_layout found[DNN_CONV_TENSORS];
  dnnl_primitive_desc_t pd = NULL;
  pn_status st = PN_OK;

  c->chunks = cut_batch(c->device, t, &conv, &pool);
  PN_TRY(choose(&r, t, found, &pd));
  c->type = t->precision;
  if (!pn_pool_make(&pool, &found[DNN_CONV_DST], &c->pool)) {
    st = PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: pool of layout %s", found[DNN_CONV_DST].tag);
    goto done;
  }
  PN_TRY(dnn_conv_exec(&r, pd, &c->conv));
  PN_TRY(measure(c, found, dnn_pd_scratch(pd), t));
  answer(t, found);
  dnn_conv_storage(&r, t);
  *out = (pn_kernel){.run = rows[t->pass].run, .destroy = conv_pool_destroy, .state = c};
  snprintf(out->impl, sizeof out->impl, "%s+simd", dnn_pd_impl(pd));
done:
  if (pd) dnnl_primitive_desc_destroy(pd);
  return st;
}

static pn_status chunked_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  struct conv_pool *c = calloc(1, sizeof *c);
  pn_status st;
  if (!c) return PN_FAIL(PN_ERR_NOMEM, "onednn: conv+pool");
  c->device = d->impl;
  if ((st = prepare_pass(c, t, out)) != PN_OK) conv_pool_destroy(c);
  return st;
}

pn_status dnn_conv_pool_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  *out = (pn_kernel){.run = NULL};
  if (t->pass == PN_FORWARD) return chunked_prepare(d, t, out);
  if (dnn_pool_grad_fits(t)) return dnn_pool_grad_prepare(d, t, out);
  if (reads_layout(d->impl, t, PN_BACKWARD_WEIGHT) && reads_layout(d->impl, t, PN_BACKWARD_DATA))
    return t->pass == PN_BACKWARD_POST ? PN_OK : chunked_prepare(d, t, out);
  return t->pass == PN_BACKWARD_POST ? dnn_pool_post(d, t, out)
                                     : dnn_conv_single_prepare(d, t, out);
}

pn_status dnn_conv_pool_data(pn_device *d, pn_task *t, pn_kernel *out) {
  return chunked_prepare(d, t, out);
}
