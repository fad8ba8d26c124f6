/* epoch.c -- what the ranks tell each other at the end of an epoch. */
#include "parallel/tree.h"
#include "train/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    r->columns[k * PN_COL_COUNT + PN_COL_COMM_LATE] = r->late[k];
    r->columns[k * PN_COL_COUNT + PN_COL_STEP] = pn_phases_step_seconds(r->phases)[k];
  }
}

/* The order of the sums is that of the steps, wherever they were cut. */
static void append_rows(pn_run *r, int64_t epoch, int64_t n) {
  int64_t first = r->done - n, in_epoch = first - (epoch - 1) * r->batches.steps;

  for (int64_t k = 0; k < n; k++) {
    pn_step_row *row = &r->rows[r->n_rows++];
    *row = (pn_step_row){.step = first + k + 1,
                         .epoch = epoch,
                         .images = pn_batches_share(&r->batches, in_epoch + k).global,
                         .loss = r->loss[k],
                         .lr = r->rate[k],
                         .loss_scale = r->loss_scale[k]};
    for (int c = 0; c < PN_COL_COUNT; c++) {
      row->seconds[c] = r->columns[k * PN_COL_COUNT + c];
      r->part.phase[c] += row->seconds[c];
    }
    if (r->gpu) pn_gpu_columns_row(r->gpu, k, row->gpu);
    if (r->gpu) pn_gpu_part_add(&r->part.gpu, row->gpu, row->seconds[PN_COL_STEP]);
    r->part.loss_sum += row->loss * (double)row->images;
    r->part.images += row->images;
  }
}

static pn_status grow_rows(pn_run *r) {
  size_t n = (size_t)(r->n_rows + r->pending);
  pn_step_row *rows = realloc(r->rows, n * sizeof *rows);
  if (!rows) return PN_FAIL(PN_ERR_NOMEM, "times of %zu steps: out of memory", n);
  r->rows = rows;
  return PN_OK;
}

/* Of each leaf one rank knows the loss, the others have 0: no sum of these is rounded. */
static pn_status reduce_leaves(pn_run *r, int64_t epoch, int64_t n) {
  int64_t first = r->done - n - (epoch - 1) * r->batches.steps, leaves = r->batches.leaves;
  pn_status st =
      pn_allreduce(r->comm, "losses of the epoch", r->leaf_loss, n * leaves, PN_F64, PN_SUM);

  for (int64_t k = 0; k < n; k++)
    r->loss[k] = pn_tree_sum(r->leaf_loss + k * leaves, pn_batches_leaves(&r->batches, first + k));
  memset(r->leaf_loss, 0, (size_t)(n * leaves) * sizeof *r->leaf_loss);
  return st;
}

static pn_status reduce_losses(pn_run *r, int64_t epoch, int64_t n) {
  if (r->batches.leaves > 0) return reduce_leaves(r, epoch, n);
  return pn_allreduce(r->comm, "losses of the epoch", r->loss, n, PN_F64, PN_SUM);
}

pn_status pn_run_reduce(pn_run *r, int64_t epoch) {
  int64_t n = r->pending;
  pn_comm *c = r->comm;
  pn_status st = PN_OK;

  if (n == 0) return PN_OK;
  PN_TRY(pn_agree(c, grow_rows(r)));
  fill_columns(r, n);
  PN_TRY(pn_allreduce(c, "times of the epoch", r->columns, n * PN_COL_COUNT, PN_F64, PN_MAX));
  if (r->gpu) PN_TRY(pn_gpu_columns_reduce(r->gpu, c, n));
  PN_TRY(reduce_losses(r, epoch, n));
  append_rows(r, epoch, n);
  r->pending = 0;
  pn_phases_reset(r->phases);
  st = pn_lock_check(r->cfg->lock); /* before anything is written */
  if (st == PN_OK) st = pn_record_steps(&r->record, r->rows + r->n_rows - n, n);
  PN_TRY(pn_agree(c, st));
done:
  return st;
}

void pn_run_last_good(const pn_run *r, char *out, size_t out_bytes) {
  out[0] = '\0';
  if (r->cfg->out_path && r->saved_step >= 0)
    snprintf(out, out_bytes, " the last good checkpoint is %s/checkpoints/step_%lld;",
             r->cfg->out_path, (long long)r->saved_step);
  else
    snprintf(out, out_bytes, " there is no checkpoint yet;");
}

static pn_status check_finite(pn_run *r) {
  int64_t first = r->bad_step;
  char good[1200];
  pn_status st = pn_allreduce(r->comm, "check of the losses", &first, 1, PN_I64, PN_MIN);

  if (st != PN_OK || first == INT64_MAX) return st;
  pn_run_last_good(r, good, sizeof good);
  if (r->bad_step == first)
    st = PN_FAIL(PN_ERR_NUMERIC,
                 "the loss of step %lld is not finite%s%s;%s a smaller optim.lr than %g may help",
                 (long long)first, r->bad_where[0] ? ", first seen in " : "", r->bad_where, good,
                 r->cfg->optim.lr);
  return pn_agree(r->comm, st);
}

pn_status pn_run_check(pn_run *r) {
  pn_status st = pn_run_read_loss(r);

  if (st == PN_OK) st = pn_failure_raise(&r->data_lost);
  st = pn_agree(r->comm, st);
  return st == PN_OK ? check_finite(r) : st;
}
