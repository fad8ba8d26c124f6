/* pool.c -- max-pooling over planes whose channels lie side by side, forward and backward. */
#include "device/simd/simd.h"
#include "device/simd/vector.h"

#include <math.h>
#include <string.h>

/* One plane: x [in0][in1][lanes] -> y, code [out0][out1][lanes]. */
struct plane {
  int64_t in[2], out[2];
  const pn_window *w;
};

/* One plane of the backward pass. */
struct grads {
  const void *dy, *y;
  const uint8_t *code;
  void *dx;
  bool relu;
};

/* Channels rounded up to the block of an nChw..c tag; 1 for plain; C for NHWC; 0: another layout.
 */
static int64_t tag_lanes(const char *tag, int64_t channels) {
  if (strcmp(tag, "abcd") == 0) return 1;
  if (strcmp(tag, "acdb") == 0) return channels;
  if (strcmp(tag, "aBcd8b") == 0) return 8;
  if (strcmp(tag, "aBcd16b") == 0) return 16;
  return 0;
}

bool pn_pool_make(const pn_op_desc *op, const pn_layout *l, pn_pool *out) {
  int64_t channels = op->in.dim[1], lanes = tag_lanes(l->tag, channels);
  if (lanes == 0 || op->window.kernel[0] * op->window.kernel[1] > 256) return false;
  *out = (pn_pool){.lanes = lanes, .window = op->window, .type = l->type};
  out->outer = op->in.dim[0] * ((channels + lanes - 1) / lanes);
  for (int i = 0; i < 2; i++) {
    out->in[i] = op->in.dim[2 + i];
    out->out[i] = op->out.dim[2 + i];
  }
  return true;
}

int64_t pn_pool_out_count(const pn_pool *p) {
  return p->outer * p->out[0] * p->out[1] * p->lanes;
}
int64_t pn_pool_in_count(const pn_pool *p) {
  return p->outer * p->in[0] * p->in[1] * p->lanes;
}

static inline int64_t max64(int64_t a, int64_t b) {
  return a > b ? a : b;
}
static inline int64_t min64(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* The window at one output: its corner, and its places that lie in the input. */
struct window_at {
  int64_t top, left, r0, r1, c0, c1;
};

static inline struct window_at window_at(const struct plane *p, const int64_t at[2]) {
  const pn_window *w = p->w;
  struct window_at a = {.top = at[0] * w->stride[0] - w->pad_before[0],
                        .left = at[1] * w->stride[1] - w->pad_before[1]};
  a.r0 = max64(0, -a.top);
  a.r1 = min64(w->kernel[0], p->in[0] - a.top);
  a.c0 = max64(0, -a.left);
  a.c1 = min64(w->kernel[1], p->in[1] - a.left);
  return a;
}

#define elem        float
#define PLAIN(name) name##_f32
#define get(v)      (v)
#define put(v)      (v)
#include "device/simd/pool_plain_body.h"
#undef elem
#undef PLAIN
#undef get
#undef put

#define elem        pn_bf16
#define PLAIN(name) name##_bf16
#define get(v)      pn_bf16_to_f32(v)
#define put(v)      pn_bf16_of(v)
#include "device/simd/pool_plain_body.h"

static struct plane plane_of(const pn_pool *p) {
  return (struct plane){{p->in[0], p->in[1]}, {p->out[0], p->out[1]}, &p->window};
}

/* Vectors that fill the channels of a pixel; NULL: none do. */
static const pn_vector_code *vectors_for(const pn_pool *p) {
  const pn_vector_code *wide = p->lanes % 16 == 0 ? pn_vector_find(16, p->type) : NULL;
  return wide || p->lanes % 8 ? wide : pn_vector_find(8, p->type);
}

/* The common window: 2x2, stride 2, no padding. */
static bool is_pool2(const pn_pool *p) {
  const pn_window *w = &p->window;
  for (int i = 0; i < 2; i++)
    if (w->kernel[i] != 2 || w->stride[i] != 2 || w->pad_before[i] != 0 || 2 * p->out[i] > p->in[i])
      return false;
  return true;
}

static pn_pool2 pool2_of(const pn_pool *p) {
  return (pn_pool2){.cols = p->in[1], .out = {p->out[0], p->out[1]}, .step = p->lanes};
}

static pn_pool_plane vectors_of(const pn_pool *p) {
  pn_pool_plane v = {.step = p->lanes};
  for (int i = 0; i < 2; i++) {
    v.in[i] = p->in[i];
    v.out[i] = p->out[i];
    v.kernel[i] = p->window.kernel[i];
    v.stride[i] = p->window.stride[i];
    v.pad[i] = p->window.pad_before[i];
  }
  return v;
}

static size_t in_bytes(const pn_pool *p) {
  return (size_t)(p->in[0] * p->in[1] * p->lanes) * pn_dtype_bytes(p->type);
}

static size_t out_bytes(const pn_pool *p) {
  return (size_t)(p->out[0] * p->out[1] * p->lanes) * pn_dtype_bytes(p->type);
}

void pn_pool_forward(const pn_pool *p, const void *x, void *y, uint8_t *code, int threads) {
  const pn_vector_code *v = vectors_for(p);
  bool two = is_pool2(p), half = p->type == PN_BF16;
  struct plane one = plane_of(p);
  pn_pool2 small = pool2_of(p);
  pn_pool_plane any = vectors_of(p);
  int64_t codes = p->out[0] * p->out[1] * p->lanes;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < p->outer; i++) {
    const char *from = (const char *)x + (size_t)i * in_bytes(p);
    char *to = (char *)y + (size_t)i * out_bytes(p);
    uint8_t *c = code + i * codes;
    if (v && two)
      v->pool_forward(&small, from, to, c);
    else if (v)
      v->pool_any_forward(&any, from, to, c);
    else
      (half ? forward_plane_bf16 : forward_plane_f32)(&one, p->lanes, from, to, c);
  }
}

static void vector_backward(const pn_vector_code *v, const pn_pool *p, const struct grads *g) {
  bool two = is_pool2(p), tiled = 2 * p->out[0] == p->in[0] && 2 * p->out[1] == p->in[1];
  const void *y = g->relu ? g->y : NULL;
  pn_pool2 small = pool2_of(p);
  pn_pool_plane any = vectors_of(p);

  if (!two || !tiled) memset(g->dx, 0, in_bytes(p));
  if (two)
    v->pool_backward(&small, g->dy, g->code, y, g->dx);
  else
    v->pool_any_backward(&any, g->dy, g->code, y, g->dx);
}

void pn_pool_backward(const pn_pool *p, const void *dy, const uint8_t *code, const void *y,
                      void *dx, int threads) {
  const pn_vector_code *v = vectors_for(p);
  bool half = p->type == PN_BF16;
  struct plane one = plane_of(p);
  int64_t codes = p->out[0] * p->out[1] * p->lanes;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < p->outer; i++) {
    /* without a ReLU y is never looked at: dy stands in, so that reads stay legal */
    size_t at = (size_t)i * out_bytes(p);
    struct grads g = {(const char *)dy + at, (const char *)(y ? y : dy) + at, code + i * codes,
                      (char *)dx + (size_t)i * in_bytes(p), y != NULL};
    if (v)
      vector_backward(v, p, &g);
    else
      (half ? backward_plane_bf16 : backward_plane_f32)(&one, p->lanes, &g);
  }
}
