/* plan_whole.c -- training steps on a device with memory of its own as one graph each: the host
 * sends the batch and the numbers of a step, starts the graph, and looks at the results of the step
 * before. */
#include "nn/plan_far.h"

#include "base/clock.h"
#include "base/log.h"

#include <sched.h>

static pn_status make_ready(pn_plan *p) {
  struct pn_plan_far *f = p->far;
  const pn_far_ops *far = pn_plan_far_ops(p);
  pn_status st = PN_OK;

  if (!pn_plan_can_step(p))
    return PN_FAIL(PN_ERR_ARG, "plan: whole steps need a training plan with far arenas");
  if (f->mark[0].start) return PN_OK;
  PN_TRY(pn_plan_side_make(p, &f->side[1]));
  for (int i = 0; i < MARKS; i++) {
    PN_TRY(far->mark_create(p->spec.device, &f->mark[i].start));
    PN_TRY(far->mark_create(p->spec.device, &f->mark[i].end));
  }
done:
  return st;
}

bool pn_plan_can_step(const pn_plan *p) {
  return p->far && p->far->lent && p->spec.training;
}

bool pn_plan_is_graph(const pn_plan *p) {
  return p->far && p->far->whole[p->far->tail.part].graph;
}

/* Copies into it come behind the zeroing of its memory. */
static pn_status make_far_input(const pn_plan *p, host_side *x) {
  const pn_far_ops *far = pn_plan_far_ops(p);
  pn_device *d = p->spec.device;
  pn_status st = PN_OK;

  if (x->far_input) return PN_OK;
  PN_TRY(far->alloc(d, "batches under way", p->far->input_bytes, &x->far_input));
  PN_TRY(far->images->done(d, p->far->turn));
done:
  return st;
}

static pn_status begin_input(const pn_plan *p, host_side *x) {
  pn_status st = PN_OK;

  if (x->travels) return PN_OK;
  PN_TRY(make_far_input(p, x));
  PN_TRY(pn_plan_far_ops(p)->images->begin(p->spec.device, p->far->turn, x->far_input, x->input,
                                           p->far->input_bytes));
  x->travels = true;
done:
  return st;
}

pn_status pn_plan_begin_input(pn_plan *p) {
  pn_status st;

  PN_TRY(make_ready(p));
  if (!p->far->filled) PN_TRY(begin_input(p, &p->far->side[p->far->turn]));
done:
  return st;
}

/* The host's images travel while the step before this one runs; behind it they are moved to where
 * the kernels read them. */
static pn_status send_input(const pn_plan *p, host_side *x) {
  const pn_far_ops *far = pn_plan_far_ops(p);
  size_t bytes = p->far->input_bytes;
  pn_device *d = p->spec.device;
  int lane = p->far->turn;
  pn_status st;

  PN_TRY(begin_input(p, x));
  x->travels = false;
  PN_TRY(far->images->arrive(d, lane));
  PN_TRY(far->copy(d, pn_plan_far_buffer(p, p->input_buffer), x->far_input, bytes));
  PN_TRY(far->images->done(d, lane));
done:
  return st;
}

static pn_status send_batch(const pn_plan *p, host_side *x) {
  const struct pn_plan_far *f = p->far;
  const pn_far_ops *far = pn_plan_far_ops(p);
  pn_device *d = p->spec.device;
  pn_status st;

  PN_TRY(far->send(d, f->memory, x->memory, f->block_bytes));
  if (f->filled) return PN_OK;
  PN_TRY(send_input(p, x));
  PN_TRY(far->send(d, pn_plan_far_buffer(p, p->label_buffer), x->labels,
                   (size_t)p->spec.batch * sizeof *x->labels));
done:
  return st;
}

/* Everything of a step that stays on the device. */
static pn_status run_all(pn_plan *p, const pn_step_ctx *ctx, const pn_plan_hooks *h,
                         const pn_plan_tail *tail) {
  pn_status st;

  PN_TRY(pn_plan_forward_steps(p, ctx, h));
  PN_TRY(pn_plan_backward_steps(p, ctx, h));
  PN_TRY(tail->queue(tail->ctx));
done:
  return st;
}

/* A step that stops in the middle leaves its owner in the middle too: that is an error.  One that
 * only gives no graph runs its kernels one by one from now on. */
static pn_status record(pn_plan *p, const pn_step_ctx *ctx, const pn_plan_hooks *h,
                        const pn_plan_tail *tail) {
  struct captured *c = &p->far->whole[tail->part];
  pn_device *d = p->spec.device;
  pn_status st, end;

  c->refused = true;
  if (pn_plan_far_ops(p)->capture_begin(d) != PN_OK) {
    pn_warn("steps are not recorded as one graph: %s", pn_last_error());
    return PN_OK;
  }
  st = run_all(p, ctx, h, tail);
  end = pn_plan_far_ops(p)->capture_end(d, &c->graph);
  c->refused = st != PN_OK || end != PN_OK;
  if (c->refused) pn_plan_far_drop(p, c);
  if (st == PN_OK && end != PN_OK)
    pn_warn("steps are not recorded as one graph: %s", pn_last_error());
  return st;
}

