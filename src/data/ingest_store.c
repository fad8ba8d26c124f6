/* ingest_store.c -- a readable image with a label -> row of the shard and record of the ingest. */
#include "data/kind.h"

#include "base/digest.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Source id of an image: that of its label, numbered where a file holds several. */
static void id_of(const pn_ingest_worker *w, int64_t file, const pn_ingest_image *image,
                  char id[PATH_MAX + 32]) {
  const pn_ingest_file *f = &w->x->source.file[file];

  snprintf(id, PATH_MAX, "%s", image->label->id);
  if (f->of > 1) snprintf(id + strlen(id), 32, "#%lld", (long long)f->number);
}

static void patient_of(const pn_ingest_worker *w, int64_t file, const pn_ingest_image *image,
                       char text[PATH_MAX + 32]) {
  if (image->label->group || image->group[0])
    snprintf(text, PATH_MAX, "%s", image->label->group ? image->label->group : image->group);
  else if (!w->x->source.kind->images) /* the frames of one file are one patient's */
    snprintf(text, PATH_MAX, "%s", image->label->id);
  else
    id_of(w, file, image, text);
}

static void fill_record(const pn_ingest_worker *w, int64_t file, const pn_ingest_image *image,
                        pn_ingest_record *r) {
  const pn_dicom_info *info = &image->info;
  const pn_gray *g = &w->image;
  const pn_ingest_file *f = &w->x->source.file[file];
  size_t bytes = (size_t)g->height * (size_t)g->width * (size_t)(g->channels * g->bytes_per_pixel);
  char hex[65], text[PATH_MAX + 32];

  memset(r, 0, sizeof *r);
  r->file = file;
  r->piece = w->piece;
  r->row = pn_shard_writer_count(w->writer);
  r->label = image->label->target;
  r->given = image->label->split;
  r->height = (int32_t)info->rows;
  r->width = (int32_t)info->columns;
  r->frame_crc = pn_crc32c(0, w->image.data, bytes);
  r->warnings = info->warnings;
  r->age = (int16_t)info->age_years;
  r->sex = (uint8_t)info->sex;
  snprintf(r->view, sizeof r->view, "%s", info->view);
  r->boxes = (uint16_t)(image->n_boxes < UINT16_MAX ? image->n_boxes : UINT16_MAX);
  r->boxes_clipped = (uint16_t)w->boxes_clipped;
  patient_of(w, file, image, text);
  hash_text("pneuma group", text, hex);
  r->group = hex_word(hex, 0);
  if (!info->sop_uid[0]) return;
  snprintf(text, sizeof text, "%s", info->sop_uid);
  if (f->of > 1) snprintf(text + strlen(text), 32, "#%lld", (long long)f->number);
  hash_text("pneuma uid", text, hex);
  r->uid[0] = hex_word(hex, 0);
  r->uid[1] = hex_word(hex, 1);
}

/* Grey levels of about SAMPLES stored pixels, evenly spaced. */
static void count_levels(const pn_shard_format *f, const void *pixels, pn_ingest_record *r) {
  enum { SAMPLES = 4096, LEVEL_BITS = 4 };
  int64_t n = f->channels * f->height * f->width, step = (n + SAMPLES - 1) / SAMPLES;

  step |= 1; /* odd: not the same column of every row */
  for (int64_t i = 0; i < n; i += step) {
    unsigned v = f->bits == 8 ? ((const uint8_t *)pixels)[i] : ((const uint16_t *)pixels)[i] >> 8U;
    r->levels[v >> (8 - LEVEL_BITS)]++;
  }
}

pn_status pn_ingest_store(pn_ingest_worker *w, int64_t file, const pn_ingest_image *image) {
  pn_shard_row row = {.label = image->label->target, .boxes = w->boxes, .n_boxes = image->n_boxes};
  pn_ingest_record record;
  void *pixels = pn_shard_writer_next(w->writer);
  char hex[65], id[PATH_MAX + 32];
  pn_status st;

  fill_record(w, file, image, &record);
  fill_meta(&image->info, &row.meta);
  id_of(w, file, image, id);
  hash_text(w->x->cfg->salt, id, hex);
  hex[PN_SHARD_ID_BYTES - 1] = 0;
  row.id = hex;
  if ((st = pn_resizer_run(w->resizer, &w->image, pixels)) != PN_OK) return st;
  count_levels(&w->x->format, pixels, &record);
  if ((st = pn_shard_writer_append(w->writer, &row, record.sha256)) != PN_OK) return st;
  return pn_ingest_array_add(&w->x->records, &record);
}
