/* exif.c -- walks over the JPEG markers to APP1 "Exif", there over the first TIFF directory. */
#include "data/exif.h"

#include <stdbool.h>
#include <string.h>

enum { ORIENTATION = 0x0112, SHORT = 3 };

struct tiff {
  const uint8_t *data;
  size_t bytes;
  bool big;
};

static uint32_t number(const struct tiff *t, size_t at, int bytes) {
  uint32_t v = 0;

  for (int i = 0; i < bytes; i++)
    v |= (uint32_t)t->data[at + (size_t)i] << 8 * (t->big ? bytes - 1 - i : i);
  return v;
}

static int from_tiff(const uint8_t *data, size_t bytes) {
  struct tiff t = {data, bytes, bytes >= 8 && data[0] == 'M'};
  size_t at, n;

  if (bytes < 8 || (memcmp(data, "II*\0", 4) != 0 && memcmp(data, "MM\0*", 4) != 0)) return 1;
  at = number(&t, 4, 4);
  if (at > bytes - 2) return 1;
  n = number(&t, at, 2);
  at += 2;
  for (size_t i = 0; i < n && at + 12 <= bytes; i++, at += 12) {
    uint32_t value;
    if (number(&t, at, 2) != ORIENTATION || number(&t, at + 2, 2) != SHORT) continue;
    value = number(&t, at + 8, 2);
    return value >= 1 && value <= 8 ? (int)value : 1;
  }
  return 1;
}

int pn_exif_orientation(const uint8_t *jpeg, size_t bytes) {
  size_t at = 2;

  while (at + 4 <= bytes && jpeg[at] == 0xFF) {
    int marker = jpeg[at + 1];
    size_t length = (size_t)jpeg[at + 2] << 8 | jpeg[at + 3];

    if (marker == 0xFF) { /* fill byte */
      at++;
      continue;
    }
    if (marker == 0xDA || marker == 0xD9 || length < 2 || length > bytes - at - 2) return 1;
    if (marker == 0xE1 && length >= 8 && memcmp(jpeg + at + 4, "Exif\0\0", 6) == 0)
      return from_tiff(jpeg + at + 10, length - 8);
    at += 2 + length;
  }
  return 1;
}
