/* run.h -- the parts of one training run; private to src/train. */
#ifndef PN_TRAIN_RUN_H
#define PN_TRAIN_RUN_H

#include "base/clock.h"
#include "optim/loss_scale.h"
#include "parallel/strategy.h"
#include "prof/phases.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/feed.h"
#include "train/gpu_columns.h"
#include "train/plan_set.h"
#include "train/record.h"

enum { PN_WHERE_BYTES = 160 };

typedef struct {
  const pn_train_config *cfg; /* borrowed, like comm and data */
  pn_comm *comm;
  pn_comm *bulk; /* the same ranks: gradients and parameters; owned */
  pn_dataset *data;
  pn_model_config model; /* with the data's sizes */
  pn_graph *graph;
  pn_device *device;
  pn_dtype precision; /* in effect */
  pn_optim *optim;
  pn_group *groups; /* [parameters] */
  pn_schedule schedule;
  pn_loss_scale scaling;   /* fp16 */
  float *scaled;           /* fp16: sample_scale times the scale of the loss; [largest part] */
  float *unscaled;         /* the same without, of whole steps; [2 * largest part] */
  double base_lr, lr;      /* scaled optim.lr; that of the last step */
  uint8_t *label;          /* [images of the split]; NULL without train.balance */
  float *weight;           /* the same, in the mean loss; NULL: all 1 */
  float class_weight[256]; /* with weight */
  pn_class_groups drawn;   /* with train.balance=sampler */
  pn_plan_set plans;
  pn_strategy *strategy;
  pn_evaluator *eval; /* NULL without validation */
  pn_record record;

  pn_batches batches;
  int64_t n_steps;        /* of the whole run */
  int64_t schedule_steps; /* that the learning rate is planned for: as many, or more */
  int64_t done;           /* steps finished */
  int64_t epoch;          /* epochs complete */
  int64_t pending;        /* of the steps finished: not reduced yet */
  struct {
    double loss_sum, phase[PN_COL_COUNT];
    int64_t images;
    pn_gpu_part gpu; /* since this process began */
  } part;            /* of the epoch that runs: what is reduced */
  struct {
    int64_t step, epoch; /* -1: none yet */
    double value;
  } best;
  int64_t stale;         /* whole epochs that did not beat this: */
  double to_beat;        /* of the whole epochs, turned so that less is better; DBL_MAX: none */
  bool undefined_told;   /* that train.monitor has no value */
  double seconds_before; /* of the processes before this one */
  json_t *epochs_before; /* NULL: a new run; owned */
  pn_feed *feed;
  int64_t *order;       /* [images of the split]: this epoch's */
  pn_failure data_lost; /* this rank's first step without its images: row is the step */

  /* Of the pending steps; [steps per epoch]. */
  pn_phases *phases;
  double *hidden;      /* seconds of communication that the rank did not wait for */
  double *late;        /* seconds of waiting for a rank that had not come yet */
  double *loss;        /* this rank's part of the step's mean loss */
  double *leaf_loss;   /* [steps][batches.leaves]: the same of each leaf; 0 for those of others */
  double *rate;        /* learning rate */
  double *loss_scale;  /* fp16: negative where the step was skipped */
  pn_gpu_columns *gpu; /* NULL: no GPU is used, or watched; owned */
  struct {
    pn_plan *plan; /* NULL: none */
    pn_share share;
    const float *scale; /* of its images, unscaled; in `unscaled` */
    int64_t at, step;   /* of the pending steps; of the run */
    bool follows;       /* fp16: whether it was skipped is not known yet; plan NULL: all the same */
  } unread;             /* a whole step, or part of one, whose loss is not in `loss` yet */
  int64_t bad_step;     /* first step with a loss that is not finite, INT64_MAX: none */
  char bad_where[PN_WHERE_BYTES];

  /* Reduced over the ranks. */
  double *columns;   /* [steps per epoch * PN_COL_COUNT] */
  pn_step_row *rows; /* [n_rows], of this process; grows when steps are reduced */
  int64_t n_rows;
  double t_start_s, t_saved_s;
  int64_t saved_step; /* of the newest checkpoint, -1: none */
  double final_loss;
} pn_run;

/* run_setup.c */
pn_status pn_run_create(const pn_train_config *cfg, pn_comm *c, pn_dataset *data,
                        pn_run **out); /* collective, agreed */
void pn_run_destroy(pn_run *r);

/* recipe.c.  Not collective.  Groups of parameters, before the plans: the frozen ones have no
 * gradient; then schedule, learning rate, class weights. */
pn_status pn_run_groups(pn_run *r);
pn_status pn_run_recipe(pn_run *r);
pn_status pn_run_order(pn_run *r, uint32_t epoch); /* fills r->order */
double pn_run_step_lr(const pn_run *r);            /* of the step after r->done */
bool pn_run_validates(const pn_run *r);

/* monitor.c */
bool pn_run_needs_val(const pn_train_config *c); /* train.monitor is one of the validation */
/* Steps up to r->done, perhaps only part of an epoch, are evaluated: plateau rule, patience, best.
 * True: it is the best so far. */
bool pn_run_note_epoch(pn_run *r, const pn_epoch_row *e);
bool pn_run_stopped(const pn_run *r); /* train.patience is used up */
void pn_run_tell_stop(const pn_run *r);

/* step.c: step k of an epoch.  Collective; a failure of one rank is not agreed upon: the caller
 * must end the job.  Images that cannot be read are no failure yet: the rank goes on without them,
 * so that nobody waits for it, until pn_run_check ends the run on all ranks.  Allocates nothing. */
pn_status pn_run_step(pn_run *r, int64_t k);

/* step.c: the losses of all steps are in r->loss, and r->scaling is that after them.  Not
 * collective. */
pn_status pn_run_read_loss(pn_run *r);

/* epoch.c: times and losses of the pending steps over all ranks -> part, rows, files. Collective.
 */
pn_status pn_run_reduce(pn_run *r, int64_t epoch);
/* " the last good checkpoint is RUN/checkpoints/step_N;" */
void pn_run_last_good(const pn_run *r, char *out, size_t out_bytes);
/* Ends the run on all ranks if one could not read its images, or a loss was not finite.  Call it
 * before anything of these steps is kept.  Collective, agreed. */
pn_status pn_run_check(pn_run *r);

/* state.c */
json_t *pn_run_state_json(const pn_run *r); /* new reference */
/* Errors: FORMAT, ARG (another number of images per step). */
pn_status pn_run_state_parse(pn_run *r, const pn_saved_run *s);

/* resume.c: weights, optimizer state and state of the newest checkpoint of cfg->out_path; without
 * one nothing changes.  Collective, agreed.  Errors: ARG (other model, data or options: says which,
 * complete already), IO, FORMAT. */
pn_status pn_run_resume(pn_run *r);

/* saving.c: collective, agreed.  A checkpoint of step r->done, unless there is one. */
pn_status pn_run_save(pn_run *r);
/* In the middle of an epoch: is one due?  The same answer on all ranks. */
bool pn_run_save_due(const pn_run *r);
/* At the end of an epoch; improved: the validation was the best so far. */
pn_status pn_run_save_epoch(pn_run *r, bool improved);

#endif
