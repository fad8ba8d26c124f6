/* phases.c -- one row of seconds per phase, one column per step. */
#include "prof/phases.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = PN_PHASE_COUNT + 1, STEP_ROW = PN_PHASE_COUNT, NO_PHASE = -1 };

struct pn_phases {
  int64_t capacity, count;
  double *rows; /* [ROWS][capacity] seconds */
  double now[ROWS];
  double t_step_s, t_phase_s; /* starts */
  int phase;
};

const char *pn_phase_name(pn_phase p) {
  static const char *const names[PN_PHASE_COUNT] = {"data", "forward", "backward", "comm",
                                                    "update"};
  return (unsigned)p < PN_PHASE_COUNT ? names[p] : "unknown";
}

pn_status pn_phases_create(int64_t capacity, pn_phases **out) {
  pn_phases *p = calloc(1, sizeof *p);

  *out = NULL;
  if (capacity < 1) {
    free(p);
    return PN_FAIL(PN_ERR_ARG, "phases: capacity %lld, expected >= 1", (long long)capacity);
  }
  if (p) p->rows = calloc((size_t)capacity, ROWS * sizeof *p->rows);
  if (!p || !p->rows) {
    free(p);
    return PN_FAIL(PN_ERR_NOMEM, "phases: no memory for %lld steps", (long long)capacity);
  }
  p->capacity = capacity;
  p->phase = NO_PHASE;
  *out = p;
  return PN_OK;
}

void pn_phases_destroy(pn_phases *p) {
  if (!p) return;
  free(p->rows);
  free(p);
}

static void close_phase(pn_phases *p, double now) {
  if (p->phase != NO_PHASE) p->now[p->phase] += now - p->t_phase_s;
  p->t_phase_s = now;
}

void pn_phases_begin(pn_phases *p) {
  memset(p->now, 0, sizeof p->now);
  p->phase = NO_PHASE;
  p->t_step_s = p->t_phase_s = pn_now();
}

void pn_phases_enter(pn_phases *p, pn_phase phase) {
  close_phase(p, pn_now());
  p->phase = (int)phase;
}

void pn_phases_end(pn_phases *p) {
  double now = pn_now();

  close_phase(p, now);
  p->phase = NO_PHASE;
  p->now[STEP_ROW] = now - p->t_step_s;
  if (p->count == p->capacity) return;
  for (int r = 0; r < ROWS; r++) p->rows[r * p->capacity + p->count] = p->now[r];
  p->count++;
}

void pn_phases_move(pn_phases *p, pn_phase from, pn_phase to, double seconds) {
  p->now[from] -= seconds;
  p->now[to] += seconds;
}

void pn_phases_reset(pn_phases *p) {
  p->count = 0;
}

int64_t pn_phases_count(const pn_phases *p) {
  return p->count;
}

const double *pn_phases_seconds(const pn_phases *p, pn_phase phase) {
  return p->rows + (int64_t)phase * p->capacity;
}

const double *pn_phases_step_seconds(const pn_phases *p) {
  return p->rows + STEP_ROW * p->capacity;
}

double pn_phases_last(const pn_phases *p, pn_phase phase) {
  return p->now[phase];
}

double pn_phases_last_step(const pn_phases *p) {
  return p->now[STEP_ROW];
}
