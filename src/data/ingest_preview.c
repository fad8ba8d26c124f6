/* ingest_preview.c -- preview.png: bar charts, and a sample sheet with boxes read back from the
 * published shards. */
#include "data/ingest_stats.h"

#include "base/file.h"
#include "data/draw.h"
#include "data/shard_columns.h"
#include "data/shard_read.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  WIDTH = 1200,
  MARGIN = 16,
  HEAD = 56,
  CHART_W = (WIDTH - 4 * MARGIN) / 3,
  CHART_H = 220,
  PER_ROW = 8,
  THUMB = 128,
  NAME_W = 96, /* room for the class name left of its samples */
  ROW_H = THUMB + 8,
  SHEET_CLASSES = 10,
  INK = 0x222222,
  BOX_COLOUR = 0xff7f0e
};

static pn_area chart_area(int i) {
  return (pn_area){MARGIN + i % 3 * (CHART_W + MARGIN), HEAD + i / 3 * (CHART_H + MARGIN), CHART_W,
                   CHART_H};
}

enum { BARS = 32 };
typedef struct {
  char label[BARS][16];
  int64_t value[BARS][PN_CHART_SERIES];
} bars;

/* Classes stacked in a bar, where a legend of their names has room; else 1: all together. */
static int series_of(const pn_ingest_stats *s) {
  enum { LEGEND_CHARS = 24 };
  size_t chars = 0;

  if (s->n_classes > PN_CHART_SERIES) return 1;
  for (int c = 0; c < s->n_classes; c++) chars += strlen(s->class_name[c]);
  return chars + 3 * (size_t)s->n_classes <= LEGEND_CHARS + 6 ? s->n_classes : 1;
}

/* Counts [class][n] -> bars. */
static void stack(const pn_ingest_stats *s, const int64_t *count, int n, bars *b) {
  int series = series_of(s);

  memset(b->value, 0, sizeof b->value);
  for (int c = 0; c < s->n_classes; c++)
    for (int i = 0; i < n; i++) b->value[i][c < series ? c : 0] += count[c * n + i];
}

static void draw(pn_paper *canvas, int place, const char *title, const bars *b, int n, int n_series,
                 const char *const *series) {
  const pn_chart chart = {.title = title,
                          .n = n,
                          .n_series = n_series,
                          .label = b->label,
                          .value = b->value,
                          .series = series,
                          .numbers = true};
  pn_paper_chart(canvas, chart_area(place), &chart);
}

static void draw_classes(pn_paper *canvas, const pn_ingest_stats *s) {
  static const char *const splits[] = {"train", "val", "test"};
  bars b = {0};

  for (int c = 0; c < s->n_classes; c++) {
    snprintf(b.label[c], sizeof b.label[c], "%.15s", s->class_name[c]);
    for (int k = 0; k < PN_SPLIT_COUNT; k++) b.value[c][k] = s->by_split[c][k];
  }
  draw(canvas, 0, "Classes", &b, s->n_classes, PN_SPLIT_COUNT, splits);
}

static void draw_people(pn_paper *canvas, const pn_ingest_stats *s) {
  int series = series_of(s), n = 0;
  const char *const *legend = series > 1 ? s->class_name : NULL;
  bars b = {0}, views = {0};

  for (int i = 0; i < PN_STATS_AGES; i++)
    if (i == PN_STATS_AGES - 1)
      snprintf(b.label[i], 16, "?");
    else
      snprintf(b.label[i], 16, i == PN_STATS_AGES - 2 ? "90+" : "%d", 10 * i);
  stack(s, s->by_age[0], PN_STATS_AGES, &b);
  draw(canvas, 1, "Age, decades", &b, PN_STATS_AGES, series, legend);
  /* sexes, a gap, views that occur */
  stack(s, s->by_sex[0], PN_STATS_SEXES, &b);
  stack(s, s->by_view[0], PN_STATS_VIEWS, &views);
  for (int i = 0; i < PN_STATS_SEXES; i++)
    snprintf(b.label[n++], 16, "%s", i == PN_STATS_SEXES - 1 ? "sex ?" : pn_stats_sex(i));
  snprintf(b.label[n++], 16, "%s", "");
  for (int i = 0; i < PN_STATS_VIEWS; i++) {
    int64_t all = 0;
    for (int k = 0; k < series; k++) all += views.value[i][k];
    if (all == 0) continue;
    memcpy(b.value[n], views.value[i], sizeof b.value[n]);
    snprintf(b.label[n++], 16, "%s", i == PN_STATS_VIEWS - 1 ? "view ?" : s->view[i]);
  }
  draw(canvas, 2, "Sex and view", &b, n, series, legend);
}

