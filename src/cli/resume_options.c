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

pn_status pn_resume_options(pn_options *o) {
  const char *path = pn_options_text(o, "out.path");
  pn_saved_run saved = {.manifest = NULL};
  json_t *doc = NULL;
  pn_status st = PN_OK;

  if (!pn_options_bool(o, "train.resume") || pn_step_folder_newest(path) < 0) return PN_OK;
  PN_TRY(pn_saved_run_open(path, "last", &saved));
  doc = not_given(o, json_object_get(saved.manifest, "options"));
  PN_TRY(pn_options_load_json(o, doc, saved.folder));
done:
  json_decref(doc);
  pn_saved_run_close(&saved);
  return st;
}
