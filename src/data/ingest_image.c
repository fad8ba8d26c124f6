/* ingest_image.c -- one listed file: read it, find its label and boxes, hand it to the store. */
#include "base/file.h"
#include "data/kind.h"
#include "data/picture.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pn_outcome outcome_of(const char *reason) {
  static const char *const skips[] = {"not_an_image", "directory",       "junk_file",
                                      "other_file",   "no_label",        "link_to_folder",
                                      "mask",         "class_not_wanted"};
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

pn_status pn_ingest_hit(pn_ingest *x, const pn_label *l) {
  int64_t hit = l ? l - x->source.labels.label : -1;
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

/* A label that cannot be used. */
static bool check_label(const pn_ingest *x, const pn_label *l, pn_reject *why) {
  const pn_ingest_text *t = x->source.text;
  const char *file = t[l && l->conflict_in_classes ? PN_TEXT_CLASSES : PN_TEXT_LABELS].name;
  char tag[PN_REJECT_TAG_BYTES];

  if (!l) return pn_reject_set(why, "no_label", NULL, "no row in %.80s", file ? file : "?");
  if (l->target < 0 && !l->conflict)
    return pn_reject_set(why, "class_not_wanted", NULL, "not in ingest.only");
  if (!l->conflict) return false;
  snprintf(tag, sizeof tag, "line %lld", (long long)l->conflict_line);
  if (strcmp(l->conflict, "empty_label") == 0)
    return pn_reject_set(why, l->conflict, tag, "the row of %.60s names no class", file);
  return pn_reject_set(why, l->conflict, tag, "%.60s contradicts an earlier row or Target", file);
}

/* RSNA: an image with Target 1 has boxes. */
static bool misses_box(const pn_ingest *x, const pn_ingest_image *image, pn_reject *why) {
  const pn_label *l = image->label;
  char tag[PN_REJECT_TAG_BYTES];

  if (l->n_boxes == 0 || image->n_boxes > 0) return false;
  snprintf(tag, sizeof tag, "line %lld", (long long)l->line);
  return pn_reject_set(why, "no_valid_box", tag, "Target 1 without a valid box in %.40s",
                       x->source.text[PN_TEXT_LABELS].name);
}

/* Channels of the data set, whatever the image has; a grey image fills all of them when stored. */
static void to_channels(pn_ingest_worker *w, pn_dicom_info *info, bool colour) {
  if (w->image.channels == 1 || w->x->source.channels == 3) return;
  if (colour) info->warnings |= PN_DICOM_W_COLOUR;
  pn_picture_to_grey(&w->image);
}

static void describe_picture(const pn_gray *g, const pn_picture_info *p, pn_dicom_info *info) {
  *info = (pn_dicom_info){.rows = g->height, .columns = g->width, .age_years = -1};
  if (p->turned) info->warnings |= PN_PICTURE_W_TURNED;
  if (p->transparent) info->warnings |= PN_PICTURE_W_ALPHA;
}

pn_status pn_ingest_read_picture(pn_ingest_worker *w, int64_t file, pn_dicom_info *info,
                                 pn_reject *why) {
  char path[PATH_MAX];
  const char *unpack, *kind;
  pn_picture_info picture;
  pn_bytes bytes;
  const pn_ingest_file *f = &w->x->source.file[file];
  pn_status st;

  if (f->of > 1) return pn_ingest_read_dicom(w, file, info, why);
  w->loaded = NULL; /* the reader may be used for this file */
  st = pn_path_join(path, sizeof path, w->x->cfg->in, f->path);
  if (st == PN_OK) st = pn_input_read(&w->input, path, why);
  if (st != PN_OK || why->reason[0]) return st;
  bytes = (pn_bytes){w->input.data, w->input.bytes};
  kind = pn_file_kind(bytes.data, bytes.bytes, &unpack);
  if (kind && strcmp(kind, "DICOM") == 0)
    return pn_dicom_read_memory(w->reader, bytes.data, bytes.bytes, info, &w->image, why);
  st = pn_picture_decode(bytes, &w->image, &w->scratch, &picture, why);
  if (st != PN_OK || why->reason[0]) return st;
  describe_picture(&w->image, &picture, info);
  to_channels(w, info, picture.colour);
  return PN_OK;
}

/* A readable image whose label is known: boxes, then into the shard. */
static pn_status take_image(pn_ingest_worker *w, int64_t file, pn_ingest_image *image,
                            pn_reject *why) {
  pn_status st;

  to_channels(w, &image->info, true);
  st = make_boxes(w, file, image->label, &image->info, &image->n_boxes);
  if (st != PN_OK || misses_box(w->x, image, why)) return st;
  return pn_ingest_store(w, file, image);
}

pn_status pn_ingest_take_file(pn_ingest_worker *w, int64_t file) {
  const pn_ingest_file *f = &w->x->source.file[file];
  const char *unpack = pn_unpack_command(f->path);
  pn_ingest_image image = {.n_boxes = 0};
  pn_reject why = {0};
  pn_status st = PN_OK;

  if (f->skip_reason) {
    pn_reject_set(&why, f->skip_reason, NULL, unpack ? "unpack it with %s" : "not opened", unpack);
    return add_event(w->x, file, outcome_of(why.reason), &why);
  }
  PN_TRY(w->x->source.kind->read(w, file, &image, &why));
  if (image.label != &image.own) /* its row has a file, though perhaps a broken one */
    PN_TRY(pn_ingest_hit(w->x, image.label));
  if (!why.reason[0] && !check_label(w->x, image.label, &why))
    PN_TRY(take_image(w, file, &image, &why));
  if (why.reason[0]) PN_TRY(add_event(w->x, file, outcome_of(why.reason), &why));
done:
  return st;
}
