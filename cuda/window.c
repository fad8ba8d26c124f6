/* window.c -- pools, zero padding, upsampling. */
#include "cuda_device.h"

cu_window cu_window_of(const pn_op_desc *op) {
  cu_window a = {.c = cu_channels(&op->in), .h = (uint32_t)op->in.dim[2]};

  a.w = (uint32_t)op->in.dim[3];
  a.pad_counts = op->pad_counts;
  if (op->kind == PN_OP_GAP) { /* one window over the whole image */
    a.oh = a.ow = 1;
    for (int i = 0; i < 2; i++) {
      a.kernel[i] = (int32_t)op->in.dim[2 + i];
      a.stride[i] = 1;
    }
    return a;
  }
  a.oh = (uint32_t)op->out.dim[2];
  a.ow = (uint32_t)op->out.dim[3];
  for (int i = 0; i < 2; i++) {
    a.kernel[i] = (int32_t)op->window.kernel[i];
    a.stride[i] = (int32_t)op->window.stride[i];
    a.pad[i] = (int32_t)op->window.pad_before[i];
  }
  return a;
}

static cu_kernel kernel_of(pn_op_kind kind, bool forward) {
  if (kind == PN_OP_MAXPOOL) return forward ? CU_K_maxpool_forward : CU_K_maxpool_backward;
  if (kind == PN_OP_UPSAMPLE) return forward ? CU_K_upsample_forward : CU_K_upsample_backward;
  return forward ? CU_K_avgpool_forward : CU_K_avgpool_backward;
}

static pn_status window_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  const pn_op_desc *op = &s->op[0];
  bool forward = s->pass == PN_FORWARD;
  int64_t n = pn_shape_count(forward ? op->out : op->in);
  cu_window a = s->args.window;
  (void)ctx;

  a.x = ptr[PN_SRC];
  a.d = ptr[PN_DDST];
  a.out = ptr[forward ? PN_DST : PN_DSRC];
  a.where = s->uses & CU_BIT(PN_AUX) ? ptr[PN_AUX] : NULL;
  if (op->kind == PN_OP_MAXPOOL && !forward) /* four at a time */
    n = op->in.dim[0] * ((op->in.dim[2] + 1) / 2) * ((op->in.dim[3] + 1) / 2) * op->in.dim[1];
  return cu_launch(s, kernel_of(op->kind, forward), cu_wide_rows(s, a.c), &a, n);
}

/* Backward of padding is cropping: padding by negative amounts. */
static pn_status place_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  bool forward = s->pass == PN_FORWARD;
  const pn_shape *to = forward ? &s->op[0].out : &s->op[0].in;
  const pn_shape *from = forward ? &s->op[0].in : &s->op[0].out;
  const int64_t *pad = s->op[0].window.pad_before;
  cu_place a = {.x = ptr[forward ? PN_SRC : PN_DDST], .out = ptr[forward ? PN_DST : PN_DSRC]};
  (void)ctx;

  a.c = cu_channels(to);
  a.h = (uint32_t)from->dim[2];
  a.w = (uint32_t)from->dim[3];
  a.oh = (uint32_t)to->dim[2];
  a.ow = (uint32_t)to->dim[3];
  a.top = (int32_t)(forward ? pad[0] : -pad[0]);
  a.left = (int32_t)(forward ? pad[1] : -pad[1]);
  return cu_launch(s, CU_K_place, cu_wide_rows(s, a.c), &a, pn_shape_count(*to));
}

pn_status cu_window_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  const pn_op_desc *op = t->op[0];
  bool forward = t->pass == PN_FORWARD, pool = op->kind == PN_OP_MAXPOOL;
  unsigned uses = forward ? CU_BIT(PN_SRC) | CU_BIT(PN_DST) : CU_BIT(PN_DDST) | CU_BIT(PN_DSRC);
  cu_state *s;
  pn_status st;

  if (pool && op->window.kernel[0] * op->window.kernel[1] >= CU_NOWHERE)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "cuda: max pool of %lldx%lld, at most %d places",
                   (long long)op->window.kernel[0], (long long)op->window.kernel[1],
                   CU_NOWHERE - 1);
  if (pool && (t->training || !forward)) uses |= CU_BIT(PN_AUX);
  st = cu_answer(d, t, uses, op->kind == PN_OP_ZEROPAD ? place_run : window_run, out, &s);
  if (st != PN_OK) return st;
  s->args.window = cu_window_of(op);
  if (pool && forward && t->training) t->aux_bytes = (size_t)pn_shape_count(op->out);
  return PN_OK;
}
