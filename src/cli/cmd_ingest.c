/* cmd_ingest.c -- `pneuma ingest IN OUT`: files to shards, and the account of every file. */
#include "base/signals.h"
#include "cli/cli.h"
#include "cli/units.h"
#include "data/ingest.h"

#include <stdlib.h>
#include <string.h>

/* The three choices of the DICOM reader. */
static pn_dicom_rules dicom_rules(const pn_options *o) {
  const char *frames = pn_options_text(o, "ingest.frames");
  pn_dicom_rules r = {.window = (int)pn_options_int(o, "ingest.window")};

  if (strcmp(frames, "first") == 0) r.frames = PN_FRAMES_FIRST;
  if (strcmp(frames, "all") == 0) r.frames = PN_FRAMES_ALL;
  r.reject_burned_in = strcmp(pn_options_text(o, "ingest.burned_in"), "reject") == 0;
  return r;
}

static void configure(const pn_cli *x, pn_ingest_config *c) {
  const pn_options *o = x->opt;
  int64_t hw[2];

  pn_ingest_config_init(c);
  pn_options_size(o, "ingest.size", hw);
  c->in = x->args[0];
  c->out = x->args[1];
  c->kind = pn_options_text(o, "ingest.kind");
  c->labels = pn_options_text(o, "ingest.labels");
  c->classes = pn_options_text(o, "ingest.classes");
  c->groups = pn_options_text(o, "ingest.groups");
  c->columns = pn_options_text(o, "ingest.columns");
  c->only = pn_options_text(o, "ingest.only");
  c->test_fold = pn_options_text(o, "ingest.test_fold");
  c->val_fold = pn_options_text(o, "ingest.val_fold");
  c->channels = atoi(pn_options_text(o, "ingest.channels")); /* auto: 0 */
  c->new_splits = strcmp(pn_options_text(o, "ingest.splits"), "new") == 0;
  c->reject_leaks = strcmp(pn_options_text(o, "ingest.leaks"), "reject") == 0;
  c->salt = pn_options_text(o, "ingest.salt");
  c->height = hw[0];
  c->width = hw[1];
  c->bits = strcmp(pn_options_text(o, "ingest.bits"), "16") == 0 ? 16 : 8;
  pn_fit_find(pn_options_text(o, "ingest.fit"), &c->fit); /* the table has these names only */
  c->seed = (uint64_t)pn_options_int(o, "ingest.seed");
  c->val_share = pn_options_float(o, "ingest.val");
  c->test_share = pn_options_float(o, "ingest.test");
  c->shard_mb = pn_options_int(o, "ingest.shard_mb");
  c->max_rejects = pn_options_int(o, "ingest.max_rejects");
  c->require_labels = pn_options_bool(o, "ingest.require_labels");
  c->dicom = dicom_rules(o);
}

static void row(const char *what, int64_t n, const char *note) {
  printf("  %-12s %12s%s%s\n", what, pn_text_count(n).s, *note ? "   " : "", note);
}

static void print_account(const pn_ingest_result *r, const char *out) {
  char note[1200];

  row("listed", r->listed, "images = written + rejected + duplicates + skipped");
  row("written", r->written, "");
  snprintf(note, sizeof note, "why: %s/rejects.csv", out);
  row("rejected", r->rejected, r->rejected || r->bad_label_rows ? note : "");
  row("duplicates", r->duplicates, "");
  row("skipped", r->skipped, "");
  if (r->labels_without_file) row("labels only", r->labels_without_file, "ids without a file");
  if (r->bad_label_rows) row("bad labels", r->bad_label_rows, "rows of the CSV left out");
  if (r->leaks)
    row("leaks", r->leaks, "images in a split that holds the same patient or pixels elsewhere");
}

static void print(const pn_ingest_config *c, const pn_ingest_result *r) {
  printf("%s -> %s (%s, %lld x %lld pixels, %d channel%s, %d bits)%s\n", c->in, c->out, r->kind,
         (long long)c->height, (long long)c->width, r->channels, r->channels == 1 ? "" : "s",
         c->bits, r->already_complete ? ": already there, nothing to do" : "");
  print_account(r, c->out);
  printf("Classes\n");
  for (int i = 0; i < r->n_classes; i++) row(r->class_name[i], r->class_count[i], "images");
  printf("Splits\n");
  for (int s = 0; s < PN_SPLIT_COUNT; s++)
    row(pn_split_name((pn_split)s), r->split_count[s], "images");
  printf("Files\n");
  if (r->resumed) row("resumed", r->resumed, "shards of an earlier try, checked and kept");
  row("shards", r->shards, pn_text_bytes((double)r->bytes).s);
  if (!r->already_complete)
    printf("  %-12s %12s   %.1f images/s\n", "time", pn_text_seconds(r->seconds).s,
           r->images_per_s);
  printf("  %-12s %s\n", "digest", r->digest);
  printf("Next: pneuma train data.path=%s%s\n", c->out,
         r->n_classes > 2 ? " model.head=softmax" : "");
}

pn_status pn_cmd_ingest(pn_cli *x) {
  pn_ingest_config c;
  pn_ingest_result r = {0};
  pn_status st;

  configure(x, &c);
  pn_signals_watch();
  st = pn_agree(x->comm, pn_ingest_run(&c, x->comm, &r));
  if (st != PN_OK) return st;
  if (pn_cli_speaks(x)) print(&c, &r);
  x->result = pn_ingest_result_json(&r);
  return PN_OK;
}
