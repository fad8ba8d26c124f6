/* study.h -- the scaling study: rows of one configuration each, measured in one launch, compared.
 */
#ifndef PN_REPORT_STUDY_H
#define PN_REPORT_STUDY_H

#include "base/lock.h"
#include "comm/comm.h"
#include "data/dataset.h"
#include "report/scaling.h"
#include "train/trainer.h"

#include <jansson.h>

enum { PN_STUDY_NAME = 48, PN_STUDY_TEXT = 240, PN_STUDY_MAX_REPEATS = 32, PN_STUDY_MAX_ROWS = 64 };

/* One run of the program inside a row: step times after warm-up, max over ranks. */
typedef struct {
  double median_ms, rel_se; /* rel_se: half width of the 95 % interval / 1.96 / median */
  double comm_share; /* communication not hidden / step, medians over the steps; NaN: not known */
} pn_study_repeat;

typedef struct {
  /* what to run */
  char name[PN_STUDY_NAME];
  int ranks, threads_wanted; /* threads 0 = the cores of the rank */
  bool weak;                 /* local batch fixed, else global batch fixed */
  pn_train_config train;     /* its options are owned by the row (`options`) */
  json_t *options;           /* effective options with origin; owned; may be NULL */

  /* what came out; valid on rank 0 */
  char status[PN_STUDY_TEXT]; /* "ok", "not run: ..." */
  bool ok, oversubscribed;
  int threads, cores; /* per rank; ranks * threads */
  char device[16], weights_sha256[65];
  pn_study_repeat repeat[PN_STUDY_MAX_REPEATS];
  int n_repeats;
  bool same_weights; /* repeats of full length ended with the same weights */
  pn_step_time step; /* median of the repeats' medians; ci95 holds every repeat's interval */
  double comm_share; /* median over the repeats; NaN: not known */
  double images_per_s, seconds, loss;
  int64_t global_batch;                         /* images of a timed step over all ranks */
  double val_loss, accuracy, precision, recall; /* NaN without validation */
  json_t *record;                               /* run.json of the first run; owned */

  /* what follows from comparing; see pn_study_compare */
  double speedup, efficiency, karp_flatt; /* NaN where not defined */
  double over_one_rank; /* images/s over those of one rank with as many threads; NaN: no such row */
  bool other_batch;     /* its batch is not the base's: shown, not fitted */
  /* Exact sums: the row with the same ranks and batch and ordinary ones, and this row's step over
   * that one's; -1, NaN: there is none, or these are ordinary. */
  int ordinary;
  double exact_cost;
} pn_study_row;

/* One fit and what it stands on. */
typedef struct {
  int base;                     /* row with p = 1 of this fit, -1: none */
  char left_out[PN_STUDY_TEXT]; /* rows that could not be used and why; "" = none */
} pn_study_fit;

typedef struct {
  pn_study_row *rows; /* [n], owned */
  int n;
  int repeats;          /* runs per row, 1 .. PN_STUDY_MAX_REPEATS */
  int64_t repeat_steps; /* steps of runs after the first; 0 = as many as the first */
  uint64_t seed;        /* order of the rows in later passes; bootstrap */
  json_t *machine;      /* where it ran; owned; may be NULL */
  const pn_lock *lock;  /* rank 0: of the folder of the results; borrowed, NULL: none */
  bool plotted;         /* speedup.svg and efficiency.svg were drawn: study.md shows them */

  int base;     /* best single-rank row; -1: none was run */
  double drift; /* base measured again at the end / its median - 1; NaN: not measured */
  pn_fraction_fit amdahl, gustafson;
  pn_usl_fit usl;
  pn_study_fit strong, weak; /* strong: Amdahl and USL; weak: Gustafson */
} pn_study;

pn_status pn_study_create(int n_rows, pn_study **out); /* rows are zeroed; owned by the caller */
void pn_study_destroy(pn_study *s);                    /* NULL is allowed */

/* Run every row on the first `ranks` ranks of `world`; the others sleep.  A row that fails ends the
 * study on all ranks with its name.  rows_path: folder for the run.json of each row, NULL = none.
 * Collective; errors are agreed upon. */
pn_status pn_study_run(pn_study *s, pn_comm *world, pn_dataset *d, const char *rows_path);

/* The single-rank row with most images per second, among those that were run and have a core for
 * each thread; -1: none.  A slower base would flatter the others.  Valid on rank 0. */
int pn_study_find_base(const pn_study *s);

/* Base, speedup, efficiency, fits: from what was measured.  Not collective (rank 0). */
pn_status pn_study_compare(pn_study *s);

/* study_report.c; new reference / string owned by the caller. */
json_t *pn_study_json(const pn_study *s);
pn_status pn_study_text(const pn_study *s, char **out);     /* for a terminal */
pn_status pn_study_markdown(const pn_study *s, char **out); /* study.md */
pn_status pn_study_csv(const pn_study *s, char **out);      /* study.csv: all digits */
/* Write study.json, study.csv, study.md and plots into dir.  plots: draw them when gnuplot is
 * there (sets plotted).  Not collective (rank 0). */
pn_status pn_study_write(pn_study *s, const char *dir, bool plots);

#endif
