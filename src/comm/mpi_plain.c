/* mpi_plain.c -- the MPI library's own blocking collectives, to measure against. */
#include "comm/mpi_internal.h"

#include <limits.h>

static pn_status call(pn_comm *c, pn_transfer_kind kind, float *in, float *out, int n) {
  MPI_Comm comm = pn_mpi_handle(c);
  int each = n / c->size;

  if (kind == PN_ALLREDUCE)
    return pn_mpi_check(
        MPI_Allreduce(in == out ? MPI_IN_PLACE : in, out, n, MPI_FLOAT, MPI_SUM, comm),
        "MPI_Allreduce");
  if (kind == PN_REDUCE_SCATTER)
    return pn_mpi_check(MPI_Reduce_scatter_block(in, out, each, MPI_FLOAT, MPI_SUM, comm),
                        "MPI_Reduce_scatter_block");
  return pn_mpi_check(MPI_Allgather(in == out + (size_t)c->rank * (size_t)each ? MPI_IN_PLACE : in,
                                    each, MPI_FLOAT, out, each, MPI_FLOAT, comm),
                      "MPI_Allgather");
}

pn_status pn_comm_library_call(pn_comm *c, pn_transfer_kind kind, float *in, float *out,
                               int64_t count) {
  pn_status st;

  if (count > INT_MAX || count % c->size != 0)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "%lld elements on %d ranks: expected a multiple, at most %d",
                   (long long)count, c->size, INT_MAX);
  if (c->ops != &pn_comm_mpi_ops)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "communicator %s has no calls of MPI", c->ops->name);
  pn_watchdog_enter("MPI's own collective", count * (int64_t)sizeof(float));
  st = call(c, kind, in, out, (int)count);
  pn_watchdog_leave();
  return st;
}
