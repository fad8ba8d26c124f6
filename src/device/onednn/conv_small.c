/* conv_small.c -- the first convolution of a network, with ReLU and pool, by our own kernels. */
#include "device/onednn/api.h"
#include "device/simd/vector.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct small {
  const pn_vector_code *code;
  pn_small_conv shape;
  pn_op_desc op; /* the convolution */
  int threads;
  int64_t plane, packed; /* elements of an image's padded planes, of the packed weights */
  int64_t out;           /* elements of one image's result */
  pn_dtype type;         /* of the result and its diff; the image and the sums are f32 */
};

/* Elements of SCRATCH: weights and bias, then one part per thread. */
static int64_t bias_count(const struct small *s) {
  return s->shape.blocks * s->code->lanes;
}

static int64_t shared_count(const struct small *s) {
  return s->packed + bias_count(s);
}

static int64_t thread_count(const struct small *s) {
  int64_t n = s->plane + s->packed + bias_count(s);
  return (n + 15) / 16 * 16;
}

/* The images of one thread, its padded planes filled in turn. */
static void pad_image(const struct small *s, const float *image, float *planes) {
  const int64_t *in = s->op.in.dim, *pad = s->op.window.pad_before;
  for (int64_t c = 0; c < s->shape.channels; c++)
    for (int64_t h = 0; h < in[2]; h++)
      memcpy(planes + (c * s->shape.rows + h + pad[0]) * s->shape.cols + pad[1],
             image + (c * in[2] + h) * in[3], (size_t)in[3] * sizeof *planes);
}

/* O I 3 3 -> [blocks][I][9][lanes], or back where `out` is the plain side. */
static int64_t packed_at(const struct small *s, int64_t o, int64_t rest) {
  int64_t lanes = s->code->lanes, each = s->shape.channels * PN_SMALL_TAPS;
  return (o / lanes * each + rest) * lanes + o % lanes;
}

static void pack(const struct small *s, const float *weight, const float *bias, float *to) {
  int64_t filters = s->op.weight.dim[0], each = s->shape.channels * PN_SMALL_TAPS;
  memset(to, 0, (size_t)shared_count(s) * sizeof *to);
  for (int64_t o = 0; o < filters; o++)
    for (int64_t i = 0; i < each; i++) to[packed_at(s, o, i)] = weight[o * each + i];
  if (s->op.bias) memcpy(to + s->packed, bias, (size_t)filters * sizeof *bias);
}

/* Image n of the result or its diff. */
static void *result(const struct small *s, void *all, int64_t n) {
  return (char *)all + (size_t)(n * s->out) * pn_dtype_bytes(s->type);
}

static pn_status forward_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct small *s = state;
  int64_t batch = s->op.in.dim[0], image = pn_shape_count(s->op.in) / batch;
  float *shared = ptr[PN_SCRATCH];
  const float *x = ptr[PN_SRC];
  uint8_t *code = ptr[PN_AUX];
  (void)ctx;
  pack(s, ptr[PN_WEIGHT], ptr[PN_BIAS], shared);
#pragma omp parallel num_threads(s->threads)
  {
    float *planes = shared + shared_count(s) + omp_get_thread_num() * thread_count(s);
    memset(planes, 0, (size_t)s->plane * sizeof *planes);
#pragma omp for schedule(static)
    for (int64_t n = 0; n < batch; n++) {
      pad_image(s, x + n * image, planes);
      pn_small_image im = {.planes = planes,
                           .weight = shared,
                           .bias = shared + s->packed,
                           .y = result(s, ptr[PN_DST], n),
                           .code = code + n * s->out};
      s->code->conv_forward(&s->shape, &im);
    }
  }
  return PN_OK;
}

/* Sum the threads' gradients, in order, into the plain ones. */
static void unpack(const struct small *s, const float *parts, float *dweight, float *dbias) {
  int64_t filters = s->op.weight.dim[0], each = s->shape.channels * PN_SMALL_TAPS;
  for (int64_t o = 0; o < filters; o++) {
    for (int64_t i = 0; i < each; i++) {
      float sum = 0.0f;
      for (int t = 0; t < s->threads; t++)
        sum += parts[t * thread_count(s) + s->plane + packed_at(s, o, i)];
      dweight[o * each + i] = sum;
    }
    if (!s->op.bias) continue;
    dbias[o] = 0.0f;
    for (int t = 0; t < s->threads; t++)
      dbias[o] += parts[t * thread_count(s) + s->plane + s->packed + o];
  }
}

static pn_status weight_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const struct small *s = state;
  int64_t batch = s->op.in.dim[0], image = pn_shape_count(s->op.in) / batch;
  const float *x = ptr[PN_SRC];
  uint8_t *code = ptr[PN_AUX];
  float *parts = ptr[PN_SCRATCH];
  (void)ctx;
  memset(parts, 0, (size_t)(s->threads * thread_count(s)) * sizeof *parts);
