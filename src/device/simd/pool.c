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
  const float *dy, *y;
  const uint8_t *code;
  float *dx;
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

bool pn_pool_make(const pn_op_desc *op, const char *tag, pn_pool *out) {
  int64_t channels = op->in.dim[1], lanes = tag_lanes(tag, channels);
  if (lanes == 0 || op->window.kernel[0] * op->window.kernel[1] > 256) return false;
  *out = (pn_pool){.lanes = lanes, .window = op->window};
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

/* One output of `lanes` channels; place k of the window is (r, c), clipped to the input. */
__attribute__((always_inline)) static inline void pool_one(const struct plane *p, int64_t lanes,
                                                           const float *x, const int64_t at[2],
                                                           float *y, uint8_t *code) {
  const pn_window *w = p->w;
  int64_t top = at[0] * w->stride[0] - w->pad_before[0];
  int64_t left = at[1] * w->stride[1] - w->pad_before[1];
  int64_t r0 = max64(0, -top), r1 = min64(w->kernel[0], p->in[0] - top);
  int64_t c0 = max64(0, -left), c1 = min64(w->kernel[1], p->in[1] - left);

  for (int64_t l = 0; l < lanes; l++) {
    y[l] = -INFINITY;
    code[l] = (uint8_t)(r0 * w->kernel[1] + c0);
  }
  for (int64_t r = r0; r < r1; r++)
    for (int64_t c = c0; c < c1; c++) {
      const float *v = x + ((top + r) * p->in[1] + left + c) * lanes;
      uint8_t k = (uint8_t)(r * w->kernel[1] + c);
      for (int64_t l = 0; l < lanes; l++) {
        bool better = v[l] > y[l] || v[l] != v[l]; /* the first maximum; NaN wins */
        y[l] = better ? v[l] : y[l];
        code[l] = better ? k : code[l];
      }
    }
}

__attribute__((always_inline)) static inline void
forward_body(const struct plane *p, int64_t lanes, const float *x, float *y, uint8_t *code) {
  for (int64_t h = 0; h < p->out[0]; h++)
    for (int64_t w = 0; w < p->out[1]; w++) {
      int64_t o = (h * p->out[1] + w) * lanes, at[2] = {h, w};
      pool_one(p, lanes, x, at, y + o, code + o);
    }
}

PN_CLONES static void forward_plane(const struct plane *p, int64_t lanes, const float *x, float *y,
                                    uint8_t *code) {
  if (lanes == 16)
    forward_body(p, 16, x, y, code);
  else if (lanes == 8)
    forward_body(p, 8, x, y, code);
  else
    forward_body(p, lanes, x, y, code);
}

/* The diff that reaches a place: only if it held the maximum, and passed the ReLU before the pool.
 */
__attribute__((always_inline)) static inline float routed(bool here, bool relu, float d, float y) {
  return here && (!relu || y > 0.0f) ? d : 0.0f;
}

__attribute__((always_inline)) static inline void back_one(const struct plane *p, int64_t lanes,
                                                           const struct grads *g, int64_t o,
                                                           const int64_t at[2]) {
  const pn_window *w = p->w;
  int64_t top = at[0] * w->stride[0] - w->pad_before[0];
  int64_t left = at[1] * w->stride[1] - w->pad_before[1];
  int64_t r0 = max64(0, -top), r1 = min64(w->kernel[0], p->in[0] - top);
  int64_t c0 = max64(0, -left), c1 = min64(w->kernel[1], p->in[1] - left);

  for (int64_t r = r0; r < r1; r++)
    for (int64_t c = c0; c < c1; c++) {
      float *v = g->dx + ((top + r) * p->in[1] + left + c) * lanes;
      uint8_t k = (uint8_t)(r * w->kernel[1] + c);
      for (int64_t l = 0; l < lanes; l++)
        v[l] += routed(g->code[o + l] == k, g->relu, g->dy[o + l], g->y[o + l]);
    }
}

__attribute__((always_inline)) static inline void
backward_body(const struct plane *p, int64_t lanes, const struct grads *g) {
  memset(g->dx, 0, (size_t)(p->in[0] * p->in[1] * lanes) * sizeof *g->dx);
  for (int64_t h = 0; h < p->out[0]; h++)
    for (int64_t w = 0; w < p->out[1]; w++) {
      int64_t o = (h * p->out[1] + w) * lanes, at[2] = {h, w};
      back_one(p, lanes, g, o, at);
    }
}

PN_CLONES static void backward_plane(const struct plane *p, int64_t lanes, const struct grads *g) {
  if (lanes == 16)
    backward_body(p, 16, g);
  else if (lanes == 8)
    backward_body(p, 8, g);
  else
    backward_body(p, lanes, g);
}

static struct plane plane_of(const pn_pool *p) {
  return (struct plane){{p->in[0], p->in[1]}, {p->out[0], p->out[1]}, &p->window};
}

/* Vector code for the common window: 2x2, stride 2, no padding; NULL: the general loops. */
static const pn_vector_code *fast_code(const pn_pool *p) {
  const pn_window *w = &p->window;
  for (int i = 0; i < 2; i++)
    if (w->kernel[i] != 2 || w->stride[i] != 2 || w->pad_before[i] != 0 || 2 * p->out[i] > p->in[i])
      return NULL;
  return pn_vector_find(p->lanes);
}

static pn_pool2 pool2_of(const pn_pool *p) {
  return (pn_pool2){.cols = p->in[1], .out = {p->out[0], p->out[1]}};
}

static pn_pool_plane vectors_of(const pn_pool *p) {
  pn_pool_plane v;
  for (int i = 0; i < 2; i++) {
    v.in[i] = p->in[i];
    v.out[i] = p->out[i];
    v.kernel[i] = p->window.kernel[i];
    v.stride[i] = p->window.stride[i];
    v.pad[i] = p->window.pad_before[i];
  }
  return v;
}

static void any_backward(const pn_vector_code *any, const pn_pool *p, const struct grads *g) {
  pn_pool_plane v = vectors_of(p);
  memset(g->dx, 0, (size_t)(p->in[0] * p->in[1] * p->lanes) * sizeof *g->dx);
  any->pool_any_backward(&v, g->dy, g->code, g->relu ? g->y : NULL, g->dx);
}

void pn_pool_forward(const pn_pool *p, const float *x, float *y, uint8_t *code, int threads) {
  const pn_vector_code *fast = fast_code(p);
  struct plane one = plane_of(p);
  pn_pool2 two = pool2_of(p);
  const pn_vector_code *any = pn_vector_find(p->lanes);
  pn_pool_plane vectors = vectors_of(p);
  int64_t in = p->in[0] * p->in[1] * p->lanes, out = p->out[0] * p->out[1] * p->lanes;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < p->outer; i++) {
    if (fast)
      fast->pool_forward(&two, x + i * in, y + i * out, code + i * out);
    else if (any)
      any->pool_any_forward(&vectors, x + i * in, y + i * out, code + i * out);
    else
      forward_plane(&one, p->lanes, x + i * in, y + i * out, code + i * out);
  }
}

