/* jpeg_encode.h -- grey image to baseline JPEG in memory (libjpeg-turbo). */
#ifndef PN_DATA_JPEG_ENCODE_H
#define PN_DATA_JPEG_ENCODE_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

/* Encode `pixels` (height x width bytes, row by row) at `quality` 1..100.
 * *out is owned by the caller (free).  Errors: NOMEM, IO (what libjpeg says). */
pn_status pn_jpeg_encode_grey(const uint8_t *pixels, int width, int height, int quality,
                              uint8_t **out, size_t *bytes);

#endif
