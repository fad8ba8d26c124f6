/* map.c -- elementwise ops, dropout, sums, concatenation. */
#include "cuda_device.h"

#include "base/rng.h"

static cu_function function_of(pn_op_kind k) {
  return k == PN_OP_RELU      ? CU_RELU
         : k == PN_OP_SIGMOID ? CU_SIGMOID
         : k == PN_OP_SILU    ? CU_SILU
                              : CU_COPY;
}

static pn_status map_forward(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  int64_t n = pn_shape_count(s->op[0].out);
  cu_map a = {.f = function_of(s->op[0].kind), .x = ptr[PN_SRC], .out = ptr[PN_DST]};
  (void)ctx;

  if (s->op[0].kind == PN_OP_ADD) a.z = ptr[PN_SRC1];
  return cu_launch(s, CU_K_map_forward, cu_wide_rows(s, n), &a, n);
}

static pn_status map_backward(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  int64_t n = pn_shape_count(s->op[0].in);
  cu_map a = {.f = function_of(s->op[0].kind),
              .x = ptr[PN_SRC],
              .y = ptr[PN_DST],
              .d = ptr[PN_DDST],
              .d1 = s->uses & CU_BIT(PN_DDST1) ? ptr[PN_DDST1] : NULL,
              .add = s->uses & CU_BIT(PN_DADD) ? ptr[PN_DADD] : NULL,
              .out = ptr[PN_DSRC]};
  (void)ctx;

  return cu_launch(s, CU_K_map_backward, cu_wide_rows(s, n), &a, n);
}

static pn_status relu_post(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  int64_t n = pn_shape_count(s->op[0].out);
  cu_map a = {.f = CU_RELU,
              .y = ptr[PN_DST],
              .d = ptr[PN_DDST],
              .d1 = s->uses & CU_BIT(PN_DDST1) ? ptr[PN_DDST1] : NULL,
              .out = ptr[PN_DMID]};
  (void)ctx;

  return cu_launch(s, CU_K_map_backward, cu_wide_rows(s, n), &a, n);
}

pn_status cu_relu_post(pn_device *d, pn_task *t, pn_kernel *out) {
  unsigned uses = CU_BIT(PN_DST) | CU_BIT(PN_DDST) | CU_BIT(PN_DMID);
  cu_state *s;

  return cu_answer(d, t, cu_with_offers(t, uses, CU_BIT(PN_DDST1)), relu_post, out, &s);
}

static cu_dropout dropout_of(const pn_op_desc *op) {
  uint32_t channels = cu_channels(&op->in);
  cu_dropout a = {.channels = channels, .area = cu_rows(&op->in) / (uint32_t)op->in.dim[0]};

  a.runs = (a.area + CU_PIXELS - 1) / CU_PIXELS;
  a.rate = op->rate;
  a.keep = 1.0f / (1.0f - op->rate);
  return a;
}

/* n threads, each with its bits. */
static int64_t dropout_threads(const cu_state *s, const cu_dropout *a) {
  int64_t groups =
      cu_wide_rows(s, a->channels) ? a->channels / (uint32_t)cu_lanes(s->form) : a->channels;
  return s->op[0].in.dim[0] * a->runs * groups;
}

static pn_status start_dropout(const cu_state *s, const cu_dropout *a) {
  bool wide = cu_wide_rows(s, a->channels);
  return cu_launch(s, CU_K_dropout, wide, a,
                   dropout_threads(s, a) * (wide ? cu_lanes(s->form) : 1));
}

/* The mask of pn_dropout_factors: the stream of the sample, the layer and the epoch. */
static pn_status dropout_forward(void *state, void *const ptr[PN_ROLE_COUNT],
                                 const pn_step_ctx *ctx) {
  const cu_state *s = state;
  cu_dropout a = dropout_of(&s->op[0]);
  uint32_t layer;
  pn_rng r;

  if (!s->training) return map_forward(state, ptr, ctx);
  if (!ctx || !ctx->sample_id)
    return PN_FAIL(PN_ERR_ARG, "dropout needs the sample ids of the batch");
  layer = ((ctx->numbers ? 0 : ctx->epoch) & 0xfffffu) << 8 | ((uint32_t)s->op[0].id & 0xffu);
  r = pn_rng_make(ctx->seed, PN_RNG_DROPOUT, 0, layer);
  a.x = ptr[PN_SRC];
  a.out = ptr[PN_DST];
  a.kept = ptr[PN_AUX];
  a.sample_id = ctx->sample_id;
  a.numbers = ctx->numbers;
  a.key[0] = r.key[0];
  a.key[1] = r.key[1];
  a.stream = r.counter[1];
  return start_dropout(s, &a);
}

