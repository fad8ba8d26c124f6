/* place_internal.h -- shared by the place*.c files and their tests: what hwloc says of this host.
 */
#ifndef PN_COMM_PLACE_INTERNAL_H
#define PN_COMM_PLACE_INTERNAL_H

#include "comm/place.h"

#include <hwloc.h>

enum { PN_MAX_PUS = 4096, PN_MASK_WORDS = PN_MAX_PUS / 64 };

/* What one rank tells the others; sent as bytes.  A core is named by its first hardware thread. */
struct pn_place_report {
  char host[PN_HOST_BYTES], cores[PN_CORES_BYTES], numa[PN_CORES_BYTES];
  uint64_t mask[PN_MASK_WORDS]; /* cores it may run on */
  int32_t n_cores, n_pus, n_numa;
  pn_place_host machine;
  int32_t launched; /* ranks that srun started beside this one, 0 = unknown */
  /* Of the wish for one rank per core, L3, ...: */
  int32_t domains;              /* of that kind on this host; 0 = there was no wish */
  char refused[PN_CORES_BYTES]; /* cpus that the launcher's binding keeps from it; "" = none */
};

/* place_look.c.  `bound`: cpus that the main thread may use, a part of the allowed ones. */
pn_status pn_topology_load(bool with_pci, hwloc_topology_t *out); /* hwloc_topology_destroy */
pn_status pn_bound_now(hwloc_topology_t topo, hwloc_cpuset_t bound);
/* Fills what depends on `bound`, the machine and the environment. */
pn_status pn_report_read(hwloc_topology_t topo, hwloc_const_cpuset_t bound,
                         struct pn_place_report *r);

/* place_level.c.  Rank `at` of the `n` on a host; `room`: the cpus that all of them may use. */
struct pn_seat {
  int at, n;
  hwloc_const_cpuset_t room;
};
/* The cpus of that seat where every domain (core, L3, ...) has one rank.  With fewer ranks than
 * domains they are spread over the host; with more, neighbours share a domain and divide its
 * cores.  *domains: how many there are in the room.  Errors: ARG (none of that kind, or unknown
 * kind), NOMEM. */
pn_status pn_seat_find(hwloc_topology_t topo, const char *per, const struct pn_seat *s,
                       hwloc_cpuset_t want, int *domains);
/* Is `bound` exactly one domain? */
bool pn_seat_is_domain(hwloc_topology_t topo, const char *per, hwloc_const_cpuset_t bound);

#endif
