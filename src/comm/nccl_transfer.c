/* nccl_transfer.c -- sums and exchanges by NCCL, one group each, on a stream of their own; an event
 * says when they are done.  Buffers in host memory go by way of the GPU. */
#include "comm/nccl_internal.h"

#include "base/clock.h"
#include "comm/mpi_internal.h"

#include <stdlib.h>

enum { MEMORY_TYPE = 2, MEMORY_DEVICE = 2 }; /* CUpointer_attribute, CUmemorytype */
enum { NO_TIMING = 2 };                      /* CU_EVENT_DISABLE_TIMING */
enum { ASK_NCCL_EVERY = 64 };                /* polls */

struct nccl_request {
  void *done;       /* event; owned */
  cu_pointer stage; /* device memory for buffers of the host; owned */
  int64_t room;     /* elements */
  bool follows;     /* the producer waits for it, not the host */
};

/* One transfer as NCCL sees it: device memory. */
typedef struct {
  pn_transfer_kind kind;
  float *in, *out;
  int64_t count, each; /* whole; slice of rank 0 */
  bool even;           /* all slices have `each` elements, padding counted */
} work;

static float *at_device(cu_pointer p) {
  return (float *)(void *)(uintptr_t)p; /* an address, never read here */
}

static cu_pointer address(const float *p) {
  return (cu_pointer)(uintptr_t)p;
}

static bool on_device(const struct nccl_comm *m, const float *p) {
  unsigned type = 0;
  return p && m->api->attribute(&type, MEMORY_TYPE, address(p)) == CU_SUCCESS &&
         type == MEMORY_DEVICE;
}

static pn_status reserve(pn_request *r, int64_t staged) {
  const struct nccl_comm *m = r->comm->impl;
  struct nccl_request *q = r->impl ? r->impl : calloc(1, sizeof *q);
  pn_status st = PN_OK;

  if (!q) return PN_FAIL(PN_ERR_NOMEM, "no memory for a request");
  r->impl = q;
  if (!q->done) PN_TRY(pn_cu_check(m, m->api->event_create(&q->done, NO_TIMING), "cuEventCreate"));
  if (staged <= q->room) return PN_OK;
  if (q->stage) m->api->free(q->stage);
  q->stage = 0;
  q->room = 0;
  PN_TRY(pn_cu_check(m, m->api->alloc(&q->stage, (size_t)staged * sizeof(float)),
                     "cuMemAlloc of the stage for gradients"));
  q->room = staged;
done:
  return st;
}

static size_t bytes_of(int64_t n) {
  return (size_t)n * sizeof(float);
}

static pn_status upload(const struct nccl_comm *m, float *to, const float *from, int64_t n) {
  if (n == 0) return PN_OK;
  return pn_cu_check(m, m->api->upload(address(to), from, bytes_of(n), m->stream),
                     "cuMemcpyHtoDAsync");
}

static pn_status download(const struct nccl_comm *m, float *to, const float *from, int64_t n) {
  if (n == 0) return PN_OK;
  return pn_cu_check(m, m->api->download(to, address(from), bytes_of(n), m->stream),
                     "cuMemcpyDtoHAsync");
}

/* Slices of unequal length: one reduction, or one broadcast, to or from each rank. */
static int uneven(const pn_comm *c, const struct nccl_comm *m, const work *w) {
  int rc = NCCL_SUCCESS;

  for (int r = 0; r < c->size && rc == NCCL_SUCCESS; r++) {
    pn_slice s = pn_comm_slice(w->count, r, c->size);
    if (s.count == 0) continue;
    rc = w->kind == PN_REDUCE_SCATTER
             ? m->api->reduce(w->in + s.first, r == c->rank ? w->out : NULL, (size_t)s.count,
                              NCCL_FLOAT32, NCCL_SUM, r, m->handle, m->stream)
             : m->api->broadcast(r == c->rank ? w->in : NULL, w->out + s.first, (size_t)s.count,
                                 NCCL_FLOAT32, r, m->handle, m->stream);
  }
  return rc;
}

static int queue(const pn_comm *c, const struct nccl_comm *m, const work *w) {
  if (w->kind == PN_ALLREDUCE)
    return m->api->all_reduce(w->in, w->out, (size_t)w->count, NCCL_FLOAT32, NCCL_SUM, m->handle,
                              m->stream);
  if (!w->even) return uneven(c, m, w);
  if (w->kind == PN_REDUCE_SCATTER)
    return m->api->reduce_scatter(w->in, w->out, (size_t)w->each, NCCL_FLOAT32, NCCL_SUM, m->handle,
                                  m->stream);
  return m->api->all_gather(w->in, w->out, (size_t)w->each, NCCL_FLOAT32, m->handle, m->stream);
}

static pn_status run_group(const pn_comm *c, struct nccl_comm *m, const work *w) {
  pn_status st = PN_OK;
  int rc, end;

  if (w->count == 0) return PN_OK;
  PN_TRY(pn_nccl_check(m, m->api->group_start(), "ncclGroupStart"));
  rc = queue(c, m, w);
  end = m->api->group_end();
  if (rc != NCCL_SUCCESS && rc != NCCL_IN_PROGRESS) end = rc; /* the cause, not what it led to */
  PN_TRY(pn_nccl_settle(m, end, "transfer"));
done:
  return st;
}

