/* study_json.c -- study.json: the fields of specs/outputs.md, all digits, null where undefined. */
#include "report/study.h"

#include "report/study_gpu.h"

#include <math.h>
#include <string.h>

static json_t *number(double x) {
  return isfinite(x) ? json_real(x) : json_null();
}

static json_t *pair(const double x[2]) {
  return json_pack("[o, o]", number(x[0]), number(x[1]));
}

static json_t *step_json(const pn_study_row *r) {
  json_t *runs = json_array();
  for (int i = 0; i < r->n_repeats; i++)
    json_array_append_new(runs, number(r->repeat[i].median_ms));
  return json_pack("{s:o, s:o, s:o, s:I, s:o}", "median", number(r->step.median), "p95",
                   number(r->step.p95), "ci95", pair(r->step.ci95), "n", (json_int_t)r->step.n,
                   "runs", runs);
}

/* METRICS as the trainer wrote them for the last epoch; null without validation. */
static json_t *val_json(const pn_study_row *r) {
  json_t *epochs = json_object_get(r->record, "epochs"), *last, *val;
  size_t n = json_array_size(epochs);

  last = n ? json_array_get(epochs, n - 1) : NULL;
  val = json_object_get(last, "val");
  return val && isfinite(r->accuracy) ? json_incref(val) : json_null();
}

static void add_measured(json_t *o, const pn_study_row *r) {
  json_t *gpu = pn_study_gpu_json(r);

  if (gpu) json_object_set_new(o, "gpu", gpu);
  json_object_set_new(o, "seconds", number(r->seconds));
  json_object_set_new(o, "loss", number(r->loss));
  json_object_set_new(o, "step_ms", step_json(r));
  json_object_set_new(o, "images_per_s", number(r->images_per_s));
  json_object_set_new(o, "speedup", number(r->speedup));
  json_object_set_new(o, "over_one_rank", number(r->over_one_rank));
  json_object_set_new(o, "efficiency", number(r->efficiency));
  if (r->train.leaves > 0) json_object_set_new(o, "exact_cost", number(r->exact_cost));
  json_object_set_new(o, "karp_flatt", number(r->karp_flatt));
  json_object_set_new(o, "comm_exposed_share", number(r->comm_share));
  json_object_set_new(o, "val", val_json(r));
  json_object_set_new(o, "weights_sha256", json_string(r->weights_sha256));
  json_object_set_new(o, "repeats_agree", json_boolean(r->same_weights));
}

static json_t *row_json(const pn_study_row *r) {
  json_t *o = json_pack(
      "{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:b, s:b}", "name", r->name, "strategy",
      r->train.strategy, "ranks", r->ranks, "precision", r->train.precision, "batch_rule",
      r->train.batch_global ? "global" : "local", "scaling", r->weak ? "weak" : "strong", "status",
      r->status, "oversubscribed", r->oversubscribed, "other_batch", r->other_batch);

  json_object_set_new(o, "device", json_string(r->ok ? r->device : r->train.device));
  json_object_set_new(o, "threads", json_integer(r->ok ? r->threads : r->threads_wanted));
  if (r->ok) {
    json_object_set_new(o, "global_batch", json_integer(r->global_batch));
    json_object_set_new(o, "cores", json_integer(r->cores));
    add_measured(o, r);
  }
  if (r->options) json_object_set(o, "options", r->options);
  return o;
}

/* Values common to all fits; `refused` alone says that there is none. */
static json_t *fit_json(const pn_study *s, const pn_fit_info *info, const pn_study_fit *f) {
  json_t *o;

  if (info->refused[0]) return json_pack("{s:s}", "refused", info->refused);
  o = json_pack("{s:i, s:i, s:o, s:s}", "points", info->points, "sizes", info->sizes,
                "rms_residual", number(info->rms), "base", s->rows[f->base].name);
  if (info->warning[0]) json_object_set_new(o, "warning", json_string(info->warning));
  if (f->left_out[0]) json_object_set_new(o, "left_out", json_string(f->left_out));
  return o;
}

static json_t *fraction_json(const pn_study *s, const pn_fraction_fit *fit, const pn_study_fit *f) {
  json_t *o = fit_json(s, &fit->info, f);
  if (fit->info.refused[0]) return o;
  json_object_set_new(o, "serial_fraction", number(fit->serial_fraction.value));
  json_object_set_new(o, "ci95", pair(fit->serial_fraction.ci95));
  return o;
}

static json_t *usl_json(const pn_study *s) {
  const pn_usl_fit *u = &s->usl;
  json_t *o = fit_json(s, &u->info, &s->strong);

  if (u->info.refused[0]) return o;
  json_object_set_new(o, "sigma", number(u->sigma.value));
  json_object_set_new(o, "kappa", number(u->kappa.value));
  json_object_set_new(o, "lambda", number(u->lambda.value));
  json_object_set_new(o, "n_max", number(u->n_max.value)); /* null: no peak */
  json_object_set_new(o, "ci95",
                      json_pack("{s:o, s:o, s:o, s:o}", "sigma", pair(u->sigma.ci95), "kappa",
                                pair(u->kappa.ci95), "lambda", pair(u->lambda.ci95), "n_max",
                                pair(u->n_max.ci95)));
  return o;
}

json_t *pn_study_json(const pn_study *s) {
  json_t *o = json_object(), *rows = json_array();

  for (int i = 0; i < s->n; i++) json_array_append_new(rows, row_json(&s->rows[i]));
  json_object_set_new(o, "rows", rows);
  json_object_set_new(o, "base", s->base < 0 ? json_null() : json_string(s->rows[s->base].name));
  json_object_set_new(o, "base_drift", number(s->drift));
  json_object_set_new(o, "speedup_is",
                      json_string("images per second of the row / images per second of the base"));
  json_object_set_new(o, "efficiency_is",
                      json_string("speedup / (cores of the row / cores of the "
                                  "base)"));
  json_object_set_new(o, "fits",
                      json_pack("{s:o, s:o, s:o}", "amdahl",
                                fraction_json(s, &s->amdahl, &s->strong), "gustafson",
                                fraction_json(s, &s->gustafson, &s->weak), "usl", usl_json(s)));
  if (s->machine) json_object_set(o, "machine", s->machine);
  return o;
}
