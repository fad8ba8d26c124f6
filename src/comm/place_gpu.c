/* place_gpu.c -- PCI locality from hwloc, or from Linux where hwloc has no PCI plugin. */
#include "comm/place_gpu.h"

#include "comm/place_internal.h"

#include <hwloc/linux.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What ranks tell each other; sent as bytes. */
struct gpu_report {
  char host[PN_HOST_BYTES];
  pn_gpu_view view;
};

static int users(const pn_gpu_view *view, const int *index, int n, const char *bus) {
  int found = 0;
  for (int r = 0; r < n; r++)
    if (index[r] >= 0 && strcmp(view[r].seen.bus[index[r]], bus) == 0) found++;
  return found;
}

static int find_bus(const pn_gpu_list *seen, const char *bus) {
  for (int g = 0; g < seen->n; g++)
    if (strcmp(seen->bus[g], bus) == 0) return g;
  return -1;
}

/* Least used, then nearest, then lowest number. */
static int first_choice(const pn_gpu_view *view, const int *index, int n, int r) {
  int best = -1, best_users = 0;

  for (int g = 0; g < view[r].seen.n; g++) {
    int u = users(view, index, n, view[r].seen.bus[g]);
    if (best >= 0 && (u > best_users || (u == best_users && view[r].near[g] <= view[r].near[best])))
      continue;
    best = g;
    best_users = u;
  }
  return best;
}

/* Do both gain, taken together, if they change places? */
static bool change_places(const pn_gpu_view *view, int *index, int a, int b) {
  int to_a, to_b;
  const double least = 1e-9;

  if (index[a] < 0 || index[b] < 0) return false;
  to_a = find_bus(&view[a].seen, view[b].seen.bus[index[b]]);
  to_b = find_bus(&view[b].seen, view[a].seen.bus[index[a]]);
  if (to_a < 0 || to_b < 0 ||
      view[a].near[to_a] + view[b].near[to_b] <=
          view[a].near[index[a]] + view[b].near[index[b]] + least)
    return false;
  index[a] = to_a;
  index[b] = to_b;
  return true;
}

/* Rank r leaves a GPU for one with fewer users, or a nearer one that stays as crowded. */
static bool move_on(const pn_gpu_view *view, int *index, int n, int r) {
  const pn_gpu_view *v = &view[r];
  int now = index[r] < 0 ? 0 : users(view, index, n, v->seen.bus[index[r]]);

  for (int g = 0; index[r] >= 0 && g < v->seen.n; g++) {
    int then = users(view, index, n, v->seen.bus[g]) + 1;
    if (g == index[r] || then > now || (then == now && v->near[g] <= v->near[index[r]])) continue;
    index[r] = g;
    return true;
  }
  return false;
}

void pn_gpu_assign(const pn_gpu_view *view, int n, int *index) {
  bool better = true;

  for (int r = 0; r < n; r++) index[r] = -1;
  for (int choices = 1; choices <= PN_MAX_GPUS; choices++)
    for (int r = 0; r < n; r++)
      if (view[r].seen.n == choices) index[r] = first_choice(view, index, n, r);
  for (int round = 0; better && round < n * PN_MAX_GPUS; round++) {
    better = false;
    for (int a = 0; a < n; a++) {
      better = move_on(view, index, n, a) || better;
      for (int b = a + 1; b < n; b++) better = change_places(view, index, a, b) || better;
    }
  }
}

/* One spelling for all: CUDA writes 0000:3B:00.0, NVML 00000000:3b:00.0. */
static pn_status normalise(char *bus) {
  unsigned domain, b, device, function;
  char text[PN_BUS_BYTES];

  if (sscanf(bus, "%x:%x:%x.%x", &domain, &b, &device, &function) != 4)
    return PN_FAIL(PN_ERR_ARG, "'%.31s' is not a PCI address such as 0000:3b:00.0", bus);
  snprintf(text, sizeof text, "%04x:%02x:%02x.%x", domain, b, device, function);
  memcpy(bus, text, sizeof text);
  return PN_OK;
}

