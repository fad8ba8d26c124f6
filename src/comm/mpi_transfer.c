/* mpi_transfer.c -- requests over MPI: sums and exchanges that proceed while the rank computes. */
#include "comm/mpi_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct mpi_request {
  int n, capacity;
  MPI_Request *pieces; /* [capacity], owned */
  int *slices;         /* [2 * size]: counts, then places; owned */
  float *sum;          /* own slice where it cannot be written in place; owned */
  int64_t sum_room;
  float *copy_to; /* NULL: nothing to copy */
  int64_t copy_count;
};

/* Room for n pieces; kept from one use of the request to the next. */
static pn_status reserve(pn_request *r, int64_t n) {
  struct mpi_request *q = r->impl ? r->impl : calloc(1, sizeof *q);
  MPI_Request *more;

  if (!q || n > INT_MAX) return PN_FAIL(PN_ERR_NOMEM, "request of %lld pieces", (long long)n);
  r->impl = q;
  q->n = 0;
  q->copy_to = NULL;
  if (n <= q->capacity) return PN_OK;
  if (!(more = realloc(q->pieces, (size_t)n * sizeof *more)))
    return PN_FAIL(PN_ERR_NOMEM, "request of %lld pieces", (long long)n);
  q->pieces = more;
  q->capacity = (int)n;
  return PN_OK;
}

static pn_status start_allreduce(pn_request *r, float *buf, int64_t count) {
  const pn_comm *c = r->comm;
  pn_status st = reserve(r, count / c->chunk + 1);
  struct mpi_request *q = r->impl;

  for (int64_t at = 0; st == PN_OK && at < count;) {
    int n = (int)(count - at < c->chunk ? count - at : c->chunk);
    st = pn_mpi_check(MPI_Iallreduce(MPI_IN_PLACE, buf + at, n, MPI_FLOAT, MPI_SUM,
                                     pn_mpi_handle(c), &q->pieces[q->n]),
                      "MPI_Iallreduce");
    if (st == PN_OK) q->n++;
    at += n;
  }
  return st;
}

/* Counts and places of all slices; MPI reads them until the request is complete. */
static pn_status cut(pn_request *r, int64_t count) {
  const pn_comm *c = r->comm;
  pn_status st = reserve(r, 1);
  struct mpi_request *q = r->impl;

  if (st != PN_OK) return st;
  if (count > INT_MAX)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "%s \"%s\": %lld elements, MPI takes %d: use smaller pieces",
                   r->kind, r->what, (long long)count, INT_MAX);
  if (!q->slices && !(q->slices = malloc(2 * (size_t)c->size * sizeof *q->slices)))
    return PN_FAIL(PN_ERR_NOMEM, "request of %d ranks", c->size);
  for (int i = 0; i < c->size; i++) {
    pn_slice s = pn_comm_slice(count, i, c->size);
    q->slices[i] = (int)s.count;
    q->slices[c->size + i] = (int)s.first;
  }
  return PN_OK;
}

pn_status pn_mpi_reserve(float **x, int64_t *room, int64_t count) {
  if (count <= *room) return PN_OK;
  free(*x);
  *room = 0;
  if (!(*x = malloc((size_t)count * sizeof **x)))
    return PN_FAIL(PN_ERR_NOMEM, "sum of %lld elements", (long long)count);
  *room = count;
  return PN_OK;
}

/* MPI's in-place form leaves the result at the start of the buffer: the own slice goes by way of a
 * copy. */
static pn_status start_reduce_scatter(pn_request *r, const pn_transfer *t) {
  const pn_comm *c = r->comm;
  pn_status st = cut(r, t->count);
  struct mpi_request *q = r->impl;

  if (st != PN_OK) return st;
  q->copy_count = q->slices[c->rank];
  if ((st = pn_mpi_reserve(&q->sum, &q->sum_room, q->copy_count)) != PN_OK) return st;
  q->copy_to = t->out;
  st = pn_mpi_check(MPI_Ireduce_scatter(t->in, q->sum, q->slices, MPI_FLOAT, MPI_SUM,
                                        pn_mpi_handle(c), &q->pieces[0]),
                    "MPI_Ireduce_scatter");
  if (st == PN_OK) q->n = 1;
  return st;
}

static pn_status start_allgather(pn_request *r, const pn_transfer *t) {
  const pn_comm *c = r->comm;
  pn_status st = cut(r, t->count);
  struct mpi_request *q = r->impl;
  bool in_place;

  if (st != PN_OK) return st;
  in_place = t->in == t->out + q->slices[c->size + c->rank];
  st = pn_mpi_check(MPI_Iallgatherv(in_place ? MPI_IN_PLACE : t->in, q->slices[c->rank], MPI_FLOAT,
                                    t->out, q->slices, q->slices + c->size, MPI_FLOAT,
                                    pn_mpi_handle(c), &q->pieces[0]),
                    "MPI_Iallgatherv");
  if (st == PN_OK) q->n = 1;
  return st;
}

pn_status pn_mpi_start(pn_request *r, const pn_transfer *t) {
  switch (t->kind) {
  case PN_ALLREDUCE:
    return start_allreduce(r, t->in, t->count);
  case PN_REDUCE_SCATTER:
    return start_reduce_scatter(r, t);
  default:
    return start_allgather(r, t);
  }
}

static void complete(struct mpi_request *q) {
  if (q->copy_to && q->copy_count > 0)
    memcpy(q->copy_to, q->sum, (size_t)q->copy_count * sizeof *q->sum);
  q->copy_to = NULL;
}

pn_status pn_mpi_test(pn_request *r, bool *done) {
  struct mpi_request *q = r->impl;
  int all = 0;
  pn_status st =
      pn_mpi_check(MPI_Testall(q->n, q->pieces, &all, MPI_STATUSES_IGNORE), "MPI_Testall");

  *done = all != 0;
  if (st == PN_OK && *done) complete(q);
  return st;
}

pn_status pn_mpi_wait(pn_request *r) {
  struct mpi_request *q = r->impl;
  pn_status st = pn_mpi_wait_all(r->comm, q->n, q->pieces);
  if (st == PN_OK) complete(q);
  return st;
}

void pn_mpi_request_free(pn_request *r) {
  struct mpi_request *q = r->impl;

  if (q) {
    free(q->pieces);
    free(q->slices);
    free(q->sum);
  }
  free(q);
  r->impl = NULL;
}
