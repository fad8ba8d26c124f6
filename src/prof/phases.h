/* phases.h -- how long each phase of each step took on this rank.  No MPI: the caller reduces. */
#ifndef PN_PROF_PHASES_H
#define PN_PROF_PHASES_H

#include "base/status.h"

#include <stdint.h>

typedef enum {
  PN_PHASE_DATA,
  PN_PHASE_FORWARD,
  PN_PHASE_BACKWARD,
  PN_PHASE_COMM, /* communication the rank waited for */
  PN_PHASE_UPDATE,
  PN_PHASE_COUNT
} pn_phase;

const char *pn_phase_name(pn_phase p); /* "data", "forward", ... */

typedef struct pn_phases pn_phases;

/* capacity: steps that are kept; later ones are timed but not kept.  *out owned by the caller.
 * Nothing is allocated afterwards. */
pn_status pn_phases_create(int64_t capacity, pn_phases **out);
void pn_phases_destroy(pn_phases *p); /* NULL is allowed */

/* In a step, time belongs to the phase entered last; before the first enter, to none.  Time
 * outside begin/end (evaluation, checkpoint) is not counted. */
void pn_phases_begin(pn_phases *p);
void pn_phases_enter(pn_phases *p, pn_phase phase);
void pn_phases_end(pn_phases *p);
/* Move seconds measured elsewhere (waits inside the backward pass) from one phase to another. */
void pn_phases_move(pn_phases *p, pn_phase from, pn_phase to, double seconds);
void pn_phases_reset(pn_phases *p); /* forget all steps */

int64_t pn_phases_count(const pn_phases *p); /* steps kept */
/* Seconds of the kept steps, [count]; borrowed, valid until destroy. */
const double *pn_phases_seconds(const pn_phases *p, pn_phase phase);
const double *pn_phases_step_seconds(const pn_phases *p);  /* begin to end */
double pn_phases_last(const pn_phases *p, pn_phase phase); /* of the last step, kept or not */
double pn_phases_last_step(const pn_phases *p);

#endif
