/* bench_comm.h -- times of collectives over a range of sizes, beside the MPI library's own. */
#ifndef PN_REPORT_BENCH_COMM_H
#define PN_REPORT_BENCH_COMM_H

#include "comm/comm.h"

typedef struct {
  const char *op; /* "allreduce", "reduce_scatter", "allgather", "allreduce_plain" (memory that the
                     ranks do not share); static */
  int64_t bytes;  /* of the whole buffer */
  double us, mpi_us;             /* medians of the slowest rank's time */
  double algbw_GBps, busbw_GBps; /* bytes / us; times the share that a rank must move */
  bool correct;                  /* on all ranks, each element */
} pn_comm_row;

typedef struct {
  pn_comm *world;                                  /* the MPI library's calls */
  pn_comm *bulk;                                   /* what is measured */
  int64_t from, to;                                /* bytes: powers of two from .. to */
  double seconds;                                  /* for the samples of one row, about */
  void (*tell)(void *ctx, const pn_comm_row *row); /* after each row, on all ranks; may be NULL */
  void *ctx;
} pn_comm_bench;

/* Both sides in turn, sample by sample; buffers freshly written by their owners, as gradients are.
 * Collective, agreed.  *rows: owned by the caller (free).  Errors: ARG (one rank), NOMEM, COMM. */
pn_status pn_comm_bench_run(const pn_comm_bench *b, pn_comm_row **rows, int *n);

/* Geometric mean of mpi_us / us of the allreduce rows at 1, 4, 16 and 64 MiB; 0 without any. */
double pn_comm_bench_gain(const pn_comm_row *rows, int n);

#endif
