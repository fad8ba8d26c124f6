/* fsdp.h -- what fsdp_plan.c (who has what) and fsdp.c (when it moves) share. */
#ifndef PN_PARALLEL_FSDP_H
#define PN_PARALLEL_FSDP_H

#include "parallel/exchange.h"
#include "parallel/shards.h"

enum { PN_UNIT_PARAMS, PN_UNIT_GRADS, PN_UNIT_KINDS };

struct pn_unit {
  /* KEPT: given up, but the same values are still there while all its pages are. */
  enum { ABSENT, COMING, PRESENT, KEPT } params;
  pn_exchange gather, reduce;
  bool gathering, reducing;    /* not known to be complete */
  bool reduces;                /* started and not waited for */
  int window;                  /* far parameters: which memory they share with other units */
  int first_param;             /* its gradient comes last */
  bool late;                   /* its gradients stay, and are added up in the update */
  int64_t grads_at;            /* of its slice in pn_fsdp.grads, if it is not `late` */
  bool busy[PN_UNIT_KINDS];    /* needed now: its pages stay */
  size_t paged[PN_UNIT_KINDS]; /* bytes from the unit's start on that have pages */
};

struct pn_fsdp {
  int n;
  struct pn_unit *unit; /* [n], owned */
  pn_shards shards;     /* block u: unit u, which may be empty */
  float *params;        /* [shards.own]: the rank's slices; NULL on one host */
  float *grads;         /* [own_grads]: its slices of sums */
  int64_t own_grads;
  int flying, reduced; /* requests in flight; units whose reduction was started in this pass */
  int pass;            /* backward pass of the step, from 0 */
  double t_open;
  int64_t steps;
  int *held;          /* [n] of each window: the unit whose parameters were put there last; owned */
  bool far, in_place; /* resident.h; in place: host pages are never needed */
  bool backward;      /* direction of the pass that runs */
  size_t room[PN_UNIT_KINDS], used[PN_UNIT_KINDS]; /* bytes of pages: allowed, taken */
};

bool pn_fsdp_empty(const struct pn_fsdp *f, int u); /* or there is no unit u */
/* The next unit with parameters in this direction; -1 or f->n: there is none. */
int pn_fsdp_neighbour(const struct pn_fsdp *f, int u, int step);
size_t pn_fsdp_all_units(const pn_strategy *s); /* bytes of the trainable parameters */
size_t pn_fsdp_rest(const pn_strategy *s);      /* bytes of running statistics */

/* fsdp_pages.c: pages for a unit.  Those of units that are not busy go when the room is short, not
 * before and no more than needed: a page that comes back costs more than its transfer. */
pn_status pn_fsdp_take(pn_strategy *s, struct pn_fsdp *f, int kind, int u);
/* Could it have them without those of units that are busy? */
bool pn_fsdp_fits(const struct pn_fsdp *f, int kind, int u);
/* Parameters that were given up and have all their pages.  The same answer on all ranks: it depends
 * on the order of the hooks and on places in the arena, which starts at a large page. */
bool pn_fsdp_still_there(const struct pn_fsdp *f, int u);
/* The parameters' pages are gone (pn_shards_release). */
void pn_fsdp_forget_params(struct pn_fsdp *f);
/* Look up how much is resident, for s->peak_*. */
void pn_fsdp_measure(pn_strategy *s, const struct pn_fsdp *f);

pn_status pn_fsdp_plan(pn_strategy *s);
pn_status pn_fsdp_setup(pn_strategy *s);

#endif
