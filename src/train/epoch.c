/* epoch.c -- what the ranks tell each other at the end of an epoch. */
#include "train/run.h"

#include <stdlib.h>

/* This rank's seconds of the epoch's steps, one row of columns per step. */
static void fill_columns(pn_run *r, int64_t n) {
  static const struct {
    pn_column column;
    pn_phase phase;
  } phases[] = {{PN_COL_DATA, PN_PHASE_DATA},
                {PN_COL_FORWARD, PN_PHASE_FORWARD},
                {PN_COL_BACKWARD, PN_PHASE_BACKWARD},
                {PN_COL_COMM_EXPOSED, PN_PHASE_COMM},
                {PN_COL_UPDATE, PN_PHASE_UPDATE}};

  for (size_t p = 0; p < sizeof phases / sizeof *phases; p++) {
    const double *s = pn_phases_seconds(r->phases, phases[p].phase);
    for (int64_t k = 0; k < n; k++) r->columns[k * PN_COL_COUNT + phases[p].column] = s[k];
  }
  for (int64_t k = 0; k < n; k++) {
    r->columns[k * PN_COL_COUNT + PN_COL_COMM_HIDDEN] = r->hidden[k];
    r->columns[k * PN_COL_COUNT + PN_COL_STEP] = pn_phases_step_seconds(r->phases)[k];
  }
}

static void append_rows(pn_run *r, int64_t epoch, int64_t n) {
  int64_t first = r->done - n;

  for (int64_t k = 0; k < n; k++) {
    pn_step_row *row = &r->rows[first + k];
    *row = (pn_step_row){.step = first + k + 1,
                         .epoch = epoch,
                         .images = pn_batches_share(&r->batches, k).global,
                         .loss = r->loss[k]};
    for (int c = 0; c < PN_COL_COUNT; c++) row->seconds[c] = r->columns[k * PN_COL_COUNT + c];
  }
}

static pn_status grow_rows(pn_run *r) {
  pn_step_row *rows = realloc(r->rows, (size_t)r->done * sizeof *rows);
  if (!rows) return PN_FAIL(PN_ERR_NOMEM, "times of %lld steps: out of memory", (long long)r->done);
  r->rows = rows;
  return PN_OK;
}

pn_status pn_run_reduce(pn_run *r, int64_t epoch, int64_t n) {
  pn_comm *c = r->comm;
  pn_status st = PN_OK;

  PN_TRY(pn_agree(c, grow_rows(r)));
  fill_columns(r, n);
  PN_TRY(pn_allreduce(c, "times of the epoch", r->columns, n * PN_COL_COUNT, PN_F64, PN_MAX));
  PN_TRY(pn_allreduce(c, "losses of the epoch", r->loss, n, PN_F64, PN_SUM));
  append_rows(r, epoch, n);
  pn_phases_reset(r->phases);
  PN_TRY(pn_agree(c, pn_record_steps(&r->record, r->rows + r->done - n, n)));
done:
  return st;
}

pn_status pn_run_check_finite(pn_run *r) {
  int64_t first = r->bad_step;
  pn_status st = pn_allreduce(r->comm, "check of the losses", &first, 1, PN_I64, PN_MIN);

  if (st != PN_OK || first == INT64_MAX) return st;
  if (r->bad_step == first)
    st = PN_FAIL(PN_ERR_NUMERIC,
                 "the loss of step %lld is not finite%s%s; a smaller optim.lr than %g may help",
                 (long long)first, r->bad_where[0] ? ", first seen in " : "", r->bad_where,
                 r->cfg->optim.lr);
  return pn_agree(r->comm, st);
}

double pn_run_mean_loss(const pn_run *r, int64_t first) {
  double sum = 0, images = 0;

  for (int64_t i = first; i < r->done; i++) {
    sum += r->rows[i].loss * (double)r->rows[i].images;
    images += (double)r->rows[i].images;
  }
  return images > 0 ? sum / images : 0;
}