static void fast_backward(const pn_vector_code *fast, const pn_pool *p, const struct grads *g) {
  pn_pool2 two = pool2_of(p);
  bool tiled = 2 * p->out[0] == p->in[0] && 2 * p->out[1] == p->in[1];
  if (!tiled) memset(g->dx, 0, (size_t)(p->in[0] * p->in[1] * p->lanes) * sizeof *g->dx);
  fast->pool_backward(&two, g->dy, g->code, g->relu ? g->y : NULL, g->dx);
}

void pn_pool_backward(const pn_pool *p, const float *dy, const uint8_t *code, const float *y,
                      float *dx, int threads) {
  const pn_vector_code *fast = fast_code(p), *any = pn_vector_find(p->lanes);
  struct plane one = plane_of(p);
  int64_t in = p->in[0] * p->in[1] * p->lanes, out = p->out[0] * p->out[1] * p->lanes;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < p->outer; i++) {
    /* without a ReLU y is never looked at: dy stands in, so that reads stay legal */
    struct grads g = {dy + i * out, (y ? y : dy) + i * out, code + i * out, dx + i * in, y != NULL};
    if (fast)
      fast_backward(fast, p, &g);
    else if (any)
      any_backward(any, p, &g);
    else
      backward_plane(&one, p->lanes, &g);
  }
}
