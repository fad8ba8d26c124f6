/* comm.c -- the front door: checks arguments, numbers collectives, arms the watchdog. */
#include "comm/comm.h"

#include "base/fault.h"
#include "comm/comm_backend.h"
#include "comm/rollcall.h"
#include "comm/watchdog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TAG = 32767 }; /* what MPI guarantees */

static pn_status guard(pn_comm *c, double watchdog_s) {
  pn_status st = pn_watchdog_start(watchdog_s, c->world_rank);
  c->watched = st == PN_OK;
  return st;
}

pn_status pn_comm_world(double watchdog_s, pn_comm **out) {
  pn_status st = pn_comm_mpi_world(out);

  if (st != PN_OK) return st;
  (*out)->whole = true;
  st = guard(*out, watchdog_s);
  if (st == PN_OK && (*out)->size > 1 && watchdog_s > 0) st = pn_rollcall_start(*out);
  if (st != PN_OK) {
    pn_comm_destroy(*out);
    *out = NULL;
  }
  return st;
}

pn_status pn_comm_self(pn_comm **out) {
  return pn_comm_self_make(0, out);
}

static void free_requests(pn_comm *c) {
  for (pn_request *r = c->idle, *next; r; r = next) {
    next = r->next;
    c->ops->request_free(r);
    free(r);
  }
}

static bool abandoned;

bool pn_comm_abandoned(void) {
  return abandoned;
}

void pn_comm_destroy(pn_comm *c) {
  if (!c) return;
  if (c->in_flight > 0 && c->size > 1) abandoned = true;
  if (c->watched) pn_watchdog_stop();
  if (c->watched) pn_rollcall_stop();
  pn_comm_destroy(c->ctl);
  free_requests(c);
  c->ops->destroy(c);
  free(c);
}

int pn_comm_rank(const pn_comm *c) {
  return c->rank;
}

int pn_comm_size(const pn_comm *c) {
  return c->size;
}

const char *pn_comm_backend(const pn_comm *c) {
  return c->ops->name;
}

/* A collective failed here, perhaps not elsewhere: the order of collectives is lost, and any
 * further one would meet the wrong partner.  All that is left is to end the job. */
static bool broken;

bool pn_comm_broken(void) {
  return broken;
}

/* What PN_FAULT asks for happens before the collective: this rank is then the late or lost one.
 * buf: numbers that this rank brings into a sum, or NULL. */
static pn_status visit(void *buf, int64_t count, pn_dtype t) {
  pn_status st;

  if (broken) return PN_ERR_COMM; /* the message of the first failure stays */
  st = pn_fault_at(PN_FAULT_COLLECTIVE, t == PN_F32 && count > 0 ? buf : NULL);
  if (st != PN_OK) broken = true;
  return st;
}

/* Number the collective and arm the watchdog for it. */
static void enter(pn_comm *c, const char *kind, const char *what, int64_t bytes) {
  c->number++;
  pn_watchdog_push(&(pn_watch_op){
      .kind = kind, .what = what, .number = c->number, .bytes = bytes, .size = c->size});
}

static pn_status leave(pn_status st) {
  if (st == PN_ERR_COMM) broken = true;
  pn_watchdog_pop();
  return st;
}

static pn_status check_buffer(const char *what, const void *buf, int64_t count, pn_dtype t) {
  if ((unsigned)t >= PN_DTYPE_COUNT)
    return PN_FAIL(PN_ERR_ARG, "%s: element type %d is unknown", what, (int)t);
  if (count < 0 || (count > 0 && !buf))
    return PN_FAIL(PN_ERR_ARG, "%s: %lld elements at %p", what, (long long)count, buf);
  return PN_OK;
}

static int64_t bytes_of(int64_t count, pn_dtype t) {
  return count * (int64_t)pn_dtype_bytes(t);
}

pn_status pn_allreduce(pn_comm *c, const char *what, void *buf, int64_t count, pn_dtype t,
                       pn_redop op) {
  pn_status st = check_buffer(what, buf, count, t);
  if (st == PN_OK) st = visit(buf, count, t);
  if (st != PN_OK) return st;
  enter(c, "allreduce", what, bytes_of(count, t));
  return leave(c->ops->allreduce(c, buf, count, t, op));
}

pn_status pn_bcast(pn_comm *c, const char *what, void *buf, int64_t count, pn_dtype t, int root) {
  pn_status st = check_buffer(what, buf, count, t);
  if (st == PN_OK && (root < 0 || root >= c->size))
    st = PN_FAIL(PN_ERR_ARG, "%s: broadcast from rank %d of %d", what, root, c->size);
  if (st == PN_OK) st = visit(NULL, 0, t);
  if (st != PN_OK) return st;
  enter(c, "bcast", what, bytes_of(count, t));
  return leave(c->ops->bcast(c, buf, count, t, root));
}

