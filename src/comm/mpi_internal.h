/* mpi_internal.h -- shared by the mpi_*.c files and by shm, which uses MPI between hosts. */
#ifndef PN_COMM_MPI_INTERNAL_H
#define PN_COMM_MPI_INTERNAL_H

#include "comm/comm_backend.h"

#include <mpi.h>

struct mpi_comm {
  MPI_Comm comm; /* never freed: MPI_Comm_free is collective, cleanup is not */
  bool crowded;  /* more ranks than cpus on this host: waiting must not keep a peer from its core */
};

pn_status pn_mpi_check(int rc, const char *call); /* PN_ERR_COMM with MPI's text */
MPI_Comm pn_mpi_handle(const pn_comm *c);
/* Give the core away, the more the longer the wait has lasted; ends the job once the watchdog has
 * spoken. */
void pn_mpi_relax(bool crowded, double waited_s);
pn_status pn_mpi_wait_all(const pn_comm *c, int n, MPI_Request *r);
pn_status pn_mpi_barrier(pn_comm *c, bool idle);
pn_status pn_mpi_split(pn_comm *c, int color, int key, pn_comm **out);

/* mpi_transfer.c */
/* Room for `count` elements at *x, of which *room are there; what it held may be lost. */
pn_status pn_mpi_reserve(float **x, int64_t *room, int64_t count);
pn_status pn_mpi_start(pn_request *r, const pn_transfer *t);
pn_status pn_mpi_test(pn_request *r, bool *done);
pn_status pn_mpi_wait(pn_request *r);
void pn_mpi_request_free(pn_request *r);

#endif
