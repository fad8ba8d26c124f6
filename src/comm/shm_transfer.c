/* shm_transfer.c -- sums and exchanges through shared memory, worked off by the ranks themselves
 * in test and wait: a rank that computes gives the others its buffers, not its time. */
#include "base/clock.h"
#include "comm/shm_internal.h"

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

/* Ranks that started their transfers in different orders must not add what does not belong
 * together. */
static pn_status check_posts(const struct shm_comm *m, const struct shm_request *q) {
  for (int l = 0; l < m->local_size; l++) {
    const struct shm_post *p = pn_shm_post_of(m, l, q->seq);
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
    if ((st = pn_shm_begin(m, q)) != PN_OK) return st;
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
    pn_shm_end(m, q);
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
  int64_t own =
      pn_comm_slice(t->count, m->own.comm->rank, m->own.comm->size).count * (int64_t)sizeof(float);

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
