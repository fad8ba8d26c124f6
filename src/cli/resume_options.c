/* resume_options.c -- a run that goes on has the options it had. */
#include "cli/train_setup.h"
#include "train/checkpoint.h"
#include "train/checkpoint_file.h"

#include <string.h>

/* {key: value} of the stored options that this command line and its file say nothing of. */
static json_t *not_given(const pn_options *o, json_t *stored) {
  json_t *doc = json_object(), *entry;
  const char *key;

  json_object_foreach(stored, key, entry) {
    const pn_option *row = pn_option_find(key);
    bool own = strcmp(key, "train.resume") == 0 || strcmp(key, "out.path") == 0;
    if (!row || own || pn_options_given(o, key)) continue;
    if (strcmp(json_string_value(json_object_get(entry, "origin")), "default") != 0)
      json_object_set(doc, key, json_object_get(entry, "value"));
  }
  return doc;
}

static json_t *stored_value(json_t *stored, const char *key) {
  return json_object_get(json_object_get(stored, key), "value");
}

/* optim.scale_batch=auto stands for train.batch; with another one the learning rate would change,
 * so the stored train.batch takes its place. */
static void keep_scale_batch(const pn_options *o, json_t *stored, json_t *doc) {
  const char *scale = pn_options_given(o, "optim.scale")
                          ? pn_options_text(o, "optim.scale")
                          : json_string_value(stored_value(stored, "optim.scale"));
  json_t *batch = stored_value(stored, "train.batch");

  if (!scale || strcmp(scale, "none") == 0 || pn_options_given(o, "optim.scale_batch") ||
      json_object_get(doc, "optim.scale_batch") || !pn_options_given(o, "train.batch"))
    return;
  if (json_is_integer(batch) && json_integer_value(batch) != pn_options_int(o, "train.batch"))
    json_object_set(doc, "optim.scale_batch", batch);
}

pn_status pn_resume_options(pn_options *o) {
  const char *path = pn_options_text(o, "out.path");
  pn_saved_run saved = {.manifest = NULL};
  json_t *doc = NULL;
  pn_status st = PN_OK;

  if (!pn_options_bool(o, "train.resume") || pn_step_folder_newest(path) < 0) return PN_OK;
  PN_TRY(pn_saved_run_open(path, "last", &saved));
  doc = not_given(o, json_object_get(saved.manifest, "options"));
  keep_scale_batch(o, json_object_get(saved.manifest, "options"), doc);
  PN_TRY(pn_options_load_json(o, doc, saved.folder));
done:
  json_decref(doc);
  pn_saved_run_close(&saved);
  return st;
}
