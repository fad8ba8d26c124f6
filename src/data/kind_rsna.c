/* kind_rsna.c -- the folder of the RSNA Pneumonia Detection Challenge: DICOM files, a CSV with
 * boxes and Target, a CSV with the class that checks it, and the mapping to NIH patients. */
#include "base/file.h"
#include "base/log.h"
#include "data/csv.h"
#include "data/kind.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LABELS  "stage_2_train_labels.csv"
#define CLASSES "stage_2_detailed_class_info.csv"
#define IMAGES  "stage_2_train_images"
#define GROUPS  "pneumonia-challenge-dataset-mappings_2018.json"

/* Does a CSV begin with the header of the challenge? */
static bool is_label_file(const char *path) {
  static const char *const names[] = {"patientid", "x", "y", "width", "height", "target"};
  char line[512] = "";
  FILE *f = fopen(path, "r");
  bool is = f && fgets(line, sizeof line, f);

  if (f) fclose(f);
  for (size_t i = 0; is && i < sizeof names / sizeof *names; i++) is = strcasestr(line, names[i]);
  return is;
}

static bool detect(const pn_listing *l, char found[PN_FOUND_BYTES]) {
  const char *labels = l->cfg->labels;

  if (labels[0] ? !is_label_file(labels) : !pn_listing_has(l, LABELS)) return false;
  snprintf(found, PN_FOUND_BYTES, "DICOM files and the RSNA labels %.200s",
           labels[0] ? labels : LABELS);
  return true;
}

/* `given`, else `name` beside the labels or in the input folder.  false: there is none. */
static bool find_text(const pn_ingest_config *cfg, const char *given, const char *name,
                      char path[PATH_MAX]) {
  const char *labels = cfg->labels, *slash = strrchr(labels, '/');

  if (given[0]) {
    snprintf(path, PATH_MAX, "%s", given);
    return true;
  }
  if (labels[0])
    snprintf(path, PATH_MAX, "%.*s%s", slash ? (int)(slash - labels + 1) : 0, labels, name);
  else if (pn_path_join(path, PATH_MAX, cfg->in, name) != PN_OK)
    return false;
  return pn_file_exists(path);
}

static pn_status read_classes(const pn_ingest_config *cfg, pn_ingest_source *s) {
  char path[PATH_MAX];

  if (find_text(cfg, cfg->classes, CLASSES, path))
    return pn_ingest_read_text(s, PN_TEXT_CLASSES, path);
  if (cfg->labels[0]) {
    pn_warn("no " CLASSES " beside %s: Target is not checked against the class", cfg->labels);
    return PN_OK;
  }
  return PN_FAIL(PN_ERR_ARG,
                 "%s is missing: put it there, or name the files with ingest.labels=FILE "
                 "ingest.classes=FILE",
                 path);
}

static pn_status open_rsna(pn_listing *l, pn_ingest_source *s) {
  const pn_ingest_config *cfg = l->cfg;
  char path[PATH_MAX];
  pn_status st;

  if (!find_text(cfg, cfg->labels, LABELS, path))
    return PN_FAIL(PN_ERR_ARG,
                   "%s has no " LABELS ": add it, or name a labels file with ingest.labels=FILE "
                   "(columns patientId,x,y,width,height,Target)",
                   cfg->in);
  if ((st = pn_ingest_read_text(s, PN_TEXT_LABELS, path)) != PN_OK) return st;
  if ((st = read_classes(cfg, s)) != PN_OK) return st;
  if (find_text(cfg, cfg->groups, GROUPS, path)) {
    if ((st = pn_ingest_read_text(s, PN_TEXT_GROUPS, path)) != PN_OK) return st;
  } else {
    pn_warn("splits keep each patientId together, but in the RSNA set that is an image, not a "
            "patient: one person may be in train and test. ingest.groups=" GROUPS
            " (of the RSNA) names the patients");
  }
  pn_listing_keep(l, IMAGES);
  return PN_OK;
}

static pn_csv_text csv_text(const pn_ingest_source *s, pn_text_role which) {
  return (pn_csv_text){s->text[which].name, s->text[which].data, s->text[which].bytes};
}

static pn_status prepare(pn_ingest *x) {
  pn_ingest_source *s = &x->source;
  int64_t mapped = 0;
  pn_status st;

  if (x->cfg->only[0])
    return PN_FAIL(PN_ERR_ARG,
                   "ingest.only=%s is not for the layout of the RSNA set: its images are of two "
                   "classes, normal and opacity; leave it out",
                   x->cfg->only);
  st = pn_labels_parse(csv_text(s, PN_TEXT_LABELS), csv_text(s, PN_TEXT_CLASSES), &s->labels);
  if (st != PN_OK || !s->text[PN_TEXT_GROUPS].data) return st;
  st = pn_labels_map_groups(csv_text(s, PN_TEXT_GROUPS), &s->labels, &mapped);
  if (st == PN_OK && mapped < s->labels.n && pn_comm_rank(x->comm) == 0)
    pn_warn("%s names the patient of %lld of %lld images: each of the others counts as a patient",
            s->text[PN_TEXT_GROUPS].name, (long long)mapped, (long long)s->labels.n);
  return st;
}

/* File name without folder and without .dcm. */
static void stem_of(const char *path, char *out, size_t bytes) {
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  size_t n = strlen(name);

  if (n > 4 && strcasecmp(name + n - 4, ".dcm") == 0) n -= 4;
  snprintf(out, bytes, "%.*s", (int)n, name);
}

static pn_status read_image(pn_ingest_worker *w, int64_t file, pn_ingest_image *image,
                            pn_reject *why) {
  char stem[PN_DICOM_ID_BYTES];
  pn_dicom_info *info = &image->info;
  pn_status st = pn_ingest_read_dicom(w, file, info, why);

  if (st != PN_OK) return st;
  stem_of(w->x->source.file[file].path, stem, sizeof stem);
  if (why->reason[0]) {
    memcpy(info->patient_id, stem, sizeof stem); /* its label has a file, though a broken one */
  } else {
    if (!info->patient_id[0]) memcpy(info->patient_id, stem, sizeof stem);
    if (strcmp(info->patient_id, stem) != 0) info->warnings |= PN_DICOM_W_NAME_MISMATCH;
  }
  image->label = pn_labels_find(&w->x->source.labels, info->patient_id);
  return PN_OK;
}

const pn_kind pn_kind_rsna = {.name = "rsna",
                              .what = "RSNA Pneumonia Detection Challenge",
                              .channels = 1,
                              .detect = detect,
                              .open = open_rsna,
                              .prepare = prepare,
                              .read = read_image};
