/* record.c -- files of a run's folder, written by one rank. */
#include "train/record.h"

#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Appends, whatever another start of the same job does with the file: nothing may stay in the
 * buffer for later. */
static pn_status create_csv(const char *path, const char *header, FILE **out) {
  if (!(*out = fopen(path, "a")) || ftruncate(fileno(*out), 0) != 0 ||
      fprintf(*out, "%s\n", header) < 0 || fflush(*out) != 0)
    return PN_FAIL(PN_ERR_IO, "cannot create %s: %s", path, strerror(errno));
  return PN_OK;
}

/* Length of the text with the header and the whole lines that start with a number <= last. */
static size_t length_up_to(const char *text, int64_t last) {
  const char *line = text, *end;

  while ((end = strchr(line, '\n')) != NULL) {
    if (line != text && strtoll(line, NULL, 10) > last) break;
    line = end + 1;
  }
  return (size_t)(line - text);
}

/* NAME.csv -> NAME-to-LAST.csv, or the first free NAME-to-LAST-2.csv, -3... */
static pn_status set_aside(const char *path, int64_t last) {
  char to[sizeof((pn_record *)0)->folder + 48], again[16] = "";
  int stem = (int)strlen(path) - (int)strlen(".csv");

  for (int k = 2;; k++) {
    snprintf(to, sizeof to, "%.*s-to-%lld%s.csv", stem, path, (long long)last, again);
    if (!pn_file_exists(to)) break;
    snprintf(again, sizeof again, "-%d", k);
  }
  if (rename(path, to) != 0)
    return PN_FAIL(PN_ERR_IO, "cannot rename %s to %s: %s", path, to, strerror(errno));
  pn_info(
      "%s: other columns from now on (precision, figures of the GPU): the rows so far are in %s",
      path, to);
  return PN_OK;
}

/* A run that goes on: what came after its checkpoint is computed again.  One in another precision
 * may have other columns. */
static pn_status reopen_csv(const char *path, const char *header, int64_t last, FILE **out) {
  char *text = NULL;
  size_t n = strlen(header);
  pn_status st = PN_OK;

  PN_TRY(pn_file_read(path, &text, NULL));
  if (truncate(path, (off_t)length_up_to(text, last)) != 0)
    PN_TRY(PN_FAIL(PN_ERR_IO, "cannot cut %s: %s", path, strerror(errno)));
  if (strncmp(text, header, n) != 0 || text[n] != '\n') {
    PN_TRY(set_aside(path, last));
    PN_TRY(create_csv(path, header, out));
  } else if (!(*out = fopen(path, "a"))) {
    st = PN_FAIL(PN_ERR_IO, "cannot go on with %s: %s", path, strerror(errno));
  }
done:
  free(text);
  return st;
}

static pn_status open_csv(const char *folder, const char *name, const char *header, int64_t last,
                          FILE **out) {
  char path[sizeof((pn_record *)0)->folder];
  pn_status st = pn_path_join(path, sizeof path, folder, name);

  if (st != PN_OK) return st;
  return last > 0 && pn_file_exists(path) ? reopen_csv(path, header, last, out)
                                          : create_csv(path, header, out);
}

static pn_status check_free(const char *folder) {
  static const char *const signs[] = {"run.json", "checkpoints"};
  char path[sizeof((pn_record *)0)->folder];

  for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
    pn_status st = pn_path_join(path, sizeof path, folder, signs[i]);
    if (st != PN_OK) return st;
    if (pn_file_exists(path))
      return PN_FAIL(PN_ERR_ARG,
                     "%s holds another run (%s): go on with it by train.resume=true, or give "
                     "another out.path",
                     folder, signs[i]);
  }
  return PN_OK;
}

static const char epoch_columns[] =
    "epoch,loss,val_loss,val_accuracy,val_precision,val_recall,val_f1,val_auc,lr,"
    "images_per_s,seconds,data_s,forward_s,backward_s,comm_exposed_s,comm_hidden_s,"
    "comm_late_s,update_s,peak_bytes";
static const char step_columns[] =
    "step,epoch,images,loss,data_ms,forward_ms,backward_ms,comm_exposed_ms,"
    "comm_hidden_ms,comm_late_ms,update_ms,step_ms,lr";
static const char scaling_columns[] = ",loss_scale,skipped";
/* In the order of pn_gpu_figure. */
static const char gpu_columns[] =
    ",gpu_utilization_percent,gpu_memory_bytes,gpu_power_w,gpu_clock_mhz,gpu_energy_j";

