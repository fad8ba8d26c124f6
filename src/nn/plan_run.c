/* plan_run.c -- binding and the step loop: nothing is created, looked up or allocated here. */
#include "nn/plan_far.h"

#include <string.h>

static void *address(const pn_plan *p, const pn_operand *o) {
  float *base;

  switch (o->at) {
  case AT_BUFFER:
    return p->arena + p->buffer[o->index].offset;
  case AT_PARAM:
    if (p->far) return pn_plan_far_param(p, o->index);
    base = p->params;
    return base ? base + p->map.slot[o->index].offset : NULL;
  case AT_GRAD:
    if (p->far) return pn_plan_far_grad(p, o->index);
    base = p->grads;
    return base ? base + p->map.slot[o->index].offset : NULL;
  default:
    return NULL;
  }
}

void pn_plan_bind(pn_plan *p, float *params, float *grads) {
  p->params = params;
  p->grads = grads;
  if (p->far) pn_plan_far_outdate(p);
  for (int i = 0; i < p->n_steps; i++) {
    const pn_step *s = &p->step[i];
    p->bound[i].run = s->kernel.run;
    p->bound[i].state = s->kernel.state;
    for (int r = 0; r < PN_ROLE_COUNT; r++) p->bound[i].ptr[r] = address(p, &s->operand[r]);
  }
}

/* Where the host finds a buffer that the caller sees. */
static void *exposed(const pn_plan *p, int buffer) {
  return p->far ? pn_plan_far_shadow(p, buffer) : p->arena + p->buffer[buffer].offset;
}

float *pn_plan_input(pn_plan *p) {
  if (p->far) pn_plan_far_fill(p, false);
  return exposed(p, p->input_buffer);
}

int32_t *pn_plan_labels(pn_plan *p) {
  return exposed(p, p->label_buffer);
}

const float *pn_plan_logits(pn_plan *p) {
  return exposed(p, p->logits_buffer);
}

const float *pn_plan_losses(pn_plan *p) {
  return exposed(p, p->loss_buffer);
}

/* For pn_plan_find_nonfinite, which runs the batch again. */
static void remember(pn_plan *p, const pn_step_ctx *ctx, bool backward) {
  size_t n = (size_t)p->spec.batch;

  p->ran_backward = backward;
  if (!ctx) return;
  p->last = (pn_step_ctx){.seed = ctx->seed, .epoch = ctx->epoch};
  if (ctx->sample_id) p->last.sample_id = memcpy(p->last_id, ctx->sample_id, n * sizeof(uint64_t));
  if (ctx->sample_scale)
    p->last.sample_scale = memcpy(p->last_scale, ctx->sample_scale, n * sizeof(float));
  if (!ctx->mix) return;
  p->last.label2 = memcpy(p->last_label2, ctx->label2, n * sizeof(int32_t));
  p->last.mix = memcpy(p->last_mix, ctx->mix, n * sizeof(float));
}

static pn_status run_step(pn_plan *p, int i, const pn_step_ctx *ctx) {
  const pn_bound_step *b = &p->bound[i];
  return b->run(b->state, b->ptr, ctx);
}

static pn_status check_bound(const pn_plan *p, bool backward) {
  if (!p->params || (backward && !p->grads))
    return PN_FAIL(PN_ERR_ARG, "plan: pn_plan_bind must give %s first",
                   p->params ? "gradients" : "parameters");
  if (backward && !p->spec.training)
    return PN_FAIL(PN_ERR_ARG, "plan: an evaluation plan has no backward");
  return PN_OK;
}

pn_status pn_plan_forward_steps(pn_plan *p, const pn_step_ctx *ctx, const pn_plan_hooks *h) {
  pn_status st = PN_OK;

  for (int i = 0; i < p->n_forward; i++) {
    const pn_step *s = &p->step[i];
    if (s->enter_unit && h->before_forward) PN_TRY(h->before_forward(h->ctx, s->unit));
    if (s->enter_unit && p->far) PN_TRY(pn_plan_far_unit(p, s->unit));
    PN_TRY(run_step(p, i, ctx));
    if (s->leave_unit && h->after_forward) PN_TRY(h->after_forward(h->ctx, s->unit));
  }
done:
  return st;
}

pn_status pn_plan_forward(pn_plan *p, const pn_step_ctx *ctx, const pn_plan_hooks *hooks) {
  static const pn_plan_hooks none = {0};
  const pn_plan_hooks *h = hooks ? hooks : &none;
  pn_step_ctx far;
  pn_status st;

  PN_TRY(check_bound(p, false));
  remember(p, ctx, false);
  if (p->far) {
    PN_TRY(pn_plan_far_ready(p));
    PN_TRY(pn_plan_far_batch(p));
    PN_TRY(pn_plan_far_context(p, ctx, &far));
    ctx = &far;
  }
  if (p->far && pn_plan_far_whole(p) && !h->before_forward && !h->after_forward)
    PN_TRY(pn_plan_far_run(p, false, ctx));
  else
    PN_TRY(pn_plan_forward_steps(p, ctx, h));
  if (p->far) PN_TRY(pn_plan_far_results(p));
done:
  return st;
}

pn_status pn_plan_run_step(pn_plan *p, int i, const pn_step_ctx *ctx) {
  pn_status st = check_bound(p, i >= p->n_forward);
  return st == PN_OK ? run_step(p, i, ctx) : st;
}

/* Gradients that are final after step i; next: the highest parameter not yet reported. */
static pn_status report_ready(const pn_plan *p, int i, int *next, const pn_plan_hooks *h) {
  for (; *next >= 0; --*next) {
    pn_status st;
    if (!p->map.slot[*next].trainable) continue;
    if (p->ready[*next] > i) break;
    if (p->far && (st = pn_plan_far_gradient(p, *next)) != PN_OK) return st;
    if (h->grad_ready && (st = h->grad_ready(h->ctx, *next)) != PN_OK) return st;
  }
  return PN_OK;
}

/* queued: all steps are, only the hooks are missing. */
static pn_status backward(pn_plan *p, const pn_step_ctx *ctx, const pn_plan_hooks *h, bool queued) {
  int next = p->n_params - 1;
  pn_status st = PN_OK;

  for (int i = p->n_forward; i < p->n_steps; i++) {
    const pn_step *s = &p->step[i];
    if (s->enter_unit && h->before_backward) PN_TRY(h->before_backward(h->ctx, s->unit));
    if (!queued) PN_TRY(run_step(p, i, ctx));
    PN_TRY(report_ready(p, i, &next, h));
    if (h->tick) PN_TRY(h->tick(h->ctx));
  }
done:
  return st;
}

pn_status pn_plan_backward_steps(pn_plan *p, const pn_step_ctx *ctx, const pn_plan_hooks *h) {
  return backward(p, ctx, h, false);
}

/* Far units that come and go must be there when their kernels are queued. */
pn_status pn_plan_backward(pn_plan *p, const pn_step_ctx *ctx, const pn_plan_hooks *hooks) {
  static const pn_plan_hooks none = {0};
  const pn_plan_hooks *h = hooks ? hooks : &none;
  bool queue = p->far && !(pn_plan_far_whole(p) && h->before_backward);
  pn_step_ctx far;
  pn_status st;

  PN_TRY(check_bound(p, true));
  remember(p, ctx, true);
  if (p->far) {
    PN_TRY(pn_plan_far_context(p, ctx, &far));
    ctx = &far;
  }
  if (queue) PN_TRY(pn_plan_far_run(p, true, ctx));
  PN_TRY(backward(p, ctx, h, queue));
done:
  return st;
}
