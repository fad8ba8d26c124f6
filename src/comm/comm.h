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
/* Communicator of the same ranks for bulk data (gradients, parameters).  kind: "mpi"; "shm": the
 * ranks of a host sum through shared memory, hosts exchange slices over MPI; "auto": shm where
 * several ranks share each host and their number is the same on all, else mpi; "nccl": between the
 * GPUs of the ranks' CUDA contexts, one GPU each (docs/gpu.md); "gpu": nccl where it can be used,
 * else as auto.  Collective, agreed.
 * Errors: ARG (unknown kind; shm where the hosts have unequal numbers of ranks; nccl without a GPU
 * for each rank), UNSUPPORTED (nccl: not in this build, or a library is missing). */
pn_status pn_comm_data(pn_comm *c, const char *kind, pn_comm **out);
void pn_comm_destroy(pn_comm *c); /* calls no collective; NULL is allowed */
/* A communicator was destroyed with sums still in flight (a rank failed between start and wait):
 * their buffers are gone, so MPI_Finalize is out of the question: see pn_comm_leave. */
bool pn_comm_abandoned(void);
void pn_comm_abort(int code); /* ends all ranks with this exit code; MPI_Abort */
/* The end of a process: MPI_Finalize after success or an error that all ranks know of, else
 * pn_comm_abort.  Returns after MPI_Finalize only. */
void pn_comm_leave(int code);

int pn_comm_rank(const pn_comm *c);
int pn_comm_size(const pn_comm *c);
const char *pn_comm_backend(const pn_comm *c); /* "self", "mpi", "shm" or "nccl" */
/* nccl: transfers of device memory start after what is queued on this CUDA stream, and what is
 * queued there after a wait for them starts when they are done: pn_request_wait then lets the
 * stream wait and not the host, and may be recorded in a graph.  NULL: they start at once, and the
 * host waits.  Other communicators take no notice. */
void pn_comm_follow(pn_comm *c, void *stream);
bool pn_comm_moves_far(const pn_comm *c); /* transfers take device memory */
/* For a host that waits for a stream with transfers in it: has the communicator failed, or does it
 * take too long?  Then it is aborted, which ends the transfers.  Errors: COMM, TIMEOUT. */
pn_status pn_comm_watch(pn_comm *c, double waited_s);
const char *pn_comm_library(void); /* "Open MPI v4.1.4" */
const char *pn_nccl_library(void); /* "NCCL 2.27.3" once loaded; "none": not in this build */

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

/* Memory for buffers of the calls below: page-aligned, zeroed, all ranks ask for the same size.
 * With `shm` the other ranks of the host read it in place, without a copy; a buffer must lie in
 * such memory on all ranks or on none.  Collective, agreed.  *out: pn_comm_free, before the
 * communicator is destroyed.  Errors: NOMEM (says how to get more shared memory). */
pn_status pn_comm_alloc(pn_comm *c, size_t bytes, void **out);
/* The same without pages, contents undefined: see pn_pages_take and pn_pages_drop. */
pn_status pn_comm_reserve(pn_comm *c, size_t bytes, void **out);
/* What all ranks of a host have the same values of: `common` bytes, one copy for pn_comm_sharers of
 * them, and right behind it `own` bytes of this rank's alone.  64-byte aligned where `common` is a
 * multiple of 64.  Who writes what, and when the others may read it, is the callers' business: a
 * transfer of any buffer that is complete says that all ranks of the host had started it.  A
 * gather of slices of such memory moves nothing within a host.  Collective, agreed, pn_comm_free.
 */
pn_status pn_comm_alloc_common(pn_comm *c, size_t common, size_t own, void **out);
int pn_comm_sharers(const pn_comm *c);  /* ranks with the same copy; 1: every rank has its own */
void pn_comm_unshare(pn_comm *c);       /* from now on every rank has its own; all ranks the same */
int pn_comm_sharer(const pn_comm *c);   /* this rank's number among them, from 0 */
void pn_comm_free(pn_comm *c, void *p); /* gives the pages back; not collective; NULL is allowed */
bool pn_comm_shares_memory(const pn_comm *c); /* pn_pages_drop of such memory: shared */