static pn_status open_files(pn_record *r, const pn_record_spec *spec) {
  char epochs[sizeof epoch_columns + sizeof gpu_columns];
  char steps[sizeof step_columns + sizeof scaling_columns + sizeof gpu_columns];
  pn_status st = PN_OK;

  if (!spec->resume) PN_TRY(check_free(r->folder));
  snprintf(epochs, sizeof epochs, "%s%s", epoch_columns, spec->gpu ? gpu_columns : "");
  snprintf(steps, sizeof steps, "%s%s%s", step_columns, spec->scaling ? scaling_columns : "",
           spec->gpu ? gpu_columns : "");
  PN_TRY(pn_make_dirs(r->folder));
  PN_TRY(
      open_csv(r->folder, "epochs.csv", epochs, spec->step > 0 ? spec->epoch : 0, &r->epochs_csv));
  PN_TRY(open_csv(r->folder, "steps.csv", steps, spec->step, &r->steps_csv));
  PN_TRY(pn_events_open(r->folder, spec->step, &r->events));
done:
  return st;
}

/* Rows of complete epochs. */
static pn_status take_epochs(pn_record *r, const pn_record_spec *spec) {
  json_t *row;
  size_t i;

  if (!(r->epochs = json_array())) return PN_FAIL(PN_ERR_NOMEM, "record of a run: out of memory");
  json_array_foreach(spec->epochs, i, row) {
    if (json_integer_value(json_object_get(row, "epoch")) > spec->epoch) break;
    if (json_array_append(r->epochs, row) != 0)
      return PN_FAIL(PN_ERR_NOMEM, "record of a run: out of memory");
  }
  return PN_OK;
}

pn_status pn_record_open(const pn_record_spec *spec, pn_record *out) {
  pn_status st = PN_OK;

  *out = (pn_record){.data = spec->data, .gpu = spec->gpu, .scaling = spec->scaling};
  PN_TRY(take_epochs(out, spec));
  if (!spec->folder) return PN_OK;
  if ((size_t)snprintf(out->folder, sizeof out->folder, "%s", spec->folder) >= sizeof out->folder)
    PN_TRY(PN_FAIL(PN_ERR_ARG, "path too long: %s", spec->folder));
  PN_TRY(open_files(out, spec));
  out->outdated = spec->resume;
done:
  if (st != PN_OK) pn_record_close(out);
  return st;
}

void pn_record_close(pn_record *r) {
  if (r->epochs_csv) fclose(r->epochs_csv);
  if (r->steps_csv) fclose(r->steps_csv);
  pn_events_close(r->events);
  json_decref(r->epochs);
  *r = (pn_record){.data = NULL};
}

static pn_status flush(FILE *f, const char *folder, const char *name) {
  if (fflush(f) == 0 && !ferror(f)) return PN_OK;
  return PN_FAIL(PN_ERR_IO, "cannot write %s/%s: %s", folder, name, strerror(errno));
}

/* An empty cell where there is no number. */
static void cell(FILE *f, double x) {
  if (isfinite(x))
    fprintf(f, ",%.9g", x);
  else
    fputc(',', f);
}

/* The end of a line. */
static void gpu_cells(const pn_record *r, FILE *f, const double gpu[PN_GPU_FIGURES]) {
  for (int i = 0; r->gpu && i < PN_GPU_FIGURES; i++)
    fprintf(f, isfinite(gpu[i]) ? ",%.12g" : ",", gpu[i]);
  fputc('\n', f);
}

static void scaling_cells(pn_record *r, const pn_step_row *s) {
  bool skipped = s->loss_scale < 0;
  fprintf(r->steps_csv, ",%.9g,%d", fabs(s->loss_scale), skipped);
  pn_events_scalar(r->events, "loss_scale", s->step, fabs(s->loss_scale));
}

/* The run goes on: its former result must not be taken for the one to come. */
static pn_status drop_result(pn_record *r) {
  char path[sizeof r->folder];
  pn_status st = pn_path_join(path, sizeof path, r->folder, "run.json");

  if (st != PN_OK) return st;
  if (unlink(path) != 0 && errno != ENOENT)
    return PN_FAIL(PN_ERR_IO, "cannot remove %s: %s", path, strerror(errno));
  r->outdated = false;
  return PN_OK;
}

