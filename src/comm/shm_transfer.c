/* shm_transfer.c -- sums and exchanges through shared memory, worked off by the ranks themselves
 * in test and wait: a rank that computes gives the others its buffers, not its time. */
#include "base/clock.h"
#include "comm/shm_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { SPINS = 200 }; /* looks before the clock is read */

static int64_t load(const atomic_llong *a) {
  return atomic_load_explicit(a, memory_order_acquire);
}

static void store(atomic_llong *a, int64_t x) {
  atomic_store_explicit(a, x, memory_order_release);
}

static bool all_posted(const struct shm_comm *m, int64_t seq) {
  for (int l = 0; l < m->local_size; l++)
    if (load(&m->lane[l]->posted) < seq) return false;
  return true;
}

static bool all_gathered(const struct shm_comm *m, int64_t seq) {
  for (int l = 0; l < m->local_size; l++)
    if (load(&m->lane[l]->gathered) < seq) return false;
  return true;
}

static bool all_done(const struct shm_comm *m, int64_t seq) {
  for (int l = 0; l < m->local_size; l++)
    if (load(&m->lane[l]->done) < seq) return false;
  return true;
}

static const struct shm_post *post_of(const struct shm_comm *m, int l, int64_t seq) {
  return &m->lane[l]->post[seq % SHM_RING];
}

static float *in_of(const struct shm_comm *m, int l, int64_t seq) {
  const struct shm_post *p = post_of(m, l, seq);
  return (float *)(void *)(m->window[p->in_window].base[l] + p->in_at);
}

static float *out_of(const struct shm_comm *m, int l, int64_t seq) {
  const struct shm_post *p = post_of(m, l, seq);
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

/* Own slice of the host's sum; on one host it is the sum. */
static pn_status reduce(struct shm_comm *m, struct shm_request *q) {
  pn_slice s = pn_comm_slice(q->transfer.count, m->local_rank, m->local_size);
  float *own = q->transfer.in + s.first;

  if (m->hosts == 1) {
    sum_slice(m, q, s, NULL);
    return PN_OK;
  }
  sum_slice(m, q, s, own);
  if (s.count > INT_MAX)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "slice of %lld elements: MPI takes %d", (long long)s.count,
                   INT_MAX);
  return pn_mpi_check(MPI_Iallreduce(MPI_IN_PLACE, own, (int)s.count, MPI_FLOAT, MPI_SUM,
                                     pn_mpi_handle(m->cross), &q->cross),
                      "MPI_Iallreduce");
}

/* Counts and places of the slices that the ranks of m->cross own. */
static pn_status cut(const struct shm_comm *m, struct shm_request *q) {
  if (q->transfer.count > INT_MAX)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "transfer of %lld elements: MPI takes %d",
                   (long long)q->transfer.count, INT_MAX);
  if (!q->slices && !(q->slices = malloc(2 * (size_t)m->hosts * sizeof *q->slices)))
    return PN_FAIL(PN_ERR_NOMEM, "transfer between %d hosts", m->hosts);
  for (int h = 0; h < m->hosts; h++) {
    pn_slice s = slice_of(m, q->transfer.count, h, m->local_rank);
    q->slices[h] = (int)s.count;
    q->slices[m->hosts + h] = (int)s.first;
  }
  return PN_OK;
}

static pn_status reserve_sum(struct shm_request *q, int64_t count) {
  if (count <= q->sum_room) return PN_OK;
  free(q->sum);
  q->sum_room = 0;
  if (!(q->sum = malloc((size_t)count * sizeof *q->sum)))
    return PN_FAIL(PN_ERR_NOMEM, "sum of %lld elements", (long long)count);
  q->sum_room = count;
  return PN_OK;
}

/* The host's sums of the slices that this local rank owns on all hosts; then each host gets its
 * own. */
