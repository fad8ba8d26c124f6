/* resume.c -- go on from the newest checkpoint of cfg->out_path, if the run is the same. */
#include "base/file.h"
#include "base/log.h"
#include "train/checkpoint_file.h"
#include "train/model_json.h"
#include "train/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 200 };

/* What another value does to a run that goes on.  Rows: longest matching prefix first. */
typedef enum { FATAL, TOLD, SILENT } effect;
static const struct {
  const char *prefix;
  effect effect;
} effects[] = {
    {"model.", FATAL},         {"train.seed", FATAL},
    {"optim.name", FATAL},     {"train.balance", FATAL},
    {"train.monitor", FATAL},  {"train.freeze", FATAL},
    {"optim.ema", FATAL},      {"train.exact", FATAL},
    {"train.leaves", FATAL},   {"train.last_batch", FATAL},
    {"out.", SILENT},          {"run.", SILENT},
    {"train.resume", SILENT},  {"train.batch", SILENT}, /* the global batch is compared */
    {"train.threads", SILENT}, {"train.strategy", SILENT},
    {"data.path", SILENT},     {"train.checkpoint_", SILENT},
    {"train.keep", SILENT},
};

static effect effect_of(const char *key) {
  for (size_t i = 0; i < sizeof effects / sizeof *effects; i++)
    if (strncmp(key, effects[i].prefix, strlen(effects[i].prefix)) == 0) return effects[i].effect;
  return TOLD;
}

static void value_text(json_t *option, char out[TEXT_BYTES]) {
  json_t *v = json_object_get(option, "value");
  char *text = json_is_string(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));

  snprintf(out, TEXT_BYTES, "%s", text ? text : v ? json_string_value(v) : "not set");
  free(text);
}

static bool same_value(json_t *a, json_t *b) {
  return json_equal(json_object_get(a, "value"), json_object_get(b, "value"));
}

/* Each difference is a line of the log; those that forbid to go on are named in the error. */
static pn_status compare_options(const pn_run *r, const pn_saved_run *s) {
  json_t *old = json_object_get(s->manifest, "options"), *now;
  char before[TEXT_BYTES], after[TEXT_BYTES], all[4 * TEXT_BYTES] = "";
  const char *key;

  json_object_foreach(r->cfg->options, key, now) {
    json_t *was = json_object_get(old, key);
    effect e = effect_of(key);
    size_t used = strlen(all);
    if (!was || same_value(was, now) || e == SILENT) continue;
    value_text(was, before);
    value_text(now, after);
    pn_info("  changed: %-24s %s -> %s%s", key, before, after,
            e == FATAL ? "   (cannot change on the way)" : "");
    if (e == FATAL)
      snprintf(all + used, sizeof all - used, "%s%s was %s, now %s", used ? "; " : "", key, before,
               after);
  }
  if (!all[0]) return PN_OK;
  return PN_FAIL(PN_ERR_ARG,
                 "%s cannot go on with other options: %s; give the old values, or another "
                 "out.path",
                 r->cfg->out_path, all);
}

static pn_status compare_model(const pn_run *r, const pn_saved_run *s) {
  json_t *old = pn_model_config_json(&s->config), *now = pn_model_config_json(&r->model), *v;
  char *a = NULL, *b = NULL;
  const char *key;
  pn_status st = PN_OK;

  if (strcmp(s->model, r->cfg->model) != 0)
    st = PN_FAIL(PN_ERR_ARG, "%s trains a %s, not a %s", r->cfg->out_path, s->model, r->cfg->model);
  json_object_foreach(now, key, v) {
    json_t *was = json_object_get(old, key);
    if (st != PN_OK || json_equal(was, v)) continue;
    a = json_dumps(was, JSON_ENCODE_ANY | JSON_REAL_PRECISION(7));
    b = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(7));
    st = PN_FAIL(PN_ERR_ARG,
                 "%s cannot go on with another model: %s was %s, now %s; give the old value, or "
                 "another out.path",
                 r->cfg->out_path, key, a ? a : "?", b ? b : "?");
  }
  free(a);
  free(b);
  json_decref(old);
  json_decref(now);
  return st;
}

static pn_status compare_data(const pn_run *r, const pn_saved_run *s) {
  const char *was = "?", *is = pn_dataset_digest(r->data);

  json_unpack(s->manifest, "{s:{s:s}}", "data", "digest", &was);
  if (strcmp(was, is) == 0) return PN_OK;
  return PN_FAIL(PN_ERR_ARG,
                 "%s was trained on other data (digest %.12s..., data.path has %.12s...): give the "
                 "old data.path, or another out.path",
                 r->cfg->out_path, was, is);
}

static pn_status check_optimizer(const pn_run *r, const pn_saved_run *s) {
  const char *was = "?";

  json_unpack(s->manifest, "{s:s}", "optimizer", &was);
  if (strcmp(was, r->cfg->optim.name) == 0) return PN_OK;
  return PN_FAIL(PN_ERR_ARG, "%s was trained with optim.name=%s, not %s: its state cannot go on",
                 r->cfg->out_path, was, r->cfg->optim.name);
}

