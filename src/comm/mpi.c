/* mpi.c -- collectives on host memory over MPI.  Every blocking call is a nonblocking one plus
 * our own wait: it yields the core, and it notices the watchdog. */
#include "base/clock.h"
#include "comm/mpi_internal.h"
#include "comm/watchdog.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

static const double spin_s = 20e-6, yield_s = 200e-6, nap_s = 50e-6, idle_nap_s = 1e-3;

MPI_Comm pn_mpi_handle(const pn_comm *c) {
  return ((const struct mpi_comm *)c->impl)->comm;
}

static bool crowded(const pn_comm *c) {
  return ((const struct mpi_comm *)c->impl)->crowded;
}

static MPI_Datatype mpi_type(pn_dtype t) {
  switch (t) {
  case PN_U8:
    return MPI_UINT8_T;
  case PN_I32:
    return MPI_INT32_T;
  case PN_I64:
    return MPI_INT64_T;
  case PN_F32:
    return MPI_FLOAT;
  case PN_F64:
    return MPI_DOUBLE;
  default:
    return MPI_DATATYPE_NULL;
  }
}

static MPI_Op mpi_op(pn_redop op) {
  return op == PN_SUM ? MPI_SUM : op == PN_MIN ? MPI_MIN : MPI_MAX;
}

pn_status pn_mpi_check(int rc, const char *call) {
  char text[MPI_MAX_ERROR_STRING];
  int n = 0;

  if (rc == MPI_SUCCESS) return PN_OK;
  if (MPI_Error_string(rc, text, &n) != MPI_SUCCESS) strcpy(text, "unknown error");
  return PN_FAIL(PN_ERR_COMM, "%s: %s", call, text);
}

/* The watchdog has spoken.  Peers that are stuck too get a moment to say so; then all ranks end. */
static void leave_if_expired(void) {
  if (!pn_watchdog_expired()) return;
  pn_sleep(0.3 * PN_WATCHDOG_GRACE_S);
  pn_comm_abort(PN_WATCHDOG_EXIT);
}

/* Give the core away, the more the longer the wait has lasted. */
void pn_mpi_relax(bool crowd, double waited_s) {
  leave_if_expired();
  if (crowd && waited_s > yield_s)
    pn_sleep(nap_s);
  else if (crowd || waited_s > spin_s)
    sched_yield();
}

pn_status pn_mpi_wait_all(const pn_comm *c, int n, MPI_Request *r) {
  double start_s = pn_now();
  int done = 0;

  for (;;) {
    pn_status st = pn_mpi_check(MPI_Testall(n, r, &done, MPI_STATUSES_IGNORE), "MPI_Testall");
    if (st != PN_OK || done) return st;
    pn_mpi_relax(crowded(c), pn_now() - start_s);
  }
}

/* Finish a call just started: rc is what starting it returned. */
static pn_status finish(const pn_comm *c, int rc, const char *call, MPI_Request *r) {
  pn_status st = pn_mpi_check(rc, call);
  return st != PN_OK ? st : pn_mpi_wait_all(c, 1, r);
}

/* Elements of the next piece: the only place where a count becomes an int. */
static int piece(const pn_comm *c, int64_t left) {
  return (int)(left < c->chunk ? left : c->chunk);
}

static pn_status mpi_allreduce(pn_comm *c, void *buf, int64_t count, pn_dtype t, pn_redop op) {
  size_t bytes = pn_dtype_bytes(t);
  MPI_Request r;

  for (int64_t at = 0; at < count;) {
    int n = piece(c, count - at);
    int rc = MPI_Iallreduce(MPI_IN_PLACE, (char *)buf + (size_t)at * bytes, n, mpi_type(t),
                            mpi_op(op), pn_mpi_handle(c), &r);
    pn_status st = finish(c, rc, "MPI_Iallreduce", &r);
    if (st != PN_OK) return st;
    at += n;
  }
  return PN_OK;
}

static pn_status mpi_bcast(pn_comm *c, void *buf, int64_t count, pn_dtype t, int root) {
  size_t bytes = pn_dtype_bytes(t);
  MPI_Request r;

  for (int64_t at = 0; at < count;) {
    int n = piece(c, count - at);
    int rc =
        MPI_Ibcast((char *)buf + (size_t)at * bytes, n, mpi_type(t), root, pn_mpi_handle(c), &r);
    pn_status st = finish(c, rc, "MPI_Ibcast", &r);
    if (st != PN_OK) return st;
    at += n;
  }
  return PN_OK;
}

/* Gather as one broadcast per rank: any counts, any total. */
static pn_status gather_by_bcast(pn_comm *c, const void *in, void *out, const int64_t *counts,
                                 pn_dtype t) {
  size_t bytes = pn_dtype_bytes(t);
  char *to = out;

  for (int r = 0; r < c->size; r++) {
    pn_status st;
    if (r == c->rank && counts[r] > 0 && to != in) memmove(to, in, (size_t)counts[r] * bytes);
    if ((st = mpi_bcast(c, to, counts[r], t, r)) != PN_OK) return st;
    to += (size_t)counts[r] * bytes;
  }
  return PN_OK;
}

