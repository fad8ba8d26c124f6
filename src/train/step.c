/* step.c -- one training step: load, forward, backward, in one or more parts; update.  Names no
 * strategy. */
#include "train/run.h"

#include "base/log.h"

#include <math.h>
#include <string.h>

/* Of this rank's share of a step. */
struct part {
  pn_share share;
  bool last;
  int leaf; /* exact sums: its number */
};

/* This rank's part of a step's mean loss. */
static double part_of_loss(const pn_run *r, const pn_share *share, const float *loss,
                           const float *scale) {
  double sum = 0;

  for (int64_t i = 0; i < share->count; i++)
    sum += r->weight ? (double)scale[i] * (double)loss[i] : (double)loss[i];
  return r->weight ? sum : sum / (double)share->global;
}

/* Remembers the first one that is not finite. */
static void note_loss(pn_run *r, pn_plan *plan, const struct part *x, const float *scale) {
  double sum = part_of_loss(r, &x->share, pn_plan_losses(plan), scale);

  if (r->batches.leaves > 0)
    r->leaf_loss[r->pending * r->batches.leaves + x->leaf] = sum;
  else
    r->loss[r->pending] += sum;
  if (isfinite(sum) || r->bad_step != INT64_MAX) return;
  r->bad_step = r->done + 1;
  if (r->strategy->ops->by_units) /* the parameters that a second run needs are not there */
    pn_plan_find_kept_nonfinite(plan, r->bad_where, sizeof r->bad_where);
  else
    pn_plan_find_nonfinite(plan, r->bad_where, sizeof r->bad_where);
}

/* Communication since it stood at `before` is not computation of this phase. */
static void move_comm(pn_run *r, pn_phase from, double before) {
  pn_phases_move(r->phases, from, PN_PHASE_COMM, r->strategy->comm_exposed_s - before);
}

/* Gradients of the passes before this one are kept. */
static pn_status keep_before(pn_run *r, int64_t passed) {
  double before = r->strategy->comm_exposed_s;
  pn_status st;

  if (r->batches.leaves > 0 || passed == 0) return PN_OK;
  pn_phases_enter(r->phases, PN_PHASE_BACKWARD);
  st = pn_strategy_keep_grads(r->strategy);
  move_comm(r, PN_PHASE_BACKWARD, before);
  return st;
}

/* fp16: small diffs would vanish, so the loss is made larger.  Returns what the backward pass
 * takes.
 */
static const float *scale_samples(pn_run *r, const float *scale) {
  int64_t n = pn_batches_largest(&r->batches);

  if (r->scaling.scale <= 0) return scale;
  for (int64_t i = 0; i < n; i++) r->scaled[i] = (float)((double)scale[i] * r->scaling.scale);
  return r->scaled;
}

static double unscale(const pn_run *r) {
  return r->scaling.scale > 0 ? 1 / r->scaling.scale : 1;
}

static pn_status pass(pn_run *r, pn_plan *plan, const struct part *x) {
  pn_plan_hooks hooks = pn_strategy_hooks(r->strategy, x->last);
  pn_step_ctx ctx = pn_feed_context(r->feed);
  double before = r->strategy->comm_exposed_s;
  pn_status st = PN_OK;

  ctx.seed = r->cfg->seed;
  ctx.smoothing = (float)r->cfg->label_smoothing;
  pn_phases_enter(r->phases, PN_PHASE_FORWARD);
  PN_TRY(pn_plan_forward(plan, &ctx, &hooks));
  r->strategy->fed++;
  move_comm(r, PN_PHASE_FORWARD, before);
  note_loss(r, plan, x, ctx.sample_scale);
  ctx.sample_scale = scale_samples(r, ctx.sample_scale);
  pn_phases_enter(r->phases, PN_PHASE_BACKWARD);
  before = r->strategy->comm_exposed_s;
  PN_TRY(pn_plan_backward(plan, &ctx, &hooks));
  move_comm(r, PN_PHASE_BACKWARD, before);
  if (r->batches.leaves > 0)
    pn_strategy_keep_leaf(r->strategy, x->leaf, (double)x->share.count / (double)x->share.global);
done:
  return st;
}

/* The loss of a whole step is read when the next one is under way, or at the end of some. */
static pn_status note_late(pn_run *r, int ago) {
  pn_plan_result result;
  double loss;
  pn_status st = PN_OK;

  if (!r->unread.plan) return PN_OK;
  PN_TRY(pn_plan_result_of(r->unread.plan, ago, &result));
  loss = part_of_loss(r, &r->unread.share, result.losses,
                      r->scaling.scale > 0 ? r->unread.scale : result.scale);
  r->loss[r->unread.at] += loss;
  if (!isfinite(loss) && r->bad_step == INT64_MAX) r->bad_step = r->unread.step;
  r->unread.plan = NULL;
done:
  return st;
}

