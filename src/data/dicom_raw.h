/* dicom_raw.h -- what the parser (dicom_dcmtk.cc) hands to the checks (dicom_check.c), to the
 * decoders (dicom_frame.c) and to the pixel code (dicom_pixels.c, dicom_colour.c).  Private to the
 * DICOM reader and its tests. */
#ifndef PN_DATA_DICOM_RAW_H
#define PN_DATA_DICOM_RAW_H

#include "data/dicom.h"
#include "data/input.h"
#include "data/jpeg.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PN_DICOM_TEXT_BYTES = 80 };
#define PN_DICOM_ABSENT INT64_MIN

typedef enum {
  PN_PIXELS_NONE,
  PN_PIXELS_NATIVE, /* little endian in memory, whatever the file had: all frames */
  PN_PIXELS_JPEG,   /* stream of one frame, fragments joined: 8 bits, any DCT process */
  PN_PIXELS_JPEG2000,
  PN_PIXELS_CODEC, /* stream of JPEG-LS, lossless or 12-bit JPEG: pn_dicom_parser_decode */
  PN_PIXELS_RLE    /* stream of one frame */
} pn_pixel_kind;

/* A modality, VOI or palette table: value[x - first], ends repeated. */
typedef struct {
  bool present;
  const char *fault;     /* NULL, or why it cannot be used */
  int64_t entries;       /* 1..65536 */
  int64_t first;         /* input of value[0] */
  int bits;              /* of the values, 1..16 */
  const uint16_t *value; /* borrowed from the parser until its next header */
} pn_dicom_lut;

/* Attributes as found; numbers are PN_DICOM_ABSENT, texts are "" when absent. */
typedef struct {
  int64_t rows, columns, samples, frames, bits_allocated, bits_stored, high_bit, is_signed, planar;
  int64_t padding, padding_limit; /* raw bit pattern or signed value, as in the file */
  bool bad_frames;                /* NumberOfFrames is there, but is no number */
  char photometric[PN_DICOM_TEXT_BYTES], syntax[PN_DICOM_TEXT_BYTES];
  char sex[PN_DICOM_TEXT_BYTES], age[PN_DICOM_TEXT_BYTES], view[PN_DICOM_TEXT_BYTES];
  char spacing[2][PN_DICOM_TEXT_BYTES], aspect[2][PN_DICOM_TEXT_BYTES];
  char burned_in[PN_DICOM_TEXT_BYTES];
  bool has_sop_class, has_meta, known_syntax, has_pixels, segmented_palette;
  char patient_id[PN_DICOM_ID_BYTES], sop_uid[PN_DICOM_ID_BYTES];
  pn_dicom_lut palette[3]; /* red, green, blue */

  /* of one frame: pn_dicom_parser_frame */
  char lut_shape[PN_DICOM_TEXT_BYTES], voi_function[PN_DICOM_TEXT_BYTES];
  char slope[PN_DICOM_TEXT_BYTES], intercept[PN_DICOM_TEXT_BYTES];
  char centre[PN_DICOM_TEXT_BYTES], width[PN_DICOM_TEXT_BYTES]; /* of the window asked for */
  int64_t n_windows;
  pn_dicom_lut modality, voi;

  /* pn_dicom_parser_pixels */
  pn_pixel_kind kind;
  const uint8_t *pixels; /* borrowed from the parser until its next call */
  size_t pixel_bytes;
  char decoded[PN_DICOM_TEXT_BYTES]; /* photometric interpretation after pn_dicom_parser_decode */
} pn_dicom_raw;

/* The parser; implemented with DCMTK. */
typedef struct pn_dicom_parser pn_dicom_parser;
pn_status pn_dicom_parser_create(pn_dicom_parser **out);
void pn_dicom_parser_destroy(pn_dicom_parser *p);
/* Parse a file in memory: the attributes of the whole image; pixels are not touched yet. */
pn_status pn_dicom_parser_header(pn_dicom_parser *p, const uint8_t *file, size_t bytes,
                                 pn_dicom_raw *raw, pn_reject *why);
/* Attributes of frame 0.., from the image or its functional groups; window: 1.. of several. */
pn_status pn_dicom_parser_frame(pn_dicom_parser *p, int64_t frame, int window, pn_dicom_raw *raw);
/* After pn_dicom_check: raw->kind, pixels, pixel_bytes. */
pn_status pn_dicom_parser_pixels(pn_dicom_parser *p, int64_t frame, pn_dicom_raw *raw,
                                 pn_reject *why);
/* Kind CODEC: pixels become the stored values of that frame. */
pn_status pn_dicom_parser_decode(pn_dicom_parser *p, int64_t frame, pn_dicom_raw *raw,
                                 pn_reject *why);