static pn_status mpi_allgatherv(pn_comm *c, const void *in, void *out, const int64_t *counts,
                                pn_dtype t) {
  int64_t total = 0;
  int *n, *at, rc;
  pn_status st;
  MPI_Request r;

  for (int i = 0; i < c->size; i++) total += counts[i];
  if (total > c->chunk) return gather_by_bcast(c, in, out, counts, t);
  if (!(n = malloc(2 * (size_t)c->size * sizeof *n)))
    return PN_FAIL(PN_ERR_NOMEM, "allgatherv: %d ranks", c->size);
  at = n + c->size;
  for (int i = 0, sum = 0; i < c->size; sum += n[i++]) {
    n[i] = (int)counts[i];
    at[i] = sum;
  }
  rc = MPI_Iallgatherv(in, n[c->rank], mpi_type(t), out, n, at, mpi_type(t), pn_mpi_handle(c), &r);
  st = finish(c, rc, "MPI_Iallgatherv", &r);
  free(n);
  return st;
}

static pn_status mpi_allgather(pn_comm *c, const void *in, void *out, int64_t count, pn_dtype t) {
  int64_t *counts;
  pn_status st;
  MPI_Request r;

  if (count <= c->chunk / c->size) {
    int n = (int)count;
    int rc = MPI_Iallgather(in, n, mpi_type(t), out, n, mpi_type(t), pn_mpi_handle(c), &r);
    return finish(c, rc, "MPI_Iallgather", &r);
  }
  if (!(counts = malloc((size_t)c->size * sizeof *counts)))
    return PN_FAIL(PN_ERR_NOMEM, "allgather: %d ranks", c->size);
  for (int i = 0; i < c->size; i++) counts[i] = count;
  st = gather_by_bcast(c, in, out, counts, t);
  free(counts);
  return st;
}

pn_status pn_mpi_barrier(pn_comm *c, bool idle) {
  MPI_Request r;
  int done = 0;
  pn_status st = pn_mpi_check(MPI_Ibarrier(pn_mpi_handle(c), &r), "MPI_Ibarrier");

  if (st != PN_OK || !idle) return st != PN_OK ? st : pn_mpi_wait_all(c, 1, &r);
  for (;;) {
    st = pn_mpi_check(MPI_Test(&r, &done, MPI_STATUS_IGNORE), "MPI_Test");
    if (st != PN_OK || done) return st;
    leave_if_expired();
    pn_sleep(idle_nap_s);
  }
}

static pn_status mpi_send(pn_comm *c, const pn_message *m) {
  size_t bytes = pn_dtype_bytes(m->type);
  int64_t at = 0;
  MPI_Request r;

  do { /* also once for an empty message */
    int n = piece(c, m->count - at);
    int rc = MPI_Isend((const char *)m->buf + (size_t)at * bytes, n, mpi_type(m->type), m->peer,
                       m->tag, pn_mpi_handle(c), &r);
    pn_status st = finish(c, rc, "MPI_Isend", &r);
    if (st != PN_OK) return st;
    at += n;
  } while (at < m->count);
  return PN_OK;
}

static pn_status recv_piece(pn_comm *c, pn_message *m, int64_t at, int n) {
  void *to = (char *)m->buf + (size_t)at * pn_dtype_bytes(m->type);
  int src = m->peer < 0 ? MPI_ANY_SOURCE : m->peer, done = 0, got = 0;
  double start_s = pn_now();
  MPI_Status info;
  MPI_Request r;
  pn_status st = pn_mpi_check(
      MPI_Irecv(to, n, mpi_type(m->type), src, m->tag, pn_mpi_handle(c), &r), "MPI_Irecv");

  while (st == PN_OK && !done) {
    st = pn_mpi_check(MPI_Test(&r, &done, &info), "MPI_Test");
    if (st == PN_OK && !done) pn_mpi_relax(crowded(c), pn_now() - start_s);
  }
  if (st != PN_OK) return st;
  MPI_Get_count(&info, mpi_type(m->type), &got);
  if (got != n)
    return PN_FAIL(PN_ERR_COMM, "received %d elements from rank %d, expected %d", got,
                   info.MPI_SOURCE, n);
  m->peer = info.MPI_SOURCE; /* the rest of a long message comes from the same rank */
  return PN_OK;
}

static pn_status mpi_recv(pn_comm *c, pn_message *m) {
  int64_t at = 0;

  do {
    int n = piece(c, m->count - at);
    pn_status st = recv_piece(c, m, at, n);
    if (st != PN_OK) return st;
    at += n;
  } while (at < m->count);
  return PN_OK;
}

static pn_status mpi_probe(pn_comm *c, int peer, int tag, bool *there) {
  int found = 0;
  int src = peer < 0 ? MPI_ANY_SOURCE : peer;
  pn_status st =
      pn_mpi_check(MPI_Iprobe(src, tag, pn_mpi_handle(c), &found, MPI_STATUS_IGNORE), "MPI_Iprobe");

  *there = found != 0;
  return st;
}

static void mpi_destroy(pn_comm *c) {
  free(c->impl);
}

const pn_comm_ops pn_comm_mpi_ops = {
    .name = "mpi",
    .allreduce = mpi_allreduce,
    .bcast = mpi_bcast,
    .allgather = mpi_allgather,
    .allgatherv = mpi_allgatherv,
    .barrier = pn_mpi_barrier,
    .send = mpi_send,
    .recv = mpi_recv,
    .probe = mpi_probe,
    .start = pn_mpi_start,
    .test = pn_mpi_test,
    .wait = pn_mpi_wait,
    .request_free = pn_mpi_request_free,
    .split = pn_mpi_split,
    .destroy = mpi_destroy,
};
