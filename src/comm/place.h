/* place.h -- which rank runs where: hosts, cores, threads (hwloc). */
#ifndef PN_COMM_PLACE_H
#define PN_COMM_PLACE_H

#include "comm/comm.h"

enum { PN_HOST_BYTES = 64, PN_CORES_BYTES = 128, PN_MAX_WARNINGS = 8, PN_WARNING_BYTES = 320 };

/* A host: what of it the job may use. */
typedef struct {
  int sockets, numa, l3, cores, pus; /* pus: hardware threads */
} pn_place_host;

/* One rank's place. */
typedef struct {
  int rank, local_rank, local_size;
  char host[PN_HOST_BYTES];
  char cores[PN_CORES_BYTES]; /* logical cpus it may run on: "0-3,8" */
  int n_cores;                /* physical cores in its cpuset */
  int n_pus;                  /* hardware threads in its cpuset */
  int threads;                /* threads it will use */
  char numa[PN_CORES_BYTES];  /* NUMA nodes of its cores: "0" */
  int n_numa;
  pn_place_host machine;
} pn_place;

/* The places of all ranks and what is wrong with them. */
typedef struct {
  int size;
  pn_place *rank;      /* [size], owned */
  bool oversubscribed; /* more threads than cores on some host */
  int n_warnings;
  char warning[PN_MAX_WARNINGS][PN_WARNING_BYTES]; /* each names the flag that cures it */
} pn_place_map;

/* threads: per rank; 0 = auto: cores of the rank's cpuset, shared with the ranks that may run on
 * the same cores (at least 1).  Collective. */
pn_status pn_place_make(pn_comm *c, int threads, pn_place_map *out);
/* Binds every rank first: `per` is "core", "l3", "numa" or "socket": one rank for each of those of
 * its host (fewer ranks are spread, more divide the cores), or "launcher": as mpirun or srun left
 * them.  Never leaves the cpus that the launcher gave: where they do not hold the rank's part, it
 * stays and a warning says so.  The calling thread is bound; threads that it starts later inherit
 * that, and memory that they touch first lies on their NUMA node: call it before either.
 * Collective.  Errors: ARG (the host has none of that kind), UNSUPPORTED. */
pn_status pn_place_take(pn_comm *c, const char *per, int threads, pn_place_map *out);
void pn_place_free(pn_place_map *m);
const char *pn_place_plural(const char *per); /* "L3 caches" for "l3" */

const char *pn_simd_level(void); /* "AVX-512 + bf16 + AMX", "AVX2", ... of this CPU */

void pn_place_library(char *out, size_t out_bytes); /* "hwloc API 2.8" */

#endif
