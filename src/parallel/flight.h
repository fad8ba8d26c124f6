/* flight.h -- the requests of one step, started and waited for in one order, and their time. */
#ifndef PN_PARALLEL_FLIGHT_H
#define PN_PARALLEL_FLIGHT_H

#include "parallel/exchange.h"

/* Requests [waited, started) are in flight or done. */
typedef struct {
  pn_exchange *exchange;                 /* [capacity], owned */
  int capacity, started, tested, waited; /* tested: first that is not known to be complete */
  double t_open;                         /* when the first of those in flight was started */
} pn_flight;

pn_status pn_flight_make(int capacity, pn_flight *f); /* capacity: requests of one step */
void pn_flight_free(pn_flight *f);

/* pn_ishare: host memory. */
pn_status pn_flight_share(pn_strategy *s, pn_flight *f, const char *what, float *x, int64_t count);
pn_status pn_flight_start(pn_strategy *s, pn_flight *f, const pn_exchange_job *j);

pn_status pn_flight_tick(pn_strategy *s, pn_flight *f); /* move them on */
pn_status pn_flight_wait(pn_strategy *s, pn_flight *f); /* for the next one */
void pn_flight_reset(pn_flight *f);                     /* all waited for: the step is over */

#endif
