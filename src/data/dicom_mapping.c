/* dicom_mapping.c -- one stored value to its presentation value, in the order of PS3.3 C.11:
 * padding, modality table or rescale, VOI table or window (or the range of the valid pixels),
 * inversion. */
#include "data/dicom_raw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool parse_number(const char *text, double *out) {
  char *end = NULL;
  *out = strtod(text, &end);
  while (*end == ' ') end++;
  return text[0] && *end == 0 && isfinite(*out);
}

static bool set_modality(const pn_dicom_raw *r, pn_dicom_mapping *m, pn_reject *why) {
  m->slope = 1;
  m->intercept = 0;
  if (r->modality.fault)
    return pn_reject_set(why, "bad_lut", "(0028,3000)", "modality: %s", r->modality.fault);
  if (r->modality.present) {
    m->modality = &r->modality;
    return false;
  }
  if (r->slope[0] && (!parse_number(r->slope, &m->slope) || m->slope == 0))
    return pn_reject_set(why, "bad_rescale", "(0028,1053)", "slope is 0 or no number");
  if (r->intercept[0] && !parse_number(r->intercept, &m->intercept))
    return pn_reject_set(why, "bad_rescale", "(0028,1052)", "intercept is no number");
  return false;
}

static bool set_window(const pn_dicom_raw *r, pn_dicom_mapping *m, pn_reject *why) {
  const char *f = r->voi_function;

  if (!parse_number(r->centre, &m->centre) || !parse_number(r->width, &m->width))
    return pn_reject_set(why, "bad_window", "(0028,1050)", "centre or width is no number");
  if (strcmp(f, "LINEAR_EXACT") == 0)
    m->voi = PN_VOI_EXACT;
  else if (strcmp(f, "SIGMOID") == 0)
    m->voi = PN_VOI_SIGMOID;
  else if (!f[0] || strcmp(f, "LINEAR") == 0)
    m->voi = PN_VOI_LINEAR;
  else
    return pn_reject_set(why, "bad_window", "(0028,1056)", "unknown VOI LUT function");
  if (m->voi == PN_VOI_LINEAR ? m->width < 1 : m->width <= 0)
    return pn_reject_set(why, "bad_window", "(0028,1051)", "width %g", m->width);
  return false;
}

/* A table wins over a window: it says more. */
static bool set_voi(const pn_dicom_raw *r, pn_dicom_mapping *m, pn_reject *why) {
  if (r->voi.fault) return pn_reject_set(why, "bad_lut", "(0028,3010)", "VOI: %s", r->voi.fault);
  if (r->voi.present) {
    m->voi = PN_VOI_LUT;
    m->voi_lut = &r->voi;
    return false;
  }
  return (r->centre[0] || r->width[0]) && set_window(r, m, why);
}

/* Padding is a stored value; its attribute may hold the bit pattern or the signed number. */
static int64_t padding_value(int64_t v, const pn_dicom_mapping *m) {
  int64_t full = (int64_t)1 << m->stored, wrapped = v & (full - 1);
  return m->is_signed && wrapped >= full / 2 ? wrapped - full : wrapped;
}

bool pn_dicom_mapping_init(const pn_dicom_raw *r, const pn_dicom_frame *f, bool inverted,
                           pn_dicom_mapping *m, pn_reject *why) {
  *m = (pn_dicom_mapping){.stored = f->stored,
                          .is_signed = r->is_signed == 1,
                          .inverted = inverted,
                          .has_padding = r->padding != PN_DICOM_ABSENT};
  if (m->has_padding) {
    int64_t a = padding_value(r->padding, m);
    int64_t b = r->padding_limit == PN_DICOM_ABSENT ? a : padding_value(r->padding_limit, m);
    m->padding_lo = a < b ? a : b;
    m->padding_hi = a < b ? b : a;
  }
  return set_modality(r, m, why) || set_voi(r, m, why);
}

bool pn_dicom_is_padding(const pn_dicom_mapping *m, int64_t v) {
  return m->has_padding && v >= m->padding_lo && v <= m->padding_hi;
}

/* Ends repeated; between two inputs (a rescaled value need not be whole) the nearest. */
static double look_up(const pn_dicom_lut *lut, double x) {
  double at = x - (double)lut->first, last = (double)(lut->entries - 1);
  return lut->value[(int64_t)lround(fmin(fmax(at, 0), last))];
}

double pn_dicom_modality(const pn_dicom_mapping *m, int64_t v) {
  return m->modality ? look_up(m->modality, (double)v) : m->slope * (double)v + m->intercept;
}

static double range(const pn_dicom_mapping *m, double x) {
  return m->high > m->low ? (x - m->low) / (m->high - m->low) : 0;
}

static double linear(const pn_dicom_mapping *m, double x) {
  if (m->width == 1) return x <= m->centre - 0.5 ? 0 : 1;
  return (x - (m->centre - 0.5)) / (m->width - 1) + 0.5;
}

double pn_dicom_present_value(const pn_dicom_mapping *m, double x) {
  double y = 0;

  switch (m->voi) {
  case PN_VOI_RANGE:
    y = range(m, x);
    break;
  case PN_VOI_LUT:
    y = look_up(m->voi_lut, x) / (double)((1 << m->voi_lut->bits) - 1);
    break;
  case PN_VOI_LINEAR:
    y = linear(m, x);
    break;
  case PN_VOI_EXACT:
    y = (x - m->centre) / m->width + 0.5;
    break;
  case PN_VOI_SIGMOID:
    y = 1 / (1 + exp(-4 * (x - m->centre) / m->width));
    break;
  }
  y = fmin(fmax(y, 0), 1);
  return m->inverted ? 1 - y : y;
}
