/* loss.c -- the losses and softmax over channels. */
#include "cuda_device.h"

static pn_status softmax_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  bool forward = s->pass == PN_FORWARD;
  cu_softmax a = {.x = ptr[PN_SRC], .y = ptr[PN_DST], .d = ptr[PN_DDST]};
  (void)ctx;

  a.out = ptr[forward ? PN_DST : PN_DSRC];
  a.classes = cu_channels(&s->op[0].in);
  return cu_launch(s, forward ? CU_K_softmax_forward : CU_K_softmax_backward, false, &a,
                   cu_rows(&s->op[0].in));
}

static pn_status loss_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  const pn_op_desc *op = &s->op[0];
  bool forward = s->pass == PN_FORWARD;
  int64_t blocks;
  cu_loss a = {.x = ptr[PN_SRC], .out = ptr[forward ? PN_DST : PN_DSRC], .label = ptr[PN_LABEL]};

  if (!forward && (!ctx || !ctx->sample_scale))
    return PN_FAIL(PN_ERR_ARG, "%s: backward needs sample_scale", pn_op_name(op->kind));
  if (ctx) {
    a.label2 = ctx->label2;
    a.mix = ctx->mix;
    a.scale = ctx->sample_scale;
    a.smoothing = ctx->smoothing;
  }
  a.classes = (uint32_t)op->in.dim[1];
  a.rows = (uint32_t)op->in.dim[0];
  a.lse = s->uses & CU_BIT(PN_AUX) ? ptr[PN_AUX] : NULL;
  if (!forward) return cu_launch(s, CU_K_loss_backward, false, &a, pn_shape_count(op->in));
  blocks = ((int64_t)a.rows * CU_ROW_THREADS + CU_BLOCK - 1) / CU_BLOCK;
  return cu_launch(s, CU_K_loss_forward, false, &a, blocks * CU_BLOCK);
}

pn_status cu_loss_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  bool forward = t->pass == PN_FORWARD;
  unsigned uses = CU_BIT(PN_SRC) | (forward ? CU_BIT(PN_DST) : CU_BIT(PN_DSRC));
  cu_state *s;
  pn_status st;

  if (t->op[0]->kind != PN_OP_SOFTMAX) {
    if (t->training || !forward) uses |= CU_BIT(PN_AUX);
    st = cu_answer(d, t, uses | CU_BIT(PN_LABEL), loss_run, out, &s);
    if (st == PN_OK && forward && t->training)
      t->aux_bytes = (size_t)t->op[0]->in.dim[0] * sizeof(double);
    return st;
  }
  if (!forward) uses = CU_BIT(PN_DST) | CU_BIT(PN_DDST) | CU_BIT(PN_DSRC);
  return cu_answer(d, t, uses, softmax_run, out, &s);
}
