/* kind_table.c -- images in any folders with one labels CSV: kind `dicom` (DICOM files) and kind
 * `csv` (PNG, JPEG or DICOM files). */
#include "base/file.h"
#include "data/kind.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_table_file(const char *path, const char *columns) {
  char line[4096];
  FILE *f = fopen(path, "r");
  size_t n = f ? fread(line, 1, sizeof line, f) : 0;

  if (f) fclose(f);
  return n > 0 && pn_labels_is_table(line, n, columns);
}

/* ingest.labels, else the CSVs in the input folder whose header fits; *n: how many. */
static bool find_table(const pn_listing *l, char path[], size_t bytes, int *n) {
  char full[PATH_MAX];

  *n = 0;
  if (l->cfg->labels[0]) {
    snprintf(path, bytes, "%s", l->cfg->labels);
    *n = 1;
    return true;
  }
  for (int64_t i = 0; i < l->n; i++) {
    const char *name = l->entry[i].path, *dot = strrchr(name, '.');
    if (strchr(name, '/') || !dot || strcasecmp(dot, ".csv") != 0) continue;
    if (pn_path_join(full, sizeof full, l->cfg->in, name) != PN_OK ||
        !is_table_file(full, l->cfg->columns))
      continue;
    if (++*n == 1) snprintf(path, bytes, "%s", full);
  }
  return *n > 0;
}

static bool found_table(const pn_listing *l, const char *images, char found[PN_FOUND_BYTES]) {
  char path[PATH_MAX];
  int n;

  if (!find_table(l, path, sizeof path, &n)) return false;
  snprintf(found, PN_FOUND_BYTES, "%s and the labels CSV %.200s", images, path);
  return true;
}

static bool detect_dicom(const pn_listing *l, char found[PN_FOUND_BYTES]) {
  return l->dicoms > l->pictures && found_table(l, "DICOM files", found);
}

static bool detect_csv(const pn_listing *l, char found[PN_FOUND_BYTES]) {
  return l->pictures > 0 && l->pictures >= l->dicoms && found_table(l, "PNG or JPEG files", found);
}

static pn_status open_table(pn_listing *l, pn_ingest_source *s) {
  char path[PATH_MAX];
  int n;

  if (!find_table(l, path, sizeof path, &n))
    return PN_FAIL(PN_ERR_ARG,
                   "%s has no labels CSV: name one with ingest.labels=FILE (columns for the path "
                   "or PatientID and for the class; ingest.columns names them)",
                   l->cfg->in);
  if (n > 1)
    return PN_FAIL(PN_ERR_ARG,
                   "%s has %d CSV files that could be the labels (%s, ...): name one "
                   "with ingest.labels=FILE",
                   l->cfg->in, n, path);
  return pn_ingest_read_text(s, PN_TEXT_LABELS, path);
}

static pn_status open_csv(pn_listing *l, pn_ingest_source *s) {
  pn_mark_masks(l);
  return open_table(l, s);
}

static pn_status prepare(pn_ingest *x) {
  pn_ingest_source *s = &x->source;
  const pn_ingest_text *t = &s->text[PN_TEXT_LABELS];
  pn_table_rules rules = {x->cfg->columns, x->cfg->test_fold, x->cfg->val_fold};
  pn_status st;

  st = pn_labels_table((pn_csv_text){t->name, t->data, t->bytes}, &rules, &s->labels);
  if (st == PN_OK && s->labels.n_classes < 2)
    st = PN_FAIL(PN_ERR_ARG, "%s: only one class, '%s': a classifier needs two or more", t->name,
                 s->labels.class_name[0]);
  if (st == PN_OK) st = pn_labels_order(&s->labels, x->cfg->only);
  return st == PN_OK ? pn_labels_match(s) : st;
}

/* The row found by the file's name; DICOM files may also be named by their ids. */
static const pn_label *label_of(const pn_ingest_worker *w, int64_t file,
                                const pn_dicom_info *info) {
  const pn_labels *l = &w->x->source.labels;
  int64_t at = w->x->source.file[file].label;
  const pn_label *found = at >= 0 ? &l->label[at] : NULL;

  if (!found && at == PN_LABEL_NONE && info->sop_uid[0]) found = pn_labels_find(l, info->sop_uid);
  if (!found && at == PN_LABEL_NONE && info->patient_id[0])
    found = pn_labels_find(l, info->patient_id);
  return found;
}

/* What the CSV says fills in what the file does not. */
static void add_meta(const pn_label *l, pn_dicom_info *info) {
  if (!info->sex) info->sex = l->sex;
  if (info->age_years < 0) info->age_years = l->age;
  if (!info->view[0]) memcpy(info->view, l->view, sizeof l->view);
}

static void find_row(const pn_ingest_worker *w, int64_t file, pn_ingest_image *image,
                     pn_reject *why) {
  image->label = label_of(w, file, &image->info);
  if (why->reason[0]) return;
  if (w->x->source.file[file].label == PN_LABEL_AMBIGUOUS)
    pn_reject_set(why, "ambiguous_label", NULL,
                  "several rows of %.40s or several files have this name: use whole paths",
                  w->x->source.text[PN_TEXT_LABELS].name);
  else if (image->label)
    add_meta(image->label, &image->info);
}

static pn_status read_dicom(pn_ingest_worker *w, int64_t file, pn_ingest_image *image,
                            pn_reject *why) {
  pn_status st = pn_ingest_read_dicom(w, file, &image->info, why);

  if (st != PN_OK) return st;
  find_row(w, file, image, why);
  if (image->label && !image->label->group && image->info.patient_id[0])
    snprintf(image->group, sizeof image->group, "%s", image->info.patient_id);
  return PN_OK;
}

static pn_status read_any(pn_ingest_worker *w, int64_t file, pn_ingest_image *image,
                          pn_reject *why) {
  pn_status st = pn_ingest_read_picture(w, file, &image->info, why);

  if (st != PN_OK) return st;
  find_row(w, file, image, why);
  if (image->label && !image->label->group)
    pn_patient_of_name(w->x->source.file[file].path, image->group, sizeof image->group);
  return PN_OK;
}

const pn_kind pn_kind_dicom = {.name = "dicom",
                               .what = "DICOM files and a labels CSV",
                               .channels = 1,
                               .detect = detect_dicom,
                               .open = open_table,
                               .prepare = prepare,
                               .read = read_dicom};

const pn_kind pn_kind_csv = {.name = "csv",
                             .what = "images and a labels CSV",
                             .detect = detect_csv,
                             .open = open_csv,
                             .prepare = prepare,
                             .read = read_any};
