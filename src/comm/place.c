/* place.c -- every rank looks at its own cpuset; all ranks draw the same map from what they say. */
#include "comm/comm_backend.h"
#include "comm/place_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool same_host(const struct pn_place_report *a, const struct pn_place_report *b) {
  return strcmp(a->host, b->host) == 0;
}

static void fill_place(const struct pn_place_report *all, int size, int rank, int threads,
                       pn_place *p) {
  const struct pn_place_report *own = &all[rank];
  int sharing = 0;

  *p = (pn_place){.rank = rank,
                  .n_cores = own->n_cores,
                  .n_pus = own->n_pus,
                  .n_numa = own->n_numa,
                  .machine = own->machine};
  memcpy(p->host, own->host, sizeof p->host);
  memcpy(p->cores, own->cores, sizeof p->cores);
  memcpy(p->numa, own->numa, sizeof p->numa);
  for (int r = 0; r < size; r++) {
    if (!same_host(own, &all[r])) continue;
    if (r < rank) p->local_rank++;
    p->local_size++;
    if (memcmp(own->mask, all[r].mask, sizeof own->mask) == 0) sharing++;
  }
  p->threads = threads > 0 ? threads : own->n_cores / sharing;
  if (p->threads < 1) p->threads = 1;
}

__attribute__((format(printf, 2, 3))) static void warn(pn_place_map *m, const char *fmt, ...) {
  va_list ap;
  if (m->n_warnings == PN_MAX_WARNINGS) return;
  va_start(ap, fmt);
  vsnprintf(m->warning[m->n_warnings++], PN_WARNING_BYTES, fmt, ap);
  va_end(ap);
}

/* Cores that the ranks of this host may use together, and the threads they will run. */
struct host_use {
  int cores, threads;
};

static struct host_use use_of_host(const struct pn_place_report *all, const pn_place_map *m,
                                   int rank) {
  uint64_t mask[PN_MASK_WORDS] = {0};
  struct host_use u = {0};

  for (int r = 0; r < m->size; r++) {
    if (!same_host(&all[rank], &all[r])) continue;
    u.threads += m->rank[r].threads;
    for (int w = 0; w < PN_MASK_WORDS; w++) mask[w] |= all[r].mask[w];
  }
  for (int w = 0; w < PN_MASK_WORDS; w++) u.cores += __builtin_popcountll(mask[w]);
  return u;
}

/* Would other binding flags give each thread of this host a core of its own? */
static bool binding_cures(const pn_place *p, const struct pn_place_report *own) {
  return p->threads * p->local_size <= own->machine.cores;
}

static void check_crowding(pn_place_map *m, const pn_place *p, struct host_use u,
                           const struct pn_place_report *own) {
  if (u.threads <= u.cores) return;
  m->oversubscribed = true;
  if (binding_cures(p, own)) return; /* check_binding says how */
  if (p->local_size > u.cores)
    warn(m,
         "host %s: %d ranks share %d core%s: they wait for each other and times say nothing about "
         "scaling; start at most %d per host: mpirun --map-by ppr:%d:node",
         p->host, p->local_size, u.cores, u.cores == 1 ? "" : "s", u.cores, u.cores);
  else
    warn(m,
         "host %s: %d threads (%d per rank) share %d core%s: times say nothing about scaling; use "
         "train.threads=%d or fewer ranks",
         p->host, u.threads, p->threads, u.cores, u.cores == 1 ? "" : "s", u.cores / p->local_size);
}

/* mpirun's default binds a rank to one core, whatever the number of threads. */
static void check_binding(pn_place_map *m, const pn_place *p, struct host_use u,
                          const struct pn_place_report *own) {
  int fair = own->machine.cores / p->local_size;

  if (p->threads > p->n_cores && binding_cures(p, own))
    warn(m,
         "rank %d runs %d threads on %d core%s (cpus %s of %s): start with mpirun --map-by "
         "slot:PE=%d --bind-to core, or mpirun --bind-to none",
         p->rank, p->threads, p->n_cores, p->n_cores == 1 ? "" : "s", p->cores, p->host,
         p->threads);
  else if (own->domains == 0 && p->n_cores == 1 && p->threads == 1 &&
           getenv("OMPI_COMM_WORLD_SIZE") && fair > 1 && u.cores < own->machine.cores)
    warn(m,
         "host %s: mpirun bound each rank to one core, %d of %d cores are used: start with mpirun "
         "--map-by slot:PE=%d --bind-to core, or mpirun --bind-to none",
         p->host, u.cores, own->machine.cores, fair);
}

