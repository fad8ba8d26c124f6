/* cmd_study.c -- `pneuma study CONFIG.yaml`: every row in one launch, one table. */
#include "base/file.h"
#include "base/log.h"
#include "base/signals.h"
#include "cli/cli.h"
#include "cli/study_config.h"
#include "cli/train_setup.h"
#include "report/machine.h"

#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 1024 };

static void announce(const pn_cli *x, const pn_study *s, const char *out) {
  pn_info("study        %d rows of %s, %d run%s each, %d rank%s launched", s->n, x->args[0],
          s->repeats, s->repeats == 1 ? "" : "s", pn_comm_size(x->comm),
          pn_comm_size(x->comm) == 1 ? "" : "s");
  pn_info("results in   %s", out);
  pn_info("options");
  if (pn_comm_rank(x->comm) == 0 && !x->quiet) pn_options_print(x->opt, stderr);
}

/* Rank 0: folder for the rows' run.json files. */
static pn_status make_rows_folder(const pn_cli *x, const char *out, char *rows) {
  pn_status st = pn_path_join(rows, PATH_BYTES, out, "rows");
  if (st == PN_OK && pn_comm_rank(x->comm) == 0) st = pn_make_dirs(rows);
  return pn_agree(x->comm, st);
}

/* Rank 0: compare, write, print. */
static pn_status report(pn_cli *x, pn_study *s, const char *out) {
  char *text = NULL;
  pn_status st;

  PN_TRY(pn_study_compare(s));
  PN_TRY(pn_lock_check(s->lock));
  PN_TRY(pn_study_write(s, out, pn_options_bool(x->opt, "study.plots")));
  if (pn_cli_speaks(x)) {
    PN_TRY(pn_study_text(s, &text));
    fputs(text, stdout);
    printf("\nFiles: %s/study.csv, study.json, study.md%s, rows/*.json\n", out,
           s->plotted ? ", speedup.svg/.png, efficiency.svg/.png" : "");
  }
  x->result = pn_study_json(s);
done:
  free(text);
  return st;
}

static pn_status set_machine(pn_cli *x, pn_study *s) {
  pn_status st = pn_machine_json(x->comm, &s->machine);
  if (s->machine) json_object_set_new(s->machine, "versions", pn_versions_json());
  return st;
}

/* All ranks of the launch: a row's are the first of them, and stay where they are. */
static pn_status take_places(const pn_cli *x) {
  const char *per = pn_options_text(x->opt, "run.place");
  pn_place_map map = {0};
  pn_status st = PN_OK;

  if (strcmp(per, "launcher") == 0) return PN_OK;
  if ((st = pn_place_take(x->comm, per, 0, &map)) != PN_OK) return st;
  for (int i = 0; i < map.n_warnings; i++) pn_warn("%s", map.warning[i]);
  pn_place_free(&map);
  return PN_OK;
}

pn_status pn_cmd_study(pn_cli *x) {
  char rows[PATH_BYTES];
  pn_out_folder out = {.lock = {.fd = -1}};
  pn_dataset *d = NULL;
  pn_study *s = NULL;
  pn_status st = PN_OK;

  pn_signals_watch();
  PN_TRY(take_places(x));
  PN_TRY(pn_data_open(x->opt, x->comm, &d));
  PN_TRY(pn_agree(x->comm, pn_study_config(x->args[0], x->opt, d, &s)));
  s->repeats = (int)pn_options_int(x->opt, "study.repeats");
  s->repeat_steps = pn_options_int(x->opt, "study.steps");
  s->seed = (uint64_t)pn_options_int(x->opt, "train.seed");
  PN_TRY(pn_out_setup(x->opt, "study", "study", x->comm, &out));
  s->lock = &out.lock;
  PN_TRY(make_rows_folder(x, out.path, rows));
  PN_TRY(set_machine(x, s));
  announce(x, s, out.path);
  PN_TRY(pn_study_run(s, x->comm, d, rows));
  PN_TRY(pn_agree(x->comm, pn_comm_rank(x->comm) == 0 ? report(x, s, out.path) : PN_OK));
done:
  pn_out_release(&out);
  pn_study_destroy(s);
  pn_dataset_close(d);
  return st;
}
