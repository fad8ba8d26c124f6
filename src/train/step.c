/* step.c -- one training step: load, forward, backward, update.  Names no strategy. */
#include "train/run.h"

#include <math.h>

/* This rank's part of the mean loss; remembers the first one that is not finite. */
static void note_loss(pn_run *r, pn_plan *plan, const pn_share *share) {
  const float *loss = pn_plan_losses(plan);
  double sum = 0;

  for (int64_t i = 0; i < share->count; i++) sum += (double)loss[i];
  r->loss[r->pending] = sum / (double)share->global;
  if (isfinite(sum) || r->bad_step != INT64_MAX) return;
  r->bad_step = r->done + 1;
  pn_plan_find_nonfinite(plan, r->bad_where, sizeof r->bad_where);
}

static pn_status pass(pn_run *r, pn_plan *plan, const pn_share *share) {
  pn_plan_hooks hooks = pn_strategy_hooks(r->strategy);
  pn_step_ctx ctx = pn_feed_context(r->feed);
  pn_status st = PN_OK;

  ctx.seed = r->cfg->seed;
  pn_phases_enter(r->phases, PN_PHASE_FORWARD);
  PN_TRY(pn_plan_forward(plan, &ctx, &hooks));
  note_loss(r, plan, share);
  pn_phases_enter(r->phases, PN_PHASE_BACKWARD);
  PN_TRY(pn_plan_backward(plan, &ctx, &hooks));
  pn_phases_move(r->phases, PN_PHASE_BACKWARD, PN_PHASE_COMM, r->strategy->comm_exposed_s);
done:
  return st;
}

/* The plan with this rank's images; NULL where it has none, or could not read them. */
static pn_plan *load(pn_run *r, const pn_share *share, int64_t k) {
  pn_plan *plan = pn_plan_set_get(&r->plans, share->count);
  pn_status st = plan ? pn_feed_load(r->feed, k, plan) : PN_OK;

  if (st == PN_OK) return plan;
  pn_failure_note(&r->data_lost, st, r->done + 1);
  return NULL;
}

static pn_status update(pn_run *r) {
  pn_strategy *s = r->strategy;
  double before = s->comm_exposed_s; /* in the backward pass */
  pn_status st;

  pn_phases_enter(r->phases, PN_PHASE_UPDATE);
  st = s->ops->step(s, r->done + 1, r->cfg->optim.lr, NULL);
  pn_phases_move(r->phases, PN_PHASE_UPDATE, PN_PHASE_COMM, s->comm_exposed_s - before);
  return st;
}

pn_status pn_run_step(pn_run *r, int64_t k) {
  pn_share share = pn_batches_share(&r->batches, k);
  pn_plan *plan;
  pn_status st = PN_OK;

  r->loss[r->pending] = 0;
  pn_phases_begin(r->phases);
  pn_phases_enter(r->phases, PN_PHASE_DATA);
  plan = load(r, &share, k);
  PN_TRY(plan ? pass(r, plan, &share) : pn_strategy_skip(r->strategy));
  PN_TRY(update(r));
  pn_phases_end(r->phases);
  r->hidden[r->pending++] = fmax(0, r->strategy->comm_total_s - r->strategy->comm_exposed_s);
  r->done++;
done:
  return st;
}