static void check_equal(pn_place_map *m) {
  const pn_place *a = &m->rank[0];

  for (int r = 1; r < m->size; r++) {
    const pn_place *b = &m->rank[r];
    if (strcmp(a->host, b->host) == 0 ||
        (a->threads == b->threads && a->local_size == b->local_size))
      continue;
    warn(m,
         "hosts differ: %s has %d ranks with %d threads, %s has %d with %d; the slowest sets the "
         "pace. Use equal hosts: mpirun --map-by ppr:N:node, srun --ntasks-per-node=N",
         a->host, a->local_size, a->threads, b->host, b->local_size, b->threads);
    return;
  }
}

static void check_launch(pn_place_map *m, const struct pn_place_report *own) {
  if (m->size == 1 && own->launched > 1)
    warn(m,
         "srun started %d tasks, but MPI sees one rank: each task does the whole job by itself. "
         "Start with srun --mpi=pmix, or with mpirun",
         own->launched);
}

static bool first_of_kind(const pn_place_map *m, int rank) {
  for (int r = 0; r < rank; r++)
    if (strcmp(m->rank[r].host, m->rank[rank].host) == 0 &&
        m->rank[r].n_cores == m->rank[rank].n_cores)
      return false;
  return true;
}

/* The launcher's binding against run.place, and more ranks than it has domains. */
static void check_wish(pn_place_map *m, const struct pn_place_report *all, const char *per,
                       int rank) {
  const struct pn_place_report *own = &all[rank];
  const pn_place *p = &m->rank[rank];
  bool first = true;

  for (int r = 0; r < rank; r++)
    if (same_host(own, &all[r]) && *all[r].refused) first = false;
  if (*own->refused && first)
    warn(
        m,
        "run.place=%s wants cpus %s of %s for rank %d, but the launcher bound it to %s: start with "
        "mpirun --bind-to none (srun --cpu-bind=none), or leave run.place out",
        per, own->refused, own->host, rank, own->cores);
  if (p->local_rank == 0 && own->domains > 0 && p->local_size > own->domains)
    warn(m,
         "host %s: %d ranks for %d %s: they divide the cores; run.place=%s means at most %d per "
         "host: mpirun --map-by ppr:%d:node --bind-to none",
         own->host, p->local_size, own->domains, pn_place_plural(per), per, own->domains,
         own->domains);
}

/* Memory lies where it is first touched, by the rank's main thread: half of it is far from half of
 * the threads. */
static void check_numa(pn_place_map *m, const pn_place *p) {
  if (p->n_numa < 2 || p->threads < 2) return;
  warn(m,
       "rank %d of %s has threads on %d NUMA nodes (%s), its memory is on one: start a rank per "
       "node, mpirun --map-by ppr:1:numa --bind-to numa, or ranks with run.place=numa",
       p->rank, p->host, p->n_numa, p->numa);
}

static void find_trouble(pn_place_map *m, const struct pn_place_report *all, const char *per) {
  for (int r = 0; r < m->size; r++) {
    struct host_use u = use_of_host(all, m, r);
    if (m->rank[r].local_rank == 0) check_crowding(m, &m->rank[r], u, &all[r]);
    if (first_of_kind(m, r)) check_binding(m, &m->rank[r], u, &all[r]);
    if (first_of_kind(m, r)) check_numa(m, &m->rank[r]);
    check_wish(m, all, per, r);
  }
  check_equal(m);
  check_launch(m, &all[0]);
}

/* One rank's view while it finds its place. */
struct looker {
  hwloc_topology_t topo;
  hwloc_cpuset_t bound, want;
  struct pn_place_report *own, *all; /* all: [size] */
};