pn_status pn_allgather(pn_comm *c, const char *what, const void *in, void *out, int64_t count,
                       pn_dtype t) {
  pn_status st = check_buffer(what, in, count, t);
  if (st == PN_OK) st = check_buffer(what, out, count, t);
  if (st == PN_OK) st = visit(NULL, 0, t);
  if (st != PN_OK) return st;
  enter(c, "allgather", what, bytes_of(count, t) * c->size);
  return leave(c->ops->allgather(c, in, out, count, t));
}

pn_status pn_allgatherv(pn_comm *c, const char *what, const void *in, void *out,
                        const int64_t *counts, pn_dtype t) {
  int64_t total = 0;
  pn_status st = check_buffer(what, in, counts[c->rank], t);

  for (int r = 0; r < c->size && st == PN_OK; total += counts[r++])
    if (counts[r] < 0)
      st = PN_FAIL(PN_ERR_ARG, "%s: %lld elements from rank %d", what, (long long)counts[r], r);
  if (st == PN_OK) st = check_buffer(what, out, total, t);
  if (st == PN_OK) st = visit(NULL, 0, t);
  if (st != PN_OK) return st;
  enter(c, "allgatherv", what, bytes_of(total, t));
  return leave(c->ops->allgatherv(c, in, out, counts, t));
}

pn_status pn_barrier(pn_comm *c, const char *what) {
  pn_status st = visit(NULL, 0, PN_U8);

  if (st != PN_OK) return st;
  enter(c, "barrier", what, 0);
  return leave(c->ops->barrier(c, false));
}

pn_status pn_barrier_idle(pn_comm *c, const char *what) {
  pn_status st;

  (void)what; /* not watched, so nobody prints it */
  c->number++;
  pn_watchdog_idle(true);
  st = c->ops->barrier(c, true);
  pn_watchdog_idle(false);
  return st;
}

pn_status pn_comm_split(pn_comm *c, int color, int key, pn_comm **out) {
  pn_status st;

  enter(c, "split", "communicator", 0);
  st = leave(c->ops->split(c, color, key, out));
  if (st == PN_OK && *out) (*out)->whole = c->whole && (*out)->size == c->size;
  return st;
}

static pn_status check_peer(const pn_comm *c, const char *what, int peer, int tag) {
  if (peer < 0 || peer >= c->size || peer == c->rank)
    return PN_FAIL(PN_ERR_ARG, "%s: message between rank %d and rank %d of %d", what, c->rank, peer,
                   c->size);
  if (tag < 0 || tag > MAX_TAG)
    return PN_FAIL(PN_ERR_ARG, "%s: tag %d, expected 0..%d", what, tag, MAX_TAG);
  return PN_OK;
}

static void enter_message(const char *kind, const char *what, int64_t bytes) {
  pn_watchdog_push(&(pn_watch_op){.kind = kind, .what = what, .bytes = bytes});
}

pn_status pn_send(pn_comm *c, const char *what, const void *buf, int64_t count, pn_dtype t, int dst,
                  int tag) {
  pn_message m = {.buf = (void *)buf, .count = count, .type = t, .peer = dst, .tag = tag};
  pn_status st = check_buffer(what, buf, count, t);
  if (st == PN_OK) st = check_peer(c, what, dst, tag);
  if (st != PN_OK) return st;
  enter_message("send", what, bytes_of(count, t));
  return leave(c->ops->send(c, &m));
}

pn_status pn_recv(pn_comm *c, const char *what, void *buf, int64_t count, pn_dtype t, int src,
                  int tag, int *from) {
  pn_message m = {.buf = buf, .count = count, .type = t, .peer = src, .tag = tag};
  pn_status st = check_buffer(what, buf, count, t);
  if (st == PN_OK && (src != -1 || tag < 0 || tag > MAX_TAG)) st = check_peer(c, what, src, tag);
  if (st != PN_OK) return st;
  enter_message("recv", what, bytes_of(count, t));
  st = leave(c->ops->recv(c, &m));
  if (st == PN_OK && from) *from = m.peer;
  return st;
}

pn_status pn_probe(pn_comm *c, int src, int tag, bool *there) {
  pn_status st = PN_OK;

  *there = false;
  if (src != -1 || tag < 0 || tag > MAX_TAG) st = check_peer(c, "probe", src, tag);
  return st == PN_OK ? c->ops->probe(c, src, tag, there) : st;
}

