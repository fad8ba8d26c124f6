/* flight.h -- the requests of one step, started and waited for in one order, and their time. */
#ifndef PN_PARALLEL_FLIGHT_H
#define PN_PARALLEL_FLIGHT_H

#include "parallel/strategy.h"

/* Requests [waited, started) are in flight or done. */
typedef struct {
  pn_request **request;                  /* [capacity], owned */
  int capacity, started, tested, waited; /* tested: first that is not known to be complete */
  double t_open;                         /* when the first of those in flight was started */
  double t_begin;
} pn_flight;

pn_status pn_flight_make(int capacity, pn_flight *f); /* capacity: requests of one step */
void pn_flight_free(pn_flight *f);

/* Around the start of one request, which goes to *pn_flight_begin(...). */
pn_request **pn_flight_begin(pn_flight *f);
pn_status pn_flight_begun(pn_strategy *s, pn_flight *f, pn_status st);

pn_status pn_flight_tick(pn_strategy *s, pn_flight *f); /* move them on */
pn_status pn_flight_wait(pn_strategy *s, pn_flight *f); /* for the next one */
void pn_flight_reset(pn_flight *f);                     /* all waited for: the step is over */

#endif