/* Host buffers: up, exchange in place with padding, and down; all in the stream's order. */
static pn_status run_staged(pn_request *r, struct nccl_comm *m, const pn_transfer *t,
                            int64_t each) {
  const pn_comm *c = r->comm;
  const struct nccl_request *q = r->impl;
  float *stage = at_device(q->stage), *own = stage + c->rank * each;
  pn_slice s = pn_comm_slice(t->count, c->rank, c->size);
  bool gather = t->kind == PN_ALLGATHER, scatter = t->kind == PN_REDUCE_SCATTER;
  work w = {t->kind, gather ? own : stage, scatter ? own : stage, t->count, each, true};
  pn_status st = PN_OK;

  PN_TRY(upload(m, w.in, t->in, gather ? s.count : t->count));
  PN_TRY(run_group(c, m, &w));
  PN_TRY(download(m, t->out, w.out, scatter ? s.count : t->count));
done:
  return st;
}

static pn_status run_direct(pn_request *r, struct nccl_comm *m, const pn_transfer *t,
                            int64_t each) {
  const pn_comm *c = r->comm;
  work w = {t->kind, t->in, t->out, t->count, each, t->count == each * c->size};
  pn_status st = PN_OK;

  if (m->producer) {
    PN_TRY(pn_cu_check(m, m->api->event_record(m->ready, m->producer), "cuEventRecord"));
    PN_TRY(pn_cu_check(m, m->api->stream_wait(m->stream, m->ready, 0), "cuStreamWaitEvent"));
  }
  PN_TRY(run_group(c, m, &w));
done:
  return st;
}

pn_status pn_nccl_start(pn_request *r, const pn_transfer *t) {
  struct nccl_comm *m = r->comm->impl;
  int64_t each = pn_comm_slice(t->count, 0, r->comm->size).count;
  bool direct = on_device(m, t->in) && on_device(m, t->out);
  pn_status st = PN_OK;

  if (!m->handle)
    PN_TRY(PN_FAIL(PN_ERR_COMM, "%s \"%s\": NCCL was aborted before", r->kind, r->what));
  PN_TRY(reserve(r, direct ? 0 : each * r->comm->size));
  ((struct nccl_request *)r->impl)->follows = direct && m->producer;
  PN_TRY(direct ? run_direct(r, m, t, each) : run_staged(r, m, t, each));
  PN_TRY(pn_cu_check(m, m->api->event_record(((struct nccl_request *)r->impl)->done, m->stream),
                     "cuEventRecord"));
done:
  return st;
}

/* One look; ask: also for errors that NCCL's own threads have met. */
static pn_status look(pn_request *r, bool ask, bool *done) {
  struct nccl_comm *m = r->comm->impl;
  const struct nccl_request *q = r->impl;
  int rc = m->api->event_query(q->done), async = NCCL_SUCCESS;
  pn_status st = PN_OK;

  *done = rc == CU_SUCCESS;
  if (*done) return PN_OK;
  if (rc != CU_NOT_READY) st = pn_cu_check(m, rc, "the communication stream");
  if (st == PN_OK && ask && m->api->async_error(m->handle, &async) == NCCL_SUCCESS &&
      async != NCCL_IN_PROGRESS)
    st = pn_nccl_check(m, async, "asynchronous error");
  if (st != PN_OK) pn_nccl_abort(m);
  return st;
}

/* A stream that waits is not asked: it may be recorded just now. */
pn_status pn_nccl_test(pn_request *r, bool *done) {
  const struct nccl_request *q = r->impl;

  *done = true;
  return q->follows ? PN_OK : look(r, true, done);
}

/* A dead peer becomes a status, not a hang. */
pn_status pn_nccl_wait(pn_request *r) {
  struct nccl_comm *m = r->comm->impl;
  const struct nccl_request *q = r->impl;
  double start_s = pn_now();
  bool done = false;

  if (q->follows)
    return pn_cu_check(m, m->api->stream_wait(m->producer, q->done, 0), "cuStreamWaitEvent");
  for (int64_t polls = 0;; polls++) {
    double waited = pn_now() - start_s;
    pn_status st = look(r, polls % ASK_NCCL_EVERY == ASK_NCCL_EVERY - 1, &done);
    if (st != PN_OK || done) return st;
    if (m->limit_s > 0 && waited > m->limit_s) {
      pn_nccl_abort(m);
      return PN_FAIL(PN_ERR_TIMEOUT,
                     "%s \"%s\" (#%lld, %lld bytes) by NCCL: no end in %.1f s; a rank is late or "
                     "dead",
                     r->kind, r->what, (long long)r->number, (long long)r->bytes, m->limit_s);
    }
    pn_mpi_relax(false, waited);
  }
}

void pn_nccl_request_free(pn_request *r) {
  const struct nccl_comm *m = r->comm->impl;
  struct nccl_request *q = r->impl;

  if (q && q->done) m->api->event_destroy(q->done);
  if (q && q->stage) m->api->free(q->stage);
  free(q);
  r->impl = NULL;
}