static void draw_pixels(pn_paper *canvas, const pn_ingest *x, const pn_ingest_stats *s) {
  static const char *const fates[] = {"written", "rejected", "duplicate", "skipped"};
  const int64_t files[] = {s->written, x->rejected, x->duplicates, x->skipped};
  int64_t sampled = 0;
  bars b = {0};

  for (int i = 0; i < PN_STATS_SIDES; i++) {
    snprintf(b.label[i], 16, i == 0 ? "<%d" : "%d", 128 << (i > 0 ? i - 1 : 0));
    b.value[i][0] = s->sides[i];
  }
  draw(canvas, 3, "Longer side of the source, pixels", &b, PN_STATS_SIDES, 1, NULL);
  memset(&b, 0, sizeof b);
  for (int i = 0; i < PN_INGEST_LEVELS; i++) sampled += s->levels[i];
  for (int i = 0; i < PN_INGEST_LEVELS; i++) {
    if (i % 2 == 0) snprintf(b.label[i], 16, "%d", i * 256 / PN_INGEST_LEVELS);
    b.value[i][0] = sampled > 0 ? (s->levels[i] * 100 + sampled / 2) / sampled : 0;
  }
  draw(canvas, 4,
       x->format.channels == 1 ? "Grey levels stored, % of pixels"
                               : "Levels stored, all channels, %",
       &b, PN_INGEST_LEVELS, 1, NULL);
  memset(&b, 0, sizeof b);
  for (int i = 0; i < 4; i++) {
    snprintf(b.label[i], 16, "%s", fates[i]);
    b.value[i][0] = files[i];
  }
  draw(canvas, 5, "Images listed", &b, 4, 1, NULL);
}

/* Planes of 8 or 16 bits -> one interleaved image. */
static pn_status image_of(const pn_shard_map *m, int64_t row, pn_gray *out) {
  size_t n = (size_t)(m->height * m->width);
  const uint8_t *p = m->pixels + (size_t)row * m->image_bytes;
  size_t bytes = (size_t)m->bits / 8;
  pn_status st = m->channels == 3 ? pn_gray_reserve_rgb(out, m->height, m->width, (int)bytes)
                                  : pn_gray_reserve(out, m->height, m->width, (int)bytes);

  if (st != PN_OK) return st;
  for (size_t i = 0; i < n; i++)
    for (size_t c = 0; c < (size_t)m->channels; c++)
      memcpy((uint8_t *)out->data + (i * (size_t)m->channels + c) * bytes, p + (c * n + i) * bytes,
             bytes);
  return PN_OK;
}

static void draw_boxes(pn_paper *canvas, pn_area at, const pn_shard_map *m,
                       const pn_shard_columns *c, int64_t row) {
  pn_fit_map map = pn_fit_make(PN_FIT_LETTERBOX, m->height, m->width, THUMB, THUMB);

  for (uint32_t i = c->box_start[row]; i < c->box_start[row + 1]; i++) {
    pn_box b = {c->box[i][0], c->box[i][1], c->box[i][2], c->box[i][3], c->box[i][4]};
    if (pn_fit_box(&map, &b) == PN_BOX_OUTSIDE) continue;
    pn_paper_frame(canvas,
                   (pn_area){at.x + (int)b.x, at.y + (int)b.y, (int)b.width + 1, (int)b.height + 1},
                   BOX_COLOUR);
  }
}

static pn_status draw_sample(pn_paper *canvas, pn_area at, const char *path, int64_t row) {
  pn_resizer_format size = {1, THUMB, THUMB, 8, PN_FIT_LETTERBOX};
  uint8_t pixels[3 * THUMB * THUMB];
  pn_resizer *resizer = NULL;
  pn_shard_columns columns = {0};
  pn_shard_map map = {0};
  pn_gray image = {0};
  pn_status st;

  PN_TRY(pn_shard_open_map(path, &map));
  PN_TRY(pn_shard_columns_read(path, &columns));
  size.channels = map.channels;
  PN_TRY(pn_resizer_create(&size, &resizer));
  PN_TRY(image_of(&map, row, &image));
  PN_TRY(pn_resizer_run(resizer, &image, pixels));
  pn_paper_picture(canvas, at, pixels, (int)map.channels);
  draw_boxes(canvas, at, &map, &columns, row);
done:
  pn_resizer_destroy(resizer);
  pn_gray_free(&image);
  pn_shard_columns_free(&columns);
  pn_shard_unmap(&map);
  return st;
}

