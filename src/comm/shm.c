/* shm.c -- the ops of the shared-memory communicator: sums of f32 its own way, the rest by MPI. */
#include "comm/shm_internal.h"

#include <stdlib.h>
#include <string.h>

static pn_comm *by_mpi(const pn_comm *c) {
  return ((const struct shm_comm *)c->impl)->mpi;
}

static pn_status sum_now(pn_comm *c, float *buf, int64_t count) {
  struct shm_comm *m = c->impl;
  pn_transfer t = {PN_ALLREDUCE, buf, buf, count};
  pn_status st = pn_shm_start(&m->own, &t);
  return st != PN_OK ? st : pn_shm_wait(&m->own);
}

/* Plain memory goes through the stage, in pieces that stay in the cache: each waits for all ranks.
 */
static pn_status sum_staged(pn_comm *c, float *buf, int64_t count) {
  const struct shm_comm *m = c->impl;
  float *stage = (float *)(void *)m->window[1].base[m->local_rank];
  pn_status st = PN_OK;

  for (int64_t at = 0; st == PN_OK && at < count; at += SHM_STAGE_FLOATS) {
    int64_t n = count - at < SHM_STAGE_FLOATS ? count - at : SHM_STAGE_FLOATS;
    memcpy(stage, buf + at, (size_t)n * sizeof *buf);
    st = sum_now(c, stage, n);
    memcpy(buf + at, stage, (size_t)n * sizeof *buf);
  }
  return st;
}

/* Between hosts each piece waits for the network: one call of MPI's for all of them is faster. */
static bool many_rounds(const struct shm_comm *m, int64_t count) {
  return m->hosts > 1 && count > SHM_STAGE_FLOATS;
}

static pn_status shm_allreduce(pn_comm *c, void *buf, int64_t count, pn_dtype t, pn_redop op) {
  int64_t at;

  if (t != PN_F32 || op != PN_SUM || count == 0)
    return pn_comm_mpi_ops.allreduce(by_mpi(c), buf, count, t, op);
  if (pn_shm_find(c->impl, buf, count * (int64_t)sizeof(float), &at) >= 0)
    return sum_now(c, buf, count);
  if (many_rounds(c->impl, count)) return pn_comm_mpi_ops.allreduce(by_mpi(c), buf, count, t, op);
  return sum_staged(c, buf, count);
}

static pn_status shm_bcast(pn_comm *c, void *buf, int64_t count, pn_dtype t, int root) {
  return pn_comm_mpi_ops.bcast(by_mpi(c), buf, count, t, root);
}

static pn_status shm_allgather(pn_comm *c, const void *in, void *out, int64_t count, pn_dtype t) {
  return pn_comm_mpi_ops.allgather(by_mpi(c), in, out, count, t);
}

static pn_status shm_allgatherv(pn_comm *c, const void *in, void *out, const int64_t *counts,
                                pn_dtype t) {
  return pn_comm_mpi_ops.allgatherv(by_mpi(c), in, out, counts, t);
}

static pn_status shm_barrier(pn_comm *c, bool idle) {
  return pn_mpi_barrier(by_mpi(c), idle);
}

static pn_status shm_send(pn_comm *c, const pn_message *m) {
  return pn_comm_mpi_ops.send(by_mpi(c), m);
}

static pn_status shm_recv(pn_comm *c, pn_message *m) {
  return pn_comm_mpi_ops.recv(by_mpi(c), m);
}

static pn_status shm_probe(pn_comm *c, int peer, int tag, bool *there) {
  return pn_comm_mpi_ops.probe(by_mpi(c), peer, tag, there);
}

static pn_status shm_split(pn_comm *c, int color, int key, pn_comm **out) {
  return pn_mpi_split(by_mpi(c), color, key, out);
}

static void shm_destroy(pn_comm *c) {
  struct shm_comm *m = c->impl;

  if (!m) return;
  pn_shm_request_free(&m->own);
  pn_shm_windows_free(m);
  pn_comm_destroy(m->cross);
  if (c->ctl && m->mpi) m->mpi->ctl = NULL; /* the front door has destroyed it */
  pn_comm_destroy(m->mpi);
  free(m->member);
  free(m->lane);
  free(m);
}

const pn_comm_ops pn_comm_shm_ops = {
    .name = "shm",
    .allreduce = shm_allreduce,
    .bcast = shm_bcast,
    .allgather = shm_allgather,
    .allgatherv = shm_allgatherv,
    .barrier = shm_barrier,
    .send = shm_send,
    .recv = shm_recv,
    .probe = shm_probe,
    .alloc = pn_shm_alloc,
    .alloc_common = pn_shm_alloc_common,
    .free = pn_shm_free,
    .start = pn_shm_start,
    .test = pn_shm_test,
    .wait = pn_shm_wait,
    .request_free = pn_shm_request_free,
    .sum_shared = pn_shm_sum_shared,
    .split = shm_split,
    .destroy = shm_destroy,
};
