/* dicom_deflate.c -- how much a deflated data set would become, before DCMTK inflates it into
 * memory: a file of 4 MB may hold 4 GB. */
#include "data/dicom_raw.h"

#include <string.h>

#include <zlib.h>

#define DEFLATED "1.2.840.10008.1.2.1.99"
enum { META_START = 132, BUFFER_BYTES = 1 << 16 };

/* Length of the head of an explicit little endian element at p, and of its value. */
static size_t element(const uint8_t *p, size_t *value) {
  static const char wide[][3] = {"OB", "OW", "OD", "OF", "OL", "OV", "SQ", "UC", "UN", "UR", "UT"};

  for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
    if (memcmp(p + 4, wide[i], 2) == 0) {
      *value = (size_t)p[8] | (size_t)p[9] << 8 | (size_t)p[10] << 16 | (size_t)p[11] << 24;
      return 12;
    }
  *value = (size_t)p[6] | (size_t)p[7] << 8;
  return 8;
}

/* Where the data set starts when the meta group says that it is deflated, else 0. */
static size_t find_deflated(const uint8_t *data, size_t bytes) {
  bool deflated = false;
  size_t at = META_START, value;

  if (bytes < META_START || memcmp(data + 128, "DICM", 4) != 0) return 0;
  while (at + 12 <= bytes && data[at] == 2 && data[at + 1] == 0) {
    size_t head = element(data + at, &value);
    const uint8_t *text = data + at + head;
    if (value > bytes - at - head) return 0; /* cut: the parser says so */
    if (data[at + 2] == 0x10 && data[at + 3] == 0 && value >= strlen(DEFLATED))
      deflated = memcmp(text, DEFLATED, strlen(DEFLATED)) == 0;
    at += head + value;
  }
  return deflated && at < bytes ? at : 0;
}

/* Bytes that come out, at most just above `most`; broken data end the count, the parser rejects
 * them. */
static size_t inflated_bytes(const uint8_t *data, size_t bytes, size_t most) {
  unsigned char buffer[BUFFER_BYTES];
  z_stream z = {.next_in = (Bytef *)data, .avail_in = (uInt)bytes};
  size_t n = 0;
  int rc = inflateInit2(&z, -MAX_WBITS); /* raw deflate */

  if (rc != Z_OK) return most + 1; /* no memory for the window */
  while (rc == Z_OK && n <= most) {
    z.next_out = buffer;
    z.avail_out = sizeof buffer;
    rc = inflate(&z, Z_NO_FLUSH);
    n += sizeof buffer - z.avail_out;
  }
  inflateEnd(&z);
  return n;
}

bool pn_dicom_check_deflated(const uint8_t *data, size_t bytes, pn_reject *why) {
  size_t at = find_deflated(data, bytes);

  if (!at || inflated_bytes(data + at, bytes - at, PN_DICOM_MAX_INFLATED) <= PN_DICOM_MAX_INFLATED)
    return false;
  return pn_reject_set(why, "file_too_large", "(0002,0010)",
                       "deflated data set of more than %d bytes", PN_DICOM_MAX_INFLATED);
}
