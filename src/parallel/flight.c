/* flight.c -- how long communication takes, and how much of it the rank's own thread spends. */
#include "parallel/flight.h"

#include "base/clock.h"

#include <stdlib.h>

pn_status pn_flight_make(int capacity, pn_flight *f) {
  *f = (pn_flight){.capacity = capacity};
  f->exchange = calloc((size_t)capacity + 1, sizeof *f->exchange);
  return f->exchange ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "%d requests: out of memory", capacity);
}

void pn_flight_free(pn_flight *f) {
  free(f->exchange);
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

static pn_status started(pn_strategy *s, pn_flight *f, double t0, pn_status st) {
  if (st == PN_OK && !in_flight(f)) f->t_open = t0;
  if (st == PN_OK) f->started++;
  note(s, f, t0, f->tested);
  return st;
}

pn_status pn_flight_start(pn_strategy *s, pn_flight *f, const pn_exchange_job *j) {
  double t0 = pn_now();
  return started(s, f, t0, pn_exchange_start(s, j, &f->exchange[f->started]));
}

pn_status pn_flight_share(pn_strategy *s, pn_flight *f, const char *what, float *x, int64_t count) {
  pn_exchange *e = &f->exchange[f->started];
  double t0 = pn_now();

  *e = (pn_exchange){NULL};
  return started(s, f, t0, pn_ishare(s->spec.data, what, x, count, &e->request));
}

pn_status pn_flight_tick(pn_strategy *s, pn_flight *f) {
  bool complete = true;
  int n = f->tested;
  double t0 = pn_now();
  pn_status st = PN_OK;

  if (!in_flight(f)) return PN_OK;
  while (st == PN_OK && complete && n < f->started) {
    st = pn_exchange_test(&f->exchange[n], &complete);
    if (st == PN_OK && complete) n++;
  }
  note(s, f, t0, n);
  return st;
}

pn_status pn_flight_wait(pn_strategy *s, pn_flight *f) {
  bool counts = in_flight(f);
  double t0 = pn_now();
  pn_status st = pn_exchange_wait(s, &f->exchange[f->waited]);

  f->waited++;
  if (counts) note(s, f, t0, f->waited);
  return st;
}

void pn_flight_reset(pn_flight *f) {
  f->started = f->tested = f->waited = 0;
}
