/* exchange.c -- see exchange.h. */
#include "parallel/exchange.h"

#include "parallel/resident.h"

static pn_status start(pn_comm *c, const pn_exchange_job *j, pn_request **out) {
  if (j->kind == PN_ALLREDUCE) return pn_iallreduce_sum(c, j->what, j->in, j->count, out);
  if (j->kind == PN_REDUCE_SCATTER)
    return pn_ireduce_scatter_sum(c, j->what, j->in, j->out, j->count, out);
  return pn_iallgather_slices(c, j->what, j->in, j->out, j->count, out);
}

/* Down, over the host's communicator, and in wait up again. */
static pn_status start_staged(pn_strategy *s, const pn_exchange_job *j, pn_exchange *x) {
  pn_comm *c = s->spec.data;
  int64_t own = pn_comm_slice(j->count, pn_comm_rank(c), pn_comm_size(c)).count;
  pn_status st;

  PN_TRY(pn_resident_fetch_part(s, j->in, j->kind == PN_ALLGATHER ? own : j->count));
  PN_TRY(start(c, j, &x->request));
  x->back = j->out;
  x->count = j->kind == PN_REDUCE_SCATTER ? own : j->count;
done:
  return st;
}

pn_status pn_exchange_start(pn_strategy *s, const pn_exchange_job *j, pn_exchange *x) {
  const pn_far_ops *far = s->spec.device->ops->far;
  pn_exchange_job there = *j;

  *x = (pn_exchange){NULL};
  if (!s->resident) return start(s->spec.data, j, &x->request);
  if (j->count == 0) return PN_OK;
  there.in = pn_resident_far(s, j->in);
  there.out = pn_resident_far(s, j->out);
  if (pn_resident_in_place(s)) return start(s->spec.data, &there, &x->request);
  if (pn_comm_size(s->spec.data) > 1) return start_staged(s, j, x);
  return far->copy(s->spec.device, there.out, there.in, (size_t)j->count * sizeof *j->out);
}

pn_status pn_exchange_test(const pn_exchange *x, bool *done) {
  *done = true;
  return x->request ? pn_request_test(x->request, done) : PN_OK;
}

pn_status pn_exchange_wait(pn_strategy *s, pn_exchange *x) {
  pn_status st = x->request ? pn_request_wait(x->request) : PN_OK;

  x->request = NULL;
  if (st == PN_OK && x->back) st = pn_resident_push_part(s, x->back, x->count);
  x->back = NULL;
  return st;
}
