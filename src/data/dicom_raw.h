/* dicom_raw.h -- what the parser (dicom_dcmtk.cc) hands to the checks (dicom_check.c) and to the
 * pixel code (dicom_pixels.c).  Private to the DICOM reader. */
#ifndef PN_DATA_DICOM_RAW_H
#define PN_DATA_DICOM_RAW_H

#include "data/dicom.h"
#include "data/jpeg.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PN_DICOM_TEXT_BYTES = 80 };
#define PN_DICOM_ABSENT INT64_MIN

typedef enum {
  PN_PIXELS_NONE,
  PN_PIXELS_NATIVE, /* little endian in memory, whatever the file had */
  PN_PIXELS_JPEG    /* one frame, fragments joined */
} pn_pixel_kind;

/* Attributes as found; numbers are PN_DICOM_ABSENT, texts are "" when absent. */
typedef struct {
  int64_t rows, columns, samples, frames, bits_allocated, bits_stored, high_bit, is_signed;
  int64_t padding, padding_limit; /* raw bit pattern or signed value, as in the file */
  bool bad_frames;                /* NumberOfFrames is there, but is no number */
  char photometric[PN_DICOM_TEXT_BYTES], syntax[PN_DICOM_TEXT_BYTES];
  char lut_shape[PN_DICOM_TEXT_BYTES], voi_function[PN_DICOM_TEXT_BYTES];
  char slope[PN_DICOM_TEXT_BYTES], intercept[PN_DICOM_TEXT_BYTES];
  char centre[PN_DICOM_TEXT_BYTES], width[PN_DICOM_TEXT_BYTES]; /* of the first window */
  char sex[PN_DICOM_TEXT_BYTES], age[PN_DICOM_TEXT_BYTES], view[PN_DICOM_TEXT_BYTES];
  char spacing[2][PN_DICOM_TEXT_BYTES], aspect[2][PN_DICOM_TEXT_BYTES];
  char burned_in[PN_DICOM_TEXT_BYTES];
  int64_t n_windows;
  bool has_modality_lut, has_voi_lut, has_sop_class, has_meta, known_syntax, has_pixels;
  char patient_id[PN_DICOM_ID_BYTES], sop_uid[PN_DICOM_ID_BYTES];
  pn_pixel_kind kind;
  bool by_codec;         /* kind NATIVE was decompressed by a DCMTK codec */
  const uint8_t *pixels; /* borrowed from the parser until its next call */
  size_t pixel_bytes;
} pn_dicom_raw;

/* The parser; implemented with DCMTK. */
typedef struct pn_dicom_parser pn_dicom_parser;
pn_status pn_dicom_parser_create(pn_dicom_parser **out);
void pn_dicom_parser_destroy(pn_dicom_parser *p);
/* Parse a file in memory: the attributes; pixels are not touched yet. */
pn_status pn_dicom_parser_header(pn_dicom_parser *p, const uint8_t *file, size_t bytes,
                                 pn_dicom_raw *raw, pn_reject *why);
/* After pn_dicom_check: raw->kind, pixels, pixel_bytes. */
pn_status pn_dicom_parser_pixels(pn_dicom_parser *p, pn_dicom_raw *raw, pn_reject *why);

/* dicom_check.c: everything that can be said before pixels are touched.  true: rejected. */
bool pn_dicom_check(const pn_dicom_raw *raw, pn_reject *why);
/* Length of native pixel data against the attributes; adds to *warnings. */
bool pn_dicom_check_length(const pn_dicom_raw *raw, unsigned *warnings, pn_reject *why);
/* Whitelisted patient and geometry fields, warnings. */
void pn_dicom_describe(const pn_dicom_raw *raw, pn_dicom_info *info);

/* dicom_pixels.c: stored values -> presentation (PS3.3 C.11).  NATIVE: raw->pixels; JPEG: *out
 * holds the decoded 8-bit frame already. */
pn_status pn_dicom_present(const pn_dicom_raw *raw, pn_dicom_info *info, pn_gray *out,
                           pn_reject *why);

/* dicom_file.c: a whole regular file, never blocking; size and time must not change meanwhile. */
typedef struct {
  uint8_t *data; /* owned: pn_input_free */
  size_t bytes, capacity;
} pn_input;
pn_status pn_input_read(pn_input *in, const char *path, pn_reject *why);
void pn_input_free(pn_input *in);
/* true: rejected (empty, or looks like a PNG, a zip, ...). */
bool pn_input_sniff(const pn_input *in, pn_reject *why);

#ifdef __cplusplus
}
#endif
#endif
