/* state.c -- what a run knows besides weights and optimizer, as JSON in its checkpoints.  Random
 * numbers need none: they are counters keyed by seed, epoch and image. */
#include "train/run.h"

/* jansson writes reals with 17 digits: they come back with the same bits. */
static json_t *phases_json(const pn_run *r) {
  json_t *all = json_array();
  for (int c = 0; c < PN_COL_COUNT; c++) json_array_append_new(all, json_real(r->part.phase[c]));
  return all;
}

/* NULL: none. */
static json_t *scaling_json(const pn_loss_scale *s) {
  if (s->scale <= 0 && s->skipped == 0) return NULL;
  return json_pack("{s:f, s:I, s:I}", "scale", s->scale, "good", (json_int_t)s->good, "skipped",
                   (json_int_t)s->skipped);
}

/* A run that was in another precision before starts with the options' scale. */
static pn_status scaling_parse(pn_run *r, const pn_saved_run *s) {
  json_t *was = json_object_get(json_object_get(s->manifest, "state"), "loss_scaling");
  double scale;
  json_int_t good, skipped;
  json_error_t e;

  if (!json_is_object(was)) return PN_OK;
  if (json_unpack_ex(was, &e, 0, "{s:F, s:I, s:I}", "scale", &scale, "good", &good, "skipped",
                     &skipped) != 0)
    return PN_FAIL(PN_ERR_FORMAT, "%s/manifest.json: loss_scaling: %s", s->folder, e.text);
  r->scaling.skipped = skipped; /* in any precision: the optimizer does not count them */
  if (r->precision != PN_FP16 || scale <= 0) return PN_OK;
  r->scaling.scale = scale;
  r->scaling.good = good;
  return PN_OK;
}

json_t *pn_run_state_json(const pn_run *r) {
  return json_pack(
      "{s:{s:f, s:I, s:o}, s:{s:I, s:I, s:f}, s:{s:f, s:f, s:I, s:I}, s:I, s:f, s:I, "
      "s:I, s:f, s:O, s:o?}",
      "part", "loss_sum", r->part.loss_sum, "images", (json_int_t)r->part.images, "phases",
      phases_json(r), "best", "step", (json_int_t)r->best.step, "epoch", (json_int_t)r->best.epoch,
      "value", r->best.value, "plateau", "factor", r->schedule.factor, "best", r->schedule.best,
      "bad", (json_int_t)r->schedule.bad, "cooling", (json_int_t)r->schedule.cooling, "stale",
      (json_int_t)r->stale, "seconds", r->seconds_before + pn_now() - r->t_start_s, "global_batch",
      (json_int_t)r->batches.global, "exact_threads",
      (json_int_t)(r->batches.leaves > 0 ? r->device->threads : 0), "to_beat", r->to_beat, "epochs",
      r->record.epochs, "loss_scaling", scaling_json(&r->scaling));
}

pn_status pn_run_state_parse(pn_run *r, const pn_saved_run *s) {
  json_int_t images, step, epoch, bad, cooling, stale, batch, threads = 0;
  json_t *phases = NULL;
  json_error_t e;

  if (json_unpack_ex(s->manifest, &e, 0,
                     "{s:{s:{s:F, s:I, s:o}, s:{s:I, s:I, s:F}, s:{s:F, s:F, s:I, s:I}, s:I, s:F, "
                     "s:I, s?:I, s?:F, s:o}}",
                     "state", "part", "loss_sum", &r->part.loss_sum, "images", &images, "phases",
                     &phases, "best", "step", &step, "epoch", &epoch, "value", &r->best.value,
                     "plateau", "factor", &r->schedule.factor, "best", &r->schedule.best, "bad",
                     &bad, "cooling", &cooling, "stale", &stale, "seconds", &r->seconds_before,
                     "global_batch", &batch, "exact_threads", &threads, "to_beat", &r->to_beat,
                     "epochs", &r->epochs_before) != 0)
    return PN_FAIL(PN_ERR_FORMAT, "%s/manifest.json: cannot go on from it: %s", s->folder, e.text);
  json_incref(r->epochs_before);
  if (batch != r->batches.global)
    return PN_FAIL(PN_ERR_ARG,
                   "%s has %lld images per step over all ranks, this run would have %lld: set "
                   "train.batch=%lld train.batch_rule=global, or train anew",
                   s->folder, (long long)batch, (long long)r->batches.global, (long long)batch);
  if (r->batches.leaves > 0 && threads != r->device->threads)
    return PN_FAIL(
        PN_ERR_ARG,
        "%s was trained with train.exact=true and train.threads=%lld, this run would use "
        "%d: sums depend on it, give train.threads=%lld",
        s->folder, (long long)threads, r->device->threads, (long long)threads);
  if (scaling_parse(r, s) != PN_OK) return PN_ERR_FORMAT;
  r->part.images = images;
  for (int c = 0; c < PN_COL_COUNT; c++)
    r->part.phase[c] = json_real_value(json_array_get(phases, (size_t)c));
  r->best.step = step;
  r->best.epoch = epoch;
  r->schedule.bad = bad;
  r->schedule.cooling = cooling;
  r->stale = stale;
  r->done = s->step;
  r->epoch = r->done / r->batches.steps;
  if (images > 0) r->final_loss = r->part.loss_sum / (double)images;
  return PN_OK;
}
