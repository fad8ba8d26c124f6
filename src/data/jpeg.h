/* jpeg.h -- JPEG in memory (libjpeg-turbo): decode, where every warning is a
 * rejection.  The encoder is in jpeg_encode.h. */
#ifndef PN_DATA_JPEG_H
#define PN_DATA_JPEG_H

#include "base/status.h"
#include "data/gray.h"
#include "data/reject.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* From the frame header (SOF; of JPEG-LS too), without decoding. */
typedef struct {
  int64_t height, width;
  int components, bits; /* bits per component */
  bool progressive, lossless;
} pn_jpeg_info;

typedef struct pn_jpeg_decoder pn_jpeg_decoder; /* reusable */
pn_status pn_jpeg_decoder_create(pn_jpeg_decoder **out);
void pn_jpeg_decoder_destroy(pn_jpeg_decoder *d);

/* Read the frame header.  true: rejected, *why says so (no SOI, no SOF, cut). */
bool pn_jpeg_probe(const uint8_t *data, size_t bytes, pn_jpeg_info *info, pn_reject *why);

/* A stream and the size the file's header promises; data borrowed. */
typedef struct {
  const uint8_t *data;
  size_t bytes;
  int64_t height, width;
} pn_jpeg_stream;

/* Decode a one-component 8-bit baseline or progressive JPEG of exactly that size into *out
 * (reserved here).  *why: not JPEG, other size, colour, 12 bits, truncated or corrupt data.
 * PN_OK for a rejected stream too. Errors: NOMEM. */
pn_status pn_jpeg_decode_gray(pn_jpeg_decoder *d, const pn_jpeg_stream *in, pn_gray *out,
                              pn_reject *why);

/* The same for three components: *out is height x 3 * width, interleaved, chroma upsampled, not
 * converted.  *colour: in, what the file's header says; out, what the pixels are (markers of Adobe
 * or JFIF in the stream win). */
typedef enum { PN_JPEG_RGB, PN_JPEG_YBR } pn_jpeg_colour;
pn_status pn_jpeg_decode_colour(pn_jpeg_decoder *d, const pn_jpeg_stream *in,
                                pn_jpeg_colour *colour, pn_gray *out, pn_reject *why);

const char *pn_jpeg_library(void); /* "libjpeg-turbo 2.1.5" */

#ifdef __cplusplus
}
#endif

#endif
