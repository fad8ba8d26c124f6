/* fault.c -- see fault.h. */
#include "base/fault.h"

#include "base/clock.h"

#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FORM                                                                                       \
  "expected rank:site:kind[:when]; site: open, read, allocate, collective, checkpoint; kind: "     \
  "error, exit, kill, sleep, sleep=SECONDS, NaN (not at open and allocate); when: the n-th visit"

typedef enum { ERROR, EXIT, KILL, SLEEP, NOT_A_NUMBER, KINDS } fault_kind;

static const struct {
  const char *name;
  pn_status status;
  bool numbers;
} sites[PN_FAULT_SITES] = {[PN_FAULT_OPEN] = {"open", PN_ERR_IO, false},
                           [PN_FAULT_READ] = {"read", PN_ERR_IO, true},
                           [PN_FAULT_ALLOCATE] = {"allocate", PN_ERR_NOMEM, false},
                           [PN_FAULT_COLLECTIVE] = {"collective", PN_ERR_COMM, true},
                           [PN_FAULT_CHECKPOINT] = {"checkpoint", PN_ERR_IO, true}};

static const char *const kinds[KINDS] = {"error", "exit", "kill", "sleep", "NaN"};
static const double FOR_EVER_S = 1e6;
static const char WAY_OUT[] = "unset PN_FAULT; train.resume=true goes on from the last checkpoint";

pn_fault_site pn_fault_armed;
static struct {
  const char *text; /* of the environment */
  int rank;
  pn_fault_site site;
  fault_kind kind;
  double sleep_s;
  long when;
  atomic_long visits;
} fault;

static bool parse_number(const char *text, long lo, long hi, long *out) {
  char *end;
  *out = strtol(text, &end, 10);
  return end != text && !*end && *out >= lo && *out <= hi;
}

static bool parse_site(const char *text) {
  for (int i = PN_FAULT_NONE + 1; i < PN_FAULT_SITES; i++)
    if (strcmp(text, sites[i].name) == 0) fault.site = (pn_fault_site)i;
  return fault.site != PN_FAULT_NONE;
}

static bool parse_kind(const char *text) {
  char *end;

  fault.sleep_s = FOR_EVER_S;
  if (strncmp(text, "sleep=", 6) == 0) {
    fault.kind = SLEEP;
    fault.sleep_s = strtod(text + 6, &end);
    return end != text + 6 && !*end && fault.sleep_s >= 0;
  }
  for (fault.kind = ERROR; fault.kind < KINDS; fault.kind++)
    if (strcmp(text, kinds[fault.kind]) == 0)
      return fault.kind != NOT_A_NUMBER || sites[fault.site].numbers;
  return false;
}

static bool parse(const char *text, int size) {
  char copy[64], *part[4] = {NULL}, *rest = copy;
  long rank = 0;
  int n = 0;

  if ((size_t)snprintf(copy, sizeof copy, "%s", text) >= sizeof copy) return false;
  while (rest && n < 4) {
    part[n++] = rest;
    if ((rest = strchr(rest, ':'))) *rest++ = '\0';
  }
  fault.when = 1;
  fault.site = PN_FAULT_NONE;
  if (rest || n < 3 || !parse_number(part[0], 0, size - 1, &rank)) return false;
  fault.rank = (int)rank;
  return parse_site(part[1]) && parse_kind(part[2]) &&
         (n == 3 || parse_number(part[3], 1, 1000000000, &fault.when));
}

pn_status pn_fault_setup(int rank, int size) {
  pn_fault_armed = PN_FAULT_NONE;
  atomic_store(&fault.visits, 0);
  fault.text = getenv("PN_FAULT");
  if (!fault.text || !*fault.text) return PN_OK;
  if (!parse(fault.text, size))
    return PN_FAIL(PN_ERR_ARG, "PN_FAULT=%s with %d ranks: " FORM, fault.text, size);
  if (rank == fault.rank) pn_fault_armed = fault.site;
  return PN_OK;
}

/* The process will not be able to say it afterwards. */
static void last_words(const char *what) {
  char host[64] = "";

  gethostname(host, sizeof host - 1);
  fprintf(stderr, "pneuma: rank %d on %s: PN_FAULT=%s: %s at site %s, visit %ld; %s\n", fault.rank,
          host, fault.text, what, sites[fault.site].name, fault.when, WAY_OUT);
}

pn_status pn_fault_visit(float *x) {
  if (fault.kind == NOT_A_NUMBER && !x) return PN_OK;
  if (atomic_fetch_add(&fault.visits, 1) + 1 != fault.when) return PN_OK;
  switch (fault.kind) {
  case EXIT:
    last_words("the process leaves");
    _exit(1);
  case KILL:
    last_words("the process is killed");
    raise(SIGKILL);
    break;
  case SLEEP:
    last_words("the process sleeps");
    pn_sleep(fault.sleep_s);
    return PN_OK;
  case NOT_A_NUMBER:
    *x = NAN;
    return PN_OK;
  default:
    break;
  }
  return PN_FAIL(sites[fault.site].status, "PN_FAULT=%s: error at site %s, visit %ld; %s",
                 fault.text, sites[fault.site].name, fault.when, WAY_OUT);
}