static pn_status dropout_backward(void *state, void *const ptr[PN_ROLE_COUNT],
                                  const pn_step_ctx *ctx) {
  const cu_state *s = state;
  cu_dropout a = dropout_of(&s->op[0]);
  (void)ctx;

  a.x = ptr[PN_DDST];
  a.out = ptr[PN_DSRC];
  a.kept = ptr[PN_AUX];
  a.back = 1;
  return start_dropout(s, &a);
}

static pn_status prepare_dropout(pn_device *d, pn_task *t, pn_kernel *out) {
  bool forward = t->pass == PN_FORWARD;
  unsigned uses = forward ? CU_BIT(PN_SRC) | CU_BIT(PN_DST) : CU_BIT(PN_DDST) | CU_BIT(PN_DSRC);
  cu_state *s;
  cu_dropout a;
  pn_status st;

  if (t->training || !forward) uses |= CU_BIT(PN_AUX);
  st = cu_answer(d, t, uses, forward ? dropout_forward : dropout_backward, out, &s);
  if (st != PN_OK) return st;
  a = dropout_of(t->op[0]);
  if (forward && t->training) t->aux_bytes = (size_t)dropout_threads(s, &a) * sizeof(uint64_t);
  return PN_OK;
}

pn_status cu_map_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  pn_op_kind kind = t->op[0]->kind;
  unsigned uses = CU_BIT(PN_SRC) | CU_BIT(PN_DST), offers = CU_BIT(PN_DDST1) | CU_BIT(PN_DADD);
  cu_state *s;

  if (kind == PN_OP_DROPOUT) return prepare_dropout(d, t, out);
  if (t->pass == PN_FORWARD) {
    if (kind == PN_OP_ADD) uses |= CU_BIT(PN_SRC1);
    return cu_answer(d, t, uses, map_forward, out, &s);
  }
  uses = CU_BIT(PN_DDST) | CU_BIT(PN_DSRC);
  uses |= kind == PN_OP_SILU ? CU_BIT(PN_SRC) : CU_BIT(PN_DST);
  return cu_answer(d, t, cu_with_offers(t, uses, offers), map_backward, out, &s);
}

static uint32_t input_channels(const pn_op_desc *op, int k) {
  return cu_channels(k ? &op->more[k - 1] : &op->in);
}

/* Input k's channels into, or out of, the rows of all. */
static pn_status join_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  const pn_op_desc *op = &s->op[0];
  uint32_t rows = cu_rows(&op->out), all = cu_channels(&op->out), at = 0;
  pn_status st = PN_OK;
  (void)ctx;

  for (int k = 0; k <= op->n_more && st == PN_OK; k++) {
    uint32_t n = input_channels(op, k);
    bool wide = cu_wide_rows(s, n) && cu_wide_rows(s, at) && cu_wide_rows(s, all);
    cu_slice a = {.channels = n, .from_pitch = n, .to = at, .to_pitch = all};
    if (s->pass == PN_FORWARD) {
      a.x = ptr[k ? PN_SRC1 + k - 1 : PN_SRC];
      a.out = ptr[PN_DST];
    } else {
      a = (cu_slice){.channels = n, .from = at, .from_pitch = all, .to_pitch = n};
      a.x = ptr[PN_DDST];
      a.out = ptr[k ? PN_DSRC1 + k - 1 : PN_DSRC];
    }
    st = cu_launch(s, CU_K_slice, wide, &a, (int64_t)rows * n);
    at += n;
  }
  return st;
}

pn_status cu_join_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  bool forward = t->pass == PN_FORWARD;
  unsigned uses = forward ? CU_BIT(PN_SRC) | CU_BIT(PN_DST) : CU_BIT(PN_DSRC) | CU_BIT(PN_DDST);
  cu_state *s;

  for (int k = 0; k < t->op[0]->n_more; k++) uses |= CU_BIT((forward ? PN_SRC1 : PN_DSRC1) + k);
  return cu_answer(d, t, uses, join_run, out, &s);
}
