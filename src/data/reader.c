/* reader.c -- one image of a split as the network is given it. */
#include "data/reader.h"

#include <stdio.h>
#include <string.h>

pn_reader pn_reader_make(pn_dataset *d, pn_split s, float mean, float sd) {
  pn_reader r = {.data = d, .split = s, .format = {.mean = mean, .sd = sd}};

  pn_dataset_shape(d, &r.format.channels, &r.format.height, &r.format.width);
  r.format.bits = pn_dataset_bits(d);
  return r;
}

int64_t pn_reader_pixels(const pn_reader *r) {
  return r->format.channels * r->format.height * r->format.width;
}

size_t pn_reader_image_bytes(const pn_reader *r) {
  return (size_t)pn_reader_pixels(r) * (size_t)(r->format.bits / 8);
}

/* A channel before its resampling, then the whole image that is mixed in. */
int64_t pn_reader_scratch(const pn_reader *r) {
  return r->format.height * r->format.width + pn_reader_pixels(r);
}

bool pn_reader_mixes(const pn_reader *r) {
  return r->augment && pn_augment_range(r->augment, PN_AUG_MIXUP) > 0;
}

static pn_draw draw(const pn_reader *r, uint32_t epoch, uint64_t id) {
  int64_t count = r->groups ? PN_ANY_PARTNER : pn_dataset_count(r->data, r->split);
  pn_draw d = pn_augment_draw(r->augment, epoch, id, count);

  if (r->groups) d.partner = pn_class_groups_pick(r->groups, (uint32_t)d.partner);
  return d;
}

pn_status pn_reader_reach(const pn_reader *r, uint32_t epoch, const int64_t *index, int64_t n) {
  pn_status st = pn_dataset_reach(r->data, r->split, index, n);

  for (int64_t i = 0; st == PN_OK && pn_reader_mixes(r) && i < n; i++) {
    int64_t partner = draw(r, epoch, pn_dataset_id(r->data, r->split, index[i])).partner;
    st = pn_dataset_reach(r->data, r->split, &partner, 1);
  }
  return st;
}

/* The other image comes as it is augmented itself in this epoch. */
static pn_status mix_in(const pn_reader *r, uint32_t epoch, const pn_draw *d, float *scratch,
                        const pn_rows *rows, int64_t at) {
  const int64_t pixels = pn_reader_pixels(r);
  float *other = scratch + r->format.height * r->format.width, *out = rows->input + at * pixels;
  const float share = (float)d->mix;
  pn_sample s;
  pn_draw own;
  pn_status st = pn_dataset_get(r->data, r->split, d->partner, &s);

  if (st != PN_OK) return st;
  own = draw(r, epoch, s.id);
  pn_augment_apply(r->augment, &own, &r->format, s.pixels, scratch, other);
  for (int64_t i = 0; i < pixels; i++) out[i] = share * out[i] + (1 - share) * other[i];
  rows->label2[at] = s.label;
  rows->mix[at] = share;
  return PN_OK;
}

/* Of an image whose pixels lie on the device already. */
static pn_status find_resident(const pn_reader *r, int64_t i, pn_sample *s) {
  *s = (pn_sample){.id = pn_dataset_id(r->data, r->split, i)};
  return pn_dataset_label(r->data, r->split, i, &s->label);
}

/* Image i as row `at`; *s: its label and id. */
static pn_status describe_row(const pn_reader *r, uint32_t epoch, int64_t i, const pn_rows *rows,
                              int64_t at, pn_sample *s, pn_draw *d) {
  size_t bytes = pn_reader_image_bytes(r);
  pn_status st = rows->pixels ? pn_dataset_get(r->data, r->split, i, s) : find_resident(r, i, s);

  if (st != PN_OK) return st;
  if (rows->pixels) memcpy(rows->pixels + (size_t)at * bytes, s->pixels, bytes);
  if (r->augment) *d = draw(r, epoch, s->id);
  pn_augment_describe(r->augment, d, &r->format, &rows->row[at]);
  if (r->mirror) rows->row[at].flip = 1;
  rows->row[at].image = rows->pixels ? at : i;
  rows->row[at].label = s->label;
  return PN_OK;
}

static pn_status describe(const pn_reader *r, uint32_t epoch, int64_t i, const pn_rows *rows,
                          int64_t at) {
  int64_t partner = rows->partners + at;
  pn_sample s;
  pn_draw d = {.mix = 1}, other;
  pn_status st = describe_row(r, epoch, i, rows, at, &s, &d);

  if (st != PN_OK) return st;
  rows->id[at] = s.id;
  rows->label[at] = rows->label2[at] = s.label;
  rows->mix[at] = 1;
  if (!pn_reader_mixes(r)) return PN_OK;
  rows->row[partner].image = -1;
  if (!(d.mix < 1)) return PN_OK;
  if ((st = describe_row(r, epoch, d.partner, rows, partner, &s, &other)) != PN_OK) return st;
  rows->row[at].other = (int32_t)partner;
  rows->row[at].share = rows->mix[at] = (float)d.mix;
  rows->label2[at] = s.label;
  return PN_OK;
}

pn_status pn_reader_read(const pn_reader *r, uint32_t epoch, int64_t i, float *scratch,
                         const pn_rows *rows, int64_t at) {
  float *out = rows->input + at * pn_reader_pixels(r);
  pn_sample s;
  pn_draw d = {.mix = 1};
  pn_status st;

  if (rows->row) return describe(r, epoch, i, rows, at);
  if ((st = pn_dataset_get(r->data, r->split, i, &s)) != PN_OK) return st;
  if (r->augment) d = draw(r, epoch, s.id);
  pn_augment_apply(r->augment, &d, &r->format, s.pixels, scratch, out);
  rows->id[at] = s.id;
  rows->label[at] = rows->label2[at] = s.label;
  rows->mix[at] = 1;
  if (d.mix < 1) st = mix_in(r, epoch, &d, scratch, rows, at);
  if (r->mirror) pn_mirror(&r->format, out);
  return st;
}

void pn_failure_note(pn_failure *f, pn_status st, int64_t row) {
  const char *text = strchr(pn_last_error(), ' '); /* behind "file.c:12:" */

  if (f->status != PN_OK && f->row <= row) return;
  f->status = st;
  f->row = row;
  snprintf(f->text, sizeof f->text, "%s", text ? text + 1 : pn_last_error());
}

pn_status pn_failure_raise(const pn_failure *f) {
  return f->status == PN_OK ? PN_OK : PN_FAIL(f->status, "%s", f->text);
}
