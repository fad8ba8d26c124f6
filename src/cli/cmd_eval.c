/* cmd_eval.c -- `pneuma eval RUN`: the newest checkpoint of a run on one split. */
#include "base/file.h"
#include "cli/cli.h"
#include "cli/metrics_print.h"
#include "cli/train_setup.h"

#include <string.h>

enum { PATH_BYTES = 1024 };

static pn_split split_of(const char *name) {
  for (int s = 0; s < PN_SPLIT_COUNT; s++)
    if (strcmp(pn_split_name((pn_split)s), name) == 0) return (pn_split)s;
  return PN_TEST; /* the option table allows no other name */
}

/* data.path, or what the run was trained on: options."data.path".value in RUN/run.json. */
static pn_status data_path(const pn_cli *x, char *out, size_t out_bytes) {
  const char *run = x->args[0], *path = pn_options_text(x->opt, "data.path");
  char file[PATH_BYTES];
  json_t *record = NULL;
  json_error_t error;
  pn_status st = PN_OK;

  if (!*path) {
    PN_TRY(pn_path_join(file, sizeof file, run, "run.json"));
    if (!pn_file_exists(file))
      PN_TRY(PN_FAIL(PN_ERR_ARG,
                     "%s is not a run: it has no run.json; name the out.path of a "
                     "`pneuma train`",
                     run));
    if (!(record = json_load_file(file, 0, &error)))
      PN_TRY(PN_FAIL(PN_ERR_FORMAT,
                     "%s:%d: damaged or cut short: %s; restore it, or name the data: data.path=...",
                     file, error.line, error.text));
    if (json_unpack(record, "{s:{s:{s:s}}}", "options", "data.path", "value", &path) != 0)
      PN_TRY(PN_FAIL(PN_ERR_FORMAT, "%s does not say which data it used: set data.path", file));
  }
  if (snprintf(out, out_bytes, "%s", path) >= (int)out_bytes)
    st = PN_FAIL(PN_ERR_ARG, "data.path is too long");
done:
  json_decref(record);
  return st;
}

static json_t *result_json(const pn_eval_job *job, const pn_metrics *m, const pn_dataset *d) {
  return json_pack("{s:s, s:s, s:s, s:b, s:o, s:o}", "run", job->run_path, "data", job->data_path,
                   "split", pn_split_name(job->split), "flip", job->flip, "metrics",
                   pn_metrics_json(m, d), "warnings", pn_warnings_json(d));
}

pn_status pn_cmd_eval(pn_cli *x) {
  char data[PATH_BYTES] = "", title[PATH_BYTES];
  const char *scores = pn_options_text(x->opt, "eval.scores");
  pn_eval_job job = {.run_path = x->args[0],
                     .data_path = data,
                     .checkpoint = pn_options_text(x->opt, "eval.checkpoint"),
                     .scores_path = *scores ? scores : NULL,
                     .precision = pn_precision_given(x->opt),
                     .device = pn_options_text(x->opt, "train.device"),
                     .images = pn_images_setup(x->opt),
                     .flip = pn_options_bool(x->opt, "eval.flip"),
                     .split = split_of(pn_options_text(x->opt, "eval.split"))};
  pn_place_map places = {0};
  pn_metrics m = {0};
  pn_dataset *d = NULL;
  pn_status st = PN_OK;

  PN_TRY(pn_agree(x->comm, data_path(x, data, sizeof data)));
  PN_TRY(pn_agree(x->comm, pn_dataset_open(data, &d)));
  PN_TRY(pn_place_setup(x->opt, x->comm, &places, &job.threads));
  PN_TRY(pn_eval_run(&job, x->comm, &m));
  snprintf(title, sizeof title, "%.500s on %s of %.400s%s", x->args[0], pn_split_name(job.split),
           data, job.flip ? ", each image with its mirror image" : "");
  if (pn_cli_speaks(x)) st = pn_metrics_print(title, &m, d);
  PN_TRY(pn_agree(x->comm, st));
  x->result = result_json(&job, &m, d);
done:
  pn_metrics_free(&m);
  pn_place_free(&places);
  pn_dataset_close(d);
  return st;
}
