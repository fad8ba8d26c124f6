/* manifest.c -- manifests of checkpoints: save, open. */
#include "base/fault.h"
#include "base/file.h"
#include "train/checkpoint.h"
#include "train/checkpoint_file.h"
#include "train/model_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANIFEST "manifest.json"

static json_t *shape_json(pn_shape s) {
  json_t *a = json_array();
  for (int i = 0; i < s.n_dims; i++) json_array_append_new(a, json_integer(s.dim[i]));
  return a;
}

static json_t *tensors_json(const pn_checkpoint *k) {
  const pn_optim *o = k->strategy->spec.optim;
  json_t *all = json_array();

  for (int i = 0; i < pn_graph_n_params(k->graph); i++) {
    const pn_param *p = pn_graph_param(k->graph, i);
    json_t *kinds = json_pack("[s]", "param");
    for (int j = 0; p->trainable && j < pn_optim_n_states(o); j++)
      json_array_append_new(kinds, json_string(pn_optim_state_name(o, j)));
    if (k->strategy->ema) json_array_append_new(kinds, json_string("ema"));
    json_array_append_new(all, json_pack("{s:s, s:o, s:s, s:o}", "name", p->name, "shape",
                                         shape_json(p->shape), "dtype", "f32", "kinds", kinds));
  }
  return all;
}

/* counts: tensors of each rank; ranks without any have no part. */
static json_t *parts_json(const int64_t *counts, int size) {
  json_t *all = json_array();
  for (int r = 0; r < size; r++) {
    char name[PN_PART_NAME_BYTES];
    pn_part_name(r, name);
    if (counts[r] > 0)
      json_array_append_new(
          all, json_pack("{s:s, s:I}", "file", name, "tensors", (json_int_t)counts[r]));
  }
  return all;
}

static json_t *data_json(const pn_dataset *d) {
  json_t *classes = json_array();
  for (int i = 0; i < pn_dataset_n_classes(d); i++)
    json_array_append_new(classes, json_string(pn_dataset_class_name(d, i)));
  return json_pack("{s:s, s:o, s:i, s:s}", "digest", pn_dataset_digest(d), "classes", classes,
                   "bits", pn_dataset_bits(d), "fit", pn_dataset_fit(d));
}

static json_t *manifest_json(const pn_checkpoint *k, const int64_t *counts) {
  const pn_train_config *c = k->cfg;
  return json_pack(
      "{s:s, s:i, s:{s:s, s:o}, s:o, s:o, s:o, s:I, s:I, s:I, s:s, s:i, s:s, s:s, s:O?, s:O?}",
      "format", PN_CHECKPOINT_FORMAT, "version", PN_CHECKPOINT_VERSION, "model", "name", c->model,
      "config", pn_model_config_json(k->model), "data", data_json(k->data), "tensors",
      tensors_json(k), "parts", parts_json(counts, pn_comm_size(k->comm)), "step",
      (json_int_t)k->step, "epoch", (json_int_t)k->epoch, "seed", (json_int_t)c->seed, "strategy",
      c->strategy, "ranks", pn_comm_size(k->comm), "optimizer", c->optim.name, "precision",
      pn_dtype_name(k->precision), "options", c->options, "state", k->state);
}

static pn_status write_manifest(const pn_checkpoint *k, const pn_step_folder *f,
                                const int64_t *counts) {
  char path[PN_RUN_PATH_BYTES];
  json_t *m = manifest_json(k, counts);
  char *text = m ? json_dumps(m, JSON_INDENT(2)) : NULL;
  pn_status st = PN_OK;

  if (!text) {
    st = PN_FAIL(PN_ERR_NOMEM, "manifest of a checkpoint: out of memory");
    goto done;
  }
  PN_TRY(pn_lock_check(k->cfg->lock)); /* says more than that the folder is gone */
  PN_TRY(pn_path_join(path, sizeof path, f->tmp, MANIFEST));
  PN_TRY(pn_file_write(path, text, strlen(text)));
  PN_TRY(pn_fault_at(PN_FAULT_CHECKPOINT, NULL));
  PN_TRY(pn_lock_check(k->cfg->lock));
  PN_TRY(pn_file_publish(f->tmp, f->final));
  PN_TRY(pn_fault_at(PN_FAULT_CHECKPOINT, NULL));
  PN_TRY(pn_step_folder_prune(k->cfg->out_path, k->cfg->keep > 1 ? k->cfg->keep : 1, k->best));
done:
  free(text);
  json_decref(m);
  return st;
}

