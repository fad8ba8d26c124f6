/* place_level.c -- one rank per core, L3 cache, NUMA node or socket: which cpus are whose. */
#include "comm/place_internal.h"

#include <stdlib.h>
#include <string.h>

static const struct {
  const char *name, *plural;
  hwloc_obj_type_t type;
} level[] = {{"core", "cores", HWLOC_OBJ_CORE},
             {"l3", "L3 caches", HWLOC_OBJ_L3CACHE},
             {"numa", "NUMA nodes", HWLOC_OBJ_NUMANODE},
             {"socket", "sockets", HWLOC_OBJ_PACKAGE}};
enum { N_LEVELS = sizeof level / sizeof *level };

static int find_level(const char *per) {
  for (int i = 0; i < N_LEVELS; i++)
    if (strcmp(level[i].name, per) == 0) return i;
  return -1;
}

const char *pn_place_plural(const char *per) {
  int i = find_level(per);
  return i < 0 ? per : level[i].plural;
}

/* Memory of another kind (HBM) is a NUMA node with cpus of its neighbour, or without any. */
static bool is_new(const hwloc_cpuset_t *set, int n, hwloc_const_cpuset_t part) {
  if (hwloc_bitmap_iszero(part)) return false;
  for (int i = 0; i < n; i++)
    if (hwloc_bitmap_isequal(set[i], part)) return false;
  return true;
}

/* set: room for as many as there are objects; *n of them are domains inside the room. */
static pn_status list_domains(hwloc_topology_t topo, hwloc_obj_type_t type,
                              hwloc_const_cpuset_t room, hwloc_cpuset_t *set, int *n) {
  hwloc_obj_t o = NULL;

  while ((o = hwloc_get_next_obj_by_type(topo, type, o))) {
    if (!(set[*n] = hwloc_bitmap_alloc())) return PN_FAIL(PN_ERR_NOMEM, "hwloc: no memory");
    hwloc_bitmap_and(set[*n], o->cpuset, room);
    if (is_new(set, *n, set[*n]))
      (*n)++;
    else
      hwloc_bitmap_free(set[*n]);
  }
  return PN_OK;
}

/* Part `at` of `parts` of the domain's cores; where there are fewer cores than parts, one of them.
 */
static void take_part(hwloc_topology_t topo, hwloc_const_cpuset_t domain, int at, int parts,
                      hwloc_cpuset_t want) {
  int cores = hwloc_get_nbobjs_inside_cpuset_by_type(topo, domain, HWLOC_OBJ_CORE);
  int first = at * cores / parts, end = (at + 1) * cores / parts;

  if (cores < 2 || parts < 2) {
    hwloc_bitmap_copy(want, domain);
    return;
  }
  hwloc_bitmap_zero(want);
  if (end == first) end = first + 1;
  for (int i = first; i < end; i++)
    hwloc_bitmap_or(
        want, want,
        hwloc_get_obj_inside_cpuset_by_type(topo, domain, HWLOC_OBJ_CORE, (unsigned)i)->cpuset);
  hwloc_bitmap_and(want, want, domain);
}

/* Seat `at` of n has domain at * domains / n: the first seat with the same one starts the group. */
static void choose(hwloc_topology_t topo, const struct pn_seat *s, const hwloc_cpuset_t *set,
                   int domains, hwloc_cpuset_t want) {
  int mine = s->at * domains / s->n, first = s->at, end = s->at + 1;

  while (first > 0 && (first - 1) * domains / s->n == mine) first--;
  while (end < s->n && end * domains / s->n == mine) end++;
  take_part(topo, set[mine], s->at - first, end - first, want);
}

pn_status pn_seat_find(hwloc_topology_t topo, const char *per, const struct pn_seat *s,
                       hwloc_cpuset_t want, int *domains) {
  int l = find_level(per);
  int n_objects = l < 0 ? 0 : hwloc_get_nbobjs_by_type(topo, level[l].type);
  hwloc_cpuset_t *set = NULL;
  pn_status st = PN_OK;

  *domains = 0;
  if (l < 0)
    return PN_FAIL(PN_ERR_ARG, "run.place=%s: expected launcher, core, l3, numa or socket", per);
  if (n_objects < 1)
    return PN_FAIL(PN_ERR_ARG, "run.place=%s: hwloc sees no %s on this host; use core or launcher",
                   per, level[l].plural);
  if (!(set = calloc((size_t)n_objects, sizeof(hwloc_cpuset_t))))
    return PN_FAIL(PN_ERR_NOMEM, "%d %s: out of memory", n_objects, level[l].plural);
  PN_TRY(list_domains(topo, level[l].type, s->room, set, domains));
  if (*domains < 1)
    st = PN_FAIL(PN_ERR_ARG, "run.place=%s: no %s have cpus that this job may use", per,
                 level[l].plural);
  else
    choose(topo, s, set, *domains, want);
done:
  for (int i = 0; i < *domains; i++) hwloc_bitmap_free(set[i]);
  free(set);
  return st;
}

bool pn_seat_is_domain(hwloc_topology_t topo, const char *per, hwloc_const_cpuset_t bound) {
  hwloc_const_cpuset_t allowed = hwloc_topology_get_allowed_cpuset(topo);
  hwloc_cpuset_t part = hwloc_bitmap_alloc();
  hwloc_obj_t o = NULL;
  bool found = false;
  int l = find_level(per);

  while (part && l >= 0 && !found && (o = hwloc_get_next_obj_by_type(topo, level[l].type, o))) {
    hwloc_bitmap_and(part, o->cpuset, allowed);
    found = hwloc_bitmap_isequal(part, bound);
  }
  hwloc_bitmap_free(part);
  return found;
}
