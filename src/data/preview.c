/* preview.c -- a sheet of augmented training images. */
#include "data/preview.h"

#include <stdlib.h>
#include <string.h>

enum { GAP = 4, LARGEST = 4096, WHITE = 255 };

typedef struct {
  pn_reader stored, changed; /* without and with augmentation */
  int64_t cell[2];           /* height, width on the sheet */
  float *scratch;
  pn_rows rows; /* of one image */
  int32_t label, label2;
  float mix;
  uint64_t id;
} easel;

static uint8_t to_byte(const pn_image_format *f, float x) {
  float v = (x * f->sd + f->mean) * 255.0f + 0.5f;
  return v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
}

/* The image in e->rows into cell (row, col). */
static void place(const easel *e, int row, int col, pn_sheet *s) {
  const pn_image_format *f = &e->stored.format;

  for (int64_t y = 0; y < e->cell[0]; y++)
    for (int64_t x = 0; x < e->cell[1]; x++) {
      int64_t to =
          (GAP + row * (e->cell[0] + GAP) + y) * s->width + GAP + col * (e->cell[1] + GAP) + x;
      int64_t from = y * s->step * f->width + x * s->step;
      for (int c = 0; c < s->channels; c++)
        s->pixels[to * s->channels + c] =
            to_byte(f, e->rows.input[c * f->height * f->width + from]);
    }
}

static pn_status draw_row(const pn_preview_spec *spec, easel *e, int row, pn_sheet *s) {
  int64_t count = pn_dataset_count(spec->reader->data, spec->reader->split);
  int64_t image = count * row / spec->images;
  pn_status st = PN_OK;

  for (int col = 0; col <= spec->epochs; col++) {
    const pn_reader *r = col == 0 ? &e->stored : &e->changed;
    PN_TRY(pn_reader_read(r, (uint32_t)col, image, e->scratch, &e->rows, 0));
    place(e, row, col, s);
  }
done:
  return st;
}

/* Every step-th pixel, so that the sheet stays within LARGEST where it can. */
static void size_sheet(const pn_preview_spec *spec, easel *e, pn_sheet *s) {
  const pn_image_format *f = &spec->reader->format;
  int64_t cols = spec->epochs + 1, wide = cols * (f->width + GAP),
          high = spec->images * (f->height + GAP), most = wide > high ? wide : high;

  s->step = (most + LARGEST - 1) / LARGEST;
  e->cell[0] = (f->height + s->step - 1) / s->step;
  e->cell[1] = (f->width + s->step - 1) / s->step;
  s->height = GAP + spec->images * (e->cell[0] + GAP);
  s->width = GAP + cols * (e->cell[1] + GAP);
  s->channels = f->channels == 3 ? 3 : 1;
}

static pn_status set_up(const pn_preview_spec *spec, easel *e, pn_sheet *s) {
  size_t bytes;

  e->stored = e->changed = *spec->reader;
  e->stored.augment = NULL;
  size_sheet(spec, e, s);
  bytes = (size_t)(s->height * s->width * s->channels);
  e->scratch = malloc((size_t)pn_reader_scratch(spec->reader) * sizeof(float));
  e->rows = (pn_rows){.input = malloc((size_t)pn_reader_pixels(spec->reader) * sizeof(float)),
                      .label = &e->label,
                      .label2 = &e->label2,
                      .mix = &e->mix,
                      .id = &e->id};
  s->pixels = malloc(bytes);
  if (!e->scratch || !e->rows.input || !s->pixels)
    return PN_FAIL(PN_ERR_NOMEM, "preview of %d images: out of memory", spec->images);
  memset(s->pixels, WHITE, bytes);
  return PN_OK;
}

pn_status pn_preview_draw(const pn_preview_spec *spec, pn_sheet *out) {
  easel e = {.scratch = NULL};
  pn_status st = PN_OK;

  *out = (pn_sheet){.pixels = NULL};
  if (pn_dataset_count(spec->reader->data, spec->reader->split) < 1)
    return PN_FAIL(PN_ERR_ARG, "the data set has no images in its split %s",
                   pn_split_name(spec->reader->split));
  PN_TRY(set_up(spec, &e, out));
  for (int row = 0; row < spec->images; row++) PN_TRY(draw_row(spec, &e, row, out));
done:
  free(e.scratch);
  free(e.rows.input);
  if (st != PN_OK) pn_sheet_free(out);
  return st;
}

void pn_sheet_free(pn_sheet *s) {
  free(s->pixels);
  *s = (pn_sheet){.pixels = NULL};
}
