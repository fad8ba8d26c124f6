/* single.c -- one rank, no communication. */
#include "parallel/replica.h"
#include "parallel/table.h"

static pn_status single_setup(pn_strategy *s) {
  int size = pn_comm_size(s->spec.data);
  if (size > 1)
    return PN_FAIL(PN_ERR_ARG, "train.strategy=single is for one rank, this run has %d: use ddp",
                   size);
  return pn_replica_alloc(s);
}

static pn_status single_step(pn_strategy *s, int64_t t, double lr, double *grad_norm) {
  pn_replica_update_all(s, t, lr, grad_norm);
  return PN_OK;
}

const pn_strategy_ops pn_strategy_single_ops = {
    .name = "single",
    .help = "one rank, no communication",
    .setup = single_setup,
    .step = single_step,
    .visit_owned = pn_replica_visit_owned,
    .visit_held = pn_replica_visit_held,
    .destroy = pn_replica_free,
};
