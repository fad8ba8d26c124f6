/* self.c -- one rank: copies instead of messages, no MPI call. */
#include "comm/comm_backend.h"

#include <stdlib.h>
#include <string.h>

static pn_status self_allreduce(pn_comm *c, void *buf, int64_t count, pn_dtype t, pn_redop op) {
  (void)c, (void)buf, (void)count, (void)t, (void)op;
  return PN_OK;
}

static pn_status self_bcast(pn_comm *c, void *buf, int64_t count, pn_dtype t, int root) {
  (void)c, (void)buf, (void)count, (void)t, (void)root;
  return PN_OK;
}

static pn_status self_allgather(pn_comm *c, const void *in, void *out, int64_t count, pn_dtype t) {
  (void)c;
  if (count > 0 && in != out) memmove(out, in, (size_t)count * pn_dtype_bytes(t));
  return PN_OK;
}

static pn_status self_allgatherv(pn_comm *c, const void *in, void *out, const int64_t *counts,
                                 pn_dtype t) {
  return self_allgather(c, in, out, counts[0], t);
}

static pn_status self_barrier(pn_comm *c, bool idle) {
  (void)c, (void)idle;
  return PN_OK;
}

static pn_status self_send(pn_comm *c, const pn_message *m) {
  (void)c;
  return PN_FAIL(PN_ERR_ARG, "send to rank %d: this communicator has one rank", m->peer);
}

static pn_status self_recv(pn_comm *c, pn_message *m) {
  (void)c;
  return PN_FAIL(PN_ERR_ARG, "receive from rank %d: this communicator has one rank", m->peer);
}

static pn_status self_probe(pn_comm *c, int peer, int tag, bool *there) {
  (void)c, (void)peer, (void)tag;
  *there = false;
  return PN_OK;
}

static pn_status self_start(pn_request *r, const pn_transfer *t) {
  (void)r;
  if (t->count > 0 && t->in != t->out) memmove(t->out, t->in, (size_t)t->count * sizeof *t->out);
  return PN_OK;
}

static pn_status self_test(pn_request *r, bool *done) {
  (void)r;
  *done = true;
  return PN_OK;
}

static pn_status self_wait(pn_request *r) {
  (void)r;
  return PN_OK;
}

static void self_request_free(pn_request *r) {
  (void)r;
}

static pn_status self_split(pn_comm *c, int color, int key, pn_comm **out) {
  (void)key;
  *out = NULL;
  return color < 0 ? PN_OK : pn_comm_self_make(c->world_rank, out);
}

static void self_destroy(pn_comm *c) {
  (void)c;
}

pn_status pn_comm_self_make(int world_rank, pn_comm **out) {
  pn_comm *c = calloc(1, sizeof *c);

  *out = NULL;
  if (!c) return PN_FAIL(PN_ERR_NOMEM, "no memory for a communicator");
  c->ops = &pn_comm_self_ops;
  c->size = 1;
  c->world_rank = world_rank;
  *out = c;
  return PN_OK;
}

const pn_comm_ops pn_comm_self_ops = {
    .name = "self",
    .allreduce = self_allreduce,
    .bcast = self_bcast,
    .allgather = self_allgather,
    .allgatherv = self_allgatherv,
    .barrier = self_barrier,
    .send = self_send,
    .recv = self_recv,
    .probe = self_probe,
    .start = self_start,
    .test = self_test,
    .wait = self_wait,
    .request_free = self_request_free,
    .split = self_split,
    .destroy = self_destroy,
};
