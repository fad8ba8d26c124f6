/* linear.c -- convolution and dense layers: by a library where the backend has one, else by the own
 * kernels, which treat a dense layer as a convolution of an image of one pixel. */
#include "cuda_device.h"

#include <stdio.h>
#include <string.h>

static cu_conv describe(const pn_op_desc *op) {
  cu_conv a = {.n = (uint32_t)op->in.dim[0], .h = 1, .w = 1, .oh = 1, .ow = 1};

  a.o = (uint32_t)op->weight.dim[0];
  for (int i = 0; i < 2; i++) {
    a.kernel[i] = op->kind == PN_OP_CONV ? (int32_t)op->window.kernel[i] : 1;
    a.stride[i] = op->kind == PN_OP_CONV ? (int32_t)op->window.stride[i] : 1;
  }
  if (op->kind == PN_OP_DENSE) {
    a.c = (uint32_t)op->weight.dim[1];
    return a;
  }
  a.c = (uint32_t)op->in.dim[1];
  a.h = (uint32_t)op->in.dim[2];
  a.w = (uint32_t)op->in.dim[3];
  a.oh = (uint32_t)op->out.dim[2];
  a.ow = (uint32_t)op->out.dim[3];
  a.pad[0] = (int32_t)op->window.pad_before[0];
  a.pad[1] = (int32_t)op->window.pad_before[1];
  return a;
}

/* Libraries pad alike before and after: what they would compute beyond the output is no trouble,
 * what they would not is. */
static bool symmetric(const pn_window *w) {
  return w->pad_before[0] == w->pad_after[0] && w->pad_before[1] == w->pad_after[1];
}

/* In f32 the norm's own sums stay: theirs are more exact. */
static bool wants_stats(const pn_task *t) {
  return t->pass == PN_FORWARD && t->layout[PN_STATS].tag[0] && !t->op[0]->bias && t->n_ops == 1 &&
         t->precision != PN_F32;
}

static pn_status find_library(cu_state *s, const pn_task *t) {
  const cu_backend *b = s->device->backend;
  const pn_op_desc *op = &s->op[0];
  bool forward = s->pass == PN_FORWARD;
  pn_status st = PN_ERR_UNSUPPORTED;

  if (op->kind == PN_OP_CONV && b->conv && symmetric(&op->window)) {
    cu_conv_job job = {.pass = s->pass,
                       .type = t->precision,
                       .bias = forward && op->bias,
                       .relu = forward && s->n_ops > 1,
                       .stats = wants_stats(t),
                       .shape = s->args.conv};
    st = b->conv(s->device->impl, &job, &s->call);
  } else if (op->kind == PN_OP_DENSE && b->dense) {
    cu_dense_job job = {.pass = s->pass,
                        .type = t->precision,
                        .f32_out = s->args.conv.f32_out,
                        .batch = op->in.dim[0],
                        .in = op->weight.dim[1],
                        .out = op->weight.dim[0],
                        .bias = op->bias,
                        .relu = s->n_ops > 1};
    st = b->dense(s->device->impl, &job, &s->call);
  }
  return st == PN_ERR_UNSUPPORTED ? PN_OK : st;
}

/* Libraries want 256 bytes of alignment; the planner gives less. */
enum { LIBRARY_ALIGN = 256 };
static void *library_scratch(void *p) {
  uintptr_t at = ((uintptr_t)p + LIBRARY_ALIGN - 1) / LIBRARY_ALIGN * LIBRARY_ALIGN;
  return (char *)p + (at - (uintptr_t)p);
}

/* Behind the library's scratch. */
static void *own_scratch(const cu_state *s, void *const ptr[PN_ROLE_COUNT]) {
  return (char *)ptr[PN_SCRATCH] + s->sums;
}

/* bias: parameter or diff. */
static pn_status call(const cu_state *s, void *x, void *w, void *y, void *bias,
                      void *const ptr[PN_ROLE_COUNT]) {
  cu_operands o = {.x = x, .w = w, .y = y, .bias = bias};
  o.stats = s->uses & CU_BIT(PN_STATS) ? ptr[PN_STATS] : NULL;
  o.scratch = s->uses & CU_BIT(PN_SCRATCH) ? library_scratch(ptr[PN_SCRATCH]) : NULL;
  return s->call.run(s->call.plan, &o);
}

/* The bias as the library wants it: f32, or rounded into the scratch. */
static pn_status bias_of(const cu_state *s, void *const ptr[PN_ROLE_COUNT], void **bias) {
  cu_convert a = {.x = ptr[PN_BIAS]};
  int64_t n = s->args.conv.o;

  *bias = s->op[0].bias ? ptr[PN_BIAS] : NULL;
  if (!*bias || !s->call.half_bias) return PN_OK;
  *bias = a.out = own_scratch(s, ptr);
  return cu_launch(s, CU_K_convert, cu_wide_rows(s, n), &a, n);
}