/* dicom_check.c: everything that can be said before pixels are touched.  true: rejected. */
bool pn_dicom_check(const pn_dicom_raw *raw, pn_reject *why);
/* The rules of the user: several frames, burned-in annotation, a window that is not there. */
bool pn_dicom_check_rules(const pn_dicom_raw *raw, const pn_dicom_rules *rules, pn_reject *why);
/* Length of native pixel data against the attributes; adds to *warnings. */
bool pn_dicom_check_length(const pn_dicom_raw *raw, unsigned *warnings, pn_reject *why);
/* Precision of a compressed stream against BitsStored and BitsAllocated. */
bool pn_dicom_check_precision(const pn_dicom_raw *raw, int bits, pn_reject *why);
int64_t pn_dicom_frame_count(const pn_dicom_raw *raw); /* >= 1 */
int64_t pn_dicom_frame_bits(const pn_dicom_raw *raw);  /* of one native frame */
/* Whitelisted patient and geometry fields, warnings. */
void pn_dicom_describe(const pn_dicom_raw *raw, pn_dicom_info *info);

typedef enum {
  PN_COLOUR_GREY,    /* MONOCHROME1, MONOCHROME2 */
  PN_COLOUR_PALETTE, /* one sample: an index */
  PN_COLOUR_RGB,
  PN_COLOUR_YBR,    /* full range, three samples per pixel */
  PN_COLOUR_YBR_422 /* Y Y Cb Cr for two pixels */
} pn_dicom_colour;

/* One decoded frame: stored values, little endian. */
typedef struct {
  const uint8_t *data;             /* borrowed */
  int allocated, stored, high_bit; /* allocated: 8, 16, 32 */
  bool planar;                     /* colour by plane */
  pn_dicom_colour colour;
  unsigned warnings; /* PN_DICOM_W_* found while decoding */
} pn_dicom_frame;

/* dicom_file.c.  true: rejected (empty, or looks like a PNG, a zip, ...). */
bool pn_input_sniff(const uint8_t *data, size_t bytes, pn_reject *why);

/* dicom_deflate.c.  true: rejected, a deflated data set that would not fit. */
enum { PN_DICOM_MAX_INFLATED = 1 << 28 };
bool pn_dicom_check_deflated(const uint8_t *data, size_t bytes, pn_reject *why);

struct pn_dicom_reader {
  pn_input file;
  pn_dicom_parser *parser;
  pn_jpeg_decoder *jpeg;
  pn_gray work; /* a decoded frame that the presentation reads */
  pn_dicom_rules rules;
  pn_dicom_raw raw; /* of the file last read */
};

/* dicom_frame.c: frame k of the file in r; data lies in the parser, in r->work or in out. */
pn_status pn_dicom_decode(pn_dicom_reader *r, int64_t k, pn_dicom_frame *f, pn_gray *out,
                          pn_reject *why);

/* dicom_rle.c: to rows * columns * samples values by pixel, little endian.  true: rejected. */
bool pn_dicom_unpack_rle(const pn_dicom_raw *raw, uint8_t *out, pn_reject *why);

/* dicom_mapping.c: stored value -> 0..1, the steps of PS3.3 C.11 for grey images. */
typedef struct {
  int stored;
  bool is_signed, has_padding, inverted;
  int64_t padding_lo, padding_hi;
  double slope, intercept;
  const pn_dicom_lut *modality; /* NULL: slope and intercept */
  enum { PN_VOI_RANGE, PN_VOI_LUT, PN_VOI_LINEAR, PN_VOI_EXACT, PN_VOI_SIGMOID } voi;
  const pn_dicom_lut *voi_lut;
  double centre, width;
  double low, high; /* PN_VOI_RANGE: of the valid pixels after the modality step */
} pn_dicom_mapping;
bool pn_dicom_mapping_init(const pn_dicom_raw *raw, const pn_dicom_frame *f, bool inverted,
                           pn_dicom_mapping *m, pn_reject *why);
double pn_dicom_modality(const pn_dicom_mapping *m, int64_t stored);
bool pn_dicom_is_padding(const pn_dicom_mapping *m, int64_t stored);
double pn_dicom_present_value(const pn_dicom_mapping *m, double x); /* inversion included */

/* dicom_pixels.c: a grey frame to *out; f->data may lie in *out where the image is plain (8 bits,
 * nothing to apply: pn_dicom_is_plain). */
bool pn_dicom_is_plain(const pn_dicom_raw *raw, const pn_dicom_frame *f);
pn_status pn_dicom_present(const pn_dicom_raw *raw, const pn_dicom_frame *f, pn_dicom_info *info,
                           pn_gray *out, pn_reject *why);
/* dicom_colour.c: luma of a colour or palette frame. */
pn_status pn_dicom_luma(const pn_dicom_raw *raw, const pn_dicom_frame *f, pn_dicom_info *info,
                        pn_gray *out);

#ifdef __cplusplus
}
#endif
#endif
