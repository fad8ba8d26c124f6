/* trainer.c -- the loop over epochs, and what a run hands back.  Names no model, device or
 * strategy. */
#include "train/trainer.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "prof/memory.h"
#include "train/run.h"

#include <stdio.h>
#include <string.h>

enum { CHECK_EVERY = 10 }; /* steps between pn_run_check */

/* In the middle of an epoch: what is saved must be finite and its steps written down. */
static pn_status save_now(pn_run *r, int64_t epoch) {
  pn_status st = PN_OK;

  PN_TRY(pn_run_check(r));
  PN_TRY(pn_run_reduce(r, epoch));
  PN_TRY(pn_run_save(r));
done:
  return st;
}

/* A signal at any rank stops all ranks after the same step, with a checkpoint. */
static pn_status stop_if_asked(pn_run *r, int64_t epoch) {
  int64_t number = pn_signals_caught();
  pn_status st = PN_OK;

  PN_TRY(pn_allreduce(r->comm, "wish to stop", &number, 1, PN_I64, PN_MAX));
  if (number == 0) return PN_OK;
  PN_TRY(save_now(r, epoch));
  st = PN_FAIL(PN_ERR_STOPPED,
               "stopped by %s after step %lld of %lld; the same command with train.resume=true and "
               "out.path=%s goes on",
               pn_signal_name((int)number), (long long)r->done, (long long)r->n_steps,
               r->cfg->out_path ? r->cfg->out_path : "");
  st = pn_agree(r->comm, st);
done:
  return st;
}

