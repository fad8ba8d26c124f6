/* step.c -- one training step: load, forward, backward, in one or more parts; update.  Names no
 * strategy. */
#include "train/run.h"

#include <math.h>

/* This rank's part of the mean loss; remembers the first one that is not finite. */
static void note_loss(pn_run *r, pn_plan *plan, const pn_share *share, const float *scale) {
  const float *loss = pn_plan_losses(plan);
  double sum = 0;

  for (int64_t i = 0; i < share->count; i++)
    sum += r->weight ? (double)scale[i] * (double)loss[i] : (double)loss[i];
  r->loss[r->pending] += r->weight ? sum : sum / (double)share->global;
  if (isfinite(sum) || r->bad_step != INT64_MAX) return;
  r->bad_step = r->done + 1;
  if (!r->strategy->ops->by_units) /* it runs the plan again */
    pn_plan_find_nonfinite(plan, r->bad_where, sizeof r->bad_where);
}

/* Communication since it stood at `before` is not computation of this phase. */
static void move_comm(pn_run *r, pn_phase from, double before) {
  pn_phases_move(r->phases, from, PN_PHASE_COMM, r->strategy->comm_exposed_s - before);
}

/* last: gradients are complete after it. */
static pn_status pass(pn_run *r, pn_plan *plan, const pn_share *share, bool last) {
  pn_plan_hooks hooks = pn_strategy_hooks(r->strategy, last);
  pn_step_ctx ctx = pn_feed_context(r->feed);
  double before = r->strategy->comm_exposed_s;
  pn_status st = PN_OK;

  ctx.seed = r->cfg->seed;
  ctx.smoothing = (float)r->cfg->label_smoothing;
  pn_phases_enter(r->phases, PN_PHASE_FORWARD);
  PN_TRY(pn_plan_forward(plan, &ctx, &hooks));
  r->strategy->fed++;
  move_comm(r, PN_PHASE_FORWARD, before);
  note_loss(r, plan, share, ctx.sample_scale);
  pn_phases_enter(r->phases, PN_PHASE_BACKWARD);
  before = r->strategy->comm_exposed_s;
  PN_TRY(pn_plan_backward(plan, &ctx, &hooks));
  move_comm(r, PN_PHASE_BACKWARD, before);
  if (!last) pn_strategy_keep_grads(r->strategy);
done:
  return st;
}

/* The parts of this rank's share; it has no images, or could not read them: *fed is false. */
static pn_status passes(pn_run *r, int64_t k, bool *fed) {
  int64_t n = pn_batches_parts(&r->batches, k);
  pn_status st = PN_OK;

  *fed = n > 0;
  for (int64_t m = 0; m < n; m++) {
    pn_share part = pn_batches_part(&r->batches, k, m);
    pn_plan *plan = pn_plan_set_get(&r->plans, part.count);
    pn_phases_enter(r->phases, PN_PHASE_DATA);
    if ((st = pn_feed_load(r->feed, k, m, plan)) != PN_OK) {
      pn_failure_note(&r->data_lost, st, r->done + 1);
      *fed = false;
      return PN_OK;
    }
    PN_TRY(pass(r, plan, &part, m == n - 1));
  }
done:
  return st;
}

static pn_status update(pn_run *r) {
  pn_strategy *s = r->strategy;
  double before = s->comm_exposed_s; /* in the backward pass */
  pn_status st;

  pn_phases_enter(r->phases, PN_PHASE_UPDATE);
  r->lr = r->rate[r->pending] = pn_run_step_lr(r);
  st = s->ops->step(s, r->done + 1, r->lr, NULL);
  s->carrying = false;
  move_comm(r, PN_PHASE_UPDATE, before);
  return st;
}

pn_status pn_run_step(pn_run *r, int64_t k) {
  bool fed;
  pn_status st = PN_OK;

  r->loss[r->pending] = 0;
  pn_phases_begin(r->phases);
  r->strategy->comm_total_s = r->strategy->comm_exposed_s = 0;
  pn_phases_enter(r->phases, PN_PHASE_DATA);
  PN_TRY(passes(r, k, &fed));
  if (!fed) PN_TRY(pn_strategy_skip(r->strategy));
  PN_TRY(update(r));
  pn_phases_end(r->phases);
  r->hidden[r->pending++] = fmax(0, r->strategy->comm_total_s - r->strategy->comm_exposed_s);
  r->done++;
done:
  return st;
}
