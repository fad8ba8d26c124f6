/* fake_nvml.c -- a libnvidia-ml.so.1 for tests: one GPU whose figures can be foretold.  Built as a
 * library of that name; FAKE_NVML=mute: it knows no power and no energy, fail: it does not start.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

int nvmlInit_v2(void);
int nvmlShutdown(void);
const char *nvmlErrorString(int rc);
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **gpu);
int nvmlDeviceGetUtilizationRates(void *gpu, unsigned *rates);
int nvmlDeviceGetMemoryInfo(void *gpu, unsigned long long *bytes);
int nvmlDeviceGetPowerUsage(void *gpu, unsigned *milliwatts);
int nvmlDeviceGetClockInfo(void *gpu, int type, unsigned *mhz);
int nvmlDeviceGetTotalEnergyConsumption(void *gpu, unsigned long long *millijoules);

enum { INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9 };
enum { WATTS = 250 };
static int started, device;

static int mode_is(const char *mode) {
  const char *text = getenv("FAKE_NVML");
  return text && strcmp(text, mode) == 0;
}

static int known(const void *gpu) {
  return started > 0 && gpu == &device;
}

int nvmlInit_v2(void) {
  if (mode_is("fail")) return DRIVER_NOT_LOADED;
  started++;
  return 0;
}

int nvmlShutdown(void) {
  started--;
  return 0;
}

const char *nvmlErrorString(int rc) {
  return rc == NOT_FOUND ? "Not Found" : rc == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "error";
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **gpu) {
  if (strcmp(bus, "00000000:3b:00.0") != 0) return NOT_FOUND;
  *gpu = &device;
  return 0;
}

int nvmlDeviceGetUtilizationRates(void *gpu, unsigned *rates) {
  if (!known(gpu)) return INVALID_ARGUMENT;
  rates[0] = 87;
  rates[1] = 33;
  return 0;
}

int nvmlDeviceGetMemoryInfo(void *gpu, unsigned long long *bytes) {
  if (!known(gpu)) return INVALID_ARGUMENT;
  bytes[0] = 80ull << 30;
  bytes[1] = 60ull << 30;
  bytes[2] = 20ull << 30;
  return 0;
}

int nvmlDeviceGetPowerUsage(void *gpu, unsigned *milliwatts) {
  if (!known(gpu)) return INVALID_ARGUMENT;
  if (mode_is("mute")) return NOT_SUPPORTED;
  *milliwatts = WATTS * 1000;
  return 0;
}

int nvmlDeviceGetClockInfo(void *gpu, int type, unsigned *mhz) {
  if (!known(gpu) || type != 1) return INVALID_ARGUMENT;
  *mhz = 1755;
  return 0;
}

/* As much as the power says. */
int nvmlDeviceGetTotalEnergyConsumption(void *gpu, unsigned long long *millijoules) {
  struct timespec t;
  if (!known(gpu)) return INVALID_ARGUMENT;
  if (mode_is("mute") || mode_is("uncounted")) return NOT_SUPPORTED;
  clock_gettime(CLOCK_MONOTONIC, &t);
  *millijoules = (unsigned long long)(1e3 * WATTS * ((double)t.tv_sec + 1e-9 * (double)t.tv_nsec));
  return 0;
}
