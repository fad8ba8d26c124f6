/* trainer.c -- the loop over epochs, and what a run hands back.  Names no model, device or
 * strategy. */
#include "train/trainer.h"

#include "base/clock.h"
#include "base/log.h"
#include "train/checkpoint.h"
#include "train/memory.h"
#include "train/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHECK_EVERY = 50 };             /* steps between checks for losses that are not finite */
static const double SAVE_EVERY_S = 60; /* at the end of the first epoch after that long */

static pn_status train_steps(pn_run *r, int64_t epoch, int64_t n) {
  pn_progress bar;
  char what[32], note[64];
  int64_t images = 0, total = 0;
  pn_status st = PN_OK;

  for (int64_t k = 0; k < n; k++) total += pn_batches_share(&r->batches, k).global;
  snprintf(what, sizeof what, "epoch %lld", (long long)epoch);
  pn_progress_start(&bar, what, "images", total);
  pn_sampler_permute(r->cfg->seed, (uint32_t)epoch, r->batches.n, r->order);
  for (int64_t k = 0; k < n; k++) {
    PN_TRY(pn_run_step(r, (uint32_t)epoch, k));
    images += pn_batches_share(&r->batches, k).global;
    snprintf(note, sizeof note, "step %lld", (long long)r->done);
    if (pn_comm_rank(r->comm) == 0) pn_progress_update(&bar, images, note);
    if (k % CHECK_EVERY == CHECK_EVERY - 1) PN_TRY(pn_run_check_finite(r));
  }
done:
  pn_progress_end(&bar);
  return st;
}

static pn_status save(pn_run *r, int64_t epoch) {
  pn_checkpoint k = {.cfg = r->cfg,
                     .model = &r->model,
                     .graph = r->graph,
                     .strategy = r->strategy,
                     .comm = r->comm,
                     .step = r->done,
                     .epoch = epoch};
  pn_status st;

  if (!r->cfg->out_path || r->saved_step == r->done) return PN_OK;
  st = pn_checkpoint_save(&k);
  r->saved_step = r->done;
  r->t_saved_s = pn_now();
  return st;
}

/* Rank 0's clock decides for all. */
static pn_status save_if_due(pn_run *r, int64_t epoch) {
  int due = pn_now() - r->t_saved_s >= SAVE_EVERY_S;
  pn_status st = pn_bcast(r->comm, "time for a checkpoint?", &due, 1, PN_I32, 0);
  return st == PN_OK && due ? save(r, epoch) : st;
}

static void tell_epoch(const pn_run *r, const pn_epoch_row *e) {
  char val[160] = "";

  if (e->val)
    snprintf(val, sizeof val,
             "; val: loss %.4f, accuracy %.4f, precision %.4f, recall %.4f, AUC %.4f", e->val->loss,
             e->val->accuracy, e->val->precision, e->val->recall, e->val->auc);
  if (pn_comm_rank(r->comm) == 0)
    pn_info("epoch %lld: loss %.4f%s; %.1f images/s, %.1f s", (long long)e->epoch, e->loss, val,
            e->images_per_s, e->seconds);
}

/* After the steps: reduce, evaluate, write down. */
static pn_status end_epoch(pn_run *r, int64_t epoch, int64_t n, pn_metrics *val) {
  pn_epoch_row row = {.epoch = epoch, .lr = r->cfg->optim.lr};
  int64_t first = r->done - n, images = 0;
  pn_status st = PN_OK;

  PN_TRY(pn_run_check_finite(r));
  PN_TRY(pn_run_reduce(r, epoch, n));
  for (int64_t i = first; i < r->done; i++) {
    images += r->rows[i].images;
    row.seconds += r->rows[i].seconds[PN_COL_STEP];
  }
  row.loss = r->final_loss = pn_run_mean_loss(r, first);
  row.images_per_s = row.seconds > 0 ? (double)images / row.seconds : 0;
  if (r->eval && pn_dataset_count(r->data, PN_VAL) > 0) {
    pn_metrics_free(val);
    PN_TRY(pn_evaluator_run(r->eval, PN_VAL, val));
    row.val = val;
  }
  PN_TRY(pn_agree(r->comm, pn_record_epoch(&r->record, &row)));
  tell_epoch(r, &row);
done:
  return st;
}

