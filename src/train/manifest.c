/* manifest.c -- folders and manifests of checkpoints: save, find the newest, open. */
#include "base/file.h"
#include "train/checkpoint.h"
#include "train/checkpoint_file.h"
#include "train/model_json.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MANIFEST "manifest.json"
enum { PART_NAME_BYTES = 32 };

/* RUN/checkpoints/step_N, and the .tmp beside it. */
typedef struct {
  char parent[PN_RUN_PATH_BYTES], final[PN_RUN_PATH_BYTES], tmp[PN_RUN_PATH_BYTES];
} folders;

static void part_name(int rank, char out[PART_NAME_BYTES]) {
  snprintf(out, PART_NAME_BYTES, "part_%04d.h5", rank);
}

static pn_status make_paths(const char *run, int64_t step, folders *f) {
  char name[64];
  pn_status st = PN_OK;

  PN_TRY(pn_path_join(f->parent, sizeof f->parent, run, "checkpoints"));
  snprintf(name, sizeof name, "step_%lld", (long long)step);
  PN_TRY(pn_path_join(f->final, sizeof f->final, f->parent, name));
  snprintf(name, sizeof name, "step_%lld.tmp", (long long)step);
  PN_TRY(pn_path_join(f->tmp, sizeof f->tmp, f->parent, name));
done:
  return st;
}

/* A flat folder and its files; a missing one is fine. */
static pn_status remove_folder(const char *path) {
  char file[PN_RUN_PATH_BYTES];
  DIR *d = opendir(path);
  struct dirent *e;
  pn_status st = PN_OK;

  if (!d) return PN_OK;
  while (st == PN_OK && (e = readdir(d)) != NULL) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    st = pn_path_join(file, sizeof file, path, e->d_name);
    if (st == PN_OK && unlink(file) != 0) st = PN_FAIL(PN_ERR_IO, "cannot delete %s", file);
  }
  closedir(d);
  if (st == PN_OK && rmdir(path) != 0) st = PN_FAIL(PN_ERR_IO, "cannot delete %s", path);
  return st;
}

/* N of "step_N", with nothing behind; -1 for any other name. */
static int64_t step_of_name(const char *name) {
  char *end;
  long long n;

  if (strncmp(name, "step_", 5) != 0 || name[5] < '0' || name[5] > '9') return -1;
  n = strtoll(name + 5, &end, 10);
  return *end == '\0' ? (int64_t)n : -1;
}

/* *step: the newest, -1 if there is none. */
static void newest_step(const char *parent, int64_t *step) {
  DIR *d = opendir(parent);
  struct dirent *e;

  *step = -1;
  if (!d) return;
  while ((e = readdir(d)) != NULL) {
    int64_t n = step_of_name(e->d_name);
    if (n > *step) *step = n;
  }
  closedir(d);
}

/* Renamed back to .tmp before it is emptied: what has no .tmp is complete. */
static pn_status remove_older(const char *run, int64_t newest) {
  folders f;
  DIR *d;
  struct dirent *e;
  pn_status st = make_paths(run, newest, &f);

  if (st != PN_OK || !(d = opendir(f.parent))) return st;
  while (st == PN_OK && (e = readdir(d)) != NULL) {
    int64_t n = step_of_name(e->d_name);
    if (n < 0 || n >= newest) continue;
    st = make_paths(run, n, &f);
    if (st != PN_OK) continue;
    st = remove_folder(f.tmp);
    if (st == PN_OK && rename(f.final, f.tmp) != 0)
      st = PN_FAIL(PN_ERR_IO, "cannot rename %s", f.final);
    if (st == PN_OK) st = remove_folder(f.tmp);
  }
  closedir(d);
  return st;
}

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
    for (int j = 0; j < pn_optim_n_states(o); j++)
      json_array_append_new(kinds, json_string(pn_optim_state_name(o, j)));
    json_array_append_new(all, json_pack("{s:s, s:o, s:s, s:o}", "name", p->name, "shape",
                                         shape_json(p->shape), "dtype", "f32", "kinds", kinds));
  }
  return all;
}

/* counts: tensors of each rank; ranks without any have no part. */
static json_t *parts_json(const int64_t *counts, int size) {
  json_t *all = json_array();
  for (int r = 0; r < size; r++) {
    char name[PART_NAME_BYTES];
    part_name(r, name);
    if (counts[r] > 0)
      json_array_append_new(
          all, json_pack("{s:s, s:I}", "file", name, "tensors", (json_int_t)counts[r]));
  }
  return all;
}

static json_t *manifest_json(const pn_checkpoint *k, const int64_t *counts) {
  const pn_train_config *c = k->cfg;
  return json_pack("{s:s, s:i, s:{s:s, s:o}, s:o, s:o, s:I, s:I, s:I, s:s, s:i, s:s, s:O?}",
                   "format", PN_CHECKPOINT_FORMAT, "version", PN_CHECKPOINT_VERSION, "model",
                   "name", c->model, "config", pn_model_config_json(k->model), "tensors",
                   tensors_json(k), "parts", parts_json(counts, pn_comm_size(k->comm)), "step",
                   (json_int_t)k->step, "epoch", (json_int_t)k->epoch, "seed", (json_int_t)c->seed,
                   "strategy", c->strategy, "ranks", pn_comm_size(k->comm), "optimizer",
                   c->optim.name, "options", c->options);
}

