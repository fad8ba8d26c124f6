/* place_look.c -- this host and this rank's place on it, as hwloc sees them. */
#include "comm/place_internal.h"

#include <stdlib.h>
#include <unistd.h>

pn_status pn_topology_load(bool with_pci, hwloc_topology_t *out) {
  hwloc_topology_t topo = NULL;

  *out = NULL;
  if (hwloc_topology_init(&topo) != 0) return PN_FAIL(PN_ERR_NOMEM, "hwloc: no memory");
  if (with_pci) hwloc_topology_set_io_types_filter(topo, HWLOC_TYPE_FILTER_KEEP_ALL);
  if (hwloc_topology_load(topo) != 0) {
    hwloc_topology_destroy(topo);
    return PN_FAIL(PN_ERR_UNSUPPORTED, "hwloc cannot read this machine's topology");
  }
  *out = topo;
  return PN_OK;
}

/* The main thread: worker threads inherit its cpuset. */
pn_status pn_bound_now(hwloc_topology_t topo, hwloc_cpuset_t bound) {
  if (hwloc_get_cpubind(topo, bound, HWLOC_CPUBIND_THREAD) != 0)
    hwloc_bitmap_copy(bound, hwloc_topology_get_allowed_cpuset(topo));
  hwloc_bitmap_and(bound, bound, hwloc_topology_get_allowed_cpuset(topo));
  if (!hwloc_bitmap_iszero(bound)) return PN_OK;
  return PN_FAIL(PN_ERR_UNSUPPORTED, "hwloc finds no cpu for this process");
}

static void set_core(struct pn_place_report *r, int pu) {
  if (pu >= 0 && pu < PN_MAX_PUS) r->mask[pu / 64] |= (uint64_t)1 << (pu % 64);
}

static void read_cores(hwloc_topology_t topo, hwloc_const_cpuset_t bound,
                       struct pn_place_report *r) {
  hwloc_obj_t core = NULL;

  while ((core = hwloc_get_next_obj_by_type(topo, HWLOC_OBJ_CORE, core))) {
    r->machine.cores++;
    if (!hwloc_bitmap_intersects(core->cpuset, bound)) continue;
    r->n_cores++;
    set_core(r, hwloc_bitmap_first(core->complete_cpuset));
  }
  if (r->n_cores > 0) return;
  r->n_cores = r->n_pus; /* a machine that does not tell its cores: hardware threads */
  r->machine.cores = r->machine.pus;
  for (int pu = hwloc_bitmap_first(bound); pu >= 0; pu = hwloc_bitmap_next(bound, pu))
    set_core(r, pu);
}

static int count(hwloc_topology_t topo, hwloc_obj_type_t type) {
  int n = hwloc_get_nbobjs_by_type(topo, type);
  return n > 0 ? n : 0;
}

static pn_status read_numa(hwloc_topology_t topo, hwloc_const_cpuset_t bound,
                           struct pn_place_report *r) {
  hwloc_bitmap_t nodes = hwloc_bitmap_alloc();
  hwloc_obj_t node = NULL;

  if (!nodes) return PN_FAIL(PN_ERR_NOMEM, "hwloc: no memory");
  while ((node = hwloc_get_next_obj_by_type(topo, HWLOC_OBJ_NUMANODE, node)))
    if (hwloc_bitmap_intersects(node->cpuset, bound)) hwloc_bitmap_set(nodes, node->os_index);
  r->n_numa = hwloc_bitmap_weight(nodes);
  hwloc_bitmap_list_snprintf(r->numa, sizeof r->numa, nodes);
  hwloc_bitmap_free(nodes);
  return PN_OK;
}

pn_status pn_report_read(hwloc_topology_t topo, hwloc_const_cpuset_t bound,
                         struct pn_place_report *r) {
  const char *tasks = getenv("SLURM_STEP_NUM_TASKS");

  *r = (struct pn_place_report){.n_pus = hwloc_bitmap_weight(bound)};
  gethostname(r->host, sizeof r->host - 1);
  hwloc_bitmap_list_snprintf(r->cores, sizeof r->cores, bound);
  r->machine = (pn_place_host){.sockets = count(topo, HWLOC_OBJ_PACKAGE),
                               .numa = count(topo, HWLOC_OBJ_NUMANODE),
                               .l3 = count(topo, HWLOC_OBJ_L3CACHE),
                               .pus = hwloc_bitmap_weight(hwloc_topology_get_allowed_cpuset(topo))};
  read_cores(topo, bound, r);
  if (tasks) r->launched = (int32_t)strtol(tasks, NULL, 10);
  return read_numa(topo, bound, r);
}
