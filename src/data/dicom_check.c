/* dicom_check.c -- what DCMTK accepts in silence and we do not: attributes that are missing,
 * contradict each other, or do not fit the pixel data (specs/ingest.md 2.3). */
#include "data/dicom_raw.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *pn_dicom_warning_name(int bit) {
  static const char *const names[PN_DICOM_WARNING_COUNT] = {
      "no_meta",        "excess_pixels",        "progressive_jpeg",
      "high_garbage",   "burned_in_annotation", "aspect",
      "odd_age",        "name_mismatch",        "several_windows",
      "colour_to_luma", "scaled_min_max",       "more_frames",
      "turned_by_exif", "alpha_ignored"};
  return bit >= 0 && bit < PN_DICOM_WARNING_COUNT ? names[bit] : NULL;
}

#define DICOM_ROOT "1.2.840.10008.1.2." /* of the standard's own transfer syntaxes */

/* A UID may be shown (syntaxes are public names), other text in its place may not. */
static const char *shown_uid(const char *uid) {
  return uid[0] && strspn(uid, "0123456789.") == strlen(uid) ? uid : "not a UID";
}

static bool check_object(const pn_dicom_raw *r, pn_reject *why) {
  if (!r->has_meta && (!r->has_sop_class || r->rows == PN_DICOM_ABSENT))
    return pn_reject_set(why, "not_dicom", NULL, "no DICM mark, SOPClassUID or Rows found");
  if (r->syntax[0] && !r->known_syntax && strncmp(r->syntax, DICOM_ROOT, strlen(DICOM_ROOT)) == 0)
    return pn_reject_set(why, "unsupported_syntax", "(0002,0010)", "syntax %s not built in",
                         shown_uid(r->syntax));
  if (r->syntax[0] && !r->known_syntax)
    return pn_reject_set(why, "unknown_syntax", "(0002,0010)", "%s", shown_uid(r->syntax));
  if (!r->has_pixels && r->rows == PN_DICOM_ABSENT)
    return pn_reject_set(why, "not_an_image", "(7fe0,0010)", "no Rows and no pixel data");
  return false;
}

static bool check_present(const pn_dicom_raw *r, pn_reject *why) {
  const struct {
    int64_t value;
    const char *tag, *name;
  } needed[] = {
      {r->rows, "(0028,0010)", "Rows"},
      {r->columns, "(0028,0011)", "Columns"},
      {r->samples, "(0028,0002)", "SamplesPerPixel"},
      {r->bits_allocated, "(0028,0100)", "BitsAllocated"},
      {r->bits_stored, "(0028,0101)", "BitsStored"},
      {r->high_bit, "(0028,0102)", "HighBit"},
      {r->is_signed, "(0028,0103)", "PixelRepresentation"},
      {r->photometric[0] ? 0 : PN_DICOM_ABSENT, "(0028,0004)", "PhotometricInterpretation"},
      {r->has_pixels ? 0 : PN_DICOM_ABSENT, "(7fe0,0010)", "PixelData"},
  };

  for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
    if (needed[i].value == PN_DICOM_ABSENT)
      return pn_reject_set(why, "missing_attribute", needed[i].tag, "%s is missing",
                           needed[i].name);
  return false;
}

static bool check_size(const pn_dicom_raw *r, pn_reject *why) {
  bool rows = r->rows < 1 || r->rows > PN_DICOM_MAX_SIDE;

  if (rows || r->columns < 1 || r->columns > PN_DICOM_MAX_SIDE)
    return pn_reject_set(why, "bad_dimensions", rows ? "(0028,0010)" : "(0028,0011)",
                         "%lld x %lld, expected 1..%d", (long long)r->rows, (long long)r->columns,
                         PN_DICOM_MAX_SIDE);
  if (r->rows * r->columns > PN_DICOM_MAX_PIXELS)
    return pn_reject_set(why, "bad_dimensions", "(0028,0010)", "%lld x %lld, at most %d pixels",
                         (long long)r->rows, (long long)r->columns, PN_DICOM_MAX_PIXELS);
  if (r->bad_frames)
    return pn_reject_set(why, "bad_frames", "(0028,0008)", "NumberOfFrames is no number");
  if (r->frames != PN_DICOM_ABSENT && r->frames < 1)
    return pn_reject_set(why, "bad_frames", "(0028,0008)", "%lld frames", (long long)r->frames);
  return false;
}

