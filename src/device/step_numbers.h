/* step_numbers.h -- what kernels of a far device read where they run, so that a graph of them can
 * be used again. */
#ifndef PN_DEVICE_STEP_NUMBERS_H
#define PN_DEVICE_STEP_NUMBERS_H

#include <stdint.h>

typedef struct {
  uint32_t key[2]; /* the halves of the run's seed, low one first */
  uint32_t epoch;
} pn_step_numbers;

#endif
