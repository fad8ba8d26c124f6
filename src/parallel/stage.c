/* stage.c -- steps that run whole on a device: what nn/plan_whole.c is given for each, or for each
 * of its parts. */
#include "parallel/far_update.h"
#include "parallel/resident.h"

bool pn_strategy_steps_whole(const pn_strategy *s) {
  bool there = pn_comm_size(s->spec.data) == 1 || pn_resident_in_place(s);
  return s->resident && there;
}

const char *pn_strategy_no_graph(const pn_strategy *s) {
  const pn_device *d = s->spec.device;

  if (!s->resident) return "gradients are kept in host memory";
  if (!pn_strategy_steps_whole(s)) return "gradients travel through host memory";
  if (pn_comm_size(s->spec.data) > 1 && !d->ops->far->queue((pn_device *)d))
    return "the device cannot record transfers";
  return NULL;
}

static pn_status queue_update(void *ctx) {
  pn_strategy *s = ctx;
  return pn_strategy_update(s, s->staged.t, s->staged.lr, NULL);
}

static pn_status queue_keep(void *ctx) {
  return pn_strategy_keep_grads(ctx);
}

static pn_status tell_outcome(void *ctx) {
  return pn_far_update_tell(ctx);
}

static pn_status look_at_peers(void *ctx, double waited_s) {
  const pn_strategy *s = ctx;
  return pn_comm_watch(s->spec.data, waited_s);
}

void pn_strategy_begin_part(pn_strategy *s, int number, bool last) {
  s->part.number = number;
  s->part.last = last;
  s->carrying = number > 0;
  if (s->ops->begin_pass) s->ops->begin_pass(s, number);
}

static pn_part_kind part_kind(const pn_strategy *s) {
  if (s->part.number == 0) return s->part.last ? PN_ONLY_PART : PN_FIRST_PART;
  return s->part.last ? PN_LAST_PART : PN_MIDDLE_PART;
}

pn_status pn_strategy_stage(pn_strategy *s, int64_t t, double lr, pn_plan_tail *out) {
  bool last = s->part.last;

  *out = (pn_plan_tail){.ctx = s,
                        .part = part_kind(s),
                        .queue = last ? queue_update : queue_keep,
                        .tell = last && s->spec.loss_scaling ? tell_outcome : NULL,
                        .host = pn_strategy_no_graph(s),
                        .waiting = look_at_peers};
  s->staged.t = t;
  s->staged.lr = lr;
  return pn_far_update_stage(s, t, lr);
}

pn_status pn_strategy_outcome(pn_strategy *s, bool told) {
  if (!s->spec.loss_scaling || !pn_strategy_steps_whole(s)) return PN_OK;
  return pn_far_update_outcome(s, told);
}
