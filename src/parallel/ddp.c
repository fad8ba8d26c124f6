/* ddp.c -- distributed data parallel: every rank has all parameters, gradients are summed in
 * buckets while the backward pass still runs, and each bucket is updated as soon as it is there.
 * The ranks of one host have one such replica together and share its update: zero1.c. */
#include "parallel/bucket.h"
#include "parallel/flight.h"
#include "parallel/piece.h"
#include "parallel/replica.h"
#include "parallel/resident.h"
#include "parallel/table.h"

#include <stdlib.h>

struct ddp {
  pn_bucket_plan plan;
  pn_flight flight; /* request i: sum of bucket i */
};

static pn_status ddp_plan(pn_strategy *s) {
  struct ddp *d = s->impl = calloc(1, sizeof *d);
  pn_status st = PN_OK;

  if (!d) return PN_FAIL(PN_ERR_NOMEM, "ddp: out of memory");
  PN_TRY(pn_buckets_of(&s->spec, &d->plan));
  PN_TRY(pn_flight_make(d->plan.n, &d->flight));
  PN_TRY(pn_replica_plan(s));
done:
  return st;
}

static pn_status start_bucket(pn_strategy *s, struct ddp *d) {
  const pn_bucket *b = &d->plan.bucket[d->flight.started];
  float *grads = s->grads + b->first;
  pn_exchange_job sum = {PN_ALLREDUCE, "sum of gradients", grads, grads, b->count};
  pn_status st = pn_strategy_add_kept(s, b->first, b->count);

  return st == PN_OK ? pn_flight_start(s, &d->flight, &sum) : st;
}

/* Gradients come in descending order, so do the buckets: always started in the same order. */
static pn_status ddp_grad_ready(void *ctx, int param) {
  pn_strategy *s = ctx;
  struct ddp *d = s->impl;
  pn_status st = PN_OK;

  while (st == PN_OK && d->flight.started < d->plan.n &&
         d->plan.bucket[d->flight.started].trigger >= param)
    st = start_bucket(s, d);
  return st;
}

static pn_status ddp_tick(void *ctx) {
  pn_strategy *s = ctx;
  return pn_flight_tick(s, &((struct ddp *)s->impl)->flight);
}

/* With norms all buckets must be there first; without it updates overlap with later buckets. */
static pn_status ddp_step(pn_strategy *s, int64_t t, double lr, double *grad_norm) {
  struct ddp *d = s->impl;
  bool all = grad_norm || pn_pieces_need_all(s);
  pn_status st = PN_OK;

  if (d->flight.started != d->plan.n)
    return PN_FAIL(PN_ERR_ARG, "ddp: step with %d of %d buckets started", d->flight.started,
                   d->plan.n);
  for (int i = 0; i < d->plan.n; i++) {
    const pn_bucket *b = &d->plan.bucket[i];
    PN_TRY(pn_flight_wait(s, &d->flight));
    if (!all) PN_TRY(pn_pieces_update(s, b->first, b->first + b->count, t, lr));
    PN_TRY(ddp_tick(s));
  }
  if (all) PN_TRY(pn_pieces_update_all(s, t, lr, grad_norm));
  pn_flight_reset(&d->flight);
done:
  return st;
}

/* After a failure in the middle of a step MPI may still use the gradients: they are left to the
 * end of the job, which is near. */
static void ddp_destroy(pn_strategy *s) {
  struct ddp *d = s->impl;

  pn_resident_free(s);
  if (d && d->flight.waited < d->flight.started) s->grads = NULL;
  pn_replica_free(s);
  if (!d) return;
  pn_buckets_free(&d->plan);
  pn_flight_free(&d->flight);
  free(d);
  s->impl = NULL;
}

const pn_strategy_ops pn_strategy_ddp_ops = {
    .name = "ddp",
    .help = "every rank has all parameters; gradients are summed in buckets during backward",
    .one_host = &pn_strategy_ddp_one_host_ops,
    .by_buckets = true,
    .plan = ddp_plan,
    .setup = pn_replica_alloc,
    .hooks = {.grad_ready = ddp_grad_ready, .tick = ddp_tick},
    .step = ddp_step,
    .apply = pn_pieces_update_all,
    .visit_owned = pn_replica_visit_owned,
    .visit_held = pn_replica_visit_held,
    .gather = pn_replica_gather,
    .destroy = ddp_destroy,
};
