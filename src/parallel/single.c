/* single.c -- one rank, no communication. */
#include "parallel/piece.h"
#include "parallel/replica.h"
#include "parallel/resident.h"
#include "parallel/table.h"

static pn_status single_plan(pn_strategy *s) {
  int size = pn_comm_size(s->spec.data);
  if (size > 1)
    return PN_FAIL(PN_ERR_ARG, "train.strategy=single is for one rank, this run has %d: use ddp",
                   size);
  return pn_replica_plan(s);
}

static pn_status single_setup(pn_strategy *s) {
  pn_status st = pn_replica_alloc(s);
  return st == PN_OK ? pn_resident_make(s) : st;
}

/* To save: the host's copies, brought up to date. */
static pn_status single_visit_owned(pn_strategy *s, pn_visit_fn fn, void *ctx) {
  pn_status st;

  if (!s->resident) return pn_replica_visit_owned(s, fn, ctx);
  if ((st = pn_resident_fetch(s)) != PN_OK) return st;
  pn_resident_point(s, true);
  st = pn_replica_visit_owned(s, fn, ctx);
  pn_resident_point(s, false);
  return st;
}

/* To be filled from a checkpoint. */
static pn_status single_visit_held(pn_strategy *s, pn_visit_fn fn, void *ctx) {
  pn_status st;

  if (!s->resident) return pn_replica_visit_held(s, fn, ctx);
  pn_resident_point(s, true);
  st = pn_replica_visit_held(s, fn, ctx);
  pn_resident_point(s, false);
  return st == PN_OK ? pn_resident_push(s) : st;
}

static pn_status single_gather(pn_strategy *s, bool average, float **out) {
  pn_status st = s->resident ? pn_resident_fetch(s) : PN_OK;
  *out = average && s->ema ? s->ema : s->params;
  return st;
}

static void single_destroy(pn_strategy *s) {
  pn_resident_free(s);
  pn_replica_free(s);
}

const pn_strategy_ops pn_strategy_single_ops = {
    .name = "single",
    .help = "one rank, no communication",
    .plan = single_plan,
    .setup = single_setup,
    .step = pn_pieces_update_all,
    .apply = pn_pieces_update_all,
    .visit_owned = single_visit_owned,
    .visit_held = single_visit_held,
    .gather = single_gather,
    .destroy = single_destroy,
};
