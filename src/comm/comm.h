/* comm.h -- communication between ranks: the front door of src/comm.
 *
 * Every collective is numbered and carries a name, `what`, that a stuck job prints.  All functions
 * below marked "collective" must be called by all ranks of `c` in the same order; a rank that fails
 * locally first tells the others with pn_agree.  Counts are ELEMENTS, never bytes.  Only the main
 * thread calls them (MPI_THREAD_FUNNELED). */
#ifndef PN_COMM_COMM_H
#define PN_COMM_COMM_H

#include "base/status.h"
#include "tensor/dtype.h"

#include <stdint.h>

typedef struct pn_comm pn_comm;
typedef struct pn_request pn_request;
typedef enum { PN_SUM, PN_MIN, PN_MAX } pn_redop;

/* Settings in the environment that MPI reads when it starts; call it before MPI_Init. */
void pn_comm_prepare(void);

/* Communicator of all ranks: backend `mpi` when MPI has more than one rank, else `self`. MPI must
 * be initialised.  watchdog_s: a collective that takes longer ends the job with exit code 4; 0 =
 * off. Collective.  *out owned by the caller. */
pn_status pn_comm_world(double watchdog_s, pn_comm **out);
pn_status pn_comm_self(pn_comm **out); /* one rank, no MPI call at all */

/* Ranks with the same color >= 0 form a new communicator, ordered by `key`; color -1: *out = NULL.
 * Collective. */
pn_status pn_comm_split(pn_comm *c, int color, int key, pn_comm **out);
void pn_comm_destroy(pn_comm *c); /* calls no collective; NULL is allowed */
/* A communicator was destroyed with sums still in flight (a rank failed between start and wait):
 * their buffers are gone, so the process must leave by MPI_Abort, not by MPI_Finalize. */
bool pn_comm_abandoned(void);

int pn_comm_rank(const pn_comm *c);
int pn_comm_size(const pn_comm *c);
const char *pn_comm_backend(const pn_comm *c); /* "self" or "mpi" */
const char *pn_comm_library(void);             /* "Open MPI v4.1.4" */

/* Collective, blocking.  allreduce is in place; its order of summation is fixed for a given size,
 * so repeated calls give the same bits. */
pn_status pn_allreduce(pn_comm *c, const char *what, void *buf, int64_t count, pn_dtype t,
                       pn_redop op);
pn_status pn_bcast(pn_comm *c, const char *what, void *buf, int64_t count, pn_dtype t, int root);
/* out: size * count elements, in rank order, on every rank. */
pn_status pn_allgather(pn_comm *c, const char *what, const void *in, void *out, int64_t count,
                       pn_dtype t);
/* Rank r contributes counts[r] elements (same array on all ranks); out: their sum, rank order. */
pn_status pn_allgatherv(pn_comm *c, const char *what, const void *in, void *out,
                        const int64_t *counts, pn_dtype t);
pn_status pn_barrier(pn_comm *c, const char *what);
/* As pn_barrier, but waiting ranks sleep (1 ms naps) instead of spinning and the watchdog is not
 * armed: for ranks with nothing to do while others work. */
pn_status pn_barrier_idle(pn_comm *c, const char *what);

/* Point to point, for handing out work (tag >= 0).  recv: src -1 = any; *from may be NULL. */
pn_status pn_send(pn_comm *c, const char *what, const void *buf, int64_t count, pn_dtype t, int dst,
                  int tag);
pn_status pn_recv(pn_comm *c, const char *what, void *buf, int64_t count, pn_dtype t, int src,
                  int tag, int *from);
/* Is there a message that pn_recv would take at once?  Never waits; lets MPI move data. */
pn_status pn_probe(pn_comm *c, int src, int tag, bool *there);

/* Start an in-place SUM allreduce of f32.  Collective, started in the same order on all ranks.
 * Do not touch buf before pn_request_wait.  *out is owned by c and recycled by wait. */
pn_status pn_iallreduce_sum(pn_comm *c, const char *what, float *buf, int64_t count,
                            pn_request **out);
pn_status pn_request_test(pn_request *r, bool *done); /* gives MPI a chance to move data */
pn_status pn_request_wait(pn_request *r);             /* r is invalid afterwards */

/* Collective.  Turn "maybe one rank failed" into one answer on all ranks: returns `mine` where it
 * failed, PN_ERR_PEER (message names the lowest failing rank, its host and its error) where only
 * others did, else PN_OK.  Exit codes stay consistent: PN_ERR_ARG on the failing rank makes it ARG
 * everywhere.  Only an agreement of all ranks of the job sets pn_error_agreed: after a failure in a
 * part of them, agree on the world too before leaving.  Sums in flight do not disturb it. */
pn_status pn_agree(pn_comm *c, pn_status mine);

/* For blocking work outside comm that can hang (a file system): bracket it with these, so that the
 * watchdog names it. */
void pn_watchdog_enter(const char *what, int64_t bytes);
void pn_watchdog_leave(void);

#endif
