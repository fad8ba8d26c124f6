/* study_progress.c -- progress.json: the study it belongs to, its hosts, and its finished runs. */
#include "report/study_progress.h"

#include "base/file.h"
#include "base/log.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 1024 };

static json_t *number(double x) {
  return isfinite(x) ? json_real(x) : json_null();
}

static double number_of(const json_t *o, const char *key) {
  const json_t *v = json_object_get(o, key);
  return json_is_number(v) ? json_number_value(v) : NAN;
}

/* Options that change what is measured, without their origin. */
static json_t *values_of(json_t *options) {
  static const char *const sections[] = {"data.",  "model.",    "train.",
                                         "optim.", "schedule.", "augment."};
  json_t *o = json_object(), *v;
  const char *key;

  json_object_foreach(options, key, v) {
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
      if (strncmp(key, sections[i], strlen(sections[i])) == 0 && strcmp(key, "train.resume") != 0)
        json_object_set(o, key, json_object_get(v, "value"));
  }
  return o;
}

static json_t *describe(const pn_study *s) {
  json_t *rows = json_array();

  for (int i = 0; i < s->n; i++)
    json_array_append_new(rows,
                          json_pack("{s:s, s:i, s:o}", "name", s->rows[i].name, "ranks",
                                    s->rows[i].ranks, "options", values_of(s->rows[i].options)));
  return json_pack("{s:{s:i, s:I, s:o}, s:O*, s:[]}", "study", "repeats", s->repeats, "steps",
                   (json_int_t)s->repeat_steps, "rows", rows, "ranks",
                   json_object_get(s->machine, "ranks"), "runs");
}

static pn_status read_old(const char *path, json_t **old) {
  char *text = NULL;
  size_t bytes = 0;
  pn_status st = pn_file_read(path, &text, &bytes);

  if (st != PN_OK) return st;
  *old = json_loadb(text, bytes, 0, NULL);
  free(text);
  if (*old) return PN_OK;
  return PN_FAIL(PN_ERR_FORMAT, "%s is no JSON: remove it, and the study begins anew", path);
}

static bool same(const json_t *a, const json_t *b, const char *key) {
  return json_equal(json_object_get(a, key), json_object_get(b, key));
}

/* *out becomes the old one where that goes on. */
static pn_status adopt(json_t *old, const char *path, json_t **out) {
  size_t n = json_array_size(json_object_get(old, "runs"));

  if (!same(old, *out, "study"))
    return PN_FAIL(PN_ERR_ARG,
                   "%s belongs to a study of other rows or options: give those, or choose another "
                   "out.path",
                   path);
  if (!same(old, *out, "ranks")) {
    pn_warn("%zu finished runs are of other hosts or cores: the study begins anew", n);
    return PN_OK;
  }
  pn_info("resume       %zu finished runs of the study are kept", n);
  json_decref(*out);
  *out = json_incref(old);
  return PN_OK;
}

pn_status pn_study_progress_open(const char *folder, const pn_study *s, json_t **out) {
  char path[PATH_BYTES];
  json_t *old = NULL;
  pn_status st = PN_OK;

  if (!(*out = describe(s))) return PN_FAIL(PN_ERR_NOMEM, "progress of the study: out of memory");
  PN_TRY(pn_path_join(path, sizeof path, folder, "progress.json"));
  if (!pn_file_exists(path)) goto done;
  PN_TRY(read_old(path, &old));
  st = adopt(old, path, out);
done:
  json_decref(old);
  return st;
}

static json_t *run_json(int row, int pass, const pn_train_result *r) {
  const pn_step_time *t = &r->step_ms;
  json_t *o = json_pack("{s:i, s:i, s:o, s:o, s:[o, o], s:I, s:o, s:o, s:o, s:o, s:s}", "row", row,
                        "pass", pass, "median", number(t->median), "p95", number(t->p95), "ci95",
                        number(t->ci95[0]), number(t->ci95[1]), "n", (json_int_t)t->n,
                        "images_per_s", number(r->images_per_s), "comm_exposed_ms",
                        number(r->comm_exposed_ms), "seconds", number(r->seconds), "loss",
                        number(r->final_loss), "weights_sha256", r->weights_sha256);

  if (o && r->val.n > 0)
    json_object_set_new(o, "val",
                        json_pack("{s:I, s:o, s:o, s:o, s:o}", "n", (json_int_t)r->val.n, "loss",
                                  number(r->val.loss), "accuracy", number(r->val.accuracy),
                                  "precision", number(r->val.precision), "recall",
                                  number(r->val.recall)));
  if (o && pass == 0) json_object_set(o, "record", r->record);
  return o;
}

pn_status pn_study_progress_add(json_t *p, const char *folder, int row, int pass,
                                const pn_train_result *r) {
  char path[PATH_BYTES];
  char *text = NULL;
  pn_status st = PN_OK;

  if (json_array_append_new(json_object_get(p, "runs"), run_json(row, pass, r)) != 0 ||
      !(text = json_dumps(p, JSON_INDENT(1))))
    st = PN_FAIL(PN_ERR_NOMEM, "progress of the study: out of memory");
  PN_TRY(st);
  PN_TRY(pn_path_join(path, sizeof path, folder, "progress.json"));
  st = pn_file_write(path, text, strlen(text));
done:
  free(text);
  return st;
}

static void fill(const json_t *o, pn_train_result *r) {
  const json_t *ci = json_object_get(o, "ci95"), *val = json_object_get(o, "val");
  const char *sha = json_string_value(json_object_get(o, "weights_sha256"));

  memset(r, 0, sizeof *r);
  r->step_ms.median = number_of(o, "median");
  r->step_ms.p95 = number_of(o, "p95");
  r->step_ms.n = json_integer_value(json_object_get(o, "n"));
  for (size_t i = 0; i < 2; i++) {
    const json_t *x = json_array_get(ci, i);
    r->step_ms.ci95[i] = json_is_number(x) ? json_number_value(x) : NAN;
  }
  r->images_per_s = number_of(o, "images_per_s");
  r->comm_exposed_ms = number_of(o, "comm_exposed_ms");
  r->seconds = number_of(o, "seconds");
  r->final_loss = number_of(o, "loss");
  snprintf(r->weights_sha256, sizeof r->weights_sha256, "%s", sha ? sha : "");
  r->val.n = json_integer_value(json_object_get(val, "n"));
  r->val.loss = number_of(val, "loss");
  r->val.accuracy = number_of(val, "accuracy");
  r->val.precision = number_of(val, "precision");
  r->val.recall = number_of(val, "recall");
  r->record = json_incref(json_object_get(o, "record"));
}

bool pn_study_progress_find(const json_t *p, int row, int pass, pn_train_result *r) {
  const json_t *runs = json_object_get(p, "runs");

  for (size_t i = 0; i < json_array_size(runs); i++) {
    const json_t *o = json_array_get(runs, i);
    if (json_integer_value(json_object_get(o, "row")) != row ||
        json_integer_value(json_object_get(o, "pass")) != pass)
      continue;
    if (r) fill(o, r);
    return true;
  }
  return false;
}
