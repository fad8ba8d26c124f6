/* ingest_piece.c -- a piece is a run of the sorted file list; one rank turns it into one shard. */
#include "data/ingest_internal.h"

#include "base/digest.h"
#include "base/file.h"
#include "base/log.h"
#include "data/dicom.h"
#include "data/geometry.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct worker {
  pn_ingest *x;
  pn_dicom_reader *reader;
  pn_resizer *resizer;
  pn_shard_writer *writer;
  pn_gray image;
  pn_box *boxes; /* [box_capacity] of the image at hand */
  int64_t box_capacity;
  int64_t piece;
};

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

static void hash_text(const char *salt, const char *text, char hex[65]) {
  pn_sha256 *sha = NULL;

  hex[0] = 0;
  if (pn_sha256_create(&sha) != PN_OK) return;
  pn_sha256_update(sha, salt, strlen(salt) + 1);
  pn_sha256_update(sha, text, strlen(text));
  pn_sha256_hex(sha, hex);
  pn_sha256_destroy(sha);
}

static uint64_t hex_word(const char *hex, int word) {
  char part[17];
  snprintf(part, sizeof part, "%.16s", hex + 16 * word);
  return strtoull(part, NULL, 16);
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

static const pn_label *find_label(pn_ingest *x, const char *id) {
  const pn_label *l = pn_labels_find(&x->source.labels, id);
  if (l) x->label_used[l - x->source.labels.label] = 1;
  return l;
}

static bool box_is_bad(const pn_label_box *b, const pn_dicom_info *info) {
  return !(isfinite(b->x) && isfinite(b->y) && isfinite(b->width) && isfinite(b->height) &&
           b->width > 0 && b->height > 0 && b->x >= 0 && b->y >= 0 &&
           b->x + b->width <= (double)info->columns && b->y + b->height <= (double)info->rows);
}

static pn_status report_bad_box(struct worker *w, int64_t file, const pn_label_box *b,
                                const pn_dicom_info *info) {
  pn_reject why = {0};
  char tag[PN_REJECT_TAG_BYTES];

  snprintf(tag, sizeof tag, "line %lld", (long long)b->line);
  pn_reject_set(&why, "bad_box", tag, "x %g y %g width %g height %g, image %lldx%lld", b->x, b->y,
                b->width, b->height, (long long)info->columns, (long long)info->rows);
  return add_event(w->x, file, PN_OUT_LABEL_ROW, &why);
}

/* Valid boxes of a label, scaled to the stored size. */
static pn_status make_boxes(struct worker *w, int64_t file, const pn_label *l,
                            const pn_dicom_info *info, int64_t *n) {
  const pn_ingest_config *cfg = w->x->cfg;
  pn_status st = PN_OK;

  *n = 0;
  if (l->n_boxes > w->box_capacity) {
    pn_box *boxes = realloc(w->boxes, (size_t)l->n_boxes * sizeof *boxes);
    if (!boxes) return PN_FAIL(PN_ERR_NOMEM, "boxes: out of memory");
    w->boxes = boxes;
    w->box_capacity = l->n_boxes;
  }
  for (int64_t i = 0; i < l->n_boxes && st == PN_OK; i++) {
    const pn_label_box *b = &w->x->source.labels.box[l->first_box + i];
    pn_box box = {(float)b->x, (float)b->y, (float)b->width, (float)b->height, (float)l->target};
    if (box_is_bad(b, info))
      st = report_bad_box(w, file, b, info);
    else
      w->boxes[(*n)++] = pn_box_scale(box, info->rows, info->columns, cfg->height, cfg->width);
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

static void fill_meta(const pn_dicom_info *info, pn_shard_meta *m) {
  memset(m, 0, sizeof *m);
  m->height = (int32_t)info->rows;
  m->width = (int32_t)info->columns;
  m->spacing_mm[0] = info->spacing_mm[0];
  m->spacing_mm[1] = info->spacing_mm[1];
  m->age = (int16_t)info->age_years;
  m->warnings = (uint16_t)info->warnings;
  m->sex = (uint8_t)info->sex;
  m->inverted = info->inverted;
  snprintf(m->view, sizeof m->view, "%s", info->view);
}

static void fill_record(struct worker *w, int64_t file, const pn_label *l,
                        const pn_dicom_info *info, pn_ingest_record *r) {
  size_t bytes =
      (size_t)w->image.height * (size_t)w->image.width * (size_t)w->image.bytes_per_pixel;
  char hex[65];

  memset(r, 0, sizeof *r);
  r->file = file;
  r->piece = w->piece;
  r->row = pn_shard_writer_count(w->writer);
  r->label = l->target;
  r->height = (int32_t)info->rows;
  r->width = (int32_t)info->columns;
  r->frame_crc = pn_crc32c(0, w->image.data, bytes);
  r->warnings = info->warnings;
  hash_text("pneuma group", l->id, hex);
  r->group = hex_word(hex, 0);
  if (!info->sop_uid[0]) return;
  hash_text("pneuma uid", info->sop_uid, hex);
  r->uid[0] = hex_word(hex, 0);
  r->uid[1] = hex_word(hex, 1);
}

static pn_status store(struct worker *w, int64_t file, const pn_label *l, pn_dicom_info *info,
                       int64_t n_boxes) {
  pn_shard_row row = {.label = l->target, .boxes = w->boxes, .n_boxes = n_boxes};
  pn_ingest_record record;
  char hex[65];
  pn_status st;

  fill_record(w, file, l, info, &record);
  fill_meta(info, &row.meta);
  hash_text(w->x->cfg->salt, l->id, hex);
  hex[PN_SHARD_ID_BYTES - 1] = 0;
  row.id = hex;
  if ((st = pn_resizer_run(w->resizer, &w->image, pn_shard_writer_next(w->writer))) != PN_OK)
    return st;
  if ((st = pn_shard_writer_append(w->writer, &row, record.sha256)) != PN_OK) return st;
  return pn_ingest_array_add(&w->x->records, &record);
}

/* A readable image whose label is known: boxes, then into the shard. */
static pn_status take_image(struct worker *w, int64_t file, const pn_label *l, pn_dicom_info *info,
                            pn_reject *why) {
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
  return store(w, file, l, info, n_boxes);
}

static pn_status take_file(struct worker *w, int64_t file) {
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
    label = find_label(w->x, info.patient_id);
    if (!check_label(w->x, label, &why)) PN_TRY(take_image(w, file, label, &info, &why));
  } else {
    find_label(w->x, stem); /* its label has a file, though a broken one */
  }
  if (why.reason[0]) PN_TRY(add_event(w->x, file, outcome_of(why.reason), &why));
done:
  return st;
}

static pn_status take_piece(struct worker *w, int64_t piece, pn_progress *bar) {
  pn_ingest *x = w->x;
  int64_t first = piece * x->per_piece, last = first + x->per_piece;
  int size = pn_comm_size(x->comm);
  pn_ingest_shard done;
  pn_status st;

  if (last > x->source.n) last = x->source.n;
  w->piece = piece;
  for (int64_t i = first; i < last; i++) {
    int64_t own = piece / size * x->per_piece + i - first; /* by this rank, so far */
    if ((st = take_file(w, i)) != PN_OK) return st;
    pn_progress_update(bar, own * size < bar->total ? own * size : bar->total, NULL);
  }
  if (pn_shard_writer_count(w->writer) == 0) return PN_OK; /* nothing of it was usable */
  memset(&done, 0, sizeof done);
  done.piece = piece;
  st = pn_shard_writer_publish(w->writer, x->cfg->out, (int)piece, &done.shard);
  return st == PN_OK ? pn_ingest_array_add(&x->shards, &done) : st;
}

pn_status pn_ingest_pieces(pn_ingest *x) {
  const pn_ingest_config *cfg = x->cfg;
  struct worker w = {.x = x};
  pn_shard_format format = {1, cfg->height, cfg->width, x->classes, x->decoder, x->source.plan};
  pn_progress bar;
  pn_status st = PN_OK;

  pn_progress_start(&bar, "ingest", "files", x->source.n);
  PN_TRY(pn_dicom_reader_create(&w.reader));
  PN_TRY(pn_resizer_create(cfg->height, cfg->width, &w.resizer));
  PN_TRY(pn_shard_writer_create(&format, x->per_piece, &w.writer));
  for (int64_t p = pn_comm_rank(x->comm); p < x->n_pieces; p += pn_comm_size(x->comm))
    PN_TRY(take_piece(&w, p, &bar));
done:
  pn_progress_end(&bar);
  pn_dicom_reader_destroy(w.reader);
  pn_resizer_destroy(w.resizer);
  pn_shard_writer_destroy(w.writer);
  pn_gray_free(&w.image);
  free(w.boxes);
  return st;
}
