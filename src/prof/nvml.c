/* nvml.c -- the few functions of libnvidia-ml that are needed, declared as its header does. */
#include "prof/nvml.h"

#include <dlfcn.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, CLOCK_SM = 1 };
static const char library_name[] = "libnvidia-ml.so.1";

typedef struct {
  unsigned gpu, memory; /* percent */
} utilization;
typedef struct {
  unsigned long long total, available, used; /* bytes */
} memory;

typedef struct {
  int (*init)(void);
  int (*shutdown)(void);
  const char *(*text)(int rc);
  int (*by_bus)(const char *bus, void **gpu);
  int (*utilization)(void *gpu, utilization *out);
  int (*memory)(void *gpu, memory *out);
  int (*power)(void *gpu, unsigned *milliwatts);
  int (*clock)(void *gpu, int type, unsigned *mhz);
  int (*energy)(void *gpu, unsigned long long *millijoules);
} calls;

struct pn_nvml {
  void *library, *gpu;
  calls call;
  bool started;
};

static const struct {
  const char *name;
  size_t at;
} symbols[] = {{"nvmlInit_v2", offsetof(calls, init)},
               {"nvmlShutdown", offsetof(calls, shutdown)},
               {"nvmlErrorString", offsetof(calls, text)},
               {"nvmlDeviceGetHandleByPciBusId_v2", offsetof(calls, by_bus)},
               {"nvmlDeviceGetUtilizationRates", offsetof(calls, utilization)},
               {"nvmlDeviceGetMemoryInfo", offsetof(calls, memory)},
               {"nvmlDeviceGetPowerUsage", offsetof(calls, power)},
               {"nvmlDeviceGetClockInfo", offsetof(calls, clock)},
               {"nvmlDeviceGetTotalEnergyConsumption", offsetof(calls, energy)}};

static pn_status load(pn_nvml *n) {
  if (!(n->library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL)))
    return PN_FAIL(PN_ERR_UNSUPPORTED, "cannot load %s (it comes with NVIDIA's driver): %s",
                   library_name, dlerror());
  for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
    void *p = dlsym(n->library, symbols[i].name);
    if (!p)
      return PN_FAIL(PN_ERR_UNSUPPORTED, "%s has no %s: an old driver", library_name,
                     symbols[i].name);
    memcpy((char *)&n->call + symbols[i].at, &p, sizeof p);
  }
  return PN_OK;
}

static pn_status check(const pn_nvml *n, int rc, const char *call) {
  if (rc == SUCCESS) return PN_OK;
  return PN_FAIL(PN_ERR_DEVICE, "%s: %s (%d)", call, n->call.text(rc), rc);
}

pn_status pn_nvml_open(const char *bus, pn_nvml **out) {
  pn_nvml *n = calloc(1, sizeof *n);
  pn_status st = PN_OK;

  *out = NULL;
  if (!n) return PN_FAIL(PN_ERR_NOMEM, "watching GPU %s", bus);
  PN_TRY(load(n));
  PN_TRY(check(n, n->call.init(), "nvmlInit"));
  n->started = true;
  PN_TRY(check(n, n->call.by_bus(bus, &n->gpu), "nvmlDeviceGetHandleByPciBusId"));
  *out = n;
  n = NULL;
done:
  pn_nvml_close(n);
  return st;
}

void pn_nvml_close(pn_nvml *n) {
  if (!n) return;
  if (n->started) n->call.shutdown();
  if (n->library) dlclose(n->library);
  free(n);
}

void pn_nvml_sample(const pn_nvml *n, pn_gpu_sample *out) {
  utilization u;
  memory m;
  unsigned x;
  unsigned long long joules;

  for (int i = 0; i < PN_GPU_FIGURES; i++) out->value[i] = NAN;
  if (n->call.utilization(n->gpu, &u) == SUCCESS) out->value[PN_GPU_UTILIZATION] = u.gpu;
  if (n->call.memory(n->gpu, &m) == SUCCESS) out->value[PN_GPU_MEMORY] = (double)m.used;
  if (n->call.power(n->gpu, &x) == SUCCESS) out->value[PN_GPU_POWER] = 1e-3 * x;
  if (n->call.clock(n->gpu, CLOCK_SM, &x) == SUCCESS) out->value[PN_GPU_CLOCK] = x;
  if (n->call.energy(n->gpu, &joules) == SUCCESS) out->value[PN_GPU_ENERGY] = 1e-3 * (double)joules;
}