static pn_status run_step(pn_plan *p, const pn_step_ctx *ctx, const pn_plan_hooks *h,
                          const pn_plan_tail *tail) {
  struct captured *c = &p->far->whole[tail->part];
  bool same = c->seen && pn_plan_far_same(&c->key, ctx);
  pn_status st = PN_OK;

  if (!same) pn_plan_far_drop(p, c);
  if (same && !c->graph && !c->refused && !tail->host) st = record(p, ctx, h, tail);
  c->seen = true;
  c->key = *ctx;
  if (st != PN_OK) return st;
  return c->graph ? pn_plan_far_ops(p)->replay(p->spec.device, c->graph) : run_all(p, ctx, h, tail);
}

/* The host goes on asking, so that its owner can look after the other ranks. */
static pn_status wait_for(pn_plan *p, void *mark) {
  const pn_plan_tail *tail = &p->far->tail;
  double start_s = pn_now();
  bool passed = false;
  pn_status st;

  PN_TRY(pn_plan_far_ops(p)->mark_passed(p->spec.device, mark, &passed));
  while (!passed) {
    if (tail->waiting) PN_TRY(tail->waiting(tail->ctx, pn_now() - start_s));
    sched_yield();
    PN_TRY(pn_plan_far_ops(p)->mark_passed(p->spec.device, mark, &passed));
  }
done:
  p->far->times.waited_s += pn_now() - start_s;
  return st;
}

/* Step k is complete, and so is the one before. */
static pn_status note_times(pn_plan *p, int64_t k) {
  struct pn_plan_far *f = p->far;
  const pn_far_ops *far = pn_plan_far_ops(p);
  double busy = 0, idle = 0;
  pn_status st = PN_OK;

  if (k < 2) return PN_OK;
  PN_TRY(far->mark_between(p->spec.device, f->mark[(k - 1) % MARKS].end, f->mark[k % MARKS].start,
                           &idle));
  PN_TRY(
      far->mark_between(p->spec.device, f->mark[k % MARKS].start, f->mark[k % MARKS].end, &busy));
  f->times.steps++;
  f->times.busy_s += busy;
  f->times.idle_s += idle;
done:
  return st;
}

static pn_status complete(pn_plan *p, host_side *x) {
  pn_status st = PN_OK;

  if (x->step == 0 || x->step <= p->far->completed) return PN_OK;
  PN_TRY(wait_for(p, p->far->mark[x->step % MARKS].end));
  p->far->completed = x->step;
  PN_TRY(note_times(p, x->step));
done:
  return st;
}

pn_status pn_plan_step(pn_plan *p, const pn_step_ctx *ctx, const pn_plan_hooks *hooks,
                       const pn_plan_tail *tail) {
  struct pn_plan_far *f = p->far;
  const pn_far_ops *far = p->spec.device->ops->far;
  pn_device *d = p->spec.device;
  pn_step_ctx here;
  host_side *x;
  pn_status st;

  PN_TRY(make_ready(p));
  x = &f->side[f->turn];
  f->tail = *tail;
  if (!f->filled) PN_TRY(pn_plan_far_check_labels(p, x->labels, "label"));
  PN_TRY(pn_plan_far_write(p, x, ctx, &here));
  x->step = ++f->steps;
  PN_TRY(far->mark_set(d, f->mark[x->step % MARKS].start));
  PN_TRY(send_batch(p, x));
  PN_TRY(run_step(p, &here, hooks, tail));
  PN_TRY(far->fetch(d, x->losses, pn_plan_far_buffer(p, p->loss_buffer),
                    (size_t)p->spec.batch * sizeof *x->losses));
  if (tail->tell) PN_TRY(tail->tell(tail->ctx));
  PN_TRY(far->mark_set(d, f->mark[x->step % MARKS].end));
  f->turn = !f->turn;
  PN_TRY(complete(p, &f->side[f->turn]));
done:
  return st;
}

pn_status pn_plan_result_of(pn_plan *p, int ago, pn_plan_result *out) {
  struct pn_plan_far *f = p->far;
  host_side *x;
  pn_status st;

  *out = (pn_plan_result){NULL};
  if (!f || ago < 0 || ago >= SIDES || ago >= f->steps)
    return PN_FAIL(PN_ERR_ARG, "plan: no whole step %d steps ago", ago);
  x = &f->side[ago ? f->turn : !f->turn];
  if ((st = complete(p, x)) != PN_OK) return st;
  *out = (pn_plan_result){.losses = x->losses, .scale = x->block.scale};
  return PN_OK;
}

pn_plan_times pn_plan_step_times(const pn_plan *p) {
  return p->far ? p->far->times : (pn_plan_times){.steps = 0};
}

void pn_plan_reset_times(pn_plan *p) {
  if (p->far) p->far->times = (pn_plan_times){.steps = 0};
}