/* The layer and its ReLU. */
static pn_status apply(const cu_state *s, void *const ptr[PN_ROLE_COUNT], void *to) {
  int64_t n = pn_shape_count(s->op[0].out);
  cu_conv a = s->args.conv;
  cu_map post = {.f = s->n_ops > 1 ? CU_RELU : CU_COPY, .x = to, .out = to};
  void *bias = NULL;
  pn_status st = PN_OK;

  a.bias = s->op[0].bias ? ptr[PN_BIAS] : NULL;
  if (!s->call.run) {
    a.x = ptr[PN_SRC];
    a.weight = ptr[PN_WEIGHT];
    a.out = to;
    a.relu = s->n_ops > 1;
    return cu_launch(s, CU_K_conv_forward, false, &a, n);
  }
  PN_TRY(bias_of(s, ptr, &bias));
  PN_TRY(call(s, ptr[PN_SRC], ptr[PN_WEIGHT], to, bias, ptr));
  if (s->call.complete || (!a.bias && post.f == CU_COPY)) return PN_OK;
  post.bias = a.bias;
  post.channels = a.o;
  PN_TRY(cu_launch(s, CU_K_map_forward, cu_wide_rows(s, a.o), &post, n));
done:
  return st;
}

static pn_status forward(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  (void)ctx;
  return apply(state, ptr, ptr[PN_DST]);
}

/* What is pooled lies in the scratch, and is gone afterwards: the way back needs `where` alone. */
static pn_status forward_pool(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  cu_window a = cu_window_of(&s->op[2]);
  void *middle = (char *)ptr[PN_SCRATCH] + s->middle;
  pn_status st = apply(s, ptr, middle);
  (void)ctx;

  if (st != PN_OK) return st;
  a.x = middle;
  a.out = ptr[PN_DST];
  a.where = s->training ? ptr[PN_AUX] : NULL;
  a.relu = 1;
  return cu_launch(s, CU_K_maxpool_forward, cu_wide_rows(s, a.c), &a, pn_shape_count(s->op[2].out));
}

static pn_status data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  cu_conv a = s->args.conv;
  (void)ctx;

  if (s->call.run) return call(s, ptr[PN_DSRC], ptr[PN_WEIGHT], ptr[PN_DDST], NULL, ptr);
  a.d = ptr[PN_DDST];
  a.weight = ptr[PN_WEIGHT];
  a.out = ptr[PN_DSRC];
  return cu_launch(s, CU_K_conv_data, false, &a, pn_shape_count(s->op[0].in));
}

static pn_status bias_sums(const cu_state *s, void *const ptr[PN_ROLE_COUNT]) {
  cu_norm a = {.rows = cu_rows(&s->op[0].out), .channels = cu_channels(&s->op[0].out)};
  pn_status st;

  if (cu_post_sums(s)) a = cu_post_rows(s, ptr[PN_AUX]);
  a.dbeta = ptr[PN_DBIAS];
  if (!cu_post_sums(s)) {
    a.d = ptr[PN_DDST];
    a.partial = own_scratch(s, ptr);
    PN_TRY(cu_sum_rows(s, CU_K_norm_diffs, &a));
  }
  PN_TRY(cu_total_rows(s, CU_K_norm_gradients, &a));
done:
  return st;
}

/* A library's diff in 16 bits goes through the scratch. */
static pn_status library_weight(const cu_state *s, void *const ptr[PN_ROLE_COUNT]) {
  void *bias = s->op[0].bias ? ptr[PN_DBIAS] : NULL, *to = ptr[PN_DWEIGHT];
  cu_convert a = {.out = to, .to_f32 = 1};
  int64_t n = pn_shape_count(s->op[0].weight);
  pn_status st;

  if (s->call.half_weight) a.x = to = (char *)ptr[PN_SCRATCH] + s->half_weight;
  PN_TRY(call(s, ptr[PN_SRC], to, ptr[PN_DDST], bias, ptr));
  if (s->call.half_weight) PN_TRY(cu_launch(s, CU_K_convert, cu_wide_rows(s, n), &a, n));
done:
  return st;
}

static pn_status weight(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  cu_conv a = s->args.conv;
  pn_status st;
  (void)ctx;

  a.x = ptr[PN_SRC];
  a.d = ptr[PN_DDST];
  a.out = ptr[PN_DWEIGHT];
  if (s->call.run)
    st = library_weight(s, ptr);
  else
    st = cu_launch(s, CU_K_conv_weight, false, &a, pn_shape_count(s->op[0].weight));
  return st == PN_OK && s->op[0].bias && !s->call.complete ? bias_sums(s, ptr) : st;
}

/* O I of a dense layer of an image is stored as O H W C, like the image. */
static void split_weight(pn_task *t) {
  const pn_op_desc *op = t->op[0];
  if (op->kind != PN_OP_DENSE || op->in.n_dims != 4) return;
  t->layout[PN_WEIGHT].shape =
      pn_shape4(op->weight.dim[0], op->in.dim[1], op->in.dim[2], op->in.dim[3]);
  t->layout[PN_DWEIGHT].shape = t->layout[PN_WEIGHT].shape;
}

