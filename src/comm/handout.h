/* handout.h -- the numbers 0 .. n-1 given out in order, each once, to whichever rank asks next.
 *
 * Rank 0 holds the counter and answers when it polls, so that every rank polls between small
 * portions of its work (a file, not a shard).  A rank that failed says so, and the others hear of
 * it at their next poll.  One hand-out per communicator at a time. */
#ifndef PN_COMM_HANDOUT_H
#define PN_COMM_HANDOUT_H

#include "comm/comm.h"

typedef struct pn_handout pn_handout;

/* No message is sent: pn_agree on the answer before the first call of the others. */
pn_status pn_handout_create(pn_comm *c, int64_t n, pn_handout **out);
void pn_handout_destroy(pn_handout *h);

/* *item: the next number, or -1: none is left, or some rank has failed. */
pn_status pn_handout_next(pn_handout *h, int64_t *item);
/* Answer the others (rank 0); *stop: some rank has failed, leave the work at hand. */
pn_status pn_handout_poll(pn_handout *h, bool *stop);
/* Collective.  Every rank that made it leaves through here, failed or not; waiting ranks sleep and
 * the watchdog is not armed, as the others may have long work at hand. */
pn_status pn_handout_end(pn_handout *h, bool failed);

int64_t pn_handout_given(const pn_handout *h); /* numbers given out so far; rank 0 knows, else 0 */

#endif
