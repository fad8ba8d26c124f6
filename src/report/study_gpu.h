/* study_gpu.h -- what the GPUs of a study's row did, from the record of its first run. */
#ifndef PN_REPORT_STUDY_GPU_H
#define PN_REPORT_STUDY_GPU_H

#include "report/study.h"

/* Over the epochs: utilization, power and clock as means over the training time, the largest
 * memory, the sum of energy, and energy per 1000 images.  NULL where no GPU was watched, else a new
 * reference; a figure that the GPU does not tell is missing. */
json_t *pn_study_gpu_json(const pn_study_row *r);
/* "87 % busy, 20.0 GiB, 250 W, 1755 MHz, 34.1 J, 1705 J per 1000 images"; "" where none was. */
void pn_study_gpu_text(const pn_study_row *r, char *out, size_t out_bytes);

#endif
