/* cmd_predict.c -- `pneuma predict RUN FILE...`: probabilities of each class for each file. */
#include "base/log.h"
#include "cli/cli.h"
#include "cli/train_setup.h"
#include "train/predict.h"

#include <errno.h>
#include <string.h>

/* A field of a CSV file: quoted where it must be. */
static void put_field(FILE *f, const char *text) {
  if (!strpbrk(text, ",\"\n\r")) {
    fputs(text, f);
    return;
  }
  fputc('"', f);
  for (; *text; text++) {
    if (*text == '"') fputc('"', f);
    fputc(*text, f);
  }
  fputc('"', f);
}

static void put_rows(FILE *f, const pn_predictions *p, const char *const *file) {
  fputs("file,class", f);
  for (int c = 0; c < p->n_classes; c++) {
    fputs(",p_", f);
    put_field(f, p->class_name[c]);
  }
  fputs(",rejected\n", f);
  for (int64_t i = 0; i < p->n; i++) {
    bool bad = p->why[i].reason[0] != '\0';
    put_field(f, file[i]);
    fputc(',', f);
    if (!bad) put_field(f, p->class_name[pn_predictions_class(p, i)]);
    for (int c = 0; c < p->n_classes; c++) {
      fputc(',', f);
      if (!bad) fprintf(f, "%.7g", (double)p->prob[i * p->n_classes + c]);
    }
    fputc(',', f);
    put_field(f, p->why[i].reason);
    fputc('\n', f);
  }
}

static pn_status write_csv(const char *path, const pn_predictions *p, const char *const *file) {
  FILE *f = *path ? fopen(path, "w") : stdout;
  int bad;

  if (!f) return PN_FAIL(PN_ERR_IO, "cannot create %s: %s", path, strerror(errno));
  put_rows(f, p, file);
  bad = ferror(f);
  if (f != stdout && fclose(f) != 0) bad = 1;
  return bad ? PN_FAIL(PN_ERR_IO, "cannot write the answers: %s", strerror(errno)) : PN_OK;
}

static json_t *row_json(const pn_predictions *p, int64_t i, const char *file) {
  const pn_reject *why = &p->why[i];
  json_t *probs = json_object();

  for (int c = 0; c < p->n_classes; c++)
    json_object_set_new(probs, p->class_name[c], json_real((double)p->prob[i * p->n_classes + c]));
  if (!why->reason[0])
    return json_pack("{s:s, s:s, s:o}", "file", file, "class",
                     p->class_name[pn_predictions_class(p, i)], "probabilities", probs);
  json_decref(probs);
  return json_pack("{s:s, s:{s:s, s:s, s:s}}", "file", file, "rejected", "reason", why->reason,
                   "tag", why->tag, "value", why->value);
}

static json_t *result_json(const pn_predict_job *job, const pn_predictions *p) {
  json_t *rows = json_array();

  for (int64_t i = 0; i < p->n; i++) json_array_append_new(rows, row_json(p, i, job->file[i]));
  return json_pack("{s:s, s:s, s:b, s:I, s:I, s:o}", "run", job->run_path, "checkpoint", p->folder,
                   "flip", job->flip, "files", (json_int_t)p->n, "rejected",
                   (json_int_t)p->rejected, "results", rows);
}

/* All rejected is a failure; some are said, and in the rows. */
static pn_status tell_rejected(const pn_predictions *p, const char *const *file) {
  int64_t first = 0;

  if (p->rejected == 0) return PN_OK;
  while (!p->why[first].reason[0]) first++;
  if (p->rejected < p->n) {
    pn_warn("%lld of %lld files are rejected; the first is %s: %s %s %s", (long long)p->rejected,
            (long long)p->n, file[first], p->why[first].reason, p->why[first].tag,
            p->why[first].value);
    return PN_OK;
  }
  return PN_FAIL(PN_ERR_FORMAT, "no file could be read; the first is %s: %s %s %s", file[first],
                 p->why[first].reason, p->why[first].tag, p->why[first].value);
}

pn_status pn_cmd_predict(pn_cli *x) {
  const char *const *file = x->args + 1;
  const char *path = pn_options_text(x->opt, "predict.out");
  pn_predict_job job = {.run_path = x->args[0],
                        .checkpoint = pn_options_text(x->opt, "eval.checkpoint"),
                        .file = file,
                        .precision = pn_precision_given(x->opt),
                        .device = pn_options_text(x->opt, "train.device"),
                        .flip = pn_options_bool(x->opt, "eval.flip"),
                        .n = x->n_args - 1};
  pn_place_map places = {0};
  pn_predictions p = {.n = 0};
  pn_status st = PN_OK;

  PN_TRY(pn_place_setup(x->opt, x->comm, &places, &job.threads));
  PN_TRY(pn_predict(&job, x->comm, &p));
  PN_TRY(pn_agree(x->comm, tell_rejected(&p, file)));
  if (pn_comm_rank(x->comm) == 0 && (*path || !x->json)) st = write_csv(path, &p, file);
  PN_TRY(pn_agree(x->comm, st));
  x->result = result_json(&job, &p);
done:
  pn_predictions_free(&p);
  pn_place_free(&places);
  return st;
}
