/* train_setup.c -- options to configurations, and what train, study and info do first. */
#include "cli/train_setup.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LOCK_NAME ".run.lock"

const char *pn_precision_given(const pn_options *o) {
  return pn_options_given(o, "train.precision") ? pn_options_text(o, "train.precision") : NULL;
}

void pn_model_setup(const pn_options *o, pn_model_config *m) {
  pn_model_defaults(m);
  m->filters[0] = pn_options_int(o, "model.filters1");
  m->filters[1] = pn_options_int(o, "model.filters2");
  m->kernel = pn_options_int(o, "model.kernel");
  m->hidden = pn_options_int(o, "model.hidden");
  m->width = pn_options_int(o, "model.width");
  m->padding = strcmp(pn_options_text(o, "model.padding"), "same") == 0;
  m->dropout = (float)pn_options_float(o, "model.dropout");
  m->input_mean = (float)pn_options_float(o, "model.input_mean");
  m->input_sd = (float)pn_options_float(o, "model.input_sd");
  m->softmax = strcmp(pn_options_text(o, "model.head"), "softmax") == 0;
}

void pn_model_head_setup(const pn_options *o, pn_model_config *m) {
  if (strcmp(pn_options_text(o, "model.head"), "auto") == 0) m->softmax = m->classes > 2;
}

void pn_augment_setup(const pn_options *o, pn_augment_config *c) {
  for (int t = 0; t < PN_AUG_COUNT; t++) {
    char key[64];
    snprintf(key, sizeof key, "augment.%s", pn_transform_name((pn_transform)t));
    c->range[t] = pn_options_float(o, key);
  }
  c->black = strcmp(pn_options_text(o, "augment.fill"), "black") == 0;
  c->seed = (uint64_t)pn_options_int(o, "train.seed");
}

pn_images_where pn_images_setup(const pn_options *o) {
  const char *name = pn_options_text(o, "device.images");
  pn_images_where w = PN_IMAGES_AUTO;

  while (w < PN_IMAGES_HOST && strcmp(name, pn_images_where_name(w)) != 0) w++;
  return w;
}

pn_status pn_augment_check(const pn_options *o) {
  pn_augment_config c;

  pn_augment_setup(o, &c);
  if (pn_augment_any(&c) || !pn_options_given(o, "augment.fill")) return PN_OK;
  return PN_FAIL(PN_ERR_ARG, "augment.fill has no effect: no other augment.* option is set");
}

static pn_status data_setup(const pn_options *o, pn_train_config *cfg) {
  const char *check = pn_options_text(o, "data.check");

  pn_augment_setup(o, &cfg->augment);
  cfg->check = strcmp(check, "always") == 0  ? PN_CHECK_ALWAYS
               : strcmp(check, "never") == 0 ? PN_CHECK_NEVER
                                             : PN_CHECK_FIRST;
  cfg->images = pn_images_setup(o);
  cfg->prefetch = (int)pn_options_int(o, "data.prefetch");
  cfg->data_threads = (int)pn_options_int(o, "data.threads");
  if (cfg->prefetch == 0 && pn_options_given(o, "data.threads"))
    return PN_FAIL(
        PN_ERR_ARG,
        "data.threads has no effect with data.prefetch=0: set data.prefetch=2 or leave it out");
  return pn_augment_check(o);
}

static void copy(char *out, size_t out_bytes, const char *text) {
  snprintf(out, out_bytes, "%s", text);
}

pn_status pn_train_setup(const pn_options *o, const pn_dataset *d, int ranks,
                         pn_train_config *cfg) {
  const char *strategy = pn_options_text(o, "train.strategy");

  memset(cfg, 0, sizeof *cfg);
  pn_model_setup(o, &cfg->model_config);
  pn_dataset_shape(d, &cfg->model_config.channels, &cfg->model_config.size[0],
                   &cfg->model_config.size[1]);
  cfg->model_config.classes = pn_dataset_n_classes(d);
  pn_model_head_setup(o, &cfg->model_config);
  pn_recipe_setup(o, cfg);
  if (strcmp(strategy, "auto") == 0) strategy = ranks > 1 ? "ddp" : "single";
  copy(cfg->model, sizeof cfg->model, pn_options_text(o, "model.name"));
  copy(cfg->strategy, sizeof cfg->strategy, strategy);
  copy(cfg->device, sizeof cfg->device, pn_options_text(o, "train.device"));
  cfg->share_gpu = pn_options_bool(o, "device.share");
  cfg->tf32 = pn_options_bool(o, "device.tf32");
  cfg->loose = !pn_options_bool(o, "device.deterministic");
  cfg->reshard = pn_options_bool(o, "train.reshard");
  copy(cfg->comm, sizeof cfg->comm, pn_options_text(o, "train.comm"));
  copy(cfg->precision, sizeof cfg->precision, pn_options_text(o, "train.precision"));
  cfg->precision_fallback = pn_options_bool(o, "train.precision_fallback");
  cfg->loss_scale = pn_options_float(o, "train.loss_scale");
  cfg->loss_scale_steps = pn_options_int(o, "train.loss_scale_steps");
  cfg->epochs = pn_options_int(o, "train.epochs");
  cfg->steps = pn_options_int(o, "train.steps");
  cfg->batch = pn_options_int(o, "train.batch");
  cfg->batch_global = strcmp(pn_options_text(o, "train.batch_rule"), "global") == 0;
  cfg->threads = 1;
  cfg->seed = (uint64_t)pn_options_int(o, "train.seed");
  cfg->blocking = !pn_options_bool(o, "train.overlap");
  cfg->bucket_mb = pn_options_float(o, "train.bucket_mb");
  cfg->validate = pn_options_bool(o, "train.validate");
  cfg->resume = pn_options_bool(o, "train.resume");
  cfg->checkpoint_steps = pn_options_int(o, "train.checkpoint_steps");
  cfg->checkpoint_epochs = pn_options_int(o, "train.checkpoint_epochs");
  cfg->keep = pn_options_int(o, "train.keep");
  cfg->keep_best = pn_options_bool(o, "train.keep_best") || cfg->restore_best;
  if (cfg->leaves == 0 && pn_options_given(o, "train.leaves"))
    return PN_FAIL(PN_ERR_ARG, "train.leaves has no effect without train.exact=true");
  if (cfg->epochs == 0 && cfg->steps == 0)
    return PN_FAIL(PN_ERR_ARG, "train.epochs=0 and train.steps=0 would never stop: set one");
  return data_setup(o, cfg);
}

