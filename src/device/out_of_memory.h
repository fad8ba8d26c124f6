/* out_of_memory.h -- what fills a device's memory, and the message when there is no more. */
#ifndef PN_DEVICE_OUT_OF_MEMORY_H
#define PN_DEVICE_OUT_OF_MEMORY_H

#include "base/status.h"

#include <stdint.h>

enum { PN_LEDGER_ROWS = 16 };

/* Bytes by purpose. */
typedef struct {
  struct pn_ledger_row {
    const char *what;   /* "activations"; borrowed, a literal */
    const char *option; /* that makes it smaller when lowered: "train.batch"; NULL: none */
    int64_t bytes;
  } row[PN_LEDGER_ROWS];
  int n;
} pn_ledger;

/* bytes < 0: given back.  More purposes than rows are counted as the last one, "other". */
void pn_ledger_add(pn_ledger *l, const char *what, const char *option, int64_t bytes);

/* Always NOMEM: bytes asked and free, the three largest purposes, and what to lower: the option of
 * the purpose that asks, else of the largest one that has an option.
 *   device     "cuda (NVIDIA H100)"
 *   available  bytes; < 0: not known */
pn_status pn_out_of_memory(const pn_ledger *l, const char *device, const char *what, int64_t asked,
                           int64_t available);

#endif
