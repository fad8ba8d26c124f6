/* png_write.h -- 8-bit pixels to a PNG file. */
#ifndef PN_DATA_PNG_WRITE_H
#define PN_DATA_PNG_WRITE_H

#include "base/status.h"

#include <stdint.h>

/* pixels: height x width x channels (1: grey, 3: red, green, blue), side by side.  The file appears
 * whole or not at all.  Errors: ARG (another number of channels, too large), IO, NOMEM. */
pn_status pn_png_write(const char *path, int64_t height, int64_t width, int channels,
                       const uint8_t *pixels);

#endif