static pn_status reduce_scatter(struct shm_comm *m, struct shm_request *q) {
  int64_t at = 0, count = q->transfer.count;
  pn_status st;

  if (m->hosts == 1) {
    sum_slice(m, q, slice_of(m, count, 0, m->local_rank), q->transfer.out);
    return PN_OK;
  }
  if ((st = cut(m, q)) != PN_OK) return st;
  for (int h = 0; h < m->hosts; h++) at += q->slices[h];
  if ((st = reserve_sum(q, at)) != PN_OK) return st;
  at = 0;
  for (int h = 0; h < m->hosts; at += q->slices[h++])
    sum_slice(m, q, slice_of(m, count, h, m->local_rank), q->sum + at);
  return pn_mpi_check(MPI_Ireduce_scatter(q->sum, q->transfer.out, q->slices, MPI_FLOAT, MPI_SUM,
                                          pn_mpi_handle(m->cross), &q->cross),
                      "MPI_Ireduce_scatter");
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
static pn_status begin(struct shm_comm *m, struct shm_request *q) {
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

/* Last part: hand the result to the ranks of the host, or take it from them. */
static void end(const struct shm_comm *m, const struct shm_request *q) {
  if (q->transfer.kind == PN_ALLGATHER) {
    copy_slices(m, q);
  } else if (q->transfer.kind == PN_ALLREDUCE && m->hosts > 1) {
    pn_slice s = pn_comm_slice(q->transfer.count, m->local_rank, m->local_size);
    for (int l = 0; l < m->local_size; l++)
      if (l != m->local_rank && s.count > 0)
        memcpy(in_of(m, l, q->seq) + s.first, q->transfer.in + s.first,
               (size_t)s.count * sizeof(float));
  }
}

/* Ranks that started their transfers in different orders must not add what does not belong
 * together. */
static pn_status check_posts(const struct shm_comm *m, const struct shm_request *q) {
  for (int l = 0; l < m->local_size; l++) {
    const struct shm_post *p = post_of(m, l, q->seq);
    if (p->kind != (int)q->transfer.kind || p->count != q->transfer.count)
      return PN_FAIL(PN_ERR_COMM,
                     "transfer %lld has %lld elements here, %lld on rank %d: the ranks started "
                     "their transfers in different orders",
                     (long long)q->seq, (long long)q->transfer.count, (long long)p->count,
                     m->member[m->host * m->local_size + l]);
  }
  return PN_OK;
}

/* One request as far as it goes now.  first: all before it are finished. */
static pn_status advance(struct shm_comm *m, struct shm_request *q, bool first) {
  struct shm_lane *own = m->lane[m->local_rank];
  int arrived = 1;
  pn_status st = PN_OK;

  if (q->stage == SHM_POSTED && all_posted(m, q->seq)) {
    if ((st = check_posts(m, q)) != PN_OK) return st;
    if ((st = begin(m, q)) != PN_OK) return st;
    q->stage = SHM_CROSSING;
  }
  if (q->stage == SHM_CROSSING && first) {
    if (m->hosts > 1)
      st = pn_mpi_check(MPI_Test(&q->cross, &arrived, MPI_STATUS_IGNORE), "MPI_Test");
    if (st != PN_OK || !arrived) return st;
    store(&own->gathered, q->seq);
    q->stage = SHM_SHARING;
  }
  if (q->stage == SHM_SHARING && (m->hosts == 1 || all_gathered(m, q->seq))) {
    end(m, q);
    store(&own->done, q->seq);
    q->stage = SHM_FINISHED;
  }
  return st;
}

/* All requests as far as they go; in order, so that MPI between the hosts is called in the same
 * order everywhere. */
static pn_status progress(struct shm_comm *m) {
  bool first = true, posted = true;

  for (struct shm_request *q = m->head; q && posted; q = q->next) {
    pn_status st = advance(m, q, first);
    if (st != PN_OK) return st;
    first = first && q->stage == SHM_FINISHED;
    posted = q->stage != SHM_POSTED;
    if (first) m->head = q->next;
  }
  if (!m->head) m->tail = NULL;
  return PN_OK;
}

/* A peer may wait for a request of MPI's first: MPI moves it on only inside its own calls. */
static pn_status poke_mpi(const struct shm_comm *m) {
  int found;
  return pn_mpi_check(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, m->local, &found, MPI_STATUS_IGNORE),
                      "MPI_Iprobe");
}

/* Until all ranks of the host, this one too, are done with transfer `seq`. */
static pn_status wait_for(struct shm_comm *m, int64_t seq) {
  bool late = !all_posted(m, seq);
  double start_s = 0, t0 = late ? pn_now() : 0;

  for (int spins = 0; !all_done(m, seq); spins++) {
    pn_status st = progress(m);
    if (st == PN_OK && spins >= SPINS) st = poke_mpi(m);
    if (st != PN_OK) return st;
    if (late && all_posted(m, seq)) {
      m->own.comm->late_s += pn_now() - t0;
      late = false;
    }
    if (spins == SPINS) start_s = pn_now();
    if (spins >= SPINS) pn_mpi_relax(m->crowded, pn_now() - start_s);
  }
  return PN_OK;
}

static pn_status take(pn_request *r, struct shm_request **out) {
  if (!r->impl && !(r->impl = calloc(1, sizeof **out)))
    return PN_FAIL(PN_ERR_NOMEM, "no memory for a request");
  *out = r->impl;
  return PN_OK;
}

/* Can the other ranks of the host see what they need to? */
static bool find_buffers(const struct shm_comm *m, const pn_transfer *t, struct shm_post *p) {
  int64_t whole = t->count * (int64_t)sizeof(float);
  int64_t own = slice_of(m, t->count, m->host, m->local_rank).count * (int64_t)sizeof(float);

  p->kind = (int)t->kind;
  p->count = t->count;
  p->in_window = pn_shm_find(m, t->in, t->kind == PN_ALLGATHER ? own : whole, &p->in_at);
  p->out_window = pn_shm_find(m, t->out, t->kind == PN_REDUCE_SCATTER ? own : whole, &p->out_at);
  return p->in_window >= 0 && (t->kind != PN_ALLGATHER || m->hosts == 1 || p->out_window >= 0);
}

static pn_status start_by_mpi(pn_request *r, struct shm_request *q, const pn_transfer *t) {
  struct shm_comm *m = r->comm->impl;

  q->by_mpi = true;
  q->sub.comm = m->mpi;
  q->sub.kind = r->kind;
  memcpy(q->sub.what, r->what, sizeof q->sub.what);
  return pn_mpi_start(&q->sub, t);
}

pn_status pn_shm_start(pn_request *r, const pn_transfer *t) {
  struct shm_comm *m = r->comm->impl;
  struct shm_request *q = NULL;
  struct shm_post post;
  pn_status st = take(r, &q);

  if (st != PN_OK) return st;
  if (!find_buffers(m, t, &post)) {
    if (t->kind != PN_SHARE) return start_by_mpi(r, q, t);
    return PN_FAIL(PN_ERR_ARG, "%s: buffer is not of pn_comm_alloc", r->what);
  }
  if ((st = wait_for(m, m->seq + 1 - SHM_RING)) != PN_OK) return st;
  q->by_mpi = false;
  q->transfer = *t;
  q->seq = ++m->seq;
  q->stage = SHM_POSTED;
  q->next = NULL;
  m->lane[m->local_rank]->post[q->seq % SHM_RING] = post;
  store(&m->lane[m->local_rank]->posted, q->seq);
  if (m->tail)
    m->tail->next = q;
  else
    m->head = q;
  m->tail = q;
  return PN_OK;
}

pn_status pn_shm_test(pn_request *r, bool *done) {
  struct shm_comm *m = r->comm->impl;
  struct shm_request *q = r->impl;
  pn_status st = progress(m);

  *done = false;
  if (st != PN_OK) return st;
  if (q->by_mpi) return pn_mpi_test(&q->sub, done);
  *done = all_done(m, q->seq);
  return PN_OK;
}

static pn_status wait_by_mpi(pn_request *r, const struct shm_comm *m) {
  double start_s = pn_now();
  bool done = false;

  for (;;) {
    pn_status st = pn_shm_test(r, &done);
    if (st != PN_OK || done) return st;
    pn_mpi_relax(m->crowded, pn_now() - start_s);
  }
}

pn_status pn_shm_wait(pn_request *r) {
  struct shm_request *q = r->impl;
  return q->by_mpi ? wait_by_mpi(r, r->comm->impl) : wait_for(r->comm->impl, q->seq);
}

void pn_shm_sum_shared(const pn_comm *c, const float *in, int64_t count, float *out) {
  const struct shm_comm *m = c->impl;
  float *src[SHM_MAX_LOCAL];
  int64_t at;
  int i = pn_shm_find(m, in, count * (int64_t)sizeof *in, &at);

  for (int l = 0; l < m->local_size; l++) src[l] = (float *)(void *)(m->window[i].base[l] + at);
  pn_shm_sum(src, m->local_size, &out, 1, count);
}

void pn_shm_request_free(pn_request *r) {
  struct shm_request *q = r->impl;

  if (!q) return;
  pn_mpi_request_free(&q->sub);
  free(q->slices);
  free(q->sum);
  free(q);
  r->impl = NULL;
}
