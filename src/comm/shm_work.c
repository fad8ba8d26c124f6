/* shm_work.c -- what a rank does of a transfer: its part of the sums and copies on its host, and
 * MPI with the ranks of the same place on the other hosts. */
#include "comm/shm_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static float *in_of(const struct shm_comm *m, int l, int64_t seq) {
  const struct shm_post *p = pn_shm_post_of(m, l, seq);
  return (float *)(void *)(m->window[p->in_window].base[l] + p->in_at);
}

static float *out_of(const struct shm_comm *m, int l, int64_t seq) {
  const struct shm_post *p = pn_shm_post_of(m, l, seq);
  return (float *)(void *)(m->window[p->out_window].base[l] + p->out_at);
}

/* The slice of the rank `l` of host `h`, of a buffer cut for all ranks. */
static pn_slice slice_of(const struct shm_comm *m, int64_t count, int h, int l) {
  return pn_comm_slice(count, m->member[h * m->local_size + l], m->hosts * m->local_size);
}

/* dst NULL: everybody's buffer. */
static void sum_slice(const struct shm_comm *m, const struct shm_request *q, pn_slice s,
                      float *dst) {
  float *src[SHM_MAX_LOCAL];

  for (int l = 0; l < m->local_size; l++) src[l] = in_of(m, l, q->seq) + s.first;
  if (dst)
    pn_shm_sum(src, m->local_size, &dst, 1, s.count);
  else
    pn_shm_sum(src, m->local_size, src, m->local_size, s.count);
}

static pn_status reserve_slices(const struct shm_comm *m, struct shm_request *q) {
  if (!q->slices && !(q->slices = malloc(4 * (size_t)m->hosts * sizeof *q->slices)))
    return PN_FAIL(PN_ERR_NOMEM, "transfer between %d hosts", m->hosts);
  return PN_OK;
}

/* Whole slices to each other: as many bytes as a ring moves, in one step. */
static pn_status swap_sums(struct shm_comm *m, struct shm_request *q, float *own, int n) {
  int *to = q->slices, other = 1 - m->host;
  pn_status st = pn_mpi_reserve(&q->sum, &q->sum_room, n);

  if (st != PN_OK) return st;
  memset(to, 0, 4 * 2 * sizeof *to); /* counts and places, out and in */
  to[other] = to[4 + other] = n;
  return pn_mpi_check(MPI_Ialltoallv(own, to, to + 2, MPI_FLOAT, q->sum, to + 4, to + 6, MPI_FLOAT,
                                     pn_mpi_handle(m->cross), &q->cross),
                      "MPI_Ialltoallv");
}

/* Own slice of the host's sum; on one host it is the sum. */
static pn_status reduce(struct shm_comm *m, struct shm_request *q) {
  pn_slice s = pn_comm_slice(q->transfer.count, m->local_rank, m->local_size);
  float *own = q->transfer.in + s.first;
  pn_status st;

  if (m->hosts == 1) {
    sum_slice(m, q, s, NULL);
    return PN_OK;
  }
  sum_slice(m, q, s, own);
  if (s.count > INT_MAX)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "slice of %lld elements: MPI takes %d", (long long)s.count,
                   INT_MAX);
  if (m->hosts == 2)
    return (st = reserve_slices(m, q)) != PN_OK ? st : swap_sums(m, q, own, (int)s.count);
  return pn_mpi_check(MPI_Iallreduce(MPI_IN_PLACE, own, (int)s.count, MPI_FLOAT, MPI_SUM,
                                     pn_mpi_handle(m->cross), &q->cross),
                      "MPI_Iallreduce");
}

/* Counts and places of the slices that the ranks of m->cross own. */
static pn_status cut(const struct shm_comm *m, struct shm_request *q) {
  pn_status st;

  if (q->transfer.count > INT_MAX)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "transfer of %lld elements: MPI takes %d",
                   (long long)q->transfer.count, INT_MAX);
  if ((st = reserve_slices(m, q)) != PN_OK) return st;
  for (int h = 0; h < m->hosts; h++) {
    pn_slice s = slice_of(m, q->transfer.count, h, m->local_rank);
    q->slices[h] = (int)s.count;
    q->slices[m->hosts + h] = (int)s.first;
  }
  return PN_OK;
}

/* The host's sums of the slices that this local rank owns on all hosts; then each host gets its
 * own from all of them, behind these in q->sum, and adds them up in `end`. */