static pn_status look(struct looker *k, int size) {
  pn_status st = PN_OK;

  k->bound = hwloc_bitmap_alloc();
  k->want = hwloc_bitmap_alloc();
  k->own = calloc(1, sizeof *k->own);
  k->all = calloc((size_t)size, sizeof *k->all);
  if (!k->bound || !k->want || !k->own || !k->all)
    return PN_FAIL(PN_ERR_NOMEM, "no memory for the places of %d ranks", size);
  PN_TRY(pn_topology_load(false, &k->topo));
  PN_TRY(pn_bound_now(k->topo, k->bound));
  PN_TRY(pn_report_read(k->topo, k->bound, k->own));
done:
  return st;
}

static void release(struct looker *k) {
  if (k->topo) hwloc_topology_destroy(k->topo);
  hwloc_bitmap_free(k->bound);
  hwloc_bitmap_free(k->want);
  free(k->own);
  free(k->all);
}

/* Where the launcher gave all ranks of the host the same cpus, these are the room; where it bound
 * them one by one, the whole host is.  mpirun binds a single rank too. */
static struct pn_seat seat_of(const struct looker *k, int rank, int size, bool *alone) {
  struct pn_seat s = {.room = k->bound};
  int alike = 0;

  for (int r = 0; r < size; r++) {
    if (!same_host(k->own, &k->all[r])) continue;
    if (r < rank) s.at++;
    s.n++;
    if (memcmp(k->own->mask, k->all[r].mask, sizeof k->own->mask) == 0) alike++;
  }
  *alone = alike == 1;
  if (alike < s.n || (s.n == 1 && getenv("OMPI_COMM_WORLD_SIZE")))
    s.room = hwloc_topology_get_allowed_cpuset(k->topo);
  return s;
}

/* Binds this rank to its part of the host, unless the launcher's binding is that already, or
 * contradicts it. */
static pn_status sit_down(struct looker *k, const char *per, int rank, int size) {
  bool alone;
  int domains;
  struct pn_seat s = seat_of(k, rank, size, &alone);
  pn_status st = pn_seat_find(k->topo, per, &s, k->want, &domains);

  if (st != PN_OK) return st;
  if (alone && pn_seat_is_domain(k->topo, per, k->bound)) hwloc_bitmap_copy(k->want, k->bound);
  if (hwloc_bitmap_isincluded(k->want, k->bound)) {
    if (hwloc_set_cpubind(k->topo, k->want, HWLOC_CPUBIND_THREAD) != 0)
      return PN_FAIL(PN_ERR_UNSUPPORTED, "run.place=%s: the system refuses to bind this rank", per);
    st = pn_report_read(k->topo, k->want, k->own);
  } else {
    hwloc_bitmap_list_snprintf(k->own->refused, sizeof k->own->refused, k->want);
  }
  k->own->domains = domains;
  return st;
}

static pn_status exchange(pn_comm *c, struct looker *k) {
  return pn_allgather(c, "places of the ranks", k->own, k->all, (int64_t)sizeof *k->own, PN_U8);
}

pn_status pn_place_take(pn_comm *c, const char *per, int threads, pn_place_map *out) {
  int size = pn_comm_size(c);
  struct looker k = {0};
  pn_status st = PN_OK;

  *out = (pn_place_map){.size = size, .rank = calloc((size_t)size, sizeof *out->rank)};
  st = out->rank ? look(&k, size) : PN_FAIL(PN_ERR_NOMEM, "places of %d ranks", size);
  PN_TRY(pn_agree(c, st));
  PN_TRY(exchange(c, &k));
  if (strcmp(per, "launcher") != 0) {
    PN_TRY(pn_agree(c, sit_down(&k, per, pn_comm_rank(c), size)));
    PN_TRY(exchange(c, &k));
  }
  for (int r = 0; r < size; r++) fill_place(k.all, size, r, threads, &out->rank[r]);
  if (!c->whole) k.all[0].launched = 0; /* a part of the job, such as a study's row */
  find_trouble(out, k.all, per);
done:
  release(&k);
  if (st != PN_OK) pn_place_free(out);
  return st;
}

pn_status pn_place_make(pn_comm *c, int threads, pn_place_map *out) {
  return pn_place_take(c, "launcher", threads, out);
}

void pn_place_free(pn_place_map *m) {
  free(m->rank);
  *m = (pn_place_map){0};
}

void pn_place_library(char *out, size_t out_bytes) {
  unsigned api = hwloc_get_api_version();
  snprintf(out, out_bytes, "hwloc API %u.%u", api >> 16, api >> 8 & 255);
}
