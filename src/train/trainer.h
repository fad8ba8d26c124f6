/* trainer.h -- one training or evaluation run on one communicator.  Names no model, device or
 * strategy. */
#ifndef PN_TRAIN_TRAINER_H
#define PN_TRAIN_TRAINER_H

#include "base/lock.h"
#include "comm/comm.h"
#include "data/augment.h"
#include "data/dataset.h"
#include "data/image_store.h"
#include "models/models.h"
#include "optim/groups.h"
#include "optim/optim.h"
#include "optim/schedule.h"
#include "train/batch.h"
#include "train/metrics.h"

#include <jansson.h>

/* Weights to start from; interop/initial.h makes them from a file. */
typedef struct {
  void *ctx;                                                             /* borrowed */
  pn_status (*open)(void *ctx, const pn_graph *g);                       /* not collective */
  pn_status (*value)(void *ctx, int param, float *logical, bool *found); /* pn_initial_source */
  json_t *(*describe)(void *ctx); /* what matched, for run.json; new reference */
} pn_train_weights;

typedef struct {
  char model[32];
  pn_model_config model_config; /* size, channels and classes are filled from the data */
  char strategy[16], device[16], precision[8]; /* precision "": f32 */
  bool precision_fallback;  /* f32 on all ranks where one has no such instructions, not an error */
  double loss_scale;        /* fp16: of the first step's loss */
  int64_t loss_scale_steps; /* fp16: good steps until it is doubled */
  bool loose;               /* cuda: convolutions may give other last bits each time */
  bool share_gpu, tf32;     /* device cuda: several ranks may use one; f32 products by TF32 */
  pn_optim_config optim;
  pn_schedule_config schedule; /* name "": constant */
  char lr_scale[8];            /* "none", "linear", "sqrt" of images per step / lr_batch */
  int64_t lr_batch;            /* images per step that optim.lr is meant for */
  pn_group_config groups;
  double clip_norm, ema, label_smoothing; /* 0: none */
  int64_t epochs, steps;                  /* stop after either; 0 = no limit by this one */
  int64_t only_steps; /* so many, at the rates of the whole run, and not what follows the
                         validation; 0: the whole run */
  int64_t batch;
  bool batch_global; /* batch is split over the ranks, else per rank */
  pn_last_batch last_batch;
  int64_t accumulate; /* parts that a rank's share of a step is computed in; 0: 1 */
  int leaves;         /* exact sums over so many parts of a step; 0: ordinary ones */
  char balance[8];    /* "none", "weights", "sampler" */
  char monitor[16];   /* what is best: "val_loss" (also ""), "val_accuracy", "val_f1", "val_auc",
                         "loss" */
  int64_t patience;   /* stop after so many epochs without a better one; 0: never */
  double min_delta;   /* less than that is not better */
  bool restore_best;  /* the result is that of the best epoch; needs out_path */
  int threads;        /* per rank, >= 1 (resolved) */
  uint64_t seed;
  double bucket_mb; /* 0: auto */
  bool blocking;    /* communication is waited for as soon as it is started */
  bool reshard;     /* fsdp: drop a unit's parameters between its forward and its backward */
  char comm[8];     /* "auto", "mpi", "shm"; "" = auto */
  pn_augment_config augment; /* of the training images; all 0 = none */
  pn_check check;
  int prefetch, data_threads; /* batches read ahead (0: in the step), and by how many threads */
  pn_images_where images;     /* on a device with memory of its own */
  bool validate;              /* evaluate on val after each epoch, on test at the end */
  bool resume;                /* go on from the newest checkpoint of out_path, if there is one */
  int64_t checkpoint_steps, checkpoint_epochs; /* save after so many; both 0: now and then */
  int64_t keep;                                /* newest checkpoints that stay; 0: one */
  bool keep_best;                              /* and the one of the best validation */
  bool heed_signals;    /* pn_signals_watch: stop with a checkpoint (STOPPED) when one has come */
  const char *out_path; /* run folder (checkpoint, epochs.csv, steps.csv, run.json); NULL = none;
                           borrowed */
  const pn_lock *lock;  /* of out_path, held by rank 0, its token on all; NULL = none; borrowed */
  const pn_train_weights *weights; /* NULL: random ones; borrowed */
  json_t *options;  /* effective options with origin, stored in run.json; may be NULL; borrowed */
  json_t *versions; /* library versions; may be NULL; borrowed */
  json_t *machine;  /* what it runs on; may be NULL (ranks but 0); borrowed */
} pn_train_config;

typedef struct {
  double median, p95, ci95[2]; /* milliseconds; max over ranks per step, after warm-up */
  int64_t n;
} pn_step_time;

typedef struct {
  pn_step_time step_ms;
  double data_ms, forward_ms, backward_ms, comm_exposed_ms, comm_hidden_ms, comm_late_ms,
      update_ms;       /* medians, max over ranks */
  bool comm_inside;    /* transfers are part of steps on the devices: comm_*_ms say nothing */
  double images_per_s; /* global batch / median step time */
  double seconds, final_loss;
  int64_t parameters, global_batch, steps;
  size_t bytes_parameters, bytes_gradients, bytes_state, bytes_activations, bytes_workspace,
      peak_rss; /* max over ranks */
  pn_metrics val, test;
  char weights_sha256[65];
  json_t *record; /* the run.json object of outputs.md; owned */
} pn_train_result;

/* Train on `data` with the ranks of `c`.  Collective; errors are agreed upon. */
pn_status pn_train(const pn_train_config *cfg, pn_comm *c, pn_dataset *data, pn_train_result *out);
void pn_train_result_free(pn_train_result *r);

/* Evaluate a checkpoint of a run folder on a split.  Collective. Same numbers at any size. */
typedef struct {
  const char *run_path, *data_path; /* borrowed */
  const char *checkpoint;           /* see pn_saved_run_open; NULL: auto */
  const char *scores_path;          /* CSV of the probabilities; NULL: none */
  const char *precision;            /* borrowed; NULL: that of the run */
  const char *device;               /* see pn_device_spec; borrowed; NULL: auto */
  pn_images_where images;           /* auto: stream, each image is asked for once */
  bool flip;                        /* see pn_eval_spec */
  pn_split split;
  int threads;
} pn_eval_job;
pn_status pn_eval_run(const pn_eval_job *job, pn_comm *c, pn_metrics *out);
json_t *pn_metrics_json(const pn_metrics *m,
                        const pn_dataset *d);  /* METRICS of outputs.md; new reference */
json_t *pn_warnings_json(const pn_dataset *d); /* its warnings, as texts; new reference */

#endif