static pn_status write_manifest(const pn_checkpoint *k, const folders *f, const int64_t *counts) {
  char path[PN_RUN_PATH_BYTES];
  json_t *m = manifest_json(k, counts);
  char *text = m ? json_dumps(m, JSON_INDENT(2)) : NULL;
  pn_status st = PN_OK;

  if (!text) {
    st = PN_FAIL(PN_ERR_NOMEM, "manifest of a checkpoint: out of memory");
    goto done;
  }
  PN_TRY(pn_path_join(path, sizeof path, f->tmp, MANIFEST));
  PN_TRY(pn_file_write(path, text, strlen(text)));
  PN_TRY(pn_file_publish(f->tmp, f->final));
  PN_TRY(remove_older(k->cfg->out_path, k->step));
done:
  free(text);
  json_decref(m);
  return st;
}

static pn_status start_folder(const folders *f) {
  pn_status st = remove_folder(f->tmp);
  return st != PN_OK ? st : pn_make_dirs(f->tmp);
}

static pn_status write_own_part(const pn_checkpoint *k, const folders *f, int64_t *n) {
  char name[PART_NAME_BYTES], path[PN_RUN_PATH_BYTES];
  pn_status st = PN_OK;

  part_name(pn_comm_rank(k->comm), name);
  PN_TRY(pn_path_join(path, sizeof path, f->tmp, name));
  PN_TRY(pn_part_write(path, k->graph, k->strategy, n));
done:
  return st;
}

pn_status pn_checkpoint_save(const pn_checkpoint *k) {
  bool root = pn_comm_rank(k->comm) == 0;
  folders f = {.parent = ""};
  int64_t mine = 0, *counts = calloc((size_t)pn_comm_size(k->comm), sizeof *counts);
  pn_status st = counts ? make_paths(k->cfg->out_path, k->step, &f)
                        : PN_FAIL(PN_ERR_NOMEM, "checkpoint: out of memory");

  if (st == PN_OK && root) st = start_folder(&f);
  PN_TRY(pn_agree(k->comm, st));
  PN_TRY(pn_agree(k->comm, write_own_part(k, &f, &mine)));
  PN_TRY(pn_allgather(k->comm, "parts of the checkpoint", &mine, counts, 1, PN_I64));
  PN_TRY(pn_agree(k->comm, root ? write_manifest(k, &f, counts) : PN_OK));
done:
  free(counts);
  return st;
}

static pn_status parse_manifest(const char *path, const char *text, pn_saved_run *s) {
  json_error_t where;
  const char *format = NULL, *model = NULL;
  json_t *config = NULL;
  int version = 0;

  if (!(s->manifest = json_loads(text, 0, &where)))
    return PN_FAIL(PN_ERR_FORMAT, "%s:%d: %s", path, where.line, where.text);
  if (json_unpack(s->manifest, "{s:s, s:i, s:{s:s, s:o}}", "format", &format, "version", &version,
                  "model", "name", &model, "config", &config) != 0 ||
      strcmp(format, PN_CHECKPOINT_FORMAT) != 0)
    return PN_FAIL(PN_ERR_FORMAT, "%s is not a pneuma checkpoint", path);
  if (version != PN_CHECKPOINT_VERSION)
    return PN_FAIL(PN_ERR_FORMAT, "%s: version %d, this build reads %d", path, version,
                   PN_CHECKPOINT_VERSION);
  snprintf(s->model, sizeof s->model, "%s", model);
  return pn_model_config_parse(config, path, &s->config);
}

pn_status pn_saved_run_open(const char *run_path, pn_saved_run *out) {
  char path[PN_RUN_PATH_BYTES], *text = NULL;
  folders f;
  int64_t step;
  pn_status st = PN_OK;

  *out = (pn_saved_run){.manifest = NULL};
  PN_TRY(make_paths(run_path, 0, &f));
  newest_step(f.parent, &step);
  if (step < 0) {
    st = PN_FAIL(PN_ERR_IO, "%s holds no checkpoint; `pneuma train out.path=%s` makes one",
                 run_path, run_path);
    goto done;
  }
  PN_TRY(make_paths(run_path, step, &f));
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

static pn_status read_parts(const pn_saved_run *s, const pn_graph *g, const pn_param_map *map,
                            float *params, bool *found) {
  json_t *parts = json_object_get(s->manifest, "parts"), *part;
  char path[PN_RUN_PATH_BYTES];
  size_t i;
  pn_status st = PN_OK;

  json_array_foreach(parts, i, part) {
    const char *file = json_string_value(json_object_get(part, "file"));
    if (!file || strchr(file, '/')) {
      st = PN_FAIL(PN_ERR_FORMAT, "%s/" MANIFEST ": part %zu has no plain file name", s->folder, i);
      goto done;
    }
    PN_TRY(pn_path_join(path, sizeof path, s->folder, file));
    PN_TRY(pn_part_read(path, g, map, params, found));
  }
done:
  return st;
}

pn_status pn_saved_run_load(const pn_saved_run *s, const pn_graph *g, const pn_param_map *map,
                            float *params) {
  bool *found = calloc((size_t)map->n + 1, sizeof *found);
  pn_status st = PN_OK;

  if (!found) return PN_FAIL(PN_ERR_NOMEM, "checkpoint: out of memory");
  PN_TRY(read_parts(s, g, map, params, found));
  for (int i = 0; i < map->n; i++)
    if (!found[i]) {
      st = PN_FAIL(PN_ERR_FORMAT, "%s has no parameter %s", s->folder, pn_graph_param(g, i)->name);
      goto done;
    }
done:
  free(found);
  return st;
}
