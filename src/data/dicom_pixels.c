/* dicom_pixels.c -- stored values to presentation values, in the order of PS3.3 C.11: mask and
 * sign, padding, rescale, window (or min..max of the valid pixels), inversion.
 *
 * Plain 8-bit images pass through as they are.  Everything else goes through one table with an
 * entry per stored bit pattern (at most 65,536), so that the order is written down once. */
#include "data/dicom_raw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FULL = 65535, PATTERNS = 65536 };

struct mapping {
  int shift, bits;
  bool is_signed, has_window, has_padding, inverted;
  int64_t padding_lo, padding_hi;
  double slope, intercept, centre, width;
  enum { VOI_LINEAR, VOI_EXACT, VOI_SIGMOID } voi;
  double low, high; /* of the valid pixels after the rescale; used without a window */
};

static bool parse_number(const char *text, double *out) {
  char *end = NULL;
  *out = strtod(text, &end);
  while (*end == ' ') end++;
  return text[0] && *end == 0 && isfinite(*out);
}

static bool set_rescale(const pn_dicom_raw *r, struct mapping *m, pn_reject *why) {
  m->slope = 1;
  m->intercept = 0;
  if (r->slope[0] && (!parse_number(r->slope, &m->slope) || m->slope == 0))
    return pn_reject_set(why, "bad_rescale", "(0028,1053)", "slope is 0 or no number");
  if (r->intercept[0] && !parse_number(r->intercept, &m->intercept))
    return pn_reject_set(why, "bad_rescale", "(0028,1052)", "intercept is no number");
  return false;
}

static bool set_window(const pn_dicom_raw *r, struct mapping *m, pn_reject *why) {
  const char *f = r->voi_function;

  m->has_window = r->centre[0] || r->width[0];
  if (!m->has_window) return false;
  if (!parse_number(r->centre, &m->centre) || !parse_number(r->width, &m->width))
    return pn_reject_set(why, "bad_window", "(0028,1050)", "centre or width is no number");
  if (strcmp(f, "LINEAR_EXACT") == 0)
    m->voi = VOI_EXACT;
  else if (strcmp(f, "SIGMOID") == 0)
    m->voi = VOI_SIGMOID;
  else if (f[0] && strcmp(f, "LINEAR") != 0)
    return pn_reject_set(why, "bad_window", "(0028,1056)", "unknown VOI LUT function");
  if (m->voi == VOI_LINEAR ? m->width < 1 : m->width <= 0)
    return pn_reject_set(why, "bad_window", "(0028,1051)", "width %g", m->width);
  return false;
}

/* Padding is a stored value; its attribute may hold the bit pattern or the signed number. */
static int64_t padding_value(int64_t v, const struct mapping *m) {
  int64_t full = (int64_t)1 << m->bits, wrapped = v & (full - 1);
  return m->is_signed && wrapped >= full / 2 ? wrapped - full : wrapped;
}

static bool set_mapping(const pn_dicom_raw *r, const pn_dicom_info *info, struct mapping *m,
                        pn_reject *why) {
  *m = (struct mapping){.bits = (int)r->bits_stored,
                        .shift = (int)(r->high_bit - (r->bits_stored - 1)),
                        .is_signed = r->is_signed == 1,
                        .inverted = info->inverted,
                        .has_padding = r->padding != PN_DICOM_ABSENT};
  if (m->has_padding) {
    int64_t a = padding_value(r->padding, m);
    int64_t b = r->padding_limit == PN_DICOM_ABSENT ? a : padding_value(r->padding_limit, m);
    m->padding_lo = a < b ? a : b;
    m->padding_hi = a < b ? b : a;
  }
  return set_rescale(r, m, why) || set_window(r, m, why);
}

static bool is_plain(const pn_dicom_raw *r, const struct mapping *m) {
  return r->bits_allocated == 8 && m->bits == 8 && !m->is_signed && !m->has_window &&
         m->slope == 1 && m->intercept == 0;
}

/* Stored value of a bit pattern. */
static int64_t stored_value(const struct mapping *m, uint32_t pattern) {
  int64_t full = (int64_t)1 << m->bits, v = (int64_t)(pattern >> m->shift) & (full - 1);
  return m->is_signed && v >= full / 2 ? v - full : v;
}

static bool is_padding(const struct mapping *m, int64_t v) {
  return m->has_padding && v >= m->padding_lo && v <= m->padding_hi;
}