static pn_status answer(pn_device *d, pn_task *t, pn_kernel *out, cu_state **s) {
  unsigned bias = t->op[0]->bias ? CU_BIT(PN_BIAS) : 0, scratch = CU_BIT(PN_SCRATCH);

  bool pool = t->n_ops == 3, sums = t->op[0]->kind == PN_OP_CONV && t->op[0]->bias && t->n_ops > 1;
  unsigned aux = t->training && (pool || sums) ? CU_BIT(PN_AUX) : 0;

  switch (t->pass) {
  case PN_FORWARD:
    return cu_answer(d, t,
                     CU_BIT(PN_SRC) | CU_BIT(PN_WEIGHT) | CU_BIT(PN_DST) | bias | scratch | aux,
                     pool ? forward_pool : forward, out, s);
  case PN_BACKWARD_WEIGHT:
    if (bias) bias = CU_BIT(PN_DBIAS);
    if (sums) bias |= aux;
    return cu_answer(d, t, CU_BIT(PN_SRC) | CU_BIT(PN_DDST) | CU_BIT(PN_DWEIGHT) | bias | scratch,
                     weight, out, s);
  default:
    return cu_answer(d, t, CU_BIT(PN_DDST) | CU_BIT(PN_WEIGHT) | CU_BIT(PN_DSRC) | scratch, data,
                     out, s);
  }
}

/* Of the library, aligned; then for a bias in 16 bits, or sums of diffs. */
static void place_scratch(pn_task *t, cu_state *s) {
  const pn_op_desc *op = t->op[0];

  s->sums = s->call.scratch_bytes / LIBRARY_ALIGN * LIBRARY_ALIGN;
  if (s->call.scratch_bytes) s->sums += 2 * LIBRARY_ALIGN;
  t->scratch_bytes = s->sums;
  if (t->pass == PN_BACKWARD_WEIGHT && op->bias && !s->call.complete && !cu_post_sums(s))
    t->scratch_bytes += cu_sum_bytes(s, cu_rows(&op->out), cu_channels(&op->out));
  s->half_weight = (t->scratch_bytes + LIBRARY_ALIGN - 1) / LIBRARY_ALIGN * LIBRARY_ALIGN;
  if (t->pass == PN_BACKWARD_WEIGHT && s->call.half_weight)
    t->scratch_bytes = s->half_weight + (size_t)pn_shape_count(op->weight) * sizeof(uint16_t);
  if (t->pass == PN_FORWARD && op->bias && s->call.half_bias)
    t->scratch_bytes += (size_t)op->weight.dim[0] * sizeof(uint16_t);
  s->middle = (t->scratch_bytes + LIBRARY_ALIGN - 1) / LIBRARY_ALIGN * LIBRARY_ALIGN;
  if (t->pass == PN_FORWARD && t->n_ops == 3)
    t->scratch_bytes = s->middle + (size_t)pn_shape_count(op->out) * pn_dtype_bytes(t->precision);
  if (t->scratch_bytes == 0) s->uses = t->uses &= ~CU_BIT(PN_SCRATCH);
}

/* Each input in one window at most, and none beside the image. */
static bool plain_pool(const pn_op_desc *op) {
  const pn_window *w = &op->window;
  bool plain = w->kernel[0] * w->kernel[1] < CU_NOWHERE;

  for (int i = 0; i < 2; i++)
    plain = plain && w->kernel[i] == w->stride[i] && w->pad_before[i] == 0 &&
            op->out.dim[2 + i] * w->kernel[i] <= op->in.dim[2 + i];
  return plain;
}

pn_status cu_linear_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  cu_state *s = NULL;
  pn_status st;

  if (t->n_ops == 3 && !plain_pool(t->op[2])) return PN_ERR_UNSUPPORTED;
  if (t->pass == PN_BACKWARD_POST) return cu_post_prepare(d, t, out);
  split_weight(t);
  if ((st = answer(d, t, out, &s)) != PN_OK) return st;
  s->args.conv = describe(t->op[0]);
  s->args.conv.f32_out = t->pass == PN_FORWARD && t->layout[PN_DST].type == PN_F32;
  if ((st = find_library(s, t)) != PN_OK) {
    out->destroy(out->state);
    *out = (pn_kernel){.run = NULL};
    return st;
  }
  if (s->call.stats) s->uses = t->uses |= CU_BIT(PN_STATS);
  place_scratch(t, s);
  if (t->pass == PN_FORWARD && t->training) t->aux_bytes = cu_post_aux(s);
  snprintf(out->impl, sizeof out->impl, "%s", s->call.run ? s->call.impl : "own:direct");
  return PN_OK;
}
