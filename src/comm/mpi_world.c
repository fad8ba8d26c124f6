/* mpi_world.c -- communicators of the mpi backend: of all ranks, and parts of them. */
#include "comm/mpi_internal.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pn_status wrap(MPI_Comm comm, bool crowded, int world_rank, pn_comm **out) {
  pn_comm *c = calloc(1, sizeof *c);
  struct mpi_comm *m = calloc(1, sizeof *m);

  *out = NULL;
  if (!c || !m) {
    free(c);
    free(m);
    return PN_FAIL(PN_ERR_NOMEM, "no memory for a communicator");
  }
  *m = (struct mpi_comm){.comm = comm, .crowded = crowded};
  MPI_Comm_rank(comm, &c->rank);
  MPI_Comm_size(comm, &c->size);
  c->ops = &pn_comm_mpi_ops;
  c->world_rank = world_rank;
  c->chunk = INT_MAX;
  c->impl = m;
  *out = c;
  return PN_OK;
}

/* `comm` becomes the data channel; a copy of it the control channel.  Collective. */
static pn_status wrap_pair(MPI_Comm comm, bool crowded, int world_rank, pn_comm **out) {
  pn_status st;
  MPI_Comm ctl;
  pn_comm *c = NULL;

  *out = NULL;
  MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
  PN_TRY(pn_mpi_check(MPI_Comm_dup(comm, &ctl), "MPI_Comm_dup"));
  PN_TRY(wrap(comm, crowded, world_rank, &c));
  PN_TRY(wrap(ctl, crowded, world_rank, &c->ctl));
  *out = c;
  c = NULL;
done:
  pn_comm_destroy(c);
  return st;
}

pn_status pn_mpi_split(pn_comm *c, int color, int key, pn_comm **out) {
  const struct mpi_comm *parent = c->impl;
  MPI_Comm child = MPI_COMM_NULL;
  int size = 0;
  pn_status st =
      pn_mpi_barrier(c, false); /* a late rank is waited for here, where the wait yields */

  *out = NULL;
  if (st != PN_OK) return st;
  st = pn_mpi_check(MPI_Comm_split(parent->comm, color < 0 ? MPI_UNDEFINED : color, key, &child),
                    "MPI_Comm_split");
  if (st != PN_OK || child == MPI_COMM_NULL) return st;
  MPI_Comm_size(child, &size);
  if (size > 1) return wrap_pair(child, parent->crowded, c->world_rank, out);
  MPI_Comm_free(&child); /* one rank: nobody to wait for */
  return pn_comm_self_make(c->world_rank, out);
}

/* Do the ranks of this host outnumber the cpus that they may use together?  Collective. */
static pn_status find_crowd(MPI_Comm world, bool *crowded) {
  MPI_Comm host;
  cpu_set_t cpus;
  int ranks = 0;
  pn_status st;

  CPU_ZERO(&cpus);
  if (sched_getaffinity(0, sizeof cpus, &cpus) != 0) memset(&cpus, 0xff, sizeof cpus);
  st = pn_mpi_check(MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host),
                    "MPI_Comm_split_type");
  if (st != PN_OK) return st;
  MPI_Comm_size(host, &ranks);
  st = pn_mpi_check(MPI_Allreduce(MPI_IN_PLACE, &cpus, (int)sizeof cpus, MPI_BYTE, MPI_BOR, host),
                    "MPI_Allreduce");
  MPI_Comm_free(&host);
  *crowded = ranks > CPU_COUNT(&cpus);
  return st;
}

pn_status pn_comm_mpi_world(pn_comm **out) {
  int ready = 0, rank = 0, size = 1;
  bool crowded = false;
  MPI_Comm world;
  pn_status st;

  *out = NULL;
  MPI_Initialized(&ready);
  if (!ready) return PN_FAIL(PN_ERR_COMM, "MPI is not initialised");
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (size == 1) return pn_comm_self_make(0, out);
  PN_TRY(pn_mpi_check(MPI_Comm_dup(MPI_COMM_WORLD, &world), "MPI_Comm_dup"));
  PN_TRY(find_crowd(world, &crowded));
  PN_TRY(wrap_pair(world, crowded, rank, out));
done:
  return st;
}

void pn_comm_abort(int code) {
  MPI_Abort(MPI_COMM_WORLD, code);
}

/* After an agreement every rank leaves by itself.  With sums in flight MPI cannot be finalised: the
 * processes just end, which needs no MPI_Abort (mpirun of Open MPI 4.1 now and then hangs or
 * crashes when ranks abort while others end). */
void pn_comm_leave(int code) {
  bool together = code == 0 || pn_error_agreed();

  if (together && !pn_comm_abandoned()) {
    MPI_Finalize();
  } else if (together) {
    fflush(NULL);
    _exit(code);
  } else {
    pn_comm_abort(code); /* peers may sit in a collective */
  }
}
