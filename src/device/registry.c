/* registry.c -- the devices of this build; the only place that knows which there are. */
#include "device/device.h"

#include "base/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef PN_WITH_ONEDNN
#include "device/onednn/onednn.h"
#endif

/* Fastest first; ops NULL: known, but not in this build. */
static const struct row {
  const char *name;
  const pn_device_ops *ops;
  const char *how; /* to get it */
} rows[] = {
    {"cuda", NULL, "this version has no CUDA device yet"},
#ifdef PN_WITH_ONEDNN
    {"onednn", &pn_device_onednn_ops, NULL},
#else
    {"onednn", NULL, "apt install libdnnl-dev and configure with -DPN_ONEDNN=ON"},
#endif
    {"ref", &pn_device_ref_ops, NULL},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

const char *pn_device_library(void) {
#ifdef PN_WITH_ONEDNN
  return pn_onednn_version();
#else
  return "none";
#endif
}

const char *pn_device_isa(void) {
#ifdef PN_WITH_ONEDNN
  return pn_onednn_isa();
#else
  return "compiler's";
#endif
}

int pn_device_lanes(void) {
#ifdef PN_WITH_ONEDNN
  return pn_onednn_lanes();
#else
  return 8;
#endif
}

static const struct row *find_row(const char *name) {
  bool any = strcmp(name, "auto") == 0 || strcmp(name, "cpu") == 0;

  for (int i = 0; i < N_ROWS; i++)
    if (any ? rows[i].ops != NULL : strcmp(rows[i].name, name) == 0) return &rows[i];
  return NULL;
}

static pn_status unknown_device(const char *name) {
  char list[128] = "auto, cpu";

  for (int i = 0; i < N_ROWS; i++) {
    size_t used = strlen(list);
    if (rows[i].ops) snprintf(list + used, sizeof list - used, ", %s", rows[i].name);
  }
  return PN_FAIL(PN_ERR_ARG, "unknown device '%s': this build has %s", name, list);
}

pn_status pn_device_create(const char *name, int threads, pn_device **out) {
  const struct row *row = find_row(name);
  pn_device *d;
  pn_status st;

  *out = NULL;
  if (!row) return unknown_device(name);
  if (!row->ops)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "device '%s' is not in this build: %s", name, row->how);
  if (threads < 1)
    return PN_FAIL(PN_ERR_ARG, "device '%s': %d threads, expected at least 1", name, threads);
  if (!(d = calloc(1, sizeof *d))) return PN_FAIL(PN_ERR_NOMEM, "device '%s'", name);
  d->ops = row->ops;
  d->threads = threads;
  if ((st = d->ops->create(d)) != PN_OK) {
    free(d);
    return st;
  }
  *out = d;
  return PN_OK;
}

pn_status pn_device_alloc(pn_device *d, size_t bytes, void **out) {
  pn_status st = pn_fault_at(PN_FAULT_ALLOCATE, NULL);

  *out = NULL;
  return st == PN_OK ? d->ops->alloc(d, bytes, out) : st;
}

void pn_device_destroy(pn_device *d) {
  if (!d) return;
  d->ops->destroy(d);
  free(d);
}
