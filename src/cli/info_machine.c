/* info_machine.c -- build, libraries, and which rank runs where. */
#include "cli/info.h"
#include "cli/units.h"
#include "device/device.h"
#include "pn_version.h"

#include <stdlib.h>
#include <string.h>

static void print_versions(void) {
  json_t *versions = pn_versions_json();
  const char *name;
  json_t *text;

  printf("pneuma %s, commit %s, compiled with %s\n\nLibraries\n", PN_VERSION, PN_COMMIT,
         PN_COMPILER);
  json_object_foreach(versions, name, text) {
    if (strcmp(name, "pneuma") == 0 || strcmp(name, "commit") == 0 || strcmp(name, "compiler") == 0)
      continue;
    printf("  %-8s %s\n", name, json_string_value(text));
  }
  json_decref(versions);
}

static void print_hosts(const pn_place_map *m) {
  int host = 4;

  for (int i = 0; i < m->size; i++) {
    int h = (int)strlen(m->rank[i].host);
    host = h > host ? h : host;
  }
  printf("\nHosts\n  %-*s  %5s  %7s  %10s  %9s  %5s  %16s\n", host, "host", "ranks", "sockets",
         "NUMA nodes", "L3 caches", "cores", "hardware threads");
  for (int i = 0; i < m->size; i++) {
    const pn_place *p = &m->rank[i];
    if (p->local_rank > 0) continue;
    printf("  %-*s  %5d  %7d  %10d  %9d  %5d  %16d\n", host, p->host, p->local_size,
           p->machine.sockets, p->machine.numa, p->machine.l3, p->machine.cores, p->machine.pus);
  }
}

static void print_ranks(const pn_place_map *m, const char *backend) {
  int host = 4, cpus = 4;

  for (int i = 0; i < m->size; i++) {
    int h = (int)strlen(m->rank[i].host), c = (int)strlen(m->rank[i].cores);
    host = h > host ? h : host;
    cpus = c > cpus ? c : cpus;
  }
  printf("\nRanks (communicator: %s)\n  %4s  %-*s  %-*s  %5s  %7s  %s\n", backend, "rank", host,
         "host", cpus, "cpus", "cores", "threads", "NUMA");
  for (int i = 0; i < m->size; i++)
    printf("  %4d  %-*s  %-*s  %5d  %7d  %s\n", m->rank[i].rank, host, m->rank[i].host, cpus,
           m->rank[i].cores, m->rank[i].n_cores, m->rank[i].threads, m->rank[i].numa);
}

void pn_info_machine_print(const pn_place_map *m, const char *backend) {
  print_versions();
  printf("\nProcessor\n  SIMD     %s\n  oneDNN   uses %s\n", pn_simd_level(), pn_device_isa());
  print_hosts(m);
  print_ranks(m, backend);
  if (m->n_warnings > 0) printf("\nWarnings\n");
  for (int i = 0; i < m->n_warnings; i++) printf("  %s\n", m->warning[i]);
}

/* "0-3,8" to [0, 1, 2, 3, 8]. */
static json_t *cpu_list(const char *text) {
  json_t *list = json_array();
  char *end;

  for (const char *p = text; *p; p = *end == ',' ? end + 1 : end) {
    long first = strtol(p, &end, 10), last = first;
    if (end == p) break;
    if (*end == '-') last = strtol(end + 1, &end, 10);
    for (long i = first; i <= last; i++) json_array_append_new(list, json_integer(i));
  }
  return list;
}

static json_t *place_json(const pn_place *p) {
  return json_pack("{s:i, s:s, s:o, s:o, s:i, s:i, s:n}", "rank", p->rank, "host", p->host, "cores",
                   cpu_list(p->cores), "numa", cpu_list(p->numa), "physical_cores", p->n_cores,
                   "threads", p->threads, "gpu");
}

static json_t *hosts_json(const pn_place_map *m) {
  json_t *list = json_array();

  for (int i = 0; i < m->size; i++) {
    const pn_place *p = &m->rank[i];
    if (p->local_rank > 0) continue;
    json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i}", "host", p->host,
                                          "ranks", p->local_size, "sockets", p->machine.sockets,
                                          "numa", p->machine.numa, "l3", p->machine.l3, "cores",
                                          p->machine.cores, "pus", p->machine.pus));
  }
  return list;
}

void pn_info_machine_json(const pn_place_map *m, const char *backend, json_t *to) {
  json_t *ranks = json_array(), *warnings = json_array();

  for (int i = 0; i < m->size; i++) json_array_append_new(ranks, place_json(&m->rank[i]));
  for (int i = 0; i < m->n_warnings; i++)
    json_array_append_new(warnings, json_string(m->warning[i]));
  json_object_set_new(to, "isa", json_string(pn_device_isa()));
  json_object_set_new(to, "simd", json_string(pn_simd_level()));
  json_object_set_new(to, "communicator", json_string(backend));
  json_object_set_new(to, "hosts", hosts_json(m));
  json_object_set_new(to, "ranks", ranks);
  json_object_set_new(to, "warnings", warnings);
  json_object_set_new(to, "versions", pn_versions_json());
}