static bool check_palette(const pn_dicom_raw *r, pn_reject *why) {
  static const char *const tags[] = {"(0028,1201)", "(0028,1202)", "(0028,1203)"};

  if (r->segmented_palette)
    return pn_reject_set(why, "unsupported_lut", "(0028,1221)", "segmented palette");
  for (int i = 0; i < 3; i++) {
    if (!r->palette[i].present)
      return pn_reject_set(why, "missing_attribute", tags[i], "palette colour table is missing");
    if (r->palette[i].fault)
      return pn_reject_set(why, "bad_lut", tags[i], "palette: %s", r->palette[i].fault);
  }
  return false;
}

/* Photometric interpretation and the samples it needs. */
static bool check_colour(const pn_dicom_raw *r, pn_reject *why) {
  static const struct {
    const char *name;
    int samples;
  } known[] = {{"MONOCHROME1", 1}, {"MONOCHROME2", 1},  {"PALETTE COLOR", 1}, {"RGB", 3},
               {"YBR_FULL", 3},    {"YBR_FULL_422", 3}, {"YBR_ICT", 3},       {"YBR_RCT", 3}};
  int samples = 0;

  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(r->photometric, known[i].name) == 0) samples = known[i].samples;
  if (!samples)
    return pn_reject_set(why, "unsupported_photometric", "(0028,0004)",
                         "expected MONOCHROME1, MONOCHROME2, PALETTE COLOR, RGB or YBR_*");
  if (r->samples != samples)
    return pn_reject_set(why, "samples_conflict", "(0028,0002)",
                         "%lld samples per pixel, %s has %d", (long long)r->samples, r->photometric,
                         samples);
  if (samples == 3 && (r->is_signed == 1 || r->bits_allocated == 1))
    return pn_reject_set(why, "unsupported_bits", "(0028,0103)",
                         "colour of signed or 1-bit samples");
  return strcmp(r->photometric, "PALETTE COLOR") == 0 && check_palette(r, why);
}

static bool check_bits(const pn_dicom_raw *r, pn_reject *why) {
  int64_t a = r->bits_allocated;

  if (a != 1 && a != 8 && a != 16 && a != 32)
    return pn_reject_set(why, "unsupported_bits", "(0028,0100)", "%lld bits, expected 1, 8, 16, 32",
                         (long long)a);
  if (r->bits_stored < 1 || r->bits_stored > a)
    return pn_reject_set(why, "bits_conflict", "(0028,0101)", "%lld stored in %lld allocated bits",
                         (long long)r->bits_stored, (long long)a);
  if (r->high_bit < r->bits_stored - 1 || r->high_bit >= a)
    return pn_reject_set(why, "bits_conflict", "(0028,0102)", "HighBit %lld, %lld of %lld bits",
                         (long long)r->high_bit, (long long)r->bits_stored, (long long)a);
  if (r->is_signed != 0 && r->is_signed != 1)
    return pn_reject_set(why, "bits_conflict", "(0028,0103)", "%lld, expected 0 or 1",
                         (long long)r->is_signed);
  return false;
}

bool pn_dicom_check(const pn_dicom_raw *r, pn_reject *why) {
  return check_object(r, why) || check_present(r, why) || check_size(r, why) ||
         check_bits(r, why) || check_colour(r, why);
}

int64_t pn_dicom_frame_count(const pn_dicom_raw *r) {
  return r->frames == PN_DICOM_ABSENT ? 1 : r->frames;
}

int64_t pn_dicom_frame_bits(const pn_dicom_raw *r) {
  bool half_chroma = strcmp(r->photometric, "YBR_FULL_422") == 0;
  return r->rows * r->columns * (half_chroma ? 2 : r->samples) * r->bits_allocated;
}

bool pn_dicom_check_rules(const pn_dicom_raw *r, const pn_dicom_rules *rules, pn_reject *why) {
  int64_t frames = pn_dicom_frame_count(r);

  if (frames > 1 && rules->frames == PN_FRAMES_REJECT)
    return pn_reject_set(why, "multi_frame", "(0028,0008)", "%lld frames, expected 1",
                         (long long)frames);
  if (rules->reject_burned_in && strcmp(r->burned_in, "YES") == 0)
    return pn_reject_set(why, "burned_in_annotation", "(0028,0301)", "YES");
  if (r->n_windows > 0 && rules->window > r->n_windows)
    return pn_reject_set(why, "bad_window", "(0028,1050)", "window %d of %lld", rules->window,
                         (long long)r->n_windows);
  return false;
}

