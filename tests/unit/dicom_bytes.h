/* dicom_bytes.h -- a DICOM file built byte by byte (explicit little endian), so that the tests of
 * the reader do not depend on the library they test. */
#ifndef PN_TESTS_DICOM_BYTES_H
#define PN_TESTS_DICOM_BYTES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RAW_SYNTAX  "1.2.840.10008.1.2.1"
#define JPEG_SYNTAX "1.2.840.10008.1.2.4.50"

typedef struct {
  uint8_t data[1 << 17];
  size_t n;
} dicom_bytes;

/* What the header says; -1 and NULL leave an attribute out. */
typedef struct {
  const char *syntax, *photometric, *id, *uid, *age, *frames, *slope, *intercept, *centre, *width;
  int rows, columns, samples, allocated, stored, high, is_signed, padding;
  const uint8_t *pixels;
  size_t pixel_bytes;
  bool encapsulated, no_mark;
  size_t split; /* encapsulated: the first fragment has so many bytes, 0 = one fragment */
} dicom_case;

static inline dicom_case dicom_default(const uint8_t *pixels, size_t bytes, int rows, int columns) {
  return (dicom_case){.syntax = RAW_SYNTAX,
                      .photometric = "MONOCHROME2",
                      .id = "patient-1",
                      .uid = "1.2.3.4",
                      .age = "51",
                      .rows = rows,
                      .columns = columns,
                      .samples = 1,
                      .allocated = 8,
                      .stored = 8,
                      .high = 7,
                      .is_signed = 0,
                      .padding = -1,
                      .pixels = pixels,
                      .pixel_bytes = bytes};
}

static inline void put(dicom_bytes *b, const void *data, size_t n) {
  if (b->n + n > sizeof b->data) abort();
  memcpy(b->data + b->n, data, n);
  b->n += n;
}

static inline void put_u16(dicom_bytes *b, unsigned v) {
  uint8_t x[2] = {(uint8_t)v, (uint8_t)(v >> 8)};
  put(b, x, 2);
}

static inline void put_u32(dicom_bytes *b, uint32_t v) {
  put_u16(b, v & 0xFFFF);
  put_u16(b, v >> 16);
}

static inline void put_tag(dicom_bytes *b, unsigned group, unsigned element, const char *vr) {
  put_u16(b, group);
  put_u16(b, element);
  put(b, vr, 2);
}

static inline void put_text(dicom_bytes *b, unsigned group, unsigned element, const char *vr,
                            const char *text) {
  size_t n = text ? strlen(text) : 0;
  if (!text) return;
  put_tag(b, group, element, vr);
  put_u16(b, (unsigned)(n + n % 2));
  put(b, text, n);
  if (n % 2) put(b, strcmp(vr, "UI") == 0 ? "" : " ", 1);
}

static inline void put_number(dicom_bytes *b, unsigned group, unsigned element, int value) {
  if (value < 0) return;
  put_tag(b, group, element, "US");
  put_u16(b, 2);
  put_u16(b, (unsigned)value);
}

static inline void put_fragment(dicom_bytes *b, const uint8_t *data, size_t n) {
  put_u32(b, 0xE000FFFEu);
  put_u32(b, (uint32_t)(n + n % 2));
  put(b, data, n);
  if (n % 2) put(b, "", 1);
}

static inline void put_pixels(dicom_bytes *b, const dicom_case *c) {
  if (!c->pixels) return;
  put_tag(b, 0x7FE0, 0x0010, c->allocated == 16 && !c->encapsulated ? "OW" : "OB");
  put_u16(b, 0);
  if (!c->encapsulated) {
    put_u32(b, (uint32_t)(c->pixel_bytes + c->pixel_bytes % 2));
    put(b, c->pixels, c->pixel_bytes);
    if (c->pixel_bytes % 2) put(b, "", 1);
    return;
  }
  put_u32(b, 0xFFFFFFFFu);
  put_fragment(b, c->pixels, 0);
  if (c->split) put_fragment(b, c->pixels, c->split);
  put_fragment(b, c->pixels + c->split, c->pixel_bytes - c->split);
  put_u32(b, 0xE0DDFFFEu);
  put_u32(b, 0);
}

static inline void dicom_build(dicom_bytes *b, const dicom_case *c) {
  size_t length;
  b->n = 0;
  if (!c->no_mark) {
    memset(b->data, 0, 128);
    b->n = 128;
    put(b, "DICM", 4);
    put_tag(b, 2, 0, "UL");
    put_u16(b, 4);
    length = b->n;
    put_u32(b, 0);
    put_text(b, 2, 0x10, "UI", c->syntax);
    b->data[length] = (uint8_t)(b->n - length - 4);
  }
  put_text(b, 0x0008, 0x0016, "UI", "1.2.840.10008.5.1.4.1.1.7");
  put_text(b, 0x0008, 0x0018, "UI", c->uid);
  put_text(b, 0x0010, 0x0010, "PN", "Doe^Jane");
  put_text(b, 0x0010, 0x0020, "LO", c->id);
  put_text(b, 0x0010, 0x0040, "CS", "F");
  put_text(b, 0x0010, 0x1010, "AS", c->age);
  put_text(b, 0x0018, 0x5101, "CS", "PA");
  put_number(b, 0x0028, 0x0002, c->samples);
  put_text(b, 0x0028, 0x0004, "CS", c->photometric);
  put_text(b, 0x0028, 0x0008, "IS", c->frames);
  put_number(b, 0x0028, 0x0010, c->rows);
  put_number(b, 0x0028, 0x0011, c->columns);
  put_text(b, 0x0028, 0x0030, "DS", "0.14300000000000002\\0.2");
  put_number(b, 0x0028, 0x0100, c->allocated);
  put_number(b, 0x0028, 0x0101, c->stored);
  put_number(b, 0x0028, 0x0102, c->high);
  put_number(b, 0x0028, 0x0103, c->is_signed);
  put_number(b, 0x0028, 0x0120, c->padding);
  put_text(b, 0x0028, 0x1050, "DS", c->centre);
  put_text(b, 0x0028, 0x1051, "DS", c->width);
  put_text(b, 0x0028, 0x1052, "DS", c->intercept);
  put_text(b, 0x0028, 0x1053, "DS", c->slope);
  put_pixels(b, c);
}

/* false: could not be written. */
static inline bool dicom_save(const char *path, const void *data, size_t n) {
  FILE *f = fopen(path, "wb");
  bool ok = f && fwrite(data, 1, n, f) == n;
  return f && fclose(f) == 0 && ok;
}

#endif
