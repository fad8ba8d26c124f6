/* mpi_env.c -- settings of Open MPI that its defaults leave slow, made before MPI_Init. */
#include "comm/comm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* A container may forbid reading another process's memory; it then forbids it for one's own too. */
static bool single_copy_allowed(void) {
  int from = 1, to = 0;
  struct iovec remote = {&from, sizeof from}, local = {&to, sizeof to};

  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)sizeof to && to == from;
}

/* What the user has set stays. */
void pn_comm_prepare(void) {
  /* Open MPI 4 and 5 take the binomial tree for every in-place MPI_Iallreduce: it moves the whole
   * buffer log2(P) times.  The ring (1) moves 2 (P-1)/P of it; here, 2 ranks, it halved the time.
   */
  setenv("OMPI_MCA_coll_libnbc_iallreduce_algorithm", "1", 0);
  if (!single_copy_allowed()) setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
}
