/* png.h -- PNG in memory (libpng): every kind of PNG to grey or RGB, 8 or 16 bits. */
#ifndef PN_DATA_PNG_H
#define PN_DATA_PNG_H

#include "base/status.h"
#include "data/gray.h"
#include "data/reject.h"

#include <stddef.h>
#include <stdint.h>

bool pn_png_is(const uint8_t *data, size_t bytes); /* by its first 8 bytes */

/* Decode into *out (reserved here): 1, 2, 4 and 8 bits to 8, 16 bits stay 16; palette to RGB; an
 * alpha channel is left out, *transparent says whether it hid anything.
 * *why: a checksum is wrong, the file is cut, sizes no image has.  PN_OK then too.  Errors: NOMEM.
 */
pn_status pn_png_decode(const uint8_t *data, size_t bytes, pn_gray *out, bool *transparent,
                        pn_reject *why);

const char *pn_png_library(void); /* "libpng 1.6.39" */

#endif