pn_status pn_data_open(const pn_options *o, pn_comm *c, pn_dataset **out) {
  const char *path = pn_options_text(o, "data.path");
  pn_status st;

  *out = NULL;
  if (!*path)
    st = PN_FAIL(PN_ERR_ARG, "data.path is not set: name the folder that `pneuma ingest` wrote, "
                             "e.g. data.path=data/phantom128");
  else
    st = pn_dataset_open(path, out);
  st = pn_agree(c, st);
  if (st != PN_OK) {
    pn_dataset_close(*out);
    *out = NULL;
  }
  return st;
}

int pn_threads_wanted(const pn_options *o) {
  int n = (int)pn_options_int(o, "train.threads");
  return n == 0 && pn_options_bool(o, "train.exact") ? 1 : n;
}

pn_status pn_place_setup(const pn_options *o, pn_comm *c, pn_place_map *map, int *threads) {
  pn_status st = pn_place_take(c, pn_options_text(o, "run.place"), pn_threads_wanted(o), map);

  if (st != PN_OK) return st;
  for (int i = 0; i < map->n_warnings; i++) pn_warn("%s", map->warning[i]);
  *threads = map->rank[pn_comm_rank(c)].threads;
  return PN_OK;
}

/* The first name free: results/custom_cnn-20261121-110000, then with -2, -3, ... */
static pn_status free_name(const char *name, char *out, size_t out_bytes) {
  char utc[32], stamp[32] = "", *to = stamp;

  pn_utc_text(utc, sizeof utc); /* 2026-11-21T11:00:00Z */
  for (const char *p = utc; *p && *p != 'Z'; p++)
    if (*p == 'T')
      *to++ = '-';
    else if (*p >= '0' && *p <= '9')
      *to++ = *p;
  *to = '\0';
  for (int i = 1; i < 1000; i++) {
    char suffix[16] = "";
    if (i > 1) snprintf(suffix, sizeof suffix, "-%d", i);
    snprintf(out, out_bytes, "results/%s-%s%s", name, stamp, suffix);
    if (!pn_file_exists(out)) return PN_OK;
  }
  return PN_FAIL(PN_ERR_IO, "results/%s-%s exists 1000 times: set out.path", name, stamp);
}

/* An empty folder, or none, may become a run; so may one where a run was refused at its start. */
static pn_status check_unused(const char *path) {
  DIR *dir = opendir(path);
  const struct dirent *e;
  char found[256] = "";

  if (!dir && errno == ENOENT) return PN_OK;
  if (!dir) return PN_FAIL(PN_ERR_ARG, "out.path=%s: %s", path, strerror(errno));
  while (!*found && (e = readdir(dir)))
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
        strcmp(e->d_name, LOCK_NAME) != 0 && strcmp(e->d_name, "log.txt") != 0)
      snprintf(found, sizeof found, "%s", e->d_name);
  closedir(dir);
  if (!*found) return PN_OK;
  return PN_FAIL(PN_ERR_ARG,
                 "out.path=%s is in use (it holds %s): choose another folder, go on with the run "
                 "in it by train.resume=true, or remove it first",
                 path, found);
}

static pn_status decide_path(const pn_options *o, const char *name, char *out, size_t out_bytes) {
  const char *path = pn_options_text(o, "out.path");
  bool resume = pn_options_bool(o, "train.resume");

  if (!*path) return PN_FAIL(PN_ERR_ARG, "out.path is empty: name a folder, or auto");
  if (resume && strcmp(path, "auto") == 0)
    return PN_FAIL(PN_ERR_ARG, "train.resume=true needs the folder of the run: set out.path");
  if (strcmp(path, "auto") == 0) return free_name(name, out, out_bytes);
  copy(out, out_bytes, path);
  return PN_OK;
}

pn_status pn_out_setup(const pn_options *o, const char *name, const char *what, pn_comm *c,
                       pn_out_folder *out) {
  pn_status st = PN_OK;

  *out = (pn_out_folder){.lock = {.fd = -1}};
  if (pn_comm_rank(c) == 0) {
    st = decide_path(o, name, out->path, sizeof out->path);
    if (st == PN_OK) st = pn_lock_take(out->path, LOCK_NAME, what, &out->lock);
    if (st == PN_OK && !pn_options_bool(o, "train.resume")) st = check_unused(out->path);
  }
  PN_TRY(pn_agree(c, st));
  PN_TRY(pn_bcast(c, "run folder", out->path, sizeof out->path, PN_U8, 0));
  PN_TRY(pn_bcast(c, "token of the run", out->lock.token, sizeof out->lock.token, PN_U8, 0));
done:
  return st;
}

void pn_out_release(pn_out_folder *out) {
  pn_lock_release(&out->lock);
}
