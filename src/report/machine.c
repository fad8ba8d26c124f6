/* machine.c -- CPU, frequency governor, load and places, from /proc, /sys and hwloc. */
#include "report/machine.h"

#include "base/clock.h"
#include "comm/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set_text(json_t *o, const char *key, char *text) {
  text[strcspn(text, "\n")] = '\0';
  if (*text) json_object_set_new(o, key, json_string(text));
}

static void add_cpu(json_t *o) {
  char text[256] = "";
  FILE *f = fopen("/proc/cpuinfo", "r");

  if (!f) return;
  while (fgets(text, sizeof text, f)) {
    char *colon = strchr(text, ':');
    if (strncmp(text, "model name", 10) != 0 || !colon) continue;
    set_text(o, "cpu", colon + 1 + strspn(colon + 1, " "));
    break;
  }
  fclose(f);
}

static void add_governor(json_t *o) {
  char text[64] = "";
  FILE *f = fopen("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "r");

  if (!f) return;
  if (fgets(text, sizeof text, f)) set_text(o, "governor", text);
  fclose(f);
}

static json_t *places_json(const pn_place_map *m) {
  json_t *list = json_array();

  for (int i = 0; i < m->size; i++)
    json_array_append_new(list, json_pack("{s:i, s:s, s:s, s:i}", "rank", m->rank[i].rank, "host",
                                          m->rank[i].host, "cores", m->rank[i].cores, "n_cores",
                                          m->rank[i].n_cores));
  return list;
}

static json_t *describe(const pn_place_map *m) {
  char utc[32];
  double load;
  json_t *o = json_object();

  pn_utc_text(utc, sizeof utc);
  json_object_set_new(o, "date", json_string(utc));
  add_cpu(o);
  json_object_set_new(o, "simd", json_string(pn_simd_level()));
  add_governor(o);
  if (getloadavg(&load, 1) == 1) json_object_set_new(o, "load_1min", json_real(load));
  json_object_set_new(o, "ranks", places_json(m));
  return o;
}

pn_status pn_machine_json(pn_comm *c, json_t **out) {
  pn_place_map m = {0};
  pn_status st = pn_place_make(c, 1, &m);

  *out = NULL;
  if (st != PN_OK) return st;
  if (pn_comm_rank(c) == 0) *out = describe(&m);
  pn_place_free(&m);
  return PN_OK;
}
