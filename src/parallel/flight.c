/* flight.c -- how long communication takes, and how much of it the rank's own thread spends. */
#include "parallel/flight.h"

#include "base/clock.h"

#include <stdlib.h>

pn_status pn_flight_make(int capacity, pn_flight *f) {
  *f = (pn_flight){.capacity = capacity};
  f->request = calloc((size_t)capacity + 1, sizeof *f->request);
  return f->request ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "%d requests: out of memory", capacity);
}

void pn_flight_free(pn_flight *f) {
  free(f->request);
  *f = (pn_flight){.capacity = 0};
}

static bool in_flight(const pn_flight *f) {
  return f->tested < f->started;
}

/* Time that the rank's own thread spends on communication, waiting or moving data, since t0 is time
 * that it does not compute: all of it counts as exposed.  The first n are known to be complete:
 * with none in flight any more the interval that counts as communication is closed. */
static void note(pn_strategy *s, pn_flight *f, double t0, int n) {
  double now = pn_now();

  s->comm_exposed_s += now - t0;
  if (n <= f->tested) return;
  f->tested = n;
  if (!in_flight(f)) s->comm_total_s += now - f->t_open;
}

pn_request **pn_flight_begin(pn_flight *f) {
  f->t_begin = pn_now();
  if (!in_flight(f)) f->t_open = f->t_begin;
  return &f->request[f->started];
}

pn_status pn_flight_begun(pn_strategy *s, pn_flight *f, pn_status st) {
  if (st == PN_OK) f->started++;
  note(s, f, f->t_begin, f->tested);
  return st;
}

pn_status pn_flight_tick(pn_strategy *s, pn_flight *f) {
  bool complete = true;
  int n = f->tested;
  double t0 = pn_now();
  pn_status st = PN_OK;

  if (!in_flight(f)) return PN_OK;
  while (st == PN_OK && complete && n < f->started) {
    st = pn_request_test(f->request[n], &complete);
    if (st == PN_OK && complete) n++;
  }
  note(s, f, t0, n);
  return st;
}

pn_status pn_flight_wait(pn_strategy *s, pn_flight *f) {
  bool counts = in_flight(f);
  double t0 = pn_now();
  pn_status st = pn_request_wait(f->request[f->waited]);

  f->waited++;
  if (counts) note(s, f, t0, f->waited);
  return st;
}

void pn_flight_reset(pn_flight *f) {
  f->started = f->tested = f->waited = 0;
}
