/* place.c -- every rank looks at its own cpuset; all ranks draw the same map from what they say. */
#include "comm/place.h"

#include <hwloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_PUS = 4096, MASK_WORDS = MAX_PUS / 64 };

/* What one rank tells the others; sent as bytes.  A core is named by its first hardware thread. */
struct report {
  char host[PN_HOST_BYTES], cores[PN_CORES_BYTES];
  uint64_t mask[MASK_WORDS];          /* cores it may run on */
  int32_t n_cores, n_pus, host_cores; /* host_cores: of the machine or container */
  int32_t launched;                   /* ranks that srun started beside this one, 0 = unknown */
};

static void set_core(struct report *r, int pu) {
  if (pu >= 0 && pu < MAX_PUS) r->mask[pu / 64] |= (uint64_t)1 << (pu % 64);
}

static void read_cores(hwloc_topology_t topo, hwloc_const_cpuset_t bound, struct report *r) {
  hwloc_obj_t core = NULL;

  while ((core = hwloc_get_next_obj_by_type(topo, HWLOC_OBJ_CORE, core))) {
    r->host_cores++;
    if (!hwloc_bitmap_intersects(core->cpuset, bound)) continue;
    r->n_cores++;
    set_core(r, hwloc_bitmap_first(core->complete_cpuset));
  }
  if (r->n_cores > 0) return;
  r->n_cores = r->n_pus; /* a machine that does not tell its cores: hardware threads */
  r->host_cores = hwloc_bitmap_weight(hwloc_topology_get_allowed_cpuset(topo));
  for (int pu = hwloc_bitmap_first(bound); pu >= 0; pu = hwloc_bitmap_next(bound, pu))
    set_core(r, pu);
}

static pn_status read_own(hwloc_topology_t topo, hwloc_cpuset_t bound, struct report *r) {
  const char *tasks = getenv("SLURM_STEP_NUM_TASKS");

  /* The main thread: worker threads inherit its cpuset. */
  if (hwloc_get_cpubind(topo, bound, HWLOC_CPUBIND_THREAD) != 0)
    hwloc_bitmap_copy(bound, hwloc_topology_get_allowed_cpuset(topo));
  hwloc_bitmap_and(bound, bound, hwloc_topology_get_allowed_cpuset(topo));
  r->n_pus = hwloc_bitmap_weight(bound);
  if (r->n_pus < 1) return PN_FAIL(PN_ERR_UNSUPPORTED, "hwloc finds no cpu for this process");
  hwloc_bitmap_list_snprintf(r->cores, sizeof r->cores, bound);
  read_cores(topo, bound, r);
  if (tasks) r->launched = (int32_t)strtol(tasks, NULL, 10);
  return PN_OK;
}

static pn_status look(struct report *r) {
  hwloc_topology_t topo = NULL;
  hwloc_cpuset_t bound = hwloc_bitmap_alloc();
  pn_status st = PN_OK;

  gethostname(r->host, sizeof r->host - 1);
  if (!bound || hwloc_topology_init(&topo) != 0) {
    st = PN_FAIL(PN_ERR_NOMEM, "hwloc: no memory");
    goto done;
  }
  if (hwloc_topology_load(topo) != 0) {
    st = PN_FAIL(PN_ERR_UNSUPPORTED, "hwloc cannot read this machine's topology");
    goto done;
  }
  st = read_own(topo, bound, r);
done:
  if (topo) hwloc_topology_destroy(topo);
  hwloc_bitmap_free(bound);
  return st;
}

static bool same_host(const struct report *a, const struct report *b) {
  return strcmp(a->host, b->host) == 0;
}

static void fill_place(const struct report *all, int size, int rank, int threads, pn_place *p) {
  const struct report *own = &all[rank];
  int sharing = 0;

  *p = (pn_place){.rank = rank, .n_cores = own->n_cores, .n_pus = own->n_pus};
  memcpy(p->host, own->host, sizeof p->host);
  memcpy(p->cores, own->cores, sizeof p->cores);
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

static struct host_use use_of_host(const struct report *all, const pn_place_map *m, int rank) {
  uint64_t mask[MASK_WORDS] = {0};
  struct host_use u = {0};

  for (int r = 0; r < m->size; r++) {
    if (!same_host(&all[rank], &all[r])) continue;
    u.threads += m->rank[r].threads;
    for (int w = 0; w < MASK_WORDS; w++) mask[w] |= all[r].mask[w];
  }
  for (int w = 0; w < MASK_WORDS; w++) u.cores += __builtin_popcountll(mask[w]);
  return u;
}

/* Would other binding flags give each thread of this host a core of its own? */
static bool binding_cures(const pn_place *p, const struct report *own) {
  return p->threads * p->local_size <= own->host_cores;
}

static void check_crowding(pn_place_map *m, const pn_place *p, struct host_use u,
                           const struct report *own) {
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
                          const struct report *own) {
  int fair = own->host_cores / p->local_size;

  if (p->threads > p->n_cores && binding_cures(p, own))
    warn(m,
         "rank %d runs %d threads on %d core%s (cpus %s of %s): start with mpirun --map-by "
         "slot:PE=%d --bind-to core, or mpirun --bind-to none",
         p->rank, p->threads, p->n_cores, p->n_cores == 1 ? "" : "s", p->cores, p->host,
         p->threads);
  else if (p->n_cores == 1 && p->threads == 1 && getenv("OMPI_COMM_WORLD_SIZE") && fair > 1 &&
           u.cores < own->host_cores)
    warn(m,
         "host %s: mpirun bound each rank to one core, %d of %d cores are used: start with mpirun "
         "--map-by slot:PE=%d --bind-to core, or mpirun --bind-to none",
         p->host, u.cores, own->host_cores, fair);
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

static void check_launch(pn_place_map *m, const struct report *own) {
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

static void find_trouble(pn_place_map *m, const struct report *all) {
  for (int r = 0; r < m->size; r++) {
    struct host_use u = use_of_host(all, m, r);
    if (m->rank[r].local_rank == 0) check_crowding(m, &m->rank[r], u, &all[r]);
    if (first_of_kind(m, r)) check_binding(m, &m->rank[r], u, &all[r]);
  }
  check_equal(m);
  check_launch(m, &all[0]);
}

pn_status pn_place_make(pn_comm *c, int threads, pn_place_map *out) {
  int size = pn_comm_size(c);
  struct report *own = calloc(1, sizeof *own);
  struct report *all = calloc((size_t)size, sizeof *all);
  pn_status st = PN_OK;

  *out = (pn_place_map){.size = size, .rank = calloc((size_t)size, sizeof *out->rank)};
  if (!own || !all || !out->rank)
    st = PN_FAIL(PN_ERR_NOMEM, "no memory for the places of %d ranks", size);
  else
    st = look(own);
  PN_TRY(pn_agree(c, st));
  PN_TRY(pn_allgather(c, "places of the ranks", own, all, (int64_t)sizeof *own, PN_U8));
  for (int r = 0; r < size; r++) fill_place(all, size, r, threads, &out->rank[r]);
  find_trouble(out, all);
done:
  free(own);
  free(all);
  if (st != PN_OK) pn_place_free(out);
  return st;
}

void pn_place_free(pn_place_map *m) {
  free(m->rank);
  *m = (pn_place_map){0};
}

void pn_place_library(char *out, size_t out_bytes) {
  unsigned api = hwloc_get_api_version();
  snprintf(out, out_bytes, "hwloc API %u.%u", api >> 16, api >> 8 & 255);
}
