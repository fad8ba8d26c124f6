/* ingest_image.c -- one listed file: read it, find its label and boxes, hand it to the store. */
#include "data/ingest_image.h"

#include "base/file.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pn_outcome outcome_of(const char *reason) {
  static const char *const skips[] = {"not_an_image", "directory", "junk_file",
                                      "other_file",   "no_label",  "link_to_folder"};
  for (size_t i = 0; i < sizeof skips / sizeof *skips; i++)
    if (strcmp(reason, skips[i]) == 0) return PN_OUT_SKIPPED;
  return PN_OUT_REJECTED;
}

static pn_status add_event(pn_ingest *x, int64_t file, pn_outcome outcome, const pn_reject *why) {
  pn_ingest_event e;

  memset(&e, 0, sizeof e);
  e.file = file;
  e.outcome = outcome;
  e.why = *why;
  return pn_ingest_array_add(&x->events, &e);
}

/* File name without folder and without .dcm. */
static void stem_of(const char *path, char *out, size_t bytes) {
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  const char *dot = strrchr(name, '.');
  int n = dot && dot > name && (strcmp(dot, ".dcm") == 0 || strcmp(dot, ".DCM") == 0)
              ? (int)(dot - name)
              : (int)strlen(name);
  snprintf(out, bytes, "%.*s", n, name);
}

/* *out: NULL where no row has this id.  A label that a file carries is noted. */
static pn_status find_label(pn_ingest *x, const char *id, const pn_label **out) {
  const pn_label *l = pn_labels_find(&x->source.labels, id);
  int64_t hit = l ? l - x->source.labels.label : -1;

  *out = l;
  return l ? pn_ingest_array_add(&x->hits, &hit) : PN_OK;
}

static bool box_is_bad(const pn_label_box *b, const pn_dicom_info *info) {
  return !(isfinite(b->x) && isfinite(b->y) && isfinite(b->width) && isfinite(b->height) &&
           b->width > 0 && b->height > 0 && b->x >= 0 && b->y >= 0 &&
           b->x + b->width <= (double)info->columns && b->y + b->height <= (double)info->rows);
}

static pn_status report_bad_box(pn_ingest_worker *w, int64_t file, const pn_label_box *b,
                                const pn_dicom_info *info) {
  pn_reject why = {0};
  char tag[PN_REJECT_TAG_BYTES];

  snprintf(tag, sizeof tag, "line %lld", (long long)b->line);
  pn_reject_set(&why, "bad_box", tag, "x %g y %g width %g height %g, image %lldx%lld", b->x, b->y,
                b->width, b->height, (long long)info->columns, (long long)info->rows);
  return add_event(w->x, file, PN_OUT_LABEL_ROW, &why);
}

/* A valid box lies outside the part that ingest.fit=crop shows. */
static pn_status report_lost_box(pn_ingest_worker *w, int64_t file, const pn_label_box *b) {
  pn_reject why = {0};
  char tag[PN_REJECT_TAG_BYTES];

  snprintf(tag, sizeof tag, "line %lld", (long long)b->line);
  pn_reject_set(&why, "box_cropped", tag, "x %g y %g width %g height %g is outside the crop", b->x,
                b->y, b->width, b->height);
  return add_event(w->x, file, PN_OUT_LABEL_ROW, &why);
}