/* The same on all ranks. */
static pn_status follow_scale(pn_run *r, int64_t at, int64_t step) {
  bool overflow = r->strategy->overflow;
  double scale = r->scaling.scale;
  pn_status st;

  r->loss_scale[at] = overflow ? -scale : scale;
  if ((st = pn_loss_scale_step(&r->scaling, overflow)) != PN_OK) return st;
  if (overflow)
    pn_warn("step %lld skipped: gradients are not finite in fp16; loss scale %g -> %g",
            (long long)step, scale, r->scaling.scale);
  return PN_OK;
}

/* fp16: the end of a whole step decides the numbers of the next one.  *rule: of follow_scale. */
static pn_status read_outcome(pn_run *r, pn_status *rule) {
  bool told = r->unread.plan != NULL;
  pn_status st = PN_OK;

  *rule = PN_OK;
  if (!r->unread.follows) return PN_OK;
  PN_TRY(note_late(r, 0));
  PN_TRY(pn_strategy_outcome(r->strategy, told));
  r->unread.follows = false;
  *rule = follow_scale(r, r->unread.at, r->unread.step);
done:
  return st;
}

pn_status pn_run_read_loss(pn_run *r) {
  pn_status rule, st;

  PN_TRY(read_outcome(r, &rule));
  PN_TRY(rule);
  PN_TRY(note_late(r, 0));
done:
  return st;
}

/* Before the numbers of the next step are sent. */
static pn_status settle_scale(pn_run *r) {
  pn_status rule, st = read_outcome(r, &rule);
  return st == PN_OK && rule != PN_OK ? pn_agree(r->comm, rule) : st;
}

/* Steps that the optimizer has seen, this one included. */
static int64_t optimizer_step(const pn_run *r) {
  return r->done - r->scaling.skipped + 1;
}

/* The weights of a batch that was queued while those of the one before are still wanted. */
static float *unscaled_room(const pn_run *r) {
  return r->unread.scale == r->unscaled ? r->unscaled + pn_batches_largest(&r->batches)
                                        : r->unscaled;
}

static void keep_unread(pn_run *r, pn_plan *plan, const pn_share *share, bool last) {
  r->unread.plan = plan;
  r->unread.share = *share;
  r->unread.at = r->pending;
  r->unread.step = r->done + 1;
  r->unread.follows = last && r->scaling.scale > 0;
}

/* Gradients of every part are shared, not only their sum: all ranks have as many. */
static bool shares_parts(const pn_run *r) {
  return r->batches.leaves > 0 || r->strategy->ops->next_pass;
}

static bool is_last(const pn_run *r, int64_t k, int64_t m) {
  return m + 1 ==
         (shares_parts(r) ? pn_batches_rounds(&r->batches, k) : pn_batches_parts(&r->batches, k));
}

/* Forward, backward and what follows part m of the step, at once. */
static pn_status whole_part(pn_run *r, int64_t k, int64_t m, pn_plan *plan) {
  pn_share share = pn_batches_part(&r->batches, k, m);
  bool last = is_last(r, k, m);
  pn_plan_hooks hooks = pn_strategy_hooks(r->strategy, last);
  pn_step_ctx ctx = pn_feed_context(r->feed);
  float *unscaled = unscaled_room(r);
  pn_plan_tail tail;
  pn_status st;

  ctx.seed = r->cfg->seed;
  ctx.smoothing = (float)r->cfg->label_smoothing;
  memcpy(unscaled, ctx.sample_scale, (size_t)share.count * sizeof *unscaled);
  ctx.sample_scale = scale_samples(r, ctx.sample_scale);
  r->lr = r->rate[r->pending] = pn_run_step_lr(r);
  r->strategy->grad_scale = unscale(r);
  pn_strategy_begin_part(r->strategy, (int)m, last);
  PN_TRY(pn_strategy_stage(r->strategy, optimizer_step(r), r->lr, &tail));
  PN_TRY(pn_plan_step(plan, &ctx, &hooks, &tail));
  r->strategy->fed++;
  PN_TRY(note_late(r, r->unread.plan == plan));
  keep_unread(r, plan, &share, last);
  r->unread.scale = unscaled;
done:
  return st;
}

/* *whole: all of the step was done so. */
static pn_status whole_parts(pn_run *r, int64_t k, int64_t *passed, bool *whole) {
  int64_t n = pn_batches_parts(&r->batches, k);
  pn_status st = PN_OK;

  for (*passed = 0; *passed < n; (*passed)++) {
    pn_share share = pn_batches_part(&r->batches, k, *passed);
    pn_plan *plan = pn_plan_set_get(&r->plans, share.count);
    pn_phases_enter(r->phases, PN_PHASE_DATA);
    if ((st = pn_feed_load(r->feed, k, *passed, plan)) != PN_OK) {
      pn_failure_note(&r->data_lost, st, r->done + 1);
      return PN_OK;
    }
    pn_phases_enter(r->phases, PN_PHASE_FORWARD);
    PN_TRY(pn_plan_begin_input(plan));
    PN_TRY(settle_scale(r));
    PN_TRY(whole_part(r, k, *passed, plan));
  }
  *whole = n > 0 && is_last(r, k, n - 1);
done:
  return st;
}

