/* dicom_rle.c -- RLE (PS3.5 annex G), strict: DCMTK's decoder fills a cut segment with zeros and
 * only logs it. */
#include "data/dicom_raw.h"

#include <string.h>

enum { HEADER_BYTES = 64, MAX_SEGMENTS = 15 };

static uint32_t word_at(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* One segment, a byte of every sample, to to[0], to[step], ...  Returns the bytes it gave, at most
 * n: what a run says beyond the last pixel is ignored. */
static size_t unpack(const uint8_t *from, const uint8_t *end, uint8_t *to, size_t n, size_t step) {
  size_t got = 0;

  while (got < n && from < end) {
    uint8_t head = *from++;
    size_t run = head < 128 ? head + 1u : 257u - head;
    if (head == 128) continue; /* no operation */
    if (run > n - got) run = n - got;
    if (head < 128 && (size_t)(end - from) < run) run = (size_t)(end - from);
    if (head > 128 && from == end) break;
    for (size_t i = 0; i < run; i++) to[(got + i) * step] = head < 128 ? from[i] : *from;
    from += head < 128 ? run : 1;
    got += run;
  }
  return got;
}

static bool check_header(const pn_dicom_raw *raw, size_t segments, pn_reject *why) {
  const char *tag = "(7fe0,0010)";
  size_t found, at, last = HEADER_BYTES - 1;

  if (raw->pixel_bytes < HEADER_BYTES)
    return pn_reject_set(why, "pixels_truncated", tag, "RLE of %zu bytes", raw->pixel_bytes);
  found = word_at(raw->pixels);
  if (found != segments || segments > MAX_SEGMENTS)
    return pn_reject_set(why, "decode_error", tag, "%zu RLE segments, expected %zu", found,
                         segments);
  for (size_t s = 0; s < segments; s++, last = at) {
    at = word_at(raw->pixels + 4 + 4 * s);
    if (at <= last || at >= raw->pixel_bytes)
      return pn_reject_set(why, "decode_error", tag, "RLE segment %zu of %zu at %zu", s + 1,
                           segments, at);
  }
  return false;
}

bool pn_dicom_unpack_rle(const pn_dicom_raw *raw, uint8_t *out, pn_reject *why) {
  size_t bytes = (size_t)raw->bits_allocated / 8, step = bytes * (size_t)raw->samples;
  size_t n = (size_t)raw->rows * (size_t)raw->columns;

  if (check_header(raw, step, why)) return true;
  for (size_t s = 0; s < step; s++) { /* high bytes first */
    const uint8_t *offset = raw->pixels + 4 + 4 * s;
    size_t from = word_at(offset), to = s + 1 < step ? word_at(offset + 4) : raw->pixel_bytes;
    size_t place = s / bytes * bytes + bytes - 1 - s % bytes;
    size_t got = unpack(raw->pixels + from, raw->pixels + to, out + place, n, step);
    if (got < n)
      return pn_reject_set(why, "pixels_truncated", "(7fe0,0010)",
                           "RLE segment %zu gives %zu bytes, expected %zu", s + 1, got, n);
  }
  return false;
}
