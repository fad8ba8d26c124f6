/* nvml.h -- what NVIDIA's management library tells of one GPU.  Loaded at run time. */
#ifndef PN_PROF_NVML_H
#define PN_PROF_NVML_H

#include "base/status.h"

typedef enum {
  PN_GPU_UTILIZATION, /* percent of the time in which a kernel ran, over the library's last window
                       */
  PN_GPU_MEMORY,      /* bytes in use, of all processes */
  PN_GPU_POWER,       /* W */
  PN_GPU_CLOCK,       /* MHz, of the multiprocessors */
  PN_GPU_ENERGY,      /* J since the driver was loaded; differences count */
  PN_GPU_FIGURES
} pn_gpu_figure;

typedef struct {
  double value[PN_GPU_FIGURES]; /* NAN: this GPU does not tell */
} pn_gpu_sample;

typedef struct pn_nvml pn_nvml;

/* bus: PCI address, "0000:3b:00.0".  *out: pn_nvml_close.  Errors: UNSUPPORTED (no library, no such
 * function), DEVICE (with the library's text). */
pn_status pn_nvml_open(const char *bus, pn_nvml **out);
void pn_nvml_close(pn_nvml *n); /* NULL is allowed */
void pn_nvml_sample(const pn_nvml *n, pn_gpu_sample *out);

#endif