static pn_status write_own_part(const pn_checkpoint *k, const pn_step_folder *f, int64_t *n) {
  char name[PN_PART_NAME_BYTES], path[PN_RUN_PATH_BYTES];
  pn_status st = PN_OK;

  pn_part_name(pn_comm_rank(k->comm), name);
  PN_TRY(pn_path_join(path, sizeof path, f->tmp, name));
  PN_TRY(pn_part_write(path, k->graph, k->strategy, n));
done:
  return st;
}

/* Rank 0 makes it, if the run is still ours. */
static pn_status start_folder(const pn_checkpoint *k, pn_step_folder *f) {
  const pn_lock *lock = k->cfg->lock;
  pn_status st = PN_OK;

  PN_TRY(pn_step_folder_make(k->cfg->out_path, k->step, lock ? lock->token : "", f));
  if (pn_comm_rank(k->comm) != 0) goto done;
  PN_TRY(pn_lock_check(lock));
  PN_TRY(pn_step_folder_start(f));
done:
  return st;
}

/* Rank 0 knows why its part could not be written where another start has removed the folder. */
static pn_status still_ours(const pn_checkpoint *k, pn_status st) {
  pn_status lock = pn_comm_rank(k->comm) == 0 ? pn_lock_check(k->cfg->lock) : PN_OK;
  return lock != PN_OK ? lock : st;
}

pn_status pn_checkpoint_save(const pn_checkpoint *k) {
  bool root = pn_comm_rank(k->comm) == 0;
  pn_step_folder f = {.parent = ""};
  int64_t mine = 0, *counts = calloc((size_t)pn_comm_size(k->comm), sizeof *counts);
  pn_status st = counts ? start_folder(k, &f) : PN_FAIL(PN_ERR_NOMEM, "checkpoint: out of memory");

  PN_TRY(pn_agree(k->comm, st));
  st = write_own_part(k, &f, &mine);
  if (st == PN_OK) st = pn_fault_at(PN_FAULT_CHECKPOINT, NULL);
  PN_TRY(pn_agree(k->comm, still_ours(k, st)));
  PN_TRY(pn_allgather(k->comm, "parts of the checkpoint", &mine, counts, 1, PN_I64));
  PN_TRY(pn_agree(k->comm, root ? write_manifest(k, &f, counts) : PN_OK));
done:
  free(counts);
  return st;
}

pn_status pn_checkpoint_damaged(const char *folder, const char *file, const char *what) {
  return PN_FAIL(PN_ERR_FORMAT,
                 "%s: %s; restore the file, or remove the folder %s: then the checkpoint before "
                 "it counts",
                 file, what, folder);
}