/* Names the options that ended it. */
static pn_status refuse_complete(const pn_run *r) {
  const pn_train_config *c = r->cfg;
  int64_t epoch = r->batches.steps;
  char epochs[48] = "", steps[48] = "";

  if (pn_run_stopped(r))
    return PN_FAIL(PN_ERR_ARG,
                   "%s stopped early: %s has not improved for %lld epochs; to go on give a larger "
                   "train.patience than %lld, or 0",
                   c->out_path, c->monitor, (long long)r->stale, (long long)r->stale);
  if (c->epochs > 0 && r->done >= c->epochs * epoch)
    snprintf(epochs, sizeof epochs, " train.epochs=%lld", (long long)(r->done / epoch + 10));
  if (c->steps > 0 && r->done >= c->steps)
    snprintf(steps, sizeof steps, " train.steps=%lld", (long long)(r->done + 10 * epoch));
  return PN_FAIL(PN_ERR_ARG,
                 "%s is complete: %lld of %lld steps are done; to go on give more, e.g."
                 "%s%s",
                 c->out_path, (long long)r->done, (long long)r->n_steps, epochs, steps);
}

/* Is run.json the result of this many steps?  A run that went on leaves one of fewer where it was
 * killed before its first row. */
static bool has_result(const pn_run *r, const char *path) {
  json_t *run = json_load_file(path, 0, NULL);
  bool same = json_integer_value(json_object_get(run, "steps")) == r->done;

  json_decref(run);
  return same;
}

static pn_status check_unfinished(const pn_run *r) {
  char path[PN_RUN_PATH_BYTES];
  pn_status st = pn_path_join(path, sizeof path, r->cfg->out_path, "run.json");

  if (st != PN_OK || !has_result(r, path)) return st;
  return r->done >= r->n_steps || pn_run_stopped(r) ? refuse_complete(r) : PN_OK;
}

/* Now, not after the training that needs it. */
static pn_status check_best(const pn_run *r) {
  pn_step_folder f;
  pn_status st = PN_OK;

  if (!r->cfg->restore_best || r->best.step < 0) return PN_OK;
  PN_TRY(pn_step_folder_make(r->cfg->out_path, r->best.step, "", &f));
  if (!pn_file_exists(f.final))
    st = PN_FAIL(PN_ERR_ARG,
                 "train.restore_best=true, but %s has no checkpoint of its best epoch so far, %lld "
                 "(step %lld: train.keep_best was false): give train.restore_best=false, or train "
                 "anew with another out.path",
                 r->cfg->out_path, (long long)r->best.epoch, (long long)r->best.step);
done:
  return st;
}

static pn_status restore(pn_run *r, const pn_saved_run *s) {
  pn_status st = PN_OK;

  PN_TRY(compare_model(r, s));
  PN_TRY(compare_data(r, s));
  PN_TRY(compare_options(r, s));
  PN_TRY(check_optimizer(r, s));
  PN_TRY(pn_run_state_parse(r, s));
  PN_TRY(check_unfinished(r));
  PN_TRY(check_best(r));
  PN_TRY(pn_saved_run_restore(s, r->graph, r->strategy));
  r->saved_step = r->done;
  pn_info("%-12s step %lld of %lld (epoch %lld, %lld of %lld steps done), from %s", "resume",
          (long long)r->done, (long long)r->n_steps, (long long)(r->epoch + 1),
          (long long)(r->done - r->epoch * r->batches.steps), (long long)r->batches.steps,
          s->folder);
done:
  return st;
}

/* Rank 0 decides which checkpoint it is. */
pn_status pn_run_resume(pn_run *r) {
  bool root = pn_comm_rank(r->comm) == 0;
  int64_t step = root ? pn_step_folder_newest(r->cfg->out_path) : -1;
  pn_saved_run saved = {.manifest = NULL};
  char which[32];
  pn_status st = PN_OK;

  PN_TRY(pn_bcast(r->comm, "step to go on from", &step, 1, PN_I64, 0));
  if (step < 0) {
    pn_info("%-12s %s holds no checkpoint yet: it starts at the beginning", "resume",
            r->cfg->out_path);
    PN_TRY(pn_agree(r->comm, root ? pn_step_folder_sweep(r->cfg->out_path) : PN_OK));
    goto done;
  }
  snprintf(which, sizeof which, "%lld", (long long)step);
  st = pn_saved_run_open(r->cfg->out_path, which, &saved);
  if (st == PN_OK) st = restore(r, &saved);
  if (st == PN_OK && root) st = pn_step_folder_sweep(r->cfg->out_path);
  PN_TRY(pn_agree(r->comm, st));
done:
  pn_saved_run_close(&saved);
  return st;
}
