/* comm_backend.h -- what a communication backend provides.  Inside src/comm and its tests only.
 *
 * comm.c has checked arguments and armed the watchdog before it calls an op.  Adding a backend:
 * one file with one table. */
#ifndef PN_COMM_BACKEND_H
#define PN_COMM_BACKEND_H

#include "comm/comm.h"

/* One message of pn_send and pn_recv. */
typedef struct {
  void *buf;
  int64_t count;
  pn_dtype type;
  int peer; /* recv: -1 = any; set to the sender */
  int tag;
} pn_message;

/* What a request does; see pn_iallreduce_sum and its neighbours in comm.h. */
typedef struct {
  pn_transfer_kind kind;
  float *in, *out; /* ALLREDUCE, SHARE: the same */
  int64_t count;   /* of the whole buffer */
} pn_transfer;

typedef struct {
  const char *name;
  pn_status (*allreduce)(pn_comm *c, void *buf, int64_t count, pn_dtype t, pn_redop op);
  pn_status (*bcast)(pn_comm *c, void *buf, int64_t count, pn_dtype t, int root);
  pn_status (*allgather)(pn_comm *c, const void *in, void *out, int64_t count, pn_dtype t);
  pn_status (*allgatherv)(pn_comm *c, const void *in, void *out, const int64_t *counts, pn_dtype t);
  pn_status (*barrier)(pn_comm *c, bool idle);
  pn_status (*send)(pn_comm *c, const pn_message *m);
  pn_status (*recv)(pn_comm *c, pn_message *m);
  pn_status (*probe)(pn_comm *c, int peer, int tag, bool *there); /* peer -1 = any */
  /* Zeroed memory for transfers; touch: with pages.  NULL: plain memory will do. */
  pn_status (*alloc)(pn_comm *c, size_t bytes, bool touch, void **out);
  /* NULL: every rank has its own; also where c->sharers is 1. */
  pn_status (*alloc_common)(pn_comm *c, size_t common, size_t own, void **out);
  void (*free)(pn_comm *c, void *p);
  pn_status (*start)(pn_request *r, const pn_transfer *t);
  pn_status (*test)(pn_request *r, bool *done);
  pn_status (*wait)(pn_request *r);
  void (*request_free)(pn_request *r); /* frees r->impl */
  void (*sum_shared)(const pn_comm *c, const float *in, int64_t count, float *out);
  pn_status (*split)(pn_comm *c, int color, int key, pn_comm **out);
  void (*destroy)(pn_comm *c); /* frees c->impl; no collective */
} pn_comm_ops;

struct pn_comm {
  const pn_comm_ops *ops;
  int rank, size, world_rank;
  int sharers, sharer; /* see pn_comm_sharers; 0, 0: none */
  int64_t chunk;       /* elements of one MPI call at most; tests make it small */
  int64_t number;      /* of the last collective */
  pn_comm *ctl; /* pn_agree's own channel: never mixes with sums in flight; owned; NULL on self */
  pn_request *idle; /* requests waiting for reuse, owned */
  int in_flight;    /* requests started and not waited for */
  bool whole;       /* all ranks of the job: what they agree on, everyone knows */
  bool blocking;    /* see pn_comm_overlap */
  bool watched;     /* holds a pn_watchdog_start */
  bool order_fixed; /* see pn_comm_order_fixed; not asked where there are two ranks */
  double late_s;    /* see pn_comm_late_s; counted by the backend */
  void *impl;       /* owned by the backend */
};

struct pn_request {
  pn_comm *comm; /* borrowed */
  pn_request *next;
  const char *kind; /* "iallreduce" */
  char what[64];
  int64_t number, bytes;
  void *impl; /* owned by the backend, kept for reuse */
};

extern const pn_comm_ops pn_comm_self_ops, pn_comm_mpi_ops, pn_comm_shm_ops;

/* A collective failed on this rank: no other one may follow, only MPI_Abort. */
bool pn_comm_broken(void);

/* Make the communicator of all ranks; *out->ops is `mpi`, or `self` for one rank. */
pn_status pn_comm_mpi_world(pn_comm **out);
pn_status pn_comm_self_make(int world_rank, pn_comm **out);
/* *out stays NULL, without an error, where `must` is false and the hosts do not suit. */
pn_status pn_comm_shm_make(pn_comm *c, bool must, pn_comm **out);

#endif