static pn_status reduce_scatter(struct shm_comm *m, struct shm_request *q) {
  int64_t at = 0, all = 0, count = q->transfer.count;
  int *n_out, *n_in, own = (int)slice_of(m, count, m->host, m->local_rank).count;
  pn_status st;

  if (m->hosts == 1) {
    sum_slice(m, q, slice_of(m, count, 0, m->local_rank), q->transfer.out);
    return PN_OK;
  }
  if ((st = cut(m, q)) != PN_OK) return st;
  n_out = q->slices;
  n_in = q->slices + 2 * m->hosts;
  for (int h = 0; h < m->hosts; h++) {
    n_out[m->hosts + h] = (int)all;
    n_in[h] = own;
    n_in[m->hosts + h] = h * own;
    all += n_out[h];
  }
  if ((st = pn_mpi_reserve(&q->sum, &q->sum_room, all + (int64_t)m->hosts * own)) != PN_OK)
    return st;
  for (int h = 0; h < m->hosts; at += n_out[h++])
    sum_slice(m, q, slice_of(m, count, h, m->local_rank), q->sum + at);
  return pn_mpi_check(MPI_Ialltoallv(q->sum, n_out, n_out + m->hosts, MPI_FLOAT, q->sum + all, n_in,
                                     n_in + m->hosts, MPI_FLOAT, pn_mpi_handle(m->cross),
                                     &q->cross),
                      "MPI_Ialltoallv");
}

/* The slices of this local rank on all hosts come into `out`, where the host's ranks find them. */
static pn_status gather(struct shm_comm *m, struct shm_request *q) {
  pn_slice own = slice_of(m, q->transfer.count, m->host, m->local_rank);
  float *place = q->transfer.out + own.first;
  pn_status st;

  if (m->hosts == 1) return PN_OK;
  if ((st = cut(m, q)) != PN_OK) return st;
  if (q->transfer.in != place && own.count > 0)
    memcpy(place, q->transfer.in, (size_t)own.count * sizeof *place);
  return pn_mpi_check(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_FLOAT, q->transfer.out, q->slices,
                                      q->slices + m->hosts, MPI_FLOAT, pn_mpi_handle(m->cross),
                                      &q->cross),
                      "MPI_Iallgatherv");
}

/* First part, when all ranks of the host have posted. */
pn_status pn_shm_begin(struct shm_comm *m, struct shm_request *q) {
  switch (q->transfer.kind) {
  case PN_ALLREDUCE:
    return reduce(m, q);
  case PN_REDUCE_SCATTER:
    return reduce_scatter(m, q);
  case PN_SHARE: /* that all have posted it is all */
    return PN_OK;
  default:
    return gather(m, q);
  }
}

static void copy_slices(const struct shm_comm *m, const struct shm_request *q) {
  for (int l = 0; l < m->local_size; l++)
    for (int h = 0; h < m->hosts; h++) {
      pn_slice s = slice_of(m, q->transfer.count, h, l);
      float *to = q->transfer.out + s.first;
      const float *from = m->hosts == 1 ? in_of(m, l, q->seq) : out_of(m, l, q->seq) + s.first;
      if (s.count > 0 && to != from) memcpy(to, from, (size_t)s.count * sizeof *to);
    }
}

/* The hosts' sums of the own slice, in the order of the hosts. */
static void add_hosts(const struct shm_comm *m, const struct shm_request *q) {
  int64_t n = slice_of(m, q->transfer.count, m->host, m->local_rank).count;
  float *part[2] = {q->sum, q->transfer.out};

  for (int h = 0; h < m->hosts; h++) part[0] += q->slices[h];
  for (int h = 1; h < m->hosts; h++) {
    float *src[2] = {h == 1 ? part[0] : part[1], part[0] + h * n};
    pn_shm_sum(src, 2, &part[1], 1, n);
  }
}

/* The two hosts' sums of the own slice, to all ranks of this one. */
static void add_two_hosts(const struct shm_comm *m, const struct shm_request *q) {
  pn_slice s = pn_comm_slice(q->transfer.count, m->local_rank, m->local_size);
  float *dst[SHM_MAX_LOCAL], *own = q->transfer.in + s.first;
  float *src[2] = {m->host == 0 ? own : q->sum, m->host == 0 ? q->sum : own};

  for (int l = 0; l < m->local_size; l++) dst[l] = in_of(m, l, q->seq) + s.first;
  pn_shm_sum(src, 2, dst, m->local_size, s.count);
}

/* Last part: hand the result to the ranks of the host, or take it from them. */
void pn_shm_end(const struct shm_comm *m, const struct shm_request *q) {
  if (q->transfer.kind == PN_ALLGATHER) {
    copy_slices(m, q);
  } else if (q->transfer.kind == PN_REDUCE_SCATTER && m->hosts > 1) {
    add_hosts(m, q);
  } else if (q->transfer.kind == PN_ALLREDUCE && m->hosts == 2) {
    add_two_hosts(m, q);
  } else if (q->transfer.kind == PN_ALLREDUCE && m->hosts > 1) {
    pn_slice s = pn_comm_slice(q->transfer.count, m->local_rank, m->local_size);
    for (int l = 0; l < m->local_size; l++)
      if (l != m->local_rank && s.count > 0)
        memcpy(in_of(m, l, q->seq) + s.first, q->transfer.in + s.first,
               (size_t)s.count * sizeof(float));
  }
}
