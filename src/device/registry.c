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
  enum { BY_NAME = 0, FOR_CPU = 1, FOR_AUTO = 2 } choice;
} rows[] = {
#ifdef PN_WITH_CUDA
    {"cuda", &pn_device_cuda_ops, NULL, FOR_AUTO},
#else
    {"cuda", NULL, "install the CUDA toolkit (nvcc, cuDNN) and configure with -DPN_CUDA=ON",
     FOR_AUTO},
#endif
#ifdef PN_WITH_ONEDNN
    {"onednn", &pn_device_onednn_ops, NULL, FOR_CPU | FOR_AUTO},
#else
    {"onednn", NULL, "apt install libdnnl-dev and configure with -DPN_ONEDNN=ON",
     FOR_CPU | FOR_AUTO},
#endif
    {"ref", &pn_device_ref_ops, NULL, FOR_CPU | FOR_AUTO},
    {"emulated", &pn_device_emulated_ops, NULL, BY_NAME},
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

static pn_status unknown_device(const char *name) {
  char list[128] = "auto, cpu";

  for (int i = 0; i < N_ROWS; i++) {
    size_t used = strlen(list);
    if (rows[i].ops) snprintf(list + used, sizeof list - used, ", %s", rows[i].name);
  }
  return PN_FAIL(PN_ERR_ARG, "unknown device '%s': this build has %s", name, list);
}

static pn_status open_row(const struct row *row, const pn_device_spec *spec, pn_device **out) {
  pn_device *d;
  pn_status st;

  if (!row->ops)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "device '%s' is not in this build: %s", row->name, row->how);
  if (!(d = calloc(1, sizeof *d))) return PN_FAIL(PN_ERR_NOMEM, "device '%s'", row->name);
  d->ops = row->ops;
  d->threads = spec->threads;
  if ((st = d->ops->create(d, spec)) != PN_OK) {
    free(d);
    return st;
  }
  *out = d;
  return PN_OK;
}

/* The first of `choice` that opens: a build with CUDA runs on machines without a GPU. */
static pn_status open_first(int choice, const pn_device_spec *spec, pn_device **out) {
  pn_status st = PN_ERR_UNSUPPORTED;

  for (int i = 0; i < N_ROWS && st == PN_ERR_UNSUPPORTED; i++)
    if (rows[i].ops && (int)rows[i].choice & choice) st = open_row(&rows[i], spec, out);
  return st;
}

pn_status pn_device_open(const pn_device_spec *spec, pn_device **out) {
  *out = NULL;
  if (spec->threads < 1)
    return PN_FAIL(PN_ERR_ARG, "device '%s': %d threads, expected at least 1", spec->name,
                   spec->threads);
  if (strcmp(spec->name, "auto") == 0) return open_first(FOR_AUTO, spec, out);
  if (strcmp(spec->name, "cpu") == 0) return open_first(FOR_CPU, spec, out);
  for (int i = 0; i < N_ROWS; i++)
    if (strcmp(rows[i].name, spec->name) == 0) return open_row(&rows[i], spec, out);
  return unknown_device(spec->name);
}

pn_status pn_device_gpus(pn_gpu_list *out) {
  *out = (pn_gpu_list){.n = 0};
#ifdef PN_WITH_CUDA
  return pn_cuda_gpus(out);
#else
  return PN_OK;
#endif
}

pn_status pn_device_create(const char *name, int threads, pn_device **out) {
  pn_device_spec spec = {.name = name, .threads = threads};
  return pn_device_open(&spec, out);
}

const char *pn_device_lacks(const pn_device *d, pn_dtype type) {
  const char *why = "it computes in f32 only";

  return type == PN_F32 || (d->ops->computes && d->ops->computes(d, type, &why)) ? NULL : why;
}

pn_status pn_device_check_precision(const pn_device *d, pn_dtype type) {
  const char *why = pn_device_lacks(d, type);

  if (!why) return PN_OK;
  return PN_FAIL(PN_ERR_UNSUPPORTED, "device %s has no fast %s here: %s", d->ops->name,
                 pn_dtype_name(type), why);
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