/* The parts of this rank's share; *passed: how many there were before its images could not be
 * read. */
static pn_status passes(pn_run *r, int64_t k, int64_t *passed) {
  int64_t n = pn_batches_parts(&r->batches, k);
  pn_status st = PN_OK;

  for (*passed = 0; *passed < n; (*passed)++) {
    int64_t m = *passed;
    struct part x = {pn_batches_part(&r->batches, k, m), m == n - 1,
                     pn_batches_first_leaf(&r->batches, k) + (int)m};
    pn_plan *plan = pn_plan_set_get(&r->plans, x.share.count);
    pn_phases_enter(r->phases, PN_PHASE_DATA);
    if ((st = pn_feed_load(r->feed, k, m, plan)) != PN_OK) {
      pn_failure_note(&r->data_lost, st, r->done + 1);
      return PN_OK;
    }
    PN_TRY(keep_before(r, m));
    PN_TRY(pass(r, plan, &x));
  }
done:
  return st;
}

/* How many parts the other ranks wait for; where parts are kept, only for the last one. */
static int64_t parts_missing(const pn_run *r, int64_t k, int64_t passed) {
  if (shares_parts(r)) return pn_batches_rounds(&r->batches, k) - passed;
  return passed == 0 || passed < pn_batches_parts(&r->batches, k);
}

/* The other ranks count on this one where it has no images, or fewer parts. */
static pn_status skip(pn_run *r, int64_t k, int64_t passed) {
  int64_t n = parts_missing(r, k, passed);
  bool whole = pn_strategy_steps_whole(r->strategy);
  pn_status st = PN_OK;

  for (int64_t m = 0; m < n; m++) {
    if (whole)
      pn_strategy_begin_part(r->strategy, (int)(passed + m), m == n - 1);
    else
      PN_TRY(keep_before(r, passed + m));
    pn_phases_enter(r->phases, PN_PHASE_BACKWARD);
    double before = r->strategy->comm_exposed_s;
    PN_TRY(pn_strategy_skip(r->strategy));
    if (whole && m < n - 1) PN_TRY(pn_strategy_keep_grads(r->strategy));
    move_comm(r, PN_PHASE_BACKWARD, before);
  }
done:
  return st;
}

/* fp16: where other ranks take whole steps, this one too looks how it ended before the next one. */
static pn_status update(pn_run *r) {
  static const pn_share none = {0};
  pn_strategy *s = r->strategy;
  double before = s->comm_exposed_s; /* in the backward pass */
  pn_status st;

  pn_phases_enter(r->phases, PN_PHASE_UPDATE);
  r->lr = r->rate[r->pending] = pn_run_step_lr(r);
  s->grad_scale = unscale(r);
  PN_TRY(pn_strategy_update(s, optimizer_step(r), r->lr, NULL));
  s->carrying = false;
  move_comm(r, PN_PHASE_UPDATE, before);
  if (r->scaling.scale <= 0) return PN_OK;
  PN_TRY(note_late(r, 0)); /* of parts before those it has not */
  keep_unread(r, NULL, &none, true);
  if (!pn_strategy_steps_whole(s)) PN_TRY(settle_scale(r));
done:
  return st;
}

pn_status pn_run_step(pn_run *r, int64_t k) {
  int64_t passed = 0;
  bool whole = false;
  double late = pn_comm_late_s(r->bulk);
  pn_status st = PN_OK;

  r->loss[r->pending] = 0;
  pn_watchdog_step(r->done + 1);
  pn_gpu_columns_begin(r->gpu);
  pn_phases_begin(r->phases);
  r->strategy->comm_total_s = r->strategy->comm_exposed_s = 0;
  pn_phases_enter(r->phases, PN_PHASE_DATA);
  if (r->batches.leaves > 0)
    pn_strategy_begin_leaves(r->strategy, pn_batches_leaves(&r->batches, k));
  if (pn_strategy_steps_whole(r->strategy))
    PN_TRY(whole_parts(r, k, &passed, &whole));
  else
    PN_TRY(passes(r, k, &passed));
  if (!whole) PN_TRY(settle_scale(r));
  if (!whole) PN_TRY(skip(r, k, passed));
  if (!whole) PN_TRY(update(r));
  pn_phases_end(r->phases);
  pn_gpu_columns_end(r->gpu, r->pending);
  r->late[r->pending] = pn_comm_late_s(r->bulk) - late;
  r->hidden[r->pending++] =
      r->cfg->blocking ? 0 : fmax(0, r->strategy->comm_total_s - r->strategy->comm_exposed_s);
  r->done++;
done:
  return st;
}
