/* record_json.c -- run.json: what ran, and how well. */
#include "base/file.h"
#include "train/record.h"

#include <stdlib.h>
#include <string.h>

static json_t *phases_json(const pn_train_result *r) {
  return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "data", r->data_ms, "forward",
                   r->forward_ms, "backward", r->backward_ms, "comm_exposed", r->comm_exposed_ms,
                   "comm_hidden", r->comm_hidden_ms, "comm_late", r->comm_late_ms, "update",
                   r->update_ms);
}

/* NULL: there are none. */
static json_t *buckets_json(const pn_bucket_choice *x) {
  json_t *sweep = json_array();

  if (x->bytes == 0) {
    json_decref(sweep);
    return NULL;
  }
  for (int i = 0; i < x->n_tried; i++)
    json_array_append_new(sweep,
                          json_pack("{s:f, s:f}", "mb", (double)x->tried[i].bytes / (1 << 20), "ms",
                                    1e3 * x->tried[i].seconds));
  return json_pack("{s:f, s:s, s:s, s:o}", "mb", (double)x->bytes / (1 << 20), "origin", x->origin,
                   "why", x->why, "sweep", sweep);
}

static json_t *peak_json(const pn_train_result *r, const pn_run_facts *f) {
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "max_rank", (json_int_t)r->peak_rss,
                   "parameters", (json_int_t)r->bytes_parameters, "gradients",
                   (json_int_t)r->bytes_gradients, "state", (json_int_t)r->bytes_state,
                   "activations", (json_int_t)r->bytes_activations, "workspace",
                   (json_int_t)r->bytes_workspace, "arena", (json_int_t)f->bytes_arena);
}

static json_t *step_json(const pn_step_time *t) {
  return json_pack("{s:f, s:f, s:[f,f], s:I}", "median", t->median, "p95", t->p95, "ci95",
                   t->ci95[0], t->ci95[1], "n", (json_int_t)t->n);
}

static json_t *what_ran(const pn_record *r, const pn_run_facts *f, const pn_train_result *o) {
  const pn_train_config *c = f->cfg;
  return json_pack("{s:s, s:I, s:s, s:i, s:i, s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:f, s:O, s:o}",
                   "model", c->model, "parameters", (json_int_t)o->parameters, "strategy",
                   c->strategy, "ranks", f->ranks, "threads", c->threads, "device", f->device,
                   "precision", f->precision, "batch_rule", c->batch_global ? "global" : "local",
                   "global_batch", (json_int_t)o->global_batch, "steps", (json_int_t)o->steps,
                   "steps_per_epoch", (json_int_t)f->steps_per_epoch, "data_digest",
                   pn_dataset_digest(r->data), "seconds", o->seconds, "epochs", r->epochs,
                   "warnings", pn_warnings_json(r->data));
}

/* NULL: no epoch was monitored. */
static json_t *best_json(const pn_run_facts *f) {
  if (f->best_step < 0) return NULL;
  return json_pack("{s:s, s:f, s:I, s:I, s:b, s:b}", "monitor", f->cfg->monitor, "value",
                   f->best_value, "epoch", (json_int_t)f->best_epoch, "step",
                   (json_int_t)f->best_step, "restored", f->restored, "stopped_early",
                   f->stopped_early);
}

/* NULL: there was none. */
static json_t *scaling_json(const pn_loss_scale *s) {
  if (s->scale <= 0) return NULL;
  return json_pack("{s:f, s:I}", "scale", s->scale, "skipped_steps", (json_int_t)s->skipped);
}

/* NULL: the host made the batches. */
static json_t *split_json(const pn_image_decision *d) {
  if (!d) return NULL;
  return json_pack("{s:s, s:I, s:I, s:I, s:o}", "where", pn_images_where_name(d->where), "images",
                   (json_int_t)d->images, "bytes", (json_int_t)d->bytes, "device_bytes",
                   (json_int_t)d->taken, "room_bytes",
                   d->room < 0 ? json_null() : json_integer(d->room));
}

/* Those of the training; beside them val and test. */
static json_t *images_json(const pn_image_decision *const images[PN_SPLIT_COUNT]) {
  json_t *all = split_json(images[PN_TRAIN]);

  for (int s = PN_VAL; all && s < PN_SPLIT_COUNT; s++)
    if (images[s]) json_object_set_new(all, pn_split_name((pn_split)s), split_json(images[s]));
  return all;
}

static json_t *how_well(const pn_record *r, const pn_run_facts *f, const pn_train_result *o) {
  json_t *test = o->test.n > 0 ? pn_metrics_json(&o->test, r->data) : json_null();
  return json_pack("{s:o, s:f, s:o, s:o, s:s, s:o, s:O?, s:O?, s:O?, s:o?, s:o?, s:o?, s:o?}",
                   "step_ms", step_json(&o->step_ms), "images_per_s", o->images_per_s, "phases_ms",
                   phases_json(o), "peak_bytes", peak_json(o, f), "weights_sha256",
                   o->weights_sha256, "test", test, "options", f->cfg->options, "versions",
                   f->cfg->versions, "machine", f->cfg->machine, "best", best_json(f), "buckets",
                   buckets_json(f->buckets), "loss_scaling", scaling_json(&f->scaling),
                   "device_images", images_json(f->images));
}

static pn_status write_run(const pn_record *r, const json_t *record) {
  char path[sizeof r->folder];
  char *text = json_dumps(record, JSON_INDENT(2));
  pn_status st = PN_OK;

  if (!text) return PN_FAIL(PN_ERR_NOMEM, "run.json: out of memory");
  PN_TRY(pn_path_join(path, sizeof path, r->folder, "run.json"));
  PN_TRY(pn_file_write(path, text, strlen(text)));
done:
  free(text);
  return st;
}

pn_status pn_record_finish(pn_record *r, const pn_run_facts *facts, pn_train_result *result) {
  json_t *rest = how_well(r, facts, result);

  result->record = what_ran(r, facts, result);
  if (!result->record || !rest || json_object_update(result->record, rest) != 0) {
    json_decref(rest);
    return PN_FAIL(PN_ERR_NOMEM, "record of a run: out of memory");
  }
  json_decref(rest);
  if (facts->cfg->weights &&
      json_object_set_new(result->record, "initial_weights",
                          facts->cfg->weights->describe(facts->cfg->weights->ctx)) != 0)
    return PN_FAIL(PN_ERR_NOMEM, "record of a run: out of memory");
  return r->folder[0] ? write_run(r, result->record) : PN_OK;
}
