/* jpeg_photo.h -- a JPEG file as people keep them in folders: grey, colour or CMYK. */
#ifndef PN_DATA_JPEG_PHOTO_H
#define PN_DATA_JPEG_PHOTO_H

#include "base/status.h"
#include "data/gray.h"
#include "data/reject.h"

#include <stddef.h>
#include <stdint.h>

/* Decode into *out (reserved here): grey, or RGB of any other colour space.  *why: truncated or
 * corrupt (libjpeg's first warning counts), 12 bits, lossless, other numbers of components.  PN_OK
 * then too.  Errors: NOMEM. */
pn_status pn_jpeg_photo_decode(const uint8_t *data, size_t bytes, pn_gray *out, pn_reject *why);

#endif