pn_status pn_record_steps(pn_record *r, const pn_step_row *rows, int64_t n) {
  pn_status st;

  if (!r->steps_csv) return PN_OK;
  if (r->outdated && (st = drop_result(r)) != PN_OK) return st;
  for (int64_t i = 0; i < n; i++) {
    const pn_step_row *s = &rows[i];
    fprintf(r->steps_csv, "%lld,%lld,%lld,%.9g", (long long)s->step, (long long)s->epoch,
            (long long)s->images, s->loss);
    for (int c = 0; c < PN_COL_COUNT; c++) fprintf(r->steps_csv, ",%.6g", 1e3 * s->seconds[c]);
    fprintf(r->steps_csv, ",%.9g", s->lr);
    if (r->scaling) scaling_cells(r, s);
    gpu_cells(r, r->steps_csv, s->gpu);
    pn_events_scalar(r->events, "loss/step", s->step, s->loss);
    pn_events_scalar(r->events, "lr", s->step, s->lr);
  }
  st = pn_events_flush(r->events);
  return st == PN_OK ? flush(r->steps_csv, r->folder, "steps.csv") : st;
}

static void epoch_line(const pn_record *r, const pn_epoch_row *e) {
  FILE *f = r->epochs_csv;
  const pn_metrics none = {
      .loss = NAN, .accuracy = NAN, .precision = NAN, .recall = NAN, .f1 = NAN, .auc = NAN};
  const pn_metrics *v = e->val ? e->val : &none;

  fprintf(f, "%lld", (long long)e->epoch);
  cell(f, e->loss);
  cell(f, v->loss);
  cell(f, v->accuracy);
  cell(f, v->precision);
  cell(f, v->recall);
  cell(f, v->f1);
  cell(f, v->auc);
  cell(f, e->lr);
  cell(f, e->images_per_s);
  cell(f, e->seconds);
  for (int c = 0; c < PN_COL_STEP; c++) cell(f, e->phase[c]);
  fprintf(f, ",%lld", (long long)e->peak_bytes);
  gpu_cells(r, f, e->gpu);
}

/* Figures that are not told are left out. */
static json_t *gpu_json(const double gpu[PN_GPU_FIGURES]) {
  static const char *const key[] = {"utilization_percent", "memory_bytes", "power_w", "clock_mhz",
                                    "energy_j"};
  json_t *o = json_object();

  for (int i = 0; i < PN_GPU_FIGURES; i++)
    if (isfinite(gpu[i])) json_object_set_new(o, key[i], json_real(gpu[i]));
  return o;
}

static void epoch_events(pn_events *to, const pn_epoch_row *e) {
  pn_events_scalar(to, "loss/train", e->step, e->loss);
  pn_events_scalar(to, "speed/images_per_s", e->step, e->images_per_s);
  pn_events_scalar(to, "memory/peak_bytes", e->step, (double)e->peak_bytes);
  if (!e->val) return;
  pn_events_scalar(to, "loss/val", e->step, e->val->loss);
  pn_events_scalar(to, "val/accuracy", e->step, e->val->accuracy);
  pn_events_scalar(to, "val/precision", e->step, e->val->precision);
  pn_events_scalar(to, "val/recall", e->step, e->val->recall);
  pn_events_scalar(to, "val/f1", e->step, e->val->f1);
  pn_events_scalar(to, "val/auc", e->step, e->val->auc);
}

pn_status pn_record_epoch(pn_record *r, const pn_epoch_row *e) {
  json_t *val = e->val ? pn_metrics_json(e->val, r->data) : json_null();
  json_t *row =
      json_pack("{s:I, s:I, s:f, s:o, s:f, s:f, s:f, s:I}", "epoch", (json_int_t)e->epoch, "step",
                (json_int_t)e->step, "loss", e->loss, "val", val, "lr", e->lr, "images_per_s",
                e->images_per_s, "seconds", e->seconds, "peak_bytes", (json_int_t)e->peak_bytes);
  pn_status st;

  if (row && r->gpu) json_object_set_new(row, "gpu", gpu_json(e->gpu));
  if (!row || json_array_append_new(r->epochs, row) != 0)
    return PN_FAIL(PN_ERR_NOMEM, "record of epoch %lld: out of memory", (long long)e->epoch);
  if (!r->epochs_csv) return PN_OK;
  epoch_line(r, e);
  epoch_events(r->events, e);
  if ((st = pn_events_flush(r->events)) != PN_OK) return st;
  return flush(r->epochs_csv, r->folder, "epochs.csv");
}
