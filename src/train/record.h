/* record.h -- what a run tells: epochs.csv, steps.csv and run.json in its folder, and the same
 * object in memory. */
#ifndef PN_TRAIN_RECORD_H
#define PN_TRAIN_RECORD_H

#include "optim/loss_scale.h"
#include "parallel/bucket_choice.h"
#include "prof/nvml.h"
#include "train/events.h"
#include "train/trainer.h"

#include <stdio.h>

typedef enum {
  PN_COL_DATA,
  PN_COL_FORWARD,
  PN_COL_BACKWARD,
  PN_COL_COMM_EXPOSED,
  PN_COL_COMM_HIDDEN,
  PN_COL_COMM_LATE, /* of the exposed: until the last rank had come */
  PN_COL_UPDATE,
  PN_COL_STEP,
  PN_COL_COUNT
} pn_column;

/* One step: seconds are the largest over the ranks, column by column. */
typedef struct {
  int64_t step, epoch, images; /* step and epoch count from 1; images over all ranks */
  double loss, lr;             /* loss: mean over the step's images */
  double loss_scale;           /* negative: skipped; written where the record has scaling */
  double seconds[PN_COL_COUNT];
  double gpu[PN_GPU_FIGURES]; /* written where the record has GPUs */
} pn_step_row;

typedef struct {
  int64_t epoch, step;                    /* complete after it */
  double loss, lr, images_per_s, seconds; /* seconds: training alone */
  double phase[PN_COL_COUNT];             /* seconds, sums over its steps */
  int64_t peak_bytes;                     /* of memory, largest rank, so far */
  const pn_metrics *val;                  /* NULL: not evaluated; borrowed */
  double gpu[PN_GPU_FIGURES];             /* written where the record has GPUs */
} pn_epoch_row;

typedef struct {
  char folder[4096];            /* "" = nothing is written */
  FILE *epochs_csv, *steps_csv; /* owned; NULL where nothing is written */
  json_t *epochs;               /* owned */
  pn_events *events;            /* owned; NULL where nothing is written */
  const pn_dataset *data;       /* borrowed: names of the classes */
  bool outdated;                /* run.json is of fewer steps: it goes with the first row */
  bool gpu;                     /* GPUs are used, and watched: five more columns */
  bool scaling;                 /* fp16: two more columns in steps.csv */
} pn_record;

typedef struct {
  const char *folder; /* NULL on ranks that do not write; borrowed, like the others */
  const pn_dataset *data;
  bool gpu, scaling;
  bool resume;         /* the folder may hold a run: go on after `step` and `epoch` */
  int64_t step, epoch; /* 0: from the beginning */
  json_t *epochs;      /* rows of the epochs so far; NULL: none */
} pn_record_spec;

/* Makes the folder.  Lines of the CSV files after spec->step and spec->epoch are cut off; a file
 * with other columns is renamed, e.g. to steps-to-STEP.csv, and begun anew.
 * Errors: ARG (the folder holds another run: says what to do), IO. */
pn_status pn_record_open(const pn_record_spec *spec, pn_record *out);
void pn_record_close(pn_record *r);
pn_status pn_record_steps(pn_record *r, const pn_step_row *rows, int64_t n);
pn_status pn_record_epoch(pn_record *r, const pn_epoch_row *row);

/* What the numbers of the result do not say. */
typedef struct {
  const pn_train_config *cfg;
  const char *device, *precision;
  int ranks;
  size_t bytes_arena;
  const pn_bucket_choice *buckets;
  int64_t steps_per_epoch;
  int64_t best_step, best_epoch; /* -1: none */
  double best_value;
  bool restored, stopped_early;
  pn_loss_scale scaling; /* at the end; scale 0: none */
  /* On the device; NULL: the host makes the split's batches; borrowed. */
  const pn_image_decision *images[PN_SPLIT_COUNT];
} pn_run_facts;
/* Makes result->record and, where a folder is open, run.json. */
pn_status pn_record_finish(pn_record *r, const pn_run_facts *facts, pn_train_result *result);

/* Step times of `rows` after warm-up, see docs: fills step_ms, *_ms and images_per_s. */
pn_status pn_record_times(const pn_step_row *rows, int64_t n, pn_train_result *result);

#endif
