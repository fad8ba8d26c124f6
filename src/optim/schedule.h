/* schedule.h -- the learning rate of each step, as a factor on optim.lr.  PyTorch's schedulers with
 * the same arguments give the same values (OneCycleLR with cycle_momentum=False). */
#ifndef PN_OPTIM_SCHEDULE_H
#define PN_OPTIM_SCHEDULE_H

#include "base/status.h"

#include <stdint.h>

typedef struct {
  char name[16];               /* "constant", "step", "cosine", "onecycle", "plateau" */
  double warmup, warmup_start; /* epochs; factor at its first step (LinearLR) */
  double every, gamma; /* step: epochs, also parts of one, counted from the beginning (StepLR) */
  double floor;        /* cosine, plateau: least factor */
  double rise, div,
      final_div;              /* onecycle: share of the steps that rise, lr / first, first / last */
  double factor, threshold;   /* plateau: relative improvement that counts */
  int64_t patience, cooldown; /* plateau: epochs */
} pn_schedule_config;

void pn_schedule_defaults(pn_schedule_config *c); /* constant */

typedef struct {
  pn_schedule_config config;
  int64_t steps, steps_per_epoch; /* of the whole run */
  /* plateau; saved with the run */
  double factor, best;
  int64_t bad, cooling;
} pn_schedule;

/* Errors: ARG (unknown name, warm-up that does not fit). */
pn_status pn_schedule_make(const pn_schedule_config *c, int64_t steps, int64_t steps_per_epoch,
                           pn_schedule *out);
double pn_schedule_factor(const pn_schedule *s, int64_t step); /* step = 0, 1, ... */
/* At the end of an epoch: a loss, lower is better.  True: the plateau rule lowered the rate. */
bool pn_schedule_epoch(pn_schedule *s, double loss);

/* What optim.scale makes of the learning rate: "none", "linear" or "sqrt" of images / base. */
double pn_lr_scale(const char *rule, double images, double base);

#endif