/* The part of `count` elements that rank r reduces, gathers, owns: equal parts, multiples of 16
 * elements but for the end; the last ranks may have less, or nothing. */
typedef struct {
  int64_t first, count;
} pn_slice;
pn_slice pn_comm_slice(int64_t count, int rank, int size);

/* Start a SUM of f32 over the ranks, or an exchange.  Collective, started in the same order on all
 * ranks; any number may be in flight.  Do not touch the buffers before pn_request_wait.  *out is
 * owned by c and recycled by wait.  The order of summation is fixed for a given size and kind of
 * communicator.  `count` is that of the whole buffer, slices are those of pn_comm_slice.
 *   iallreduce_sum        buf: summed in place
 *   ireduce_scatter_sum   in: whole, its contents are undefined afterwards; out: own slice of the
 *                         sum; may be the own slice of `in`
 *   iallgather_slices     in: own slice; out: whole; in may be the own slice of `out` */
pn_status pn_iallreduce_sum(pn_comm *c, const char *what, float *buf, int64_t count,
                            pn_request **out);
pn_status pn_ireduce_scatter_sum(pn_comm *c, const char *what, float *in, float *out, int64_t count,
                                 pn_request **req);
pn_status pn_iallgather_slices(pn_comm *c, const char *what, const float *in, float *out,
                               int64_t count, pn_request **req);
/* Where all ranks are sharers (pn_comm_sharers == pn_comm_size).  Complete when every rank has
 * started it: then what they wrote before is there to be read, and pn_comm_sum_shared gives
 * out[i] = sum over the ranks of the element at in[i]'s place in the buffers that they gave,
 * in the order of pn_iallreduce_sum, until this rank starts its next transfer.  in: memory of
 * pn_comm_alloc, or of pn_comm_alloc_common; count may be 0.  Errors: ARG, UNSUPPORTED. */
pn_status pn_ishare(pn_comm *c, const char *what, float *in, int64_t count, pn_request **req);
/* Not collective, thread-safe. */
void pn_comm_sum_shared(const pn_comm *c, const float *in, int64_t count, float *out);
/* yes = false: each of these waits until it is complete, for a comparison; what follows a start
 * then finds it done.  Collective in that all ranks must give the same; not a call of MPI. */
void pn_comm_overlap(pn_comm *c, bool yes);
/* The same by one blocking call of the MPI library's own (MPI_Allreduce, ...): the yardstick of
 * `pneuma bench comm`.  count: a multiple of the number of ranks; in and out as above, and apart
 * for a reduce-scatter.  Collective.  Errors: UNSUPPORTED (more than INT_MAX elements), COMM. */
typedef enum { PN_ALLREDUCE, PN_REDUCE_SCATTER, PN_ALLGATHER, PN_SHARE } pn_transfer_kind;
pn_status pn_comm_library_call(pn_comm *c, pn_transfer_kind kind, float *in, float *out,
                               int64_t count);
pn_status pn_request_test(pn_request *r, bool *done); /* moves data on, also of other requests */
pn_status pn_request_wait(pn_request *r);             /* r is invalid afterwards */
/* Has the sum of an element the same order of summation wherever the element lies in the buffer?
 * Then the bits do not depend on how data are cut into transfers. */
bool pn_comm_order_fixed(const pn_comm *c);
/* Seconds that this rank has spent in pn_request_wait until the last rank of its host had started
 * the same transfer: imbalance, not transfer.  `shm` only; 0 with MPI, which does not tell. */
double pn_comm_late_s(const pn_comm *c);

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
/* Step of the training that begins: a late rank is named with it. */
void pn_watchdog_step(int64_t step);

#endif
