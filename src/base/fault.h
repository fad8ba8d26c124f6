/* fault.h -- faults on demand, for tests: PN_FAULT=rank:site:kind[:when] in the environment.
 *
 *   rank   of the whole job
 *   site   open (index and shards), read (a batch), allocate (an arena), collective, checkpoint
 *   kind   error: the call fails    exit: the process leaves    kill: SIGKILL    sleep: for ever;
 *          sleep=S: S seconds       NaN: a number becomes NaN (read, collective, checkpoint)
 *   when   the n-th visit of the site, from 1; 1 if left out
 *
 * Without PN_FAULT a site costs one load. */
#ifndef PN_BASE_FAULT_H
#define PN_BASE_FAULT_H

#include "base/status.h"

typedef enum {
  PN_FAULT_NONE,
  PN_FAULT_OPEN,
  PN_FAULT_READ,
  PN_FAULT_ALLOCATE,
  PN_FAULT_COLLECTIVE,
  PN_FAULT_CHECKPOINT,
  PN_FAULT_SITES
} pn_fault_site;

/* Read PN_FAULT; `rank` of `size` is this process.  Errors: ARG (says what is accepted). */
pn_status pn_fault_setup(int rank, int size);

extern pn_fault_site pn_fault_armed; /* set by setup only */
pn_status pn_fault_visit(float *x);

/* A visit of `site`.  x: a number that may become NaN, or NULL.  Thread-safe.  Errors: what such a
 * site fails with (IO, NOMEM, COMM), if it is asked for. */
static inline pn_status pn_fault_at(pn_fault_site site, float *x) {
  return pn_fault_armed == site ? pn_fault_visit(x) : PN_OK;
}

#endif