/* Valid boxes of a label, where the resize moves them. */
static pn_status make_boxes(pn_ingest_worker *w, int64_t file, const pn_label *l,
                            const pn_dicom_info *info, int64_t *n) {
  const pn_ingest_config *cfg = w->x->cfg;
  pn_fit_map map = pn_fit_make(cfg->fit, info->rows, info->columns, cfg->height, cfg->width);
  pn_status st = PN_OK;

  *n = w->boxes_clipped = 0;
  if (l->n_boxes > w->box_capacity) {
    pn_box *boxes = realloc(w->boxes, (size_t)l->n_boxes * sizeof *boxes);
    if (!boxes) return PN_FAIL(PN_ERR_NOMEM, "boxes: out of memory");
    w->boxes = boxes;
    w->box_capacity = l->n_boxes;
  }
  for (int64_t i = 0; i < l->n_boxes && st == PN_OK; i++) {
    const pn_label_box *b = &w->x->source.labels.box[l->first_box + i];
    pn_box box = {(float)b->x, (float)b->y, (float)b->width, (float)b->height, (float)l->target};
    pn_box_fate fate;
    if (box_is_bad(b, info)) {
      st = report_bad_box(w, file, b, info);
    } else if ((fate = pn_fit_box(&map, &box)) == PN_BOX_OUTSIDE) {
      st = report_lost_box(w, file, b);
    } else {
      w->boxes_clipped += fate == PN_BOX_CLIPPED;
      w->boxes[(*n)++] = box;
    }
  }
  return st;
}

static bool check_label(const pn_ingest *x, const pn_label *l, pn_reject *why) {
  char tag[PN_REJECT_TAG_BYTES];

  if (!l) return pn_reject_set(why, "no_label", NULL, "no row in %s", x->source.labels_name);
  if (!l->conflict) return false;
  snprintf(tag, sizeof tag, "line %lld", (long long)l->conflict_line);
  return pn_reject_set(why, l->conflict, tag, "%s contradicts an earlier row or Target",
                       l->conflict_in_classes ? x->source.classes_name : x->source.labels_name);
}

/* A readable image whose label is known: boxes, then into the shard. */
static pn_status take_image(pn_ingest_worker *w, int64_t file, const pn_label *l,
                            pn_dicom_info *info, pn_reject *why) {
  pn_ingest_image image = {0};
  int64_t n_boxes = 0;
  pn_status st = make_boxes(w, file, l, info, &n_boxes);

  if (st != PN_OK) return st;
  if (l->target == PN_RSNA_OPACITY && n_boxes == 0) {
    char tag[PN_REJECT_TAG_BYTES];
    snprintf(tag, sizeof tag, "line %lld", (long long)l->line);
    pn_reject_set(why, "no_valid_box", tag, "Target 1 without a valid box in %s",
                  w->x->source.labels_name);
    return PN_OK;
  }
  image.info = info;
  image.id = l->id;
  image.label = l->target;
  image.n_boxes = n_boxes;
  return pn_ingest_store(w, file, &image);
}

pn_status pn_ingest_take_file(pn_ingest_worker *w, int64_t file) {
  const pn_ingest_file *f = &w->x->source.file[file];
  const pn_label *label = NULL;
  char path[PATH_MAX], stem[PN_DICOM_ID_BYTES];
  pn_dicom_info info = {0};
  pn_reject why = {0};
  pn_status st = PN_OK;

  if (f->skip_reason) {
    pn_reject_set(&why, f->skip_reason, NULL, "not opened");
    return add_event(w->x, file, PN_OUT_SKIPPED, &why);
  }
  stem_of(f->path, stem, sizeof stem);
  PN_TRY(pn_path_join(path, sizeof path, w->x->cfg->in, f->path));
  PN_TRY(pn_dicom_read(w->reader, path, &info, &w->image, &why));
  if (!why.reason[0]) {
    if (!info.patient_id[0]) snprintf(info.patient_id, sizeof info.patient_id, "%s", stem);
    if (strcmp(info.patient_id, stem) != 0) info.warnings |= PN_DICOM_W_NAME_MISMATCH;
    PN_TRY(find_label(w->x, info.patient_id, &label));
    if (!check_label(w->x, label, &why)) PN_TRY(take_image(w, file, label, &info, &why));
  } else {
    PN_TRY(find_label(w->x, stem, &label)); /* its label has a file, though a broken one */
  }
  if (why.reason[0]) PN_TRY(add_event(w->x, file, outcome_of(why.reason), &why));
done:
  return st;
}