#pragma omp parallel num_threads(s->threads)
  {
    float *planes = parts + omp_get_thread_num() * thread_count(s);
    float *dw = planes + s->plane;
#pragma omp for schedule(static)
    for (int64_t n = 0; n < batch; n++) {
      pad_image(s, x + n * image, planes);
      pn_small_image im = {.planes = planes,
                           .dy = result(s, ptr[PN_DDST], n),
                           .y = result(s, ptr[PN_DST], n),
                           .code = code + n * s->out,
                           .dw = dw,
                           .db = dw + s->packed};
      s->code->conv_gradient(&s->shape, &im);
    }
  }
  unpack(s, parts, ptr[PN_DWEIGHT], ptr[PN_DBIAS]);
  return PN_OK;
}

static bool window_is(const pn_window *w, int64_t kernel, int64_t stride) {
  return w->kernel[0] == kernel && w->kernel[1] == kernel && w->stride[0] == stride &&
         w->stride[1] == stride;
}

bool dnn_small_conv_fits(const pn_task *t) {
  const pn_op_desc *conv = t->op[0];
  const pn_window *pool;
  if (t->n_ops != 3 || conv->in.dim[1] > PN_SMALL_CHANNELS) return false;
  pool = &t->op[2]->window;
  return window_is(&conv->window, 3, 1) && window_is(pool, 2, 2) && pool->pad_before[0] == 0 &&
         pool->pad_before[1] == 0 && pool->pad_after[0] == 0 && pool->pad_after[1] == 0 &&
         pn_vector_find(dnn_lanes(), t->precision) != NULL &&
         (t->precision == PN_F32 || conv->out.dim[1] % dnn_lanes() == 0);
}

static struct small *make(const pn_device *d, const pn_task *t) {
  const pn_op_desc *conv = t->op[0], *pool = t->op[2];
  const int64_t *before = conv->window.pad_before, *after = conv->window.pad_after;
  struct small *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  s->code = pn_vector_find(dnn_lanes(), t->precision);
  s->type = t->precision;
  s->op = *conv;
  s->threads = d->threads;
  s->shape = (pn_small_conv){.channels = conv->in.dim[1],
                             .blocks = (conv->out.dim[1] + s->code->lanes - 1) / s->code->lanes,
                             .rows = conv->in.dim[2] + before[0] + after[0],
                             .cols = conv->in.dim[3] + before[1] + after[1],
                             .out = {pool->out.dim[2], pool->out.dim[3]}};
  s->shape.pixel = s->type == PN_BF16 ? conv->out.dim[1] : s->code->lanes;
  s->shape.block =
      s->type == PN_BF16 ? s->code->lanes : s->shape.out[0] * s->shape.out[1] * s->code->lanes;
  s->plane = (s->shape.channels * s->shape.rows * s->shape.cols + 15) / 16 * 16;
  s->packed = s->shape.blocks * s->shape.channels * PN_SMALL_TAPS * s->code->lanes;
  s->out = s->shape.blocks * s->shape.out[0] * s->shape.out[1] * s->code->lanes;
  return s;
}

/* FORWARD and BACKWARD_WEIGHT, which takes the chain's diff as it is. */
static void answer(const struct small *s, pn_task *t) {
  bool forward = t->pass == PN_FORWARD;
  pn_layout *l = t->layout;
  pn_role weight = forward ? PN_WEIGHT : PN_DWEIGHT, bias = forward ? PN_BIAS : PN_DBIAS;
  l[PN_SRC] = pn_layout_plain(s->op.in);
  l[weight] = pn_layout_plain(s->op.weight);
  snprintf(l[PN_DST].tag, PN_TAG_BYTES, "acdb");
  if (s->type == PN_F32) snprintf(l[PN_DST].tag, PN_TAG_BYTES, "aBcd%db", s->code->lanes);
  l[PN_DST].type = s->type;
  l[PN_DDST] = l[PN_DST];
  t->uses = 1u << PN_SRC | 1u << weight | 1u << PN_DST | 1u << PN_SCRATCH | 1u << PN_AUX;
  if (!forward) t->uses |= 1u << PN_DDST;
  if (s->op.bias) t->uses |= 1u << bias;
  t->scratch_bytes = (size_t)(shared_count(s) + s->threads * thread_count(s)) * sizeof(float);
  if (forward) t->aux_bytes = (size_t)(s->out * s->op.in.dim[0]);
}

pn_status dnn_small_conv_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  struct small *s;
  *out = (pn_kernel){.run = NULL};
  if (t->pass == PN_BACKWARD_POST) return PN_OK; /* the other passes take the chain's diff */
  if (t->pass == PN_BACKWARD_DATA) return dnn_conv_pool_data(d, t, out);
  if (!(s = make(d, t))) return PN_FAIL(PN_ERR_NOMEM, "onednn: small conv");
  answer(s, t);
  out->run = t->pass == PN_FORWARD ? forward_run : weight_run;
  out->destroy = free;
  out->state = s;
  snprintf(out->impl, sizeof out->impl, "simd:conv3x3_pool2:%d", s->code->lanes);
  return PN_OK;
}
