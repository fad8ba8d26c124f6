/* conv_pool_grad.c -- backward of conv 3x3 + ReLU + max-pool 2x2 by our own kernels, which skip the
 * zeros that the pool and the ReLU leave in the convolution's diff (simd/pool_grad.h). */
#include "device/onednn/api.h"
#include "device/simd/vector.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STRIP_BYTES = 24 << 10 }; /* of one block's planes: they stay in L1 */

struct pool_grad {
  const pn_vector_code *code;
  pn_pool_grad shape;
  pn_op_desc conv;
  int threads;
  int64_t planes, weight; /* floats: padded planes of an image; gradient of the weights */
  int64_t src, dst;       /* floats of an image's input and result */
  size_t thread_bytes;    /* of SCRATCH */
  size_t dw_at, list_at;  /* in a thread's part, behind the planes */
  size_t count_at;
};

static bool window_is(const pn_window *w, int64_t kernel, int64_t stride) {
  return w->kernel[0] == kernel && w->kernel[1] == kernel && w->stride[0] == stride &&
         w->stride[1] == stride;
}

bool dnn_pool_grad_fits(const pn_task *t) {
  const pn_op_desc *conv = t->op[0];
  const pn_window *pool;
  char tag[PN_TAG_BYTES];
  int lanes = dnn_lanes();

  if (t->pass == PN_FORWARD || t->n_ops != 3 || t->precision != PN_F32 ||
      !pn_vector_find(lanes, PN_F32))
    return false;
  if ((conv->in.dim[2] + 32) * (conv->in.dim[3] + 32) > INT32_MAX / lanes)
    return false; /* entries */
  pool = &t->op[2]->window;
  snprintf(tag, sizeof tag, "aBcd%db", lanes);
  return window_is(&conv->window, 3, 1) && window_is(pool, 2, 2) && pool->pad_before[0] == 0 &&
         pool->pad_before[1] == 0 && conv->in.dim[1] % lanes == 0 &&
         conv->out.dim[1] % lanes == 0 && strcmp(t->layout[PN_DST].tag, tag) == 0;
}

/* A thread's part of SCRATCH. */
static char *part(const struct pool_grad *p, void *scratch, int thread) {
  return (char *)scratch + (size_t)thread * p->thread_bytes;
}

static float *dw_of(const struct pool_grad *p, char *mine) {
  return (float *)(void *)(mine + p->dw_at);
}

static pn_grad_image image_of(const struct pool_grad *p, void *const ptr[PN_ROLE_COUNT], int64_t n,
                              char *mine) {
  return (pn_grad_image){.y = (const float *)ptr[PN_DST] + n * p->dst,
                         .dy = (const float *)ptr[PN_DDST] + n * p->dst,
                         .code = (const uint8_t *)ptr[PN_AUX] + n * p->dst,
                         .planes = (float *)(void *)mine,
                         .weight = ptr[PN_WEIGHT],
                         .dw = dw_of(p, mine),
                         .db = dw_of(p, mine) + p->weight,
                         .list = (pn_grad_entry *)(void *)(mine + p->list_at),
                         .count = (int32_t *)(void *)(mine + p->count_at)};
}

/* Rows of the image into the padded planes, or back. */
static void copy_rows(const struct pool_grad *p, float *image, float *planes, bool back) {
  const int64_t *in = p->conv.in.dim, *pad = p->conv.window.pad_before;
  size_t bytes = (size_t)(in[3] * p->code->lanes) * sizeof(float);

  for (int64_t b = 0; b < p->shape.blocks; b++)
    for (int64_t h = 0; h < in[2]; h++) {
      float *row = image + (b * in[2] + h) * in[3] * p->code->lanes;
      float *wide =
          planes + ((b * p->shape.rows + h + pad[0]) * p->shape.cols + pad[1]) * p->code->lanes;
      memcpy(back ? row : wide, back ? wide : row, bytes);
    }
}

/* The threads' shares in their order. */
static void reduce(const struct pool_grad *p, void *const ptr[PN_ROLE_COUNT]) {
  float *dweight = ptr[PN_DWEIGHT], *dbias = ptr[PN_DBIAS];
  int64_t filters = p->shape.filters;

  memset(dweight, 0, (size_t)p->weight * sizeof *dweight);
  if (p->conv.bias) memset(dbias, 0, (size_t)filters * sizeof *dbias);
  for (int t = 0; t < p->threads; t++) {
    const float *dw = dw_of(p, part(p, ptr[PN_SCRATCH], t));
    for (int64_t i = 0; i < p->weight; i++) dweight[i] += dw[i];
    for (int64_t i = 0; p->conv.bias && i < filters; i++) dbias[i] += dw[p->weight + i];
  }
}

static void clear_parts(const struct pool_grad *p, void *scratch) {
  for (int t = 0; t < p->threads; t++) memset(part(p, scratch, t), 0, p->list_at);
}

static pn_status weight_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct pool_grad *p = state;
  (void)ctx;

  clear_parts(p, ptr[PN_SCRATCH]);
