/* run.h -- the parts of one training run; private to src/train. */
#ifndef PN_TRAIN_RUN_H
#define PN_TRAIN_RUN_H

#include "parallel/strategy.h"
#include "prof/phases.h"
#include "train/batch.h"
#include "train/evaluate.h"
#include "train/plan_set.h"
#include "train/record.h"

enum { PN_WHERE_BYTES = 160 };

typedef struct {
  const pn_train_config *cfg; /* borrowed, like comm and data */
  pn_comm *comm;
  pn_dataset *data;
  pn_model_config model; /* with the data's sizes */
  pn_graph *graph;
  pn_device *device;
  pn_optim *optim;
  pn_plan_set plans;
  pn_strategy *strategy;
  pn_evaluator *eval; /* NULL without validation */
  pn_record record;

  pn_batches batches;
  int64_t n_steps; /* of the whole run */
  int64_t done;    /* steps finished */
  pn_batch batch;
  int64_t *order; /* [images of the split]: this epoch's */

  /* Of the epoch that runs; [steps per epoch]. */
  pn_phases *phases;
  double *hidden;   /* seconds of communication that the rank did not wait for */
  double *loss;     /* this rank's part of the step's mean loss */
  int64_t bad_step; /* first step with a loss that is not finite, INT64_MAX: none */
  char bad_where[PN_WHERE_BYTES];

  /* Reduced over the ranks. */
  double *columns;   /* [steps per epoch * PN_COL_COUNT] */
  pn_step_row *rows; /* [done], grows at the ends of epochs */
  double t_start_s, t_saved_s;
  int64_t saved_step; /* of the newest checkpoint, -1: none */
  double final_loss;
} pn_run;

/* run_setup.c */
pn_status pn_run_create(const pn_train_config *cfg, pn_comm *c, pn_dataset *data,
                        pn_run **out); /* collective, agreed */
void pn_run_destroy(pn_run *r);

/* step.c: step k of an epoch.  Collective; a failure of one rank is not agreed upon: the caller
 * must end the job.  Allocates nothing. */
pn_status pn_run_step(pn_run *r, uint32_t epoch, int64_t k);

/* epoch.c: times and losses of the epoch's first n steps over all ranks -> rows, files. Collective.
 */
pn_status pn_run_reduce(pn_run *r, int64_t epoch, int64_t n);
/* Ends the run on all ranks if a loss was not finite.  Collective, agreed. */
pn_status pn_run_check_finite(pn_run *r);
/* Mean loss of rows [first, done), weighted by images. */
double pn_run_mean_loss(const pn_run *r, int64_t first);

#endif
