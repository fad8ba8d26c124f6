/* picture.h -- a picture file in memory, PNG or JPEG by its content, to upright pixels. */
#ifndef PN_DATA_PICTURE_H
#define PN_DATA_PICTURE_H

#include "base/status.h"
#include "data/gray.h"
#include "data/reject.h"

#include <stddef.h>
#include <stdint.h>

enum { PN_PICTURE_MAX_SIDE = 16384 };

/* Bits of /meta.warnings beside PN_DICOM_W_* (dicom.h), named by pn_dicom_warning_name. */
enum {
  PN_PICTURE_W_TURNED = 4096, /* by its EXIF orientation */
  PN_PICTURE_W_ALPHA = 8192   /* had an alpha channel that hid something: ignored */
};

/* What was done to it. */
typedef struct {
  bool turned;      /* by its EXIF orientation */
  bool transparent; /* had an alpha channel that hid something: ignored */
  bool colour;      /* some pixel has R, G and B further apart than JPEG noise */
} pn_picture_info;

/* What the first bytes are: "PNG", "JPEG", "DICOM", "GIF", "gzip", ... or NULL: unknown.
 * *unpack: the command that unpacks it, NULL for what is no archive. */
const char *pn_file_kind(const uint8_t *data, size_t bytes, const char **unpack);

/* PNG or JPEG -> *out, grey or RGB as the file is, 8 or 16 bits.  *scratch: working memory.  *why:
 * neither, or broken; PN_OK then too.  Errors: NOMEM. */
typedef struct {
  const uint8_t *data;
  size_t bytes;
} pn_bytes;
pn_status pn_picture_decode(pn_bytes file, pn_gray *out, pn_gray *scratch, pn_picture_info *info,
                            pn_reject *why);

/* RGB -> grey, in place: luma of ITU-R BT.601, which leaves R = G = B as it is. */
void pn_picture_to_grey(pn_gray *image);
/* orientation 2..8 of exif.h: image -> *out, turned. */
pn_status pn_picture_turn(const pn_gray *image, int orientation, pn_gray *out);

#endif
