/* single.c -- one rank, no communication. */
#include "parallel/piece.h"
#include "parallel/replica.h"
#include "parallel/table.h"

static pn_status single_plan(pn_strategy *s) {
  int size = pn_comm_size(s->spec.data);
  if (size > 1)
    return PN_FAIL(PN_ERR_ARG, "train.strategy=single is for one rank, this run has %d: use ddp",
                   size);
  return pn_replica_plan(s);
}

static pn_status single_step(pn_strategy *s, int64_t t, double lr, double *grad_norm) {
  pn_status st = pn_strategy_add_kept(s, 0, s->spec.map->trainable);
  return st == PN_OK ? pn_pieces_update_all(s, t, lr, grad_norm) : st;
}

const pn_strategy_ops pn_strategy_single_ops = {
    .name = "single",
    .help = "one rank, no communication",
    .plan = single_plan,
    .setup = pn_replica_alloc,
    .step = single_step,
    .apply = pn_pieces_update_all,
    .visit_owned = pn_replica_visit_owned,
    .visit_held = pn_replica_visit_held,
    .gather = pn_replica_gather,
    .destroy = pn_replica_free,
};