#pragma omp parallel for schedule(static) num_threads(p->threads)
  for (int64_t n = 0; n < p->conv.in.dim[0]; n++) {
    char *mine = part(p, ptr[PN_SCRATCH], omp_get_thread_num());
    pn_grad_image im = image_of(p, ptr, n, mine);
    copy_rows(p, (float *)ptr[PN_SRC] + n * p->src, im.planes, false);
    p->code->grad_weight(&p->shape, &im);
  }
  reduce(p, ptr);
  return PN_OK;
}

static pn_status data_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct pool_grad *p = state;
  (void)ctx;

#pragma omp parallel for schedule(static) num_threads(p->threads)
  for (int64_t n = 0; n < p->conv.in.dim[0]; n++) {
    char *mine = part(p, ptr[PN_SCRATCH], omp_get_thread_num());
    pn_grad_image im = image_of(p, ptr, n, mine);
    memset(im.planes, 0, (size_t)p->planes * sizeof *im.planes);
    p->code->grad_data(&p->shape, &im);
    copy_rows(p, (float *)ptr[PN_DSRC] + n * p->src, im.planes, true);
  }
  return PN_OK;
}

static size_t align_up(size_t n) {
  return (n + 63) / 64 * 64;
}

/* Pooled rows whose input stays in L1. */
static int64_t strip_rows(int64_t cols, int64_t out, int lanes) {
  int64_t rows = STRIP_BYTES / (cols * lanes * (int64_t)sizeof(float)) / 2 - 1;
  return rows < 1 ? 1 : rows > out ? out : rows;
}

static struct pool_grad *make(const pn_device *d, const pn_task *t) {
  const pn_op_desc *conv = t->op[0], *pool = t->op[2];
  const int64_t *before = conv->window.pad_before, *after = conv->window.pad_after;
  struct pool_grad *p = calloc(1, sizeof *p);
  pn_pool_grad *s;

  if (!p) return NULL;
  s = &p->shape;
  p->code = pn_vector_find(dnn_lanes(), PN_F32);
  p->conv = *conv;
  p->threads = d->threads;
  s->filters = conv->out.dim[1];
  s->blocks = conv->in.dim[1] / p->code->lanes;
  s->rows = conv->in.dim[2] + before[0] + after[0];
  s->cols = conv->in.dim[3] + before[1] + after[1];
  memcpy(s->out, &pool->out.dim[2], sizeof s->out);
  s->strip = strip_rows(s->cols, s->out[0], p->code->lanes);
  p->src = pn_shape_count(conv->in) / conv->in.dim[0];
  p->dst = pn_shape_count(pool->out) / conv->in.dim[0];
  p->planes = s->blocks * s->rows * s->cols * p->code->lanes;
  p->weight = pn_shape_count(conv->weight);
  p->dw_at = align_up((size_t)p->planes * sizeof(float));
  p->list_at = p->dw_at + align_up((size_t)(p->weight + s->filters) * sizeof(float));
  p->count_at = p->list_at +
                align_up((size_t)(s->filters * (s->strip * s->out[1] + 1)) * sizeof(pn_grad_entry));
  p->thread_bytes = p->count_at + align_up((size_t)s->filters * sizeof(int32_t));
  return p;
}

/* Weights and their gradient with the input channels innermost: a reorder of few numbers. */
static void answer(const struct pool_grad *p, pn_task *t) {
  bool weight = t->pass == PN_BACKWARD_WEIGHT;
  pn_layout *l = t->layout;
  const pn_role roles[] = {PN_SRC, PN_DSRC, PN_WEIGHT, PN_DWEIGHT, PN_DDST};

  l[PN_WEIGHT].shape = l[PN_DWEIGHT].shape = p->conv.weight;
  for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
    memcpy(l[roles[i]].tag, l[PN_DST].tag, PN_TAG_BYTES);
  t->uses = 1u << PN_DST | 1u << PN_DDST | 1u << PN_AUX | 1u << PN_SCRATCH;
  t->uses |= weight ? 1u << PN_SRC | 1u << PN_DWEIGHT : 1u << PN_WEIGHT | 1u << PN_DSRC;
  if (weight && p->conv.bias) t->uses |= 1u << PN_DBIAS;
  t->scratch_bytes = (size_t)p->threads * p->thread_bytes;
}

pn_status dnn_pool_grad_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  struct pool_grad *p;

  *out = (pn_kernel){.run = NULL};
  if (t->pass == PN_BACKWARD_POST) return PN_OK; /* the other passes take the chain's diff */
  if (!(p = make(d, t))) return PN_FAIL(PN_ERR_NOMEM, "onednn: gradient of conv+pool");
  answer(p, t);
  out->run = t->pass == PN_BACKWARD_WEIGHT ? weight_run : data_run;
  out->destroy = free;
  out->state = p;
  snprintf(out->impl, sizeof out->impl, "simd:sparse3x3:%d", p->code->lanes);
  return PN_OK;
}
