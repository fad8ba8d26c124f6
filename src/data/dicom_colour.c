/* dicom_colour.c -- colour and palette frames to luma (ITU-R BT.601, as YBR_FULL defines Y).
 *
 * A film scanned in colour has R = G = B: then luma is that value.  Windows and rescale belong to
 * grey images only (PS3.3 C.11), so none is applied here. */
#include "data/dicom_raw.h"

#include <math.h>

struct samples {
  const uint8_t *data;
  int bytes, shift;
  uint32_t mask;
  size_t plane; /* samples from one component to the next: 1, or rows * columns */
  size_t step;  /* samples from one pixel to the next */
};

static uint32_t sample_at(const struct samples *s, size_t i) {
  const uint8_t *d = s->data + i * (size_t)s->bytes;
  uint32_t v = 0;
  for (int b = 0; b < s->bytes; b++) v |= (uint32_t)d[b] << 8 * b;
  return v >> s->shift & s->mask;
}

static double luma_of(double r, double g, double b) {
  return (299 * r + 587 * g + 114 * b) / 1000; /* whole numbers: R = G = B gives exactly that */
}

/* Luma of pixel i; *grey is cleared where it has a colour. */
static double rgb_luma(const struct samples *s, size_t i, bool *grey) {
  size_t at = i * s->step;
  uint32_t r = sample_at(s, at), g = sample_at(s, at + s->plane),
           b = sample_at(s, at + 2 * s->plane);
  if (r != g || g != b) *grey = false;
  return luma_of(r, g, b);
}

static double ybr_luma(const struct samples *s, size_t i, bool *grey) {
  size_t at = i * s->step;
  uint32_t none = (s->mask >> 1) + 1;
  if (sample_at(s, at + s->plane) != none || sample_at(s, at + 2 * s->plane) != none) *grey = false;
  return sample_at(s, at);
}

static double ybr_422_luma(const struct samples *s, size_t i, bool *grey) {
  size_t pair = i / 2 * 4;
  uint32_t none = (s->mask >> 1) + 1;
  if (sample_at(s, pair + 2) != none || sample_at(s, pair + 3) != none) *grey = false;
  return sample_at(s, pair + i % 2);
}

static double palette_luma(const pn_dicom_raw *r, const struct samples *s, size_t i, bool *grey) {
  int bits = s->bytes * 8;
  int64_t v = sample_at(s, i);
  double c[3];

  if (r->is_signed && bits <= 32 && v > (int64_t)(s->mask >> 1)) v -= (int64_t)s->mask + 1;
  for (int k = 0; k < 3; k++) {
    const pn_dicom_lut *lut = &r->palette[k];
    int64_t at = v - lut->first;
    at = at < 0 ? 0 : at >= lut->entries ? lut->entries - 1 : at;
    c[k] = lut->value[at];
  }
  if (c[0] != c[1] || c[1] != c[2]) *grey = false;
  return luma_of(c[0], c[1], c[2]);
}

static double luma_at(const pn_dicom_raw *r, const pn_dicom_frame *f, const struct samples *s,
                      size_t i, bool *grey) {
  switch (f->colour) {
  case PN_COLOUR_PALETTE:
    return palette_luma(r, s, i, grey);
  case PN_COLOUR_YBR:
    return ybr_luma(s, i, grey);
  case PN_COLOUR_YBR_422:
    return ybr_422_luma(s, i, grey);
  default:
    return rgb_luma(s, i, grey);
  }
}

pn_status pn_dicom_luma(const pn_dicom_raw *r, const pn_dicom_frame *f, pn_dicom_info *info,
                        pn_gray *out) {
  size_t n = (size_t)r->rows * (size_t)r->columns;
  struct samples s = {f->data,
                      f->allocated / 8,
                      f->high_bit - (f->stored - 1),
                      (uint32_t)(((uint64_t)1 << f->stored) - 1),
                      f->planar ? n : 1,
                      f->planar ? 1 : 3};
  int bits = f->colour == PN_COLOUR_PALETTE ? r->palette[0].bits : f->stored;
  double full = (double)(((uint64_t)1 << bits) - 1);
  bool grey = true;
  pn_status st = pn_gray_reserve(out, r->rows, r->columns, bits == 8 ? 1 : 2);

  if (st != PN_OK) return st;
  for (size_t i = 0; i < n; i++) {
    double y = luma_at(r, f, &s, i, &grey);
    if (bits == 8)
      ((uint8_t *)out->data)[i] = (uint8_t)lround(y);
    else
      ((uint16_t *)out->data)[i] = (uint16_t)lround(y * 65535 / full);
  }
  if (!grey) info->warnings |= PN_DICOM_W_COLOUR;
  return PN_OK;
}
