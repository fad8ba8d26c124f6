/* rollcall.h -- where is everybody?  A rank that waits too long asks the others, over UDP and from
 * the watchdog's thread, because MPI is what it is stuck in.  Each rank has a thread that answers
 * even while its main thread hangs.  Nothing is sent in a run without stalls.  Inside src/comm
 * only.
 */
#ifndef PN_COMM_ROLLCALL_H
#define PN_COMM_ROLLCALL_H

#include "comm/comm.h"

enum { PN_ROLL_WORKS, PN_ROLL_WAITS, PN_ROLL_IDLE, PN_ROLL_SILENT };

/* What a rank is doing; sent as bytes. */
typedef struct {
  int32_t rank, state;
  int64_t number, step; /* of the collective it waits in, or was in last; 0: none */
  double seconds;       /* in it, or since */
  char kind[24], what[64];
} pn_roll_entry;

/* Exchange addresses, start to answer.  Collective over all ranks of the job; where there is no
 * network nobody answers, which is no error.  Errors: COMM, NOMEM (not agreed: end the job). */
pn_status pn_rollcall_start(pn_comm *world);
void pn_rollcall_stop(void); /* without a start: nothing */

/* From the watchdog's thread: entries [ranks of the job], SILENT where nothing came within 0.4 s.
 * Returns their number, 0: cannot ask.  *host: [ranks][64], valid until stop. */
int pn_rollcall_ask(pn_roll_entry *out, const char (**host)[64]);
int pn_rollcall_size(void); /* 0: not started */

#endif