bool pn_dicom_check_length(const pn_dicom_raw *r, unsigned *warnings, pn_reject *why) {
  int64_t frames = pn_dicom_frame_count(r), bits = pn_dicom_frame_bits(r);
  bool soi = r->pixel_bytes >= 3 && memcmp(r->pixels, "\xFF\xD8\xFF", 3) == 0;
  size_t need;

  if (frames > INT32_MAX) /* IS holds no more; frames * bits stays below 2^63 */
    return pn_reject_set(why, "bad_frames", "(0028,0008)", "%lld frames", (long long)frames);
  need = (size_t)((frames * (bits / 8)) + (frames * (bits % 8) + 7) / 8);
  if (r->pixel_bytes < need)
    return pn_reject_set(why, "pixels_truncated", "(7fe0,0010)", "%zu bytes, expected %zu%s",
                         r->pixel_bytes, need,
                         soi ? "; starts like JPEG, the transfer syntax says uncompressed" : "");
  if (r->pixel_bytes > need + 1) *warnings |= PN_DICOM_W_EXCESS_PIXELS; /* 1 byte pads to even */
  return false;
}

/* The stream may be wider than BitsStored (unused high bits), never narrower, and it must fill the
 * same number of bytes. */
bool pn_dicom_check_precision(const pn_dicom_raw *r, int bits, pn_reject *why) {
  int64_t bytes = r->bits_allocated <= 8 ? 1 : r->bits_allocated / 8;

  if (bits >= r->bits_stored && (bits + 7) / 8 == bytes) return false;
  return pn_reject_set(why, "bits_conflict", "(0028,0101)",
                       "stream of %d bits, header: %lld stored in %lld", bits,
                       (long long)r->bits_stored, (long long)r->bits_allocated);
}

/* "051Y", "51", "18M": years; -1 = not an age. */
static int parse_age(const char *text) {
  char *end = NULL;
  long n;

  if (!isdigit((unsigned char)text[0])) return -1;
  n = strtol(text, &end, 10);
  if (n > 9999 || (end[0] && end[1])) return -1;
  switch (toupper((unsigned char)end[0])) {
  case 0:
  case 'Y':
    return (int)n;
  case 'M':
    return (int)(n / 12);
  case 'W':
    return (int)(n / 52);
  case 'D':
    return (int)(n / 365);
  default:
    return -1;
  }
}

static void describe_patient(const pn_dicom_raw *r, pn_dicom_info *info) {
  static const char *const views[] = {"PA", "AP", "LL", "RL", "RLD", "LLD", "RLO", "LLO"};
  int age = parse_age(r->age);

  if (strcmp(r->sex, "M") == 0 || strcmp(r->sex, "F") == 0 || strcmp(r->sex, "O") == 0)
    info->sex = r->sex[0];
  if (age < 0 || age > 120) {
    age = -1;
    info->warnings |= PN_DICOM_W_ODD_AGE;
  }
  info->age_years = age > 90 ? 90 : age;
  for (size_t i = 0; i < sizeof views / sizeof *views; i++)
    if (strcmp(r->view, views[i]) == 0) snprintf(info->view, sizeof info->view, "%s", views[i]);
}

static double number_or(const char *text, double missing) {
  char *end = NULL;
  double v = strtod(text, &end);
  return text[0] && *end == 0 && isfinite(v) ? v : missing;
}

void pn_dicom_describe(const pn_dicom_raw *r, pn_dicom_info *info) {
  *info = (pn_dicom_info){.rows = r->rows, .columns = r->columns};
  memcpy(info->patient_id, r->patient_id, sizeof info->patient_id);
  memcpy(info->sop_uid, r->sop_uid, sizeof info->sop_uid);
  describe_patient(r, info);
  for (int i = 0; i < 2; i++) {
    double mm = number_or(r->spacing[i], 0);
    info->spacing_mm[i] = mm > 0 && mm < 1000 ? (float)mm : 0;
  }
  info->inverted =
      strcmp(r->photometric, "MONOCHROME1") == 0 || strcmp(r->lut_shape, "INVERSE") == 0;
  if (!r->has_meta) info->warnings |= PN_DICOM_W_NO_META;
  if (strcmp(r->burned_in, "YES") == 0) info->warnings |= PN_DICOM_W_BURNED_IN;
  if (r->aspect[0][0] && number_or(r->aspect[0], 1) != number_or(r->aspect[1], 1))
    info->warnings |= PN_DICOM_W_ASPECT;
  if (r->n_windows > 1) info->warnings |= PN_DICOM_W_SEVERAL_WINDOWS;
}