/* Steps [first, n) of an epoch. */
static pn_status train_steps(pn_run *r, int64_t epoch, int64_t first, int64_t n) {
  pn_progress bar;
  char what[32], note[64];
  int64_t images = 0, total = 0;
  pn_status st = PN_OK;

  for (int64_t k = first; k < n; k++) total += pn_batches_share(&r->batches, k).global;
  snprintf(what, sizeof what, "epoch %lld", (long long)epoch);
  pn_progress_start(&bar, what, "images", total);
  PN_TRY(pn_agree(r->comm, pn_run_order(r, (uint32_t)epoch)));
  pn_feed_start(r->feed, (uint32_t)epoch, r->order, first, n);
  for (int64_t k = first; k < n; k++) {
    PN_TRY(pn_run_step(r, k));
    images += pn_batches_share(&r->batches, k).global;
    snprintf(note, sizeof note, "step %lld", (long long)r->done);
    if (pn_comm_rank(r->comm) == 0) pn_progress_update(&bar, images, note);
    if (k % CHECK_EVERY == CHECK_EVERY - 1) PN_TRY(pn_run_check(r));
    if (k < n - 1 && pn_run_save_due(r)) PN_TRY(save_now(r, epoch));
    if (k < n - 1 && r->cfg->heed_signals) PN_TRY(stop_if_asked(r, epoch));
  }
done:
  pn_progress_end(&bar);
  return st;
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

/* Equal at any number of ranks. */
static pn_status tell_weights(const pn_run *r) {
  char hex[65];
  pn_status st;

  if (r->batches.leaves == 0) return PN_OK;
  PN_TRY(pn_strategy_sync_buffers(r->strategy));
  PN_TRY(pn_strategy_weights_sha256(r->strategy, hex));
  pn_info("  exact: SHA-256 of the weights %s", hex);
done:
  return st;
}

/* With the averaged weights where they are kept. */
static pn_status evaluate(pn_run *r, pn_split split, pn_metrics *out) {
  float *weights = NULL;
  const pn_far_places *far = NULL;
  char good[PN_RUN_PATH_BYTES + 64];
  pn_status st = pn_strategy_evaluated(r->strategy, &weights, &far);

  if (st != PN_OK) return st;
  pn_evaluator_bind(r->eval, weights, far);
  st = pn_evaluator_run(r->eval, split, out);
  if (st != PN_OK) {
    pn_run_last_good(r, good, sizeof good);
    pn_warn("the evaluation after step %lld failed;%s see below", (long long)r->done, good);
  }
  pn_strategy_release(r->strategy);
  return st;
}

/* After the steps: reduce, evaluate, write down, save. */
static pn_status end_epoch(pn_run *r, int64_t epoch, pn_metrics *val) {
  pn_epoch_row row = {.epoch = epoch, .lr = r->lr};
  pn_status st = PN_OK;

  PN_TRY(pn_run_check(r));
  PN_TRY(pn_run_reduce(r, epoch));
  memcpy(row.phase, r->part.phase, sizeof row.phase);
  row.step = r->done;
  row.seconds = row.phase[PN_COL_STEP];
  pn_gpu_part_figures(&r->part.gpu, row.gpu);
  row.peak_bytes = pn_memory_peak();
  PN_TRY(pn_allreduce(r->comm, "memory of the epoch", &row.peak_bytes, 1, PN_I64, PN_MAX));
  row.loss = r->final_loss = r->part.images > 0 ? r->part.loss_sum / (double)r->part.images : 0;
  row.images_per_s = row.seconds > 0 ? (double)r->part.images / row.seconds : 0;
  if (pn_run_validates(r)) {
    pn_metrics_free(val);
    PN_TRY(pn_strategy_sync_buffers(r->strategy));
    PN_TRY(evaluate(r, PN_VAL, val));
    row.val = val;
  }
  st = pn_lock_check(r->cfg->lock); /* the validation may have taken long */
  if (st == PN_OK) st = pn_record_epoch(&r->record, &row);
  PN_TRY(pn_agree(r->comm, st));
  tell_epoch(r, &row);
  PN_TRY(tell_weights(r));
  r->epoch = r->done / r->batches.steps;
  PN_TRY(pn_run_save_epoch(r, pn_run_note_epoch(r, &row)));
done:
  return st;
}

static pn_status train_epochs(pn_run *r, pn_metrics *val) {
  pn_status st = PN_OK;

  while (r->done < r->n_steps && !pn_run_stopped(r)) {
    int64_t first = r->done - r->epoch * r->batches.steps, left = first + r->n_steps - r->done;
    int64_t n = left < r->batches.steps ? left : r->batches.steps, epoch = r->epoch + 1;
    if (first == 0) memset(&r->part, 0, sizeof r->part);
    PN_TRY(train_steps(r, epoch, first, n));
    PN_TRY(end_epoch(r, epoch, val));
    if (r->done < r->n_steps && r->cfg->heed_signals) PN_TRY(stop_if_asked(r, epoch));
  }
  if (pn_run_stopped(r)) pn_run_tell_stop(r);
done:
  return st;
}

/* Largest value over the ranks of each kind of memory. */
static pn_status memory_use(pn_run *r, pn_train_result *out, size_t *arena) {
  const pn_strategy *s = r->strategy;
  int64_t v[7] = {(int64_t)(s->peak_params ? s->peak_params : s->bytes_params),
                  (int64_t)(s->peak_grads ? s->peak_grads : s->bytes_grads),
                  (int64_t)s->bytes_state,
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

static double mib(size_t bytes) {
  return (double)bytes / (1 << 20);
}

static void tell_memory(const pn_train_result *out, size_t arena) {
  pn_info("%-12s at most, on any rank: parameters %.1f, gradients %.1f, optimizer state %.1f, "
          "activations and workspace %.1f MiB; the process %.1f MiB",
          "memory used", mib(out->bytes_parameters), mib(out->bytes_gradients),
          mib(out->bytes_state), mib(arena), mib(out->peak_rss));
}

/* The result is that of the best epoch. */
static pn_status restore_best(pn_run *r, pn_train_result *out) {
  pn_saved_run saved = {.manifest = NULL};
  char step[32];
  pn_status st = PN_OK;

  if (!r->cfg->restore_best || r->best.step < 0 || r->best.step == r->done) return PN_OK;
  snprintf(step, sizeof step, "%lld", (long long)r->best.step);
  st = pn_saved_run_open(r->cfg->out_path, step, &saved);
  if (st == PN_OK) st = pn_saved_run_restore(&saved, r->graph, r->strategy);
  pn_saved_run_close(&saved);
  pn_metrics_free(&out->val);
  PN_TRY(pn_agree(r->comm, st));
  pn_info("the weights of the best epoch, %lld, are back (%s %.6g)", (long long)r->best.epoch,
          r->cfg->monitor, r->best.value);
done:
  return st;
}

/* On a run that was complete but for its record no epoch has been validated here. */
static pn_status evaluate_end(pn_run *r, pn_train_result *out) {
  pn_status st = PN_OK;

  if (!r->eval) return PN_OK;
  if (out->val.n == 0 && pn_run_validates(r)) PN_TRY(evaluate(r, PN_VAL, &out->val));
  if (pn_dataset_count(r->data, PN_TEST) > 0) PN_TRY(evaluate(r, PN_TEST, &out->test));
done:
  return st;
}

static pn_status finish(pn_run *r, pn_train_result *out) {
  pn_run_facts facts = {.cfg = r->cfg,
                        .device = r->device->ops->name,
                        .precision = pn_dtype_name(r->precision),
                        .ranks = pn_comm_size(r->comm),
                        .buckets = &r->strategy->buckets,
                        .images = {[PN_TRAIN] = pn_feed_decision(r->feed)},
                        .steps_per_epoch = r->batches.steps,
                        .best_step = r->best.step,
                        .best_epoch = r->best.epoch,
                        .best_value = r->best.value,
                        .restored = r->cfg->restore_best && r->best.step >= 0,
                        .stopped_early = pn_run_stopped(r),
                        .scaling = r->scaling};
  pn_status st = PN_OK;

  for (int s = PN_VAL; r->eval && s < PN_SPLIT_COUNT; s++)
    facts.images[s] = pn_eval_feed_decision(pn_evaluator_feed(r->eval), (pn_split)s);
  PN_TRY(pn_strategy_sync_buffers(r->strategy));
  PN_TRY(pn_run_save(r));
  PN_TRY(restore_best(r, out));
  PN_TRY(evaluate_end(r, out));
  PN_TRY(pn_strategy_weights_sha256(r->strategy, out->weights_sha256));
  PN_TRY(memory_use(r, out, &facts.bytes_arena));
  tell_memory(out, facts.bytes_arena);
  out->parameters = pn_graph_param_count(r->graph);
  out->global_batch = r->batches.global;
  out->steps = r->done;
  out->comm_inside = pn_comm_size(r->comm) > 1 && pn_strategy_steps_whole(r->strategy);
  out->final_loss = r->final_loss;
  out->seconds = r->seconds_before + pn_now() - r->t_start_s;
  PN_TRY(pn_agree(r->comm, pn_lock_check(r->cfg->lock)));
  PN_TRY(pn_agree(r->comm, pn_record_times(r->rows, r->n_rows, out)));
  PN_TRY(pn_agree(r->comm, pn_record_finish(&r->record, &facts, out)));
done:
  return st;
}

pn_status pn_train(const pn_train_config *cfg, pn_comm *c, pn_dataset *data, pn_train_result *out) {
  pn_run *r = NULL;
  pn_status st = PN_OK;

  *out = (pn_train_result){.record = NULL};
  pn_memory_reset_peak();
  PN_TRY(pn_run_create(cfg, c, data, &r));
  PN_TRY(train_epochs(r, &out->val));
  PN_TRY(finish(r, out));
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