static pn_status parse_manifest(const char *path, const char *text, pn_saved_run *s) {
  json_error_t where;
  const char *format = NULL, *model = NULL, *precision = "f32"; /* older ones do not say */
  json_t *config = NULL;
  char what[320];
  int version = 0;

  if (!(s->manifest = json_loads(text, 0, &where))) {
    snprintf(what, sizeof what, "damaged or cut short, line %d: %s", where.line, where.text);
    return pn_checkpoint_damaged(s->folder, path, what);
  }
  if (json_unpack(s->manifest, "{s:s, s:i, s:{s:s, s:o}, s?s}", "format", &format, "version",
                  &version, "model", "name", &model, "config", &config, "precision",
                  &precision) != 0 ||
      strcmp(format, PN_CHECKPOINT_FORMAT) != 0)
    return PN_FAIL(PN_ERR_FORMAT, "%s is not a pneuma checkpoint", path);
  if (version != PN_CHECKPOINT_VERSION)
    return PN_FAIL(PN_ERR_FORMAT, "%s: version %d, this build reads %d", path, version,
                   PN_CHECKPOINT_VERSION);
  snprintf(s->model, sizeof s->model, "%s", model);
  snprintf(s->precision, sizeof s->precision, "%s", precision);
  return pn_model_config_parse(config, path, &s->config);
}

/* What the newest says is the best; -1: it says nothing.  auto: only if the run went back to it. */
static pn_status best_step(const char *run, bool only_if_restored, int64_t *step) {
  pn_saved_run newest;
  json_int_t best = -1;
  int restored = 0;
  pn_status st = pn_saved_run_open(run, "last", &newest);

  if (st != PN_OK) return st;
  json_unpack(newest.manifest, "{s:{s:{s:I}}}", "state", "best", "step", &best);
  json_unpack(newest.manifest, "{s:{s:{s:b}}}", "options", "train.restore_best", "value",
              &restored);
  pn_saved_run_close(&newest);
  *step = restored || !only_if_restored ? (int64_t)best : -1;
  return PN_OK;
}

static pn_status choose_step(const char *run, const char *which, int64_t *step) {
  bool best = strcmp(which, "best") == 0, automatic = strcmp(which, "auto") == 0;
  int64_t newest = pn_step_folder_newest(run);
  char *end;
  pn_status st = PN_OK;

  *step = newest;
  if (newest < 0)
    return PN_FAIL(PN_ERR_IO,
                   "%s holds no checkpoint: expected the out.path of a `pneuma train` that wrote "
                   "%s/checkpoints/step_N",
                   run, run);
  if (strcmp(which, "last") == 0) return PN_OK;
  if (!best && !automatic) {
    *step = strtoll(which, &end, 10);
    if (end != which && !*end && *step >= 0) return PN_OK;
    return PN_FAIL(PN_ERR_ARG, "checkpoint '%s': expected auto, last, best or a step's number",
                   which);
  }
  if ((st = best_step(run, automatic, step)) != PN_OK) return st;
  if (*step < 0 && best)
    return PN_FAIL(PN_ERR_IO, "%s has no best checkpoint: it was not validated", run);
  if (*step < 0) *step = newest;
  return PN_OK;
}

pn_status pn_saved_run_open(const char *run_path, const char *which, pn_saved_run *out) {
  char path[PN_RUN_PATH_BYTES], *text = NULL;
  pn_step_folder f;
  pn_status st = PN_OK;

  *out = (pn_saved_run){.manifest = NULL};
  PN_TRY(choose_step(run_path, which, &out->step));
  PN_TRY(pn_step_folder_make(run_path, out->step, "", &f));
  if (!pn_file_exists(f.final))
    PN_TRY(PN_FAIL(PN_ERR_IO, "%s has no checkpoint of step %lld (train.keep says how many stay)",
                   run_path, (long long)out->step));
  memcpy(out->folder, f.final, sizeof out->folder);
  PN_TRY(pn_path_join(path, sizeof path, out->folder, MANIFEST));
  PN_TRY(pn_file_read(path, &text, NULL));
  PN_TRY(parse_manifest(path, text, out));
done:
  free(text);
  if (st != PN_OK) pn_saved_run_close(out);
  return st;
}

void pn_saved_run_close(pn_saved_run *s) {
  json_decref(s->manifest);
  s->manifest = NULL;
}

const json_t *pn_saved_run_classes(const pn_saved_run *s) {
  return json_object_get(json_object_get(s->manifest, "data"), "classes");
}
