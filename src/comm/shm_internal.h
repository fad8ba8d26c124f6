/* shm_internal.h -- shared by the shm_*.c files.
 *
 * Every rank of a host has a `lane` in memory that all of them see.  A transfer has a sequence
 * number, the same on all ranks.  A rank posts it (where its buffers lie), and once all have, sums
 * or copies its own part straight from the buffers of the others, and counts it as done.  It is
 * complete when all ranks of the host are done: then nobody reads this rank's buffers any more. */
#ifndef PN_COMM_SHM_INTERNAL_H
#define PN_COMM_SHM_INTERNAL_H

#include "comm/mpi_internal.h"

#include <stdatomic.h>

enum { SHM_RING = 64, SHM_STAGE_FLOATS = 1 << 16, SHM_LINE = 64, SHM_MAX_LOCAL = 256 };

/* Where the buffers of one transfer lie: window, and byte in the poster's part of it. */
struct shm_post {
  int kind; /* with `count`: what the poster takes this transfer for */
  int64_t count;
  int in_window, out_window; /* out: -1 where it is private memory */
  int64_t in_at, out_at;
};

/* Written by its own rank only.  Counters hold the last transfer that has come so far. */
struct shm_lane {
  _Alignas(SHM_LINE) atomic_llong posted;
  _Alignas(SHM_LINE) atomic_llong gathered; /* slices of the other hosts are in `out` */
  _Alignas(SHM_LINE) atomic_llong done;
  _Alignas(SHM_LINE) struct shm_post post[SHM_RING];
};

struct shm_window {
  size_t bytes;              /* of each rank's part */
  char **base;               /* [local_size]; [local_rank] is the own part; owned */
  struct shm_common *common; /* all parts are one, which this stands before; else NULL */
  size_t own;                /* private bytes behind it */
};

/* The last rank that frees a common copy gives its pages back. */
struct shm_common {
  atomic_int freed;
};

typedef enum { SHM_POSTED, SHM_CROSSING, SHM_SHARING, SHM_FINISHED } shm_stage;

struct shm_request {
  pn_transfer transfer;
  int64_t seq;
  shm_stage stage;
  MPI_Request cross;
  int *slices;      /* [4 * hosts]: counts, places, of a transfer between hosts; owned */
  float *sum;       /* slices for the other hosts, and theirs; owned */
  int64_t sum_room; /* elements */
  bool by_mpi;      /* buffers are not in shared memory: `sub` does it */
  pn_request sub;
  struct shm_request *next; /* in the queue of those whose own part is not finished */
};

struct shm_comm {
  pn_comm *mpi;   /* all ranks: what is not a transfer; owned */
  pn_comm *cross; /* the ranks with this local rank on all hosts; NULL on one host; owned */
  MPI_Comm local; /* the ranks of this host; never freed, like mpi_comm.comm */
  int local_rank, local_size, host, hosts;
  int *member; /* [hosts * local_size]: rank in the whole communicator; owned */
  bool crowded;
  struct shm_lane **lane;    /* [local_size]; owned array */
  struct shm_window *window; /* [0] lanes, [1] stage; owned */
  int n_windows;
  int64_t seq;
  struct shm_request *head, *tail;
  pn_request own; /* for blocking sums */
};

/* shm_window.c.  Collective over the ranks of the host; not agreed. */
pn_status pn_shm_window_add(struct shm_comm *m, size_t bytes, bool touch, int *index);
pn_status pn_shm_alloc(pn_comm *c, size_t bytes, bool touch, void **out);
pn_status pn_shm_alloc_common(pn_comm *c, size_t common, size_t own, void **out);
void pn_shm_free(pn_comm *c, void *p);
void pn_shm_windows_free(struct shm_comm *m);
/* Window and byte of [p, p + bytes) in the own part; -1 where it is not shared memory. */
int pn_shm_find(const struct shm_comm *m, const void *p, int64_t bytes, int64_t *at);

/* shm_transfer.c */
pn_status pn_shm_start(pn_request *r, const pn_transfer *t);
pn_status pn_shm_test(pn_request *r, bool *done);
pn_status pn_shm_wait(pn_request *r);
void pn_shm_request_free(pn_request *r);
void pn_shm_sum_shared(const pn_comm *c, const float *in, int64_t count, float *out);

/* shm_work.c: the first part, when all ranks of the host have posted; the last one, when all have
 * what the other hosts gave. */
pn_status pn_shm_begin(struct shm_comm *m, struct shm_request *q);
void pn_shm_end(const struct shm_comm *m, const struct shm_request *q);

static inline const struct shm_post *pn_shm_post_of(const struct shm_comm *m, int l, int64_t seq) {
  return &m->lane[l]->post[seq % SHM_RING];
}

/* shm_sum.c: dst[k][i] = src[0][i] + src[1][i] + ..., in this order.  Destinations may be
 * sources. */
void pn_shm_sum(float *const *src, int n_src, float *const *dst, int n_dst, int64_t count);

#endif
