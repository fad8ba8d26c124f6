/* mpi_internal.h -- shared by mpi.c (messages) and mpi_world.c (making communicators). */
#ifndef PN_COMM_MPI_INTERNAL_H
#define PN_COMM_MPI_INTERNAL_H

#include "comm/comm_backend.h"

#include <mpi.h>

struct mpi_comm {
  MPI_Comm comm; /* never freed: MPI_Comm_free is collective, cleanup is not */
  bool crowded;  /* more ranks than cpus on this host: waiting must not keep a peer from its core */
};

pn_status pn_mpi_check(int rc, const char *call); /* PN_ERR_COMM with MPI's text */
pn_status pn_mpi_barrier(pn_comm *c, bool idle);
pn_status pn_mpi_split(pn_comm *c, int color, int key, pn_comm **out);

#endif
