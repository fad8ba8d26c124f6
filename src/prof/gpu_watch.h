/* gpu_watch.h -- a thread that asks for a GPU's figures now and then, so that a step only has to
 * look at them. */
#ifndef PN_PROF_GPU_WATCH_H
#define PN_PROF_GPU_WATCH_H

#include "prof/nvml.h"

typedef struct pn_gpu_watch pn_gpu_watch;

/* Errors: those of pn_nvml_open; NOMEM (no thread). */
pn_status pn_gpu_watch_start(const char *bus, double every_s, pn_gpu_watch **out);
void pn_gpu_watch_stop(pn_gpu_watch *w); /* NULL is allowed */

/* The newest figures.  Energy is carried on to this moment by the power; a GPU that does not count
 * it gets the sum of its power since the start.  Takes under a microsecond. */
void pn_gpu_watch_now(pn_gpu_watch *w, pn_gpu_sample *out);

#endif
