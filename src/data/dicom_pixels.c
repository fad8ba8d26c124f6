/* dicom_pixels.c -- a decoded grey frame to presentation values: mask and sign here, the steps
 * after that in dicom_mapping.c.
 *
 * Plain 8-bit images pass through as they are.  Up to 16 bits go through one table with an entry
 * per bit pattern, so that each is worked out once; 32 bits (doses, maps) go value by value. */
#include "data/dicom_raw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FULL = 65535, PATTERNS = 65536 };

/* Where the stored bits lie in a pattern. */
struct layout {
  int shift, bits, allocated;
  bool is_signed;
};

static struct layout layout_of(const pn_dicom_raw *r, const pn_dicom_frame *f) {
  return (struct layout){.shift = f->high_bit - (f->stored - 1),
                         .bits = f->stored,
                         .allocated = f->allocated,
                         .is_signed = r->is_signed == 1};
}

/* Absent, or the number that changes nothing. */
static bool is_neutral(const char *text, double neutral) {
  return !text[0] || strtod(text, NULL) == neutral;
}

bool pn_dicom_is_plain(const pn_dicom_raw *r, const pn_dicom_frame *f) {
  return f->colour == PN_COLOUR_GREY && f->allocated == 8 && f->stored == 8 && r->is_signed == 0 &&
         !r->modality.present && !r->voi.present && is_neutral(r->slope, 1) &&
         is_neutral(r->intercept, 0) && !r->centre[0] && !r->width[0];
}

static int64_t stored_value(const struct layout *l, uint32_t pattern) {
  int64_t full = (int64_t)1 << l->bits, v = (int64_t)(pattern >> l->shift) & (full - 1);
  return l->is_signed && v >= full / 2 ? v - full : v;
}

/* Bits above BitsStored must be 0, or repeat the sign. */
static bool has_garbage(const struct layout *l, uint32_t pattern) {
  int used = l->shift + l->bits;
  uint32_t above = used < 32 ? pattern >> used : 0;
  uint32_t ones = used < 32 ? (uint32_t)(((uint64_t)1 << (l->allocated - used)) - 1) : 0;
  bool negative = l->is_signed && stored_value(l, pattern) < 0;
  return above != 0 && !(negative && above == ones);
}

/* Widen the range of valid values by one stored value. */
static void see(pn_dicom_mapping *m, int64_t v, bool *any) {
  double x = pn_dicom_modality(m, v);
  if (pn_dicom_is_padding(m, v)) return;
  if (!*any || x < m->low) m->low = x;
  if (!*any || x > m->high) m->high = x;
  *any = true;
}

static uint16_t grey_of(const pn_dicom_mapping *m, int64_t v) {
  if (pn_dicom_is_padding(m, v)) return 0; /* black */
  return (uint16_t)lround(FULL * pn_dicom_present_value(m, pn_dicom_modality(m, v)));
}

static bool all_padding(pn_reject *why) {
  return pn_reject_set(why, "no_valid_pixels", "(0028,0120)", "all pixels are padding");
}

/* Of the patterns that occur: range of the valid ones, garbage, then their greys.  true: rejected.
 */
static bool fill_table(const uint8_t *seen, const struct layout *l, pn_dicom_mapping *m,
                       unsigned *warnings, uint16_t *table) {
  bool any = false;

  for (uint32_t p = 0; p < PATTERNS; p++) {
    if (!seen[p]) continue;
    if (has_garbage(l, p)) *warnings |= PN_DICOM_W_HIGH_GARBAGE;
    see(m, stored_value(l, p), &any);
  }
  for (uint32_t p = 0; p < PATTERNS; p++) table[p] = seen[p] ? grey_of(m, stored_value(l, p)) : 0;
  return !any;
}

static uint32_t pattern16(const uint8_t *data, int bytes, size_t i) {
  return bytes == 1 ? data[i] : (uint32_t)data[2 * i] | (uint32_t)data[2 * i + 1] << 8;
}

static pn_status through_table(const struct layout *l, const uint8_t *data, pn_dicom_mapping *m,
                               unsigned *warnings, pn_gray *out, pn_reject *why) {
  size_t n = (size_t)out->height * (size_t)out->width;
  int bytes = l->allocated / 8;
  uint16_t *table = malloc(PATTERNS * sizeof *table), *to = out->data;
  uint8_t *seen = calloc(PATTERNS, 1);
  pn_status st = PN_OK;

  if (!table || !seen) PN_TRY(PN_FAIL(PN_ERR_NOMEM, "grey table: out of memory"));
  for (size_t i = 0; i < n; i++) seen[pattern16(data, bytes, i)] = 1;
  if (fill_table(seen, l, m, warnings, table)) {
    all_padding(why);
    goto done;
  }
  for (size_t i = 0; i < n; i++) to[i] = table[pattern16(data, bytes, i)];
done:
  free(table);
  free(seen);
  return st;
}

static uint32_t pattern32(const uint8_t *d, size_t i) {
  d += 4 * i;
  return (uint32_t)d[0] | (uint32_t)d[1] << 8 | (uint32_t)d[2] << 16 | (uint32_t)d[3] << 24;
}

static void value_by_value(const struct layout *l, const uint8_t *data, pn_dicom_mapping *m,
                           unsigned *warnings, pn_gray *out, pn_reject *why) {
  size_t n = (size_t)out->height * (size_t)out->width;
  uint16_t *to = out->data;
  bool any = false;

  for (size_t i = 0; i < n; i++) {
    uint32_t p = pattern32(data, i);
    if (has_garbage(l, p)) *warnings |= PN_DICOM_W_HIGH_GARBAGE;
    see(m, stored_value(l, p), &any);
  }
  if (!any) {
    all_padding(why);
    return;
  }
  for (size_t i = 0; i < n; i++) to[i] = grey_of(m, stored_value(l, pattern32(data, i)));
}

/* Inversion and black padding, in place. */
static void finish_plain(const pn_dicom_mapping *m, pn_gray *g) {
  uint8_t *p = g->data;
  size_t n = (size_t)g->height * (size_t)g->width;

  if (!m->inverted && !m->has_padding) return;
  for (size_t i = 0; i < n; i++) {
    bool padding = pn_dicom_is_padding(m, p[i]);
    p[i] = (uint8_t)(padding ? 0 : m->inverted ? ~p[i] : p[i]);
  }
}

pn_status pn_dicom_present(const pn_dicom_raw *raw, const pn_dicom_frame *f, pn_dicom_info *info,
                           pn_gray *out, pn_reject *why) {
  struct layout l = layout_of(raw, f);
  bool plain = pn_dicom_is_plain(raw, f);
  pn_dicom_mapping m;
  pn_status st;

  if (pn_dicom_mapping_init(raw, f, info->inverted, &m, why)) return PN_OK;
  st = pn_gray_reserve(out, raw->rows, raw->columns, plain ? 1 : 2);
  if (st != PN_OK) return st;
  if (plain) {
    if (f->data != out->data) memcpy(out->data, f->data, (size_t)raw->rows * (size_t)raw->columns);
    finish_plain(&m, out);
    return PN_OK;
  }
  if (m.voi == PN_VOI_RANGE) info->warnings |= PN_DICOM_W_MIN_MAX;
  if (l.allocated <= 16) return through_table(&l, f->data, &m, &info->warnings, out, why);
  value_by_value(&l, f->data, &m, &info->warnings, out, why);
  return PN_OK;
}
