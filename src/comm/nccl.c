/* nccl.c -- the ops of the communicator between GPUs: sums of f32 by NCCL, the rest by MPI. */
#include "comm/nccl_internal.h"

#include "base/clock.h"
#include "comm/mpi_internal.h"

#include <stdlib.h>

pn_status pn_nccl_check(const struct nccl_comm *m, int rc, const char *call) {
  if (rc == NCCL_SUCCESS) return PN_OK;
  return PN_FAIL(PN_ERR_COMM, "NCCL, %s: %s (%d)", call, m->api->error_text(rc), rc);
}

pn_status pn_cu_check(const struct nccl_comm *m, int rc, const char *call) {
  const char *text = NULL;

  if (rc == CU_SUCCESS) return PN_OK;
  if (m->api->driver_text(rc, &text) != CU_SUCCESS || !text) text = "unknown error";
  return PN_FAIL(PN_ERR_DEVICE, "CUDA driver, %s: %s (%d)", call, text, rc);
}

void pn_nccl_abort(struct nccl_comm *m) {
  if (m->handle) m->api->abort(m->handle);
  m->handle = NULL;
}

pn_status pn_nccl_settle(struct nccl_comm *m, int rc, const char *call) {
  double start_s = pn_now();
  pn_status st;

  while (rc == NCCL_IN_PROGRESS) {
    double waited = pn_now() - start_s;
    int asked = m->api->async_error(m->handle, &rc);
    if (asked != NCCL_SUCCESS) rc = asked;
    if (m->limit_s > 0 && waited > m->limit_s && rc == NCCL_IN_PROGRESS) {
      pn_nccl_abort(m);
      return PN_FAIL(PN_ERR_TIMEOUT, "NCCL, %s: not done in %.1f s; a rank is late or dead", call,
                     m->limit_s);
    }
    pn_mpi_relax(true, waited); /* ends the job once the watchdog has spoken */
  }
  if ((st = pn_nccl_check(m, rc, call)) != PN_OK) pn_nccl_abort(m);
  return st;
}

pn_status pn_nccl_watch(struct nccl_comm *m, double waited_s) {
  int async = NCCL_SUCCESS;
  pn_status st = PN_OK;

  if (!m->handle) return PN_FAIL(PN_ERR_COMM, "NCCL was aborted before");
  if (m->api->async_error(m->handle, &async) == NCCL_SUCCESS && async != NCCL_IN_PROGRESS)
    st = pn_nccl_check(m, async, "asynchronous error");
  if (st == PN_OK && m->limit_s > 0 && waited_s > m->limit_s)
    st = PN_FAIL(PN_ERR_TIMEOUT,
                 "step with transfers by NCCL: no end in %.1f s; a rank is late or dead",
                 m->limit_s);
  if (st != PN_OK) pn_nccl_abort(m);
  return st;
}

static pn_comm *by_mpi(const pn_comm *c) {
  return ((const struct nccl_comm *)c->impl)->mpi;
}

/* Blocking collectives are small and in host memory. */
static pn_status nccl_allreduce(pn_comm *c, void *buf, int64_t count, pn_dtype t, pn_redop op) {
  return pn_comm_mpi_ops.allreduce(by_mpi(c), buf, count, t, op);
}

static pn_status nccl_bcast(pn_comm *c, void *buf, int64_t count, pn_dtype t, int root) {
  return pn_comm_mpi_ops.bcast(by_mpi(c), buf, count, t, root);
}

static pn_status nccl_allgather(pn_comm *c, const void *in, void *out, int64_t count, pn_dtype t) {
  return pn_comm_mpi_ops.allgather(by_mpi(c), in, out, count, t);
}

static pn_status nccl_allgatherv(pn_comm *c, const void *in, void *out, const int64_t *counts,
                                 pn_dtype t) {
  return pn_comm_mpi_ops.allgatherv(by_mpi(c), in, out, counts, t);
}

static pn_status nccl_barrier(pn_comm *c, bool idle) {
  return pn_mpi_barrier(by_mpi(c), idle);
}

static pn_status nccl_send(pn_comm *c, const pn_message *m) {
  return pn_comm_mpi_ops.send(by_mpi(c), m);
}

static pn_status nccl_recv(pn_comm *c, pn_message *m) {
  return pn_comm_mpi_ops.recv(by_mpi(c), m);
}

static pn_status nccl_probe(pn_comm *c, int peer, int tag, bool *there) {
  return pn_comm_mpi_ops.probe(by_mpi(c), peer, tag, there);
}

static pn_status nccl_split(pn_comm *c, int color, int key, pn_comm **out) {
  return pn_mpi_split(by_mpi(c), color, key, out);
}

/* After a failure the other ranks may never come: abort is local, destroy may wait for them. */
static void nccl_destroy(pn_comm *c) {
  struct nccl_comm *m = c->impl;

  if (!m) return;
  if (c->in_flight > 0 || pn_comm_broken()) pn_nccl_abort(m);
  if (m->handle) m->api->destroy(m->handle);
  if (m->ready) m->api->event_destroy(m->ready);
  if (m->stream) m->api->stream_destroy(m->stream);
  if (c->ctl && m->mpi) m->mpi->ctl = NULL; /* the front door has destroyed it */
  pn_comm_destroy(m->mpi);
  free(m);
}

const pn_comm_ops pn_comm_nccl_ops = {
    .name = "nccl",
    .allreduce = nccl_allreduce,
    .bcast = nccl_bcast,
    .allgather = nccl_allgather,
    .allgatherv = nccl_allgatherv,
    .barrier = nccl_barrier,
    .send = nccl_send,
    .recv = nccl_recv,
    .probe = nccl_probe,
    .start = pn_nccl_start,
    .test = pn_nccl_test,
    .wait = pn_nccl_wait,
    .request_free = pn_nccl_request_free,
    .split = nccl_split,
    .destroy = nccl_destroy,
};