static pn_status train_epochs(pn_run *r, pn_metrics *val, int64_t *epochs) {
  pn_status st = PN_OK;

  for (*epochs = 0; r->done < r->n_steps;) {
    int64_t left = r->n_steps - r->done, n = left < r->batches.steps ? left : r->batches.steps;
    int64_t epoch = *epochs + 1;
    PN_TRY(train_steps(r, epoch, n));
    PN_TRY(end_epoch(r, epoch, n, val));
    *epochs = epoch;
    if (r->done < r->n_steps) PN_TRY(save_if_due(r, epoch));
  }
done:
  return st;
}

/* Largest value over the ranks of each kind of memory. */
static pn_status memory_use(pn_run *r, pn_train_result *out, size_t *arena) {
  int64_t v[7] = {(int64_t)r->strategy->bytes_params,
                  (int64_t)r->strategy->bytes_grads,
                  (int64_t)r->strategy->bytes_state,
                  0,
                  0,
                  0,
                  pn_memory_peak()};
  pn_plan_memory m[PN_MAX_PLANS + 1] = {{0}};
  pn_status st;

  for (int i = 0; i < r->plans.n; i++) m[i] = pn_plan_memory_use(r->plans.plan[i]);
  if (r->eval) m[PN_MAX_PLANS] = pn_evaluator_memory(r->eval);
  for (int i = 0; i <= PN_MAX_PLANS; i++) {
    v[3] += (int64_t)m[i].activations;
    v[4] += (int64_t)m[i].workspace;
    v[5] += (int64_t)m[i].arena;
  }
  st = pn_allreduce(r->comm, "memory use", v, 7, PN_I64, PN_MAX);
  out->bytes_parameters = (size_t)v[0];
  out->bytes_gradients = (size_t)v[1];
  out->bytes_state = (size_t)v[2];
  out->bytes_activations = (size_t)v[3];
  out->bytes_workspace = (size_t)v[4];
  *arena = (size_t)v[5];
  out->peak_rss = (size_t)v[6];
  return st;
}

static pn_status finish(pn_run *r, int64_t epochs, pn_train_result *out) {
  pn_run_facts facts = {.cfg = r->cfg,
                        .device = r->device->ops->name,
                        .ranks = pn_comm_size(r->comm),
                        .steps_per_epoch = r->batches.steps};
  pn_status st = PN_OK;

  PN_TRY(save(r, epochs));
  if (r->eval && pn_dataset_count(r->data, PN_TEST) > 0)
    PN_TRY(pn_evaluator_run(r->eval, PN_TEST, &out->test));
  PN_TRY(pn_strategy_weights_sha256(r->strategy, out->weights_sha256));
  PN_TRY(memory_use(r, out, &facts.bytes_arena));
  out->parameters = pn_graph_param_count(r->graph);
  out->global_batch = r->batches.global;
  out->steps = r->done;
  out->final_loss = r->final_loss;
  out->seconds = pn_now() - r->t_start_s;
  PN_TRY(pn_agree(r->comm, pn_record_times(r->rows, r->done, out)));
  PN_TRY(pn_agree(r->comm, pn_record_finish(&r->record, &facts, out)));
done:
  return st;
}

pn_status pn_train(const pn_train_config *cfg, pn_comm *c, pn_dataset *data, pn_train_result *out) {
  pn_run *r = NULL;
  int64_t epochs = 0;
  pn_status st = PN_OK;

  *out = (pn_train_result){.record = NULL};
  pn_memory_reset_peak();
  PN_TRY(pn_run_create(cfg, c, data, &r));
  PN_TRY(train_epochs(r, &out->val, &epochs));
  PN_TRY(finish(r, epochs, out));
done:
  pn_run_destroy(r);
  if (st != PN_OK) pn_train_result_free(out);
  return st;
}

void pn_train_result_free(pn_train_result *r) {
  if (!r) return;
  pn_metrics_free(&r->val);
  pn_metrics_free(&r->test);
  json_decref(r->record);
  r->record = NULL;
}