/* Bits above BitsStored must be 0, or repeat the sign. */
static bool has_garbage(const struct mapping *m, uint32_t pattern, int allocated) {
  uint32_t above = pattern >> (m->shift + m->bits);
  uint32_t ones = (1u << (allocated - m->shift - m->bits)) - 1;
  bool negative = m->is_signed && stored_value(m, pattern) < 0;
  return above != 0 && !(negative && above == ones);
}

/* Which patterns occur: range of the valid ones, garbage.  true: rejected. */
static bool scan(const uint8_t *seen, struct mapping *m, int allocated, unsigned *warnings,
                 pn_reject *why) {
  bool any = false;

  for (uint32_t p = 0; p < PATTERNS; p++) {
    int64_t v = stored_value(m, p);
    double x = m->slope * (double)v + m->intercept;
    if (!seen[p]) continue;
    if (has_garbage(m, p, allocated)) *warnings |= PN_DICOM_W_HIGH_GARBAGE;
    if (is_padding(m, v)) continue;
    if (!any || x < m->low) m->low = x;
    if (!any || x > m->high) m->high = x;
    any = true;
  }
  if (any) return false;
  return pn_reject_set(why, "no_valid_pixels", "(0028,0120)", "all pixels are padding");
}

/* 0..1, of a rescaled value. */
static double present(const struct mapping *m, double x) {
  double y;

  if (!m->has_window) return m->high > m->low ? (x - m->low) / (m->high - m->low) : 0;
  if (m->voi == VOI_SIGMOID) return 1 / (1 + exp(-4 * (x - m->centre) / m->width));
  if (m->voi == VOI_EXACT)
    y = (x - m->centre) / m->width + 0.5;
  else if (m->width == 1)
    y = x <= m->centre - 0.5 ? 0 : 1;
  else
    y = (x - (m->centre - 0.5)) / (m->width - 1) + 0.5;
  return fmin(fmax(y, 0), 1);
}

static void fill_table(const struct mapping *m, const uint8_t *seen, uint16_t *table) {
  for (uint32_t p = 0; p < PATTERNS; p++) {
    int64_t v = stored_value(m, p);
    double y;
    table[p] = 0; /* padding is black */
    if (!seen[p] || is_padding(m, v)) continue;
    y = present(m, m->slope * (double)v + m->intercept);
    table[p] = (uint16_t)lround(FULL * (m->inverted ? 1 - y : y));
  }
}

static uint32_t pattern_at(const uint8_t *data, int bytes, size_t i) {
  return bytes == 1 ? data[i] : (uint32_t)data[2 * i] | (uint32_t)data[2 * i + 1] << 8;
}

static pn_status through_table(const pn_dicom_raw *r, struct mapping *m, unsigned *warnings,
                               pn_gray *out, pn_reject *why) {
  size_t n = (size_t)r->rows * (size_t)r->columns;
  int bytes = (int)r->bits_allocated / 8;
  uint16_t *table = malloc(PATTERNS * sizeof *table);
  uint8_t *seen = calloc(PATTERNS, 1);
  pn_status st = PN_OK;

  if (!table || !seen) PN_TRY(PN_FAIL(PN_ERR_NOMEM, "grey table: out of memory"));
  for (size_t i = 0; i < n; i++) seen[pattern_at(r->pixels, bytes, i)] = 1;
  if (scan(seen, m, (int)r->bits_allocated, warnings, why)) goto done;
  fill_table(m, seen, table);
  PN_TRY(pn_gray_reserve(out, r->rows, r->columns, 2));
  for (size_t i = 0; i < n; i++)
    ((uint16_t *)out->data)[i] = table[pattern_at(r->pixels, bytes, i)];
done:
  free(table);
  free(seen);
  return st;
}

static void invert_bytes(pn_gray *g) {
  uint8_t *p = g->data;
  for (size_t i = 0, n = (size_t)g->height * (size_t)g->width; i < n; i++) p[i] = (uint8_t)~p[i];
}

pn_status pn_dicom_present(const pn_dicom_raw *raw, pn_dicom_info *info, pn_gray *out,
                           pn_reject *why) {
  struct mapping m;
  size_t n = (size_t)raw->rows * (size_t)raw->columns;
  pn_status st;

  if (set_mapping(raw, info, &m, why)) return PN_OK;
  if (!is_plain(raw, &m)) return through_table(raw, &m, &info->warnings, out, why);
  if (raw->pixels != out->data) {
    if ((st = pn_gray_reserve(out, raw->rows, raw->columns, 1)) != PN_OK) return st;
    memcpy(out->data, raw->pixels, n);
  }
  if (m.inverted) invert_bytes(out);
  return PN_OK;
}