/* A used request, or a new one. */
static pn_status take_request(pn_comm *c, pn_request **out) {
  pn_request *r = c->idle;

  *out = NULL;
  if (r)
    c->idle = r->next;
  else if (!(r = calloc(1, sizeof *r)))
    return PN_FAIL(PN_ERR_NOMEM, "no memory for a request");
  r->comm = c;
  *out = r;
  return PN_OK;
}

static void put_request(pn_request *r) {
  r->next = r->comm->idle;
  r->comm->idle = r;
}

pn_slice pn_comm_slice(int64_t count, int rank, int size) {
  const int64_t step = 16; /* a cache line: no two ranks write the same one */
  int64_t each = ((count + size - 1) / size + step - 1) / step * step;
  int64_t first = rank * each < count ? rank * each : count;
  return (pn_slice){.first = first, .count = count - first < each ? count - first : each};
}

static pn_status wait_watched(pn_request *r) {
  const pn_comm *c = r->comm;

  pn_watchdog_push(&(pn_watch_op){
      .kind = r->kind, .what = r->what, .number = r->number, .bytes = r->bytes, .size = c->size});
  return leave(c->ops->wait(r));
}

static pn_status start(pn_comm *c, const char *kind, const char *what, const pn_transfer *t,
                       pn_request **out) {
  pn_request *r = NULL;
  pn_status st;

  *out = NULL;
  if ((st = visit(t->in, t->count, PN_F32)) != PN_OK) return st;
  if ((st = take_request(c, &r)) != PN_OK) return st;
  snprintf(r->what, sizeof r->what, "%s", what);
  r->kind = kind;
  r->number = ++c->number;
  r->bytes = bytes_of(t->count, PN_F32);
  if ((st = c->ops->start(r, t)) != PN_OK) {
    put_request(r);
    return st;
  }
  c->in_flight++;
  *out = r;
  return c->blocking ? wait_watched(r) : PN_OK;
}

void pn_comm_overlap(pn_comm *c, bool yes) {
  c->blocking = !yes;
}

pn_status pn_iallreduce_sum(pn_comm *c, const char *what, float *buf, int64_t count,
                            pn_request **out) {
  pn_transfer t = {PN_ALLREDUCE, buf, buf, count};
  pn_status st = check_buffer(what, buf, count, PN_F32);

  *out = NULL;
  return st != PN_OK ? st : start(c, "iallreduce", what, &t, out);
}

pn_status pn_ireduce_scatter_sum(pn_comm *c, const char *what, float *in, float *out, int64_t count,
                                 pn_request **req) {
  pn_slice own = pn_comm_slice(count, c->rank, c->size);
  pn_transfer t = {PN_REDUCE_SCATTER, in, out, count};
  pn_status st = check_buffer(what, in, count, PN_F32);

  *req = NULL;
  if (st == PN_OK) st = check_buffer(what, out, own.count, PN_F32);
  return st != PN_OK ? st : start(c, "ireduce_scatter", what, &t, req);
}

pn_status pn_iallgather_slices(pn_comm *c, const char *what, const float *in, float *out,
                               int64_t count, pn_request **req) {
  pn_slice own = pn_comm_slice(count, c->rank, c->size);
  pn_transfer t = {PN_ALLGATHER, (float *)in, out, count};
  pn_status st = check_buffer(what, out, count, PN_F32);

  *req = NULL;
  if (st == PN_OK) st = check_buffer(what, in, own.count, PN_F32);
  return st != PN_OK ? st : start(c, "iallgather", what, &t, req);
}

pn_status pn_ishare(pn_comm *c, const char *what, float *in, int64_t count, pn_request **req) {
  pn_transfer t = {PN_SHARE, in, in, count};
  pn_status st = check_buffer(what, in, count, PN_F32);

  *req = NULL;
  if (st == PN_OK && c->sharers != c->size)
    st = PN_FAIL(PN_ERR_UNSUPPORTED, "%s: %d of %d ranks share memory, expected all", what,
                 c->sharers, c->size);
  return st != PN_OK ? st : start(c, "ishare", what, &t, req);
}

pn_status pn_request_test(pn_request *r, bool *done) {
  return r->comm->ops->test(r, done);
}

pn_status pn_request_wait(pn_request *r) {
  pn_comm *c = r->comm;
  pn_status st = wait_watched(r);

  if (st != PN_OK) return st; /* still in flight: destroy will say so */
  c->in_flight--;
  put_request(r);
  return PN_OK;
}

double pn_comm_late_s(const pn_comm *c) {
  return c->late_s;
}

/* a + b == b + a: two ranks need no order. */
bool pn_comm_order_fixed(const pn_comm *c) {
  return c->order_fixed || c->size <= 2;
}
