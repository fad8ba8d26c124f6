/* watchdog.h -- one thread per process that ends the job when blocking work does not come back.
 * Inside src/comm only; other rooms use pn_watchdog_enter and pn_watchdog_leave of comm.h. */
#ifndef PN_COMM_WATCHDOG_H
#define PN_COMM_WATCHDOG_H

#include "comm/rollcall.h"

#include <stdint.h>

/* What this rank waits for.  Texts are copied. */
typedef struct {
  const char *kind; /* "allreduce"; NULL: work outside comm */
  const char *what;
  int64_t number; /* of the collective on its communicator; 0 = point to point */
  int64_t bytes;
  int size; /* ranks of the communicator */
} pn_watch_op;

/* Each start is paired with one stop; the last stop ends the thread.  The limit of the last start
 * holds.  limit_s = 0: nothing is watched. */
pn_status pn_watchdog_start(double limit_s, int world_rank);
void pn_watchdog_stop(void);
double pn_watchdog_limit(void); /* seconds; 0: nothing is watched */

/* Arm for one operation; nested up to a fixed depth, only the innermost one is timed.  No system
 * call, about 0.1 us. */
void pn_watchdog_push(const pn_watch_op *op);
void pn_watchdog_pop(void);

/* This rank waits without an end, as it should: it is not late. */
void pn_watchdog_idle(bool idle);
/* What this rank does now, for the others.  Any thread. */
void pn_watchdog_state(pn_roll_entry *out);

/* True once the limit has passed and the message is out: the main thread, if it can, ends the job
 * within PN_WATCHDOG_GRACE_S; then this thread leaves with exit code PN_WATCHDOG_EXIT. */
bool pn_watchdog_expired(void);
enum { PN_WATCHDOG_EXIT = 4, PN_WATCHDOG_GRACE_S = 3 };

#endif
