/* dicom.h -- reading one DICOM image, and writing RSNA-style ones.  C interface of dicom_dcmtk.cc,
 * the only file that sees DCMTK; dicom_registry.c answers when the build has no DCMTK. */
#ifndef PN_DATA_DICOM_H
#define PN_DATA_DICOM_H

#include "base/status.h"
#include "data/gray.h"
#include "data/reject.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bounds of one frame and of one file: a reader never holds more than about 1 GB. */
enum { PN_DICOM_ID_BYTES = 72, PN_DICOM_MAX_SIDE = 16384, PN_DICOM_MAX_PIXELS = 1 << 26 };

/* Odd but usable: bits of pn_dicom_info.warnings. */
enum {
  PN_DICOM_W_NO_META = 1,           /* no preamble or no file meta group */
  PN_DICOM_W_EXCESS_PIXELS = 2,     /* pixel data longer than the image: the excess is ignored */
  PN_DICOM_W_PROGRESSIVE = 4,       /* progressive JPEG under the baseline syntax */
  PN_DICOM_W_HIGH_GARBAGE = 8,      /* bits above BitsStored were set: masked */
  PN_DICOM_W_BURNED_IN = 16,        /* BurnedInAnnotation YES: text may be in the pixels */
  PN_DICOM_W_ASPECT = 32,           /* PixelAspectRatio other than 1\1: ignored */
  PN_DICOM_W_ODD_AGE = 64,          /* age missing, malformed or over 120: stored as missing */
  PN_DICOM_W_NAME_MISMATCH = 128,   /* PatientID differs from the file name (set by ingest) */
  PN_DICOM_W_SEVERAL_WINDOWS = 256, /* one of several windows was used */
  PN_DICOM_W_COLOUR = 512,          /* pixels that are not grey: luma was taken */
  PN_DICOM_W_MIN_MAX = 1024,        /* deeper than 8 bits, no window: scaled over min..max */
  PN_DICOM_W_MORE_FRAMES = 2048     /* only the first of several frames was taken */
};
enum { PN_DICOM_WARNING_COUNT = 14 };
const char *pn_dicom_warning_name(int bit); /* 0 .. PN_DICOM_WARNING_COUNT - 1: "no_meta", ... */

/* What ingest may know of a file.  The two ids stay in memory: never written, never logged. */
typedef struct {
  int64_t rows, columns;
  char patient_id[PN_DICOM_ID_BYTES]; /* (0010,0020), "" when absent */
  char sop_uid[PN_DICOM_ID_BYTES];    /* (0008,0018), "" when absent */
  char sex;                           /* 'M', 'F', 'O', 0 = missing */
  int age_years;                      /* 0..90 (90 = 90 or more), -1 = missing */
  char view[8];                       /* "PA", "AP", "LL", ...: "" = missing or another text */
  float spacing_mm[2];                /* row, column; 0 = missing */
  bool inverted;                      /* was MONOCHROME1 or PresentationLUTShape INVERSE */
  unsigned warnings;                  /* PN_DICOM_W_* */
  int64_t frames;                     /* images to take from this file: > 1 by PN_FRAMES_ALL only */
} pn_dicom_info;

/* Several frames in one file: a chest X-ray has one. */
typedef enum { PN_FRAMES_REJECT, PN_FRAMES_FIRST, PN_FRAMES_ALL } pn_frames_rule;
/* What the user decides; {0} holds the defaults. */
typedef struct {
  pn_frames_rule frames;
  int window;            /* which of several windows, from 1; 0 = 1 */
  bool reject_burned_in; /* BurnedInAnnotation YES rejects, else it is a warning */
} pn_dicom_rules;

/* Working memory for one file after the other (file bytes, JPEG decoder). */
typedef struct pn_dicom_reader pn_dicom_reader;
pn_status pn_dicom_reader_create(pn_dicom_reader **out); /* UNSUPPORTED: built without DCMTK */
void pn_dicom_reader_destroy(pn_dicom_reader *r);
void pn_dicom_reader_rules(pn_dicom_reader *r, const pn_dicom_rules *rules); /* copied */

/* Read `path`: header checks, decode, presentation (rescale, window, MONOCHROME1 inversion).
 *   pixels  8-bit files: bytes as stored; deeper ones: 16 bits, 0..65535 over the window, or over
 *           min..max of the valid pixels when the file has none; colour: luma.  The first frame.
 *   why     why->reason[0] != 0: the file is rejected; info and pixels are then undefined
 * PN_OK for a rejected file too; errors are of this process: NOMEM, UNSUPPORTED. */
pn_status pn_dicom_read(pn_dicom_reader *r, const char *path, pn_dicom_info *info, pn_gray *pixels,
                        pn_reject *why);
/* The same for a file in memory; data borrowed until the next read. */
pn_status pn_dicom_read_memory(pn_dicom_reader *r, const uint8_t *data, size_t bytes,
                               pn_dicom_info *info, pn_gray *pixels, pn_reject *why);
/* Read and check the header only; pn_dicom_read_frame then gives the frames. */
pn_status pn_dicom_open(pn_dicom_reader *r, const char *path, pn_reject *why);
/* Frames of the file last read or opened, by its header. */
int64_t pn_dicom_frames(const pn_dicom_reader *r);
/* Frame 0 .. pn_dicom_frames - 1 of the file last read or opened. */
pn_status pn_dicom_read_frame(pn_dicom_reader *r, int64_t frame, pn_dicom_info *info,
                              pn_gray *pixels, pn_reject *why);

/* Header of an RSNA-style file: Secondary Capture, MONOCHROME2, 8 bits, one JPEG baseline frame.
 * Strings and bytes borrowed. */
typedef struct {
  const char *id; /* PatientID and PatientName */
  const char *sop_uid, *study_uid, *series_uid;
  char sex; /* 'F' or 'M' */
  int age;  /* years; written as the real files do: "51" */
  bool ap;  /* ViewPosition AP, else PA */
  double spacing_mm;
  int rows, columns;
  const uint8_t *jpeg;
  size_t jpeg_bytes;
} pn_dicom_rsna;
/* Write `path` in place (no temporary name, no fsync).  Errors: IO, UNSUPPORTED (no DCMTK). */
pn_status pn_dicom_write_rsna(const char *path, const pn_dicom_rsna *image);

const char *pn_dicom_library(void); /* "DCMTK 3.6.7", "none" without it */

#ifdef __cplusplus
}
#endif
#endif