static const pn_ingest_shard *shard_of(const pn_ingest *x, int64_t piece) {
  const pn_ingest_shard *s = x->shards.data;
  for (int64_t i = 0; i < x->shards.n; i++)
    if (s[i].piece == piece) return &s[i];
  return NULL;
}

/* The k-th kept image of a class, in the order of the files. */
static const pn_ingest_record *nth_of_class(const pn_ingest *x, int label, int64_t k) {
  const pn_ingest_record *r = x->records.data;
  for (int64_t i = 0; i < x->records.n; i++)
    if (r[i].split >= 0 && r[i].label == label && k-- == 0) return &r[i];
  return NULL;
}

/* PER_ROW images of a class, evenly spaced over its files. */
static pn_status draw_class(pn_paper *canvas, const pn_ingest *x, const pn_ingest_stats *s,
                            int label, int y) {
  int64_t n = 0, shown;
  char name[16];
  pn_status st = PN_OK;

  for (int k = 0; k < PN_SPLIT_COUNT; k++) n += s->by_split[label][k];
  shown = n < PER_ROW ? n : PER_ROW;
  snprintf(name, sizeof name, "%.12s", s->class_name[label]);
  pn_paper_text(canvas, MARGIN, y + THUMB / 2 - 6, name, true, 1, INK);
  for (int64_t k = 0; k < shown && st == PN_OK; k++) {
    const pn_ingest_record *r = nth_of_class(x, label, (2 * k + 1) * n / (2 * shown));
    const pn_ingest_shard *shard = r ? shard_of(x, r->piece) : NULL;
    pn_area at = {MARGIN + NAME_W + (int)k * (THUMB + 6), y, THUMB, THUMB};
    char path[PATH_MAX];
    if (!shard) continue;
    st = pn_path_join(path, sizeof path, x->cfg->out, shard->shard.file);
    if (st == PN_OK) st = draw_sample(canvas, at, path, r->row);
  }
  return st;
}

/* The first SHEET_CLASSES classes that have images; returns how many. */
static int classes_to_show(const pn_ingest_stats *s, int label[SHEET_CLASSES]) {
  int n = 0;

  for (int c = 0; c < s->n_classes && n < SHEET_CLASSES; c++)
    if (s->by_split[c][PN_TRAIN] + s->by_split[c][PN_VAL] + s->by_split[c][PN_TEST] > 0)
      label[n++] = c;
  return n;
}

pn_status pn_ingest_write_preview(const pn_ingest *x, const pn_ingest_stats *s) {
  int label[SHEET_CLASSES], rows = classes_to_show(s, label);
  int sheet = HEAD + 2 * (CHART_H + MARGIN);
  char path[PATH_MAX], head[120];
  pn_paper canvas = {0};
  pn_status st;

  PN_TRY(pn_paper_create(WIDTH, sheet + 28 + rows * ROW_H + MARGIN, &canvas));
  snprintf(head, sizeof head, "%lld images, %lld x %lld, %s, %d bits", (long long)s->written,
           (long long)x->format.height, (long long)x->format.width,
           x->format.channels == 1 ? "grey" : "colour", x->format.bits);
  pn_paper_text(&canvas, MARGIN, 16, head, true, 2, INK);
  draw_classes(&canvas, s);
  draw_people(&canvas, s);
  draw_pixels(&canvas, x, s);
  pn_paper_text(&canvas, MARGIN, sheet + 4, "Samples, as stored, with their boxes", true, 1, INK);
  for (int c = 0; c < rows; c++)
    PN_TRY(draw_class(&canvas, x, s, label[c], sheet + 28 + c * ROW_H));
  PN_TRY(pn_path_join(path, sizeof path, x->cfg->out, "preview.png"));
  PN_TRY(pn_paper_save(&canvas, path));
done:
  pn_paper_free(&canvas);
  return st;
}