/* Cpus near the device; all of them where nobody knows. */
static void find_local(hwloc_topology_t topo, const char *bus, hwloc_cpuset_t local) {
  hwloc_obj_t pci = hwloc_get_pcidev_by_busidstring(topo, bus);
  hwloc_obj_t near = pci ? hwloc_get_non_io_ancestor_obj(topo, pci) : NULL;
  char path[96];

  if (near) {
    hwloc_bitmap_copy(local, near->cpuset);
    return;
  }
  snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/local_cpus", bus);
  if (!hwloc_topology_is_thissystem(topo) || hwloc_linux_read_path_as_cpumask(path, local) != 0 ||
      hwloc_bitmap_iszero(local))
    hwloc_bitmap_copy(local, hwloc_topology_get_allowed_cpuset(topo));
}

static pn_status measure(hwloc_topology_t topo, pn_gpu_view *v) {
  hwloc_cpuset_t bound = hwloc_bitmap_alloc(), local = hwloc_bitmap_alloc();
  pn_status st = PN_OK;
  int cpus;

  if (!bound || !local) {
    st = PN_FAIL(PN_ERR_NOMEM, "hwloc: no memory");
    goto done;
  }
  PN_TRY(pn_bound_now(topo, bound));
  cpus = hwloc_bitmap_weight(bound);
  for (int g = 0; g < v->seen.n; g++) {
    PN_TRY(normalise(v->seen.bus[g]));
    find_local(topo, v->seen.bus[g], local);
    hwloc_bitmap_and(local, local, bound);
    v->near[g] = (double)hwloc_bitmap_weight(local) / cpus;
  }
done:
  hwloc_bitmap_free(bound);
  hwloc_bitmap_free(local);
  return st;
}

static pn_status look(const pn_gpu_list *seen, struct gpu_report *own) {
  hwloc_topology_t topo = NULL;
  pn_status st = PN_OK;

  if (seen->n < 0 || seen->n > PN_MAX_GPUS)
    return PN_FAIL(PN_ERR_ARG, "%d GPUs: expected 0 to %d", seen->n, PN_MAX_GPUS);
  own->view.seen = *seen;
  gethostname(own->host, sizeof own->host - 1);
  if (seen->n == 0) return PN_OK;
  PN_TRY(pn_topology_load(true, &topo));
  st = measure(topo, &own->view);
done:
  if (topo) hwloc_topology_destroy(topo);
  return st;
}

/* The ranks of this one's host to the front of `all`; where this one is among them. */
static int keep_host(struct gpu_report *all, int size, int rank, pn_gpu_view *view, int *n) {
  int at = 0;

  *n = 0;
  for (int r = 0; r < size; r++) {
    if (strcmp(all[r].host, all[rank].host) != 0) continue;
    if (r == rank) at = *n;
    view[(*n)++] = all[r].view;
  }
  return at;
}

static void describe(const pn_gpu_view *view, int n, const int *index, int at, pn_gpu_seat *out) {
  const pn_gpu_view *own = &view[at];

  *out = (pn_gpu_seat){.index = index[at]};
  if (index[at] < 0) return;
  out->sharing = users(view, index, n, own->seen.bus[index[at]]);
  out->near = own->near[index[at]];
  for (int g = 0; g < own->seen.n; g++)
    if (own->near[g] > out->nearest) out->nearest = own->near[g];
}

pn_status pn_place_gpu(pn_comm *c, const pn_gpu_list *seen, pn_gpu_seat *out) {
  int size = pn_comm_size(c), n = 0, at;
  struct gpu_report *own = calloc(1, sizeof *own), *all = calloc((size_t)size, sizeof *all);
  pn_gpu_view *view = calloc((size_t)size, sizeof *view);
  int *index = calloc((size_t)size, sizeof *index);
  pn_status st = PN_OK;

  *out = (pn_gpu_seat){.index = -1};
  if (!own || !all || !view || !index)
    st = PN_FAIL(PN_ERR_NOMEM, "no memory for the GPUs of %d ranks", size);
  else
    st = look(seen, own);
  PN_TRY(pn_agree(c, st));
  PN_TRY(pn_allgather(c, "GPUs of the ranks", own, all, (int64_t)sizeof *own, PN_U8));
  at = keep_host(all, size, pn_comm_rank(c), view, &n);
  pn_gpu_assign(view, n, index);
  describe(view, n, index, at, out);
done:
  free(own);
  free(all);
  free(view);
  free(index);
  return st;
}
