/* ddp.c -- distributed data parallel: every rank has all parameters, gradients are summed in
 * buckets while the backward pass still runs, and each bucket is updated as soon as it is there. */
#include "base/clock.h"
#include "parallel/bucket.h"
#include "parallel/replica.h"
#include "parallel/table.h"

#include <stdlib.h>

enum { FIRST_BUCKET_BYTES = 1 << 20, DEFAULT_BUCKET_BYTES = 4 << 20 };

struct ddp {
  pn_bucket_plan plan;
  pn_request *
      *request; /* [plan.n]; those of [waited, started) are in flight or done; owned array */
  int started, tested, waited; /* tested: first that is not known to be complete */
  double t_open;               /* when the first of those in flight was started */
};

static pn_status ddp_setup(pn_strategy *s) {
  pn_comm *c = s->spec.data;
  int64_t bytes = s->spec.bucket_bytes > 0 ? s->spec.bucket_bytes : DEFAULT_BUCKET_BYTES;
  int64_t first = bytes < FIRST_BUCKET_BYTES ? bytes : FIRST_BUCKET_BYTES;
  struct ddp *d = calloc(1, sizeof *d);
  pn_status st = PN_OK;

  if (!(s->impl = d)) st = PN_FAIL(PN_ERR_NOMEM, "ddp: out of memory");
  if (st == PN_OK) st = pn_buckets_make(s->spec.map, first, bytes, &d->plan);
  if (st == PN_OK && !(d->request = calloc((size_t)d->plan.n, sizeof *d->request)))
    st = PN_FAIL(PN_ERR_NOMEM, "ddp: out of memory");
  PN_TRY(pn_agree(c, st));
  PN_TRY(pn_replica_alloc(s));
done:
  return st;
}

static bool in_flight(const struct ddp *d) {
  return d->tested < d->started;
}

/* Time that the rank's own thread spends on communication, waiting or moving data, since t0 is time
 * that it does not compute: all of it counts as exposed. The first n are known to be complete: with
 * none in flight any more the interval that counts as communication is closed. */
static void note(pn_strategy *s, struct ddp *d, double t0, int n) {
  double now = pn_now();

  s->comm_exposed_s += now - t0;
  if (n <= d->tested) return;
  d->tested = n;
  if (!in_flight(d)) s->comm_total_s += now - d->t_open;
}

static pn_status start_bucket(pn_strategy *s, struct ddp *d) {
  const pn_bucket *b = &d->plan.bucket[d->started];
  double t0 = pn_now();
  pn_status st;

  if (d->started == 0) s->comm_total_s = s->comm_exposed_s = 0;
  if (!in_flight(d)) d->t_open = t0;
  st = pn_iallreduce_sum(s->spec.data, "sum of gradients", s->grads + b->first, b->count,
                         &d->request[d->started]);
  if (st == PN_OK) d->started++;
  note(s, d, t0, d->tested);
  return st;
}

/* Gradients come in descending order, so do the buckets: always started in the same order. */
static pn_status ddp_grad_ready(void *ctx, int param) {
  pn_strategy *s = ctx;
  struct ddp *d = s->impl;
  pn_status st = PN_OK;

  while (st == PN_OK && d->started < d->plan.n && d->plan.bucket[d->started].trigger >= param)
    st = start_bucket(s, d);
  return st;
}

static pn_status ddp_tick(void *ctx) {
  pn_strategy *s = ctx;
  struct ddp *d = s->impl;
  bool complete = true;
  int n = d->tested;
  double t0 = pn_now();
  pn_status st = PN_OK;

  if (!in_flight(d)) return PN_OK;
  while (st == PN_OK && complete && n < d->started) {
    st = pn_request_test(d->request[n], &complete);
    if (st == PN_OK && complete) n++;
  }
  note(s, d, t0, n);
  return st;
}

static pn_status wait_bucket(pn_strategy *s, struct ddp *d) {
  bool counts = in_flight(d);
  double t0 = pn_now();
  pn_status st = pn_request_wait(d->request[d->waited]);

  d->waited++;
  if (counts) note(s, d, t0, d->waited);
  return st;
}

/* With norms all buckets must be there first; without it updates overlap with later buckets. */
static pn_status ddp_step(pn_strategy *s, int64_t t, double lr, double *grad_norm) {
  struct ddp *d = s->impl;
  bool all = grad_norm || pn_replica_needs_all(s);
  pn_status st = PN_OK;

  if (d->started != d->plan.n)
    return PN_FAIL(PN_ERR_ARG, "ddp: step with %d of %d buckets started", d->started, d->plan.n);
  for (int i = 0; i < d->plan.n; i++) {
    PN_TRY(wait_bucket(s, d));
    if (!all) pn_replica_update(s, d->plan.bucket[i].first, d->plan.bucket[i].count, t, lr);
    PN_TRY(ddp_tick(s));
  }
  if (all) pn_replica_update_all(s, t, lr, grad_norm);
  d->started = d->tested = d->waited = 0;
done:
  return st;
}

/* After a failure in the middle of a step MPI may still use the gradients: they are left to the
 * end of the job, which is near. */
static void ddp_destroy(pn_strategy *s) {
  struct ddp *d = s->impl;

  if (d && d->waited < d->started) s->grads = NULL;
  pn_replica_free(s);
  if (!d) return;
  pn_buckets_free(&d->plan);
  free(d->request);
  free(d);
  s->impl = NULL;
}

const pn_strategy_ops pn_strategy_ddp_ops = {
    .name = "ddp",
    .help = "every rank has all parameters; gradients are summed in buckets during backward",
    .setup = ddp_setup,
    .hooks = {.grad_ready = ddp_grad_ready, .tick = ddp_tick},
    .step = ddp_step,
    .visit_owned = pn_replica_visit_owned,
    .visit_held = pn_replica_visit_held,
    .destroy = ddp_destroy,
};
