/* shm_world.c -- making a shared-memory communicator: who is on which host, lanes, stage. */
#include "comm/shm_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* PN_COMM_HOSTS=2 makes two groups of the ranks of each host, as if they were two hosts: for tests
 * of what happens between hosts. */
static int fake_hosts(void) {
  const char *text = getenv("PN_COMM_HOSTS");
  int n = text ? atoi(text) : 1;
  return n > 0 ? n : 1;
}

/* Ranks that can share memory, in the order of their ranks. */
static pn_status find_host(pn_comm *c, struct shm_comm *m) {
  MPI_Comm shared;
  int at = 0, n = 1;
  pn_status st = PN_OK;

  PN_TRY(pn_mpi_check(MPI_Comm_split_type(pn_mpi_handle(m->mpi), MPI_COMM_TYPE_SHARED, c->rank,
                                          MPI_INFO_NULL, &shared),
                      "MPI_Comm_split_type"));
  MPI_Comm_rank(shared, &at);
  MPI_Comm_size(shared, &n);
  PN_TRY(pn_mpi_check(MPI_Comm_split(shared, at * fake_hosts() / n, c->rank, &m->local),
                      "MPI_Comm_split"));
  MPI_Comm_free(&shared);
  MPI_Comm_set_errhandler(m->local, MPI_ERRORS_RETURN);
  MPI_Comm_rank(m->local, &m->local_rank);
  MPI_Comm_size(m->local, &m->local_size);
done:
  return st;
}

/* Do the hosts have equal numbers of ranks, and is there anything to share? */
static pn_status check_hosts(pn_comm *c, const struct shm_comm *m, bool must, bool *fits) {
  int32_t v[2] = {m->local_size, -m->local_size};
  pn_status st = m->mpi->ops->allreduce(m->mpi, v, 2, PN_I32, PN_MAX);

  if (st != PN_OK) return st;
  *fits = v[0] == -v[1] && v[0] <= SHM_MAX_LOCAL && (must || v[0] > 1);
  if (*fits || !must) return PN_OK;
  return PN_FAIL(PN_ERR_ARG,
                 "shm: hosts of %d to %d ranks (%d in all); expected the same number on each, at "
                 "most %d: mpirun --map-by ppr:N:node, or train.comm=mpi",
                 (int)-v[1], (int)v[0], c->size, SHM_MAX_LOCAL);
}

static pn_status make_cross(pn_comm *c, struct shm_comm *m) {
  int32_t own[2], *all = NULL;
  pn_status st = PN_OK;

  m->hosts = c->size / m->local_size;
  if (m->hosts > 1) {
    PN_TRY(pn_mpi_split(m->mpi, m->local_rank, c->rank, &m->cross));
    m->host = m->cross->rank;
  }
  m->member = malloc((size_t)c->size * sizeof *m->member);
  all = malloc(2 * (size_t)c->size * sizeof *all);
  PN_TRY(pn_agree(m->mpi, m->member && all ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "%d ranks", c->size)));
  own[0] = m->host;
  own[1] = m->local_rank;
  PN_TRY(m->mpi->ops->allgather(m->mpi, own, all, 2, PN_I32));
  for (int r = 0; r < c->size; r++) m->member[all[2 * r] * m->local_size + all[2 * r + 1]] = r;
done:
  free(all);
  return st;
}

static pn_status make_lanes(struct shm_comm *m) {
  int index;
  pn_status st = PN_OK;

  m->lane = malloc((size_t)m->local_size * sizeof *m->lane);
  if (!m->lane) st = PN_FAIL(PN_ERR_NOMEM, "lanes of %d ranks", m->local_size);
  PN_TRY(pn_agree(m->mpi, st));
  PN_TRY(pn_agree(m->mpi, pn_shm_window_add(m, sizeof **m->lane, true, &index)));
  PN_TRY(pn_agree(m->mpi, pn_shm_window_add(m, SHM_STAGE_FLOATS * sizeof(float), true, &index)));
  for (int l = 0; l < m->local_size; l++)
    m->lane[l] = (struct shm_lane *)(void *)m->window[0].base[l];
  PN_TRY(pn_mpi_barrier(m->mpi, false)); /* all lanes are zero before the first post */
done:
  return st;
}

static void fill(pn_comm *c, struct shm_comm *m, pn_comm *own) {
  m->crowded = ((const struct mpi_comm *)m->mpi->impl)->crowded;
  own->ops = &pn_comm_shm_ops;
  own->rank = c->rank;
  own->size = c->size;
  own->world_rank = c->world_rank;
  own->sharers = m->local_size;
  own->sharer = m->local_rank;
  own->chunk = INT_MAX;
  own->order_fixed = m->hosts <= 2; /* in rank order on a host; MPI between more may cut its ring */
  own->impl = m;
  own->ctl = m->mpi->ctl; /* shared with m->mpi, owned by the whole */
  m->own.comm = own;
  m->own.kind = "allreduce";
}

pn_status pn_comm_shm_make(pn_comm *c, bool must, pn_comm **out) {
  struct shm_comm *m = calloc(1, sizeof *m);
  pn_comm *own = calloc(1, sizeof *own);
  bool fits = false;
  pn_status st = PN_OK;

  *out = NULL;
  if (!m || !own) st = PN_FAIL(PN_ERR_NOMEM, "no memory for a communicator");
  PN_TRY(pn_agree(c, st));
  PN_TRY(pn_comm_split(c, 0, c->rank, &m->mpi));
  PN_TRY(find_host(c, m));
  PN_TRY(check_hosts(c, m, must, &fits));
  if (!fits) goto done;
  PN_TRY(make_cross(c, m));
  PN_TRY(make_lanes(m));
  fill(c, m, own);
  *out = own;
  m = NULL;
  own = NULL;
done:
  if (m) pn_comm_shm_ops.destroy(&(pn_comm){.impl = m});
  free(own);
  return st;
}
