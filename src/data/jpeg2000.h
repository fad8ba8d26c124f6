/* jpeg2000.h -- JPEG 2000 in memory (OpenJPEG); jpeg2000_registry.c answers when it is not built
 * in. */
#ifndef PN_DATA_JPEG2000_H
#define PN_DATA_JPEG2000_H

#include "data/jpeg.h"

/* Read the main header (codestream or JP2): info.progressive is false, info.lossless unknown
 * (false).  true: rejected, *why says so. */
bool pn_jpeg2000_probe(const pn_jpeg_stream *in, pn_jpeg_info *info, pn_reject *why);

/* Decode to height x components * width bit patterns, interleaved, after the inverse colour
 * transform of the stream: 8 bits up to a precision of 8, else 16 (two's complement when signed).
 * The caller has compared the size with pn_jpeg2000_probe.  PN_OK for a rejected stream too.
 * Errors: NOMEM. */
pn_status pn_jpeg2000_decode(const pn_jpeg_stream *in, pn_gray *out, pn_reject *why);

const char *pn_jpeg2000_library(void); /* "OpenJPEG 2.5.0", "none" without it */

#endif
