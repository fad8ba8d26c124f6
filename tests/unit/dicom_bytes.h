/* dicom_bytes.h -- a DICOM file built byte by byte, in any uncompressed encoding, so that the tests
 * of the reader do not depend on the library they test. */
#ifndef PN_TESTS_DICOM_BYTES_H
#define PN_TESTS_DICOM_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RAW_SYNTAX  "1.2.840.10008.1.2.1"
#define JPEG_SYNTAX "1.2.840.10008.1.2.4.50"

typedef enum { EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED } dicom_encoding;

typedef struct {
  uint8_t data[1 << 17];
  size_t n;
  dicom_encoding encoding; /* of what is put next */
} dicom_bytes;

/* What the header says; -1 and NULL leave an attribute out. */
typedef struct {
  const char *syntax, *photometric, *id, *uid, *age, *frames, *slope, *intercept, *centre, *width;
  int rows, columns, samples, allocated, stored, high, is_signed, padding;
  const uint8_t *pixels;
  size_t pixel_bytes;
  bool encapsulated, no_mark;
  size_t split; /* encapsulated: the first fragment has so many bytes, 0 = one fragment */
  dicom_encoding encoding;                           /* of the data set; DEFLATED: stored blocks */
  const char *function, *shape, *burned_in, *aspect; /* VOI function, presentation LUT shape */
  int planar_plus_1;                                 /* 0: absent */
  int limit_plus_1;                                  /* of the padding range; 0: absent */
  void (*more)(dicom_bytes *b);                      /* further elements, before the pixel data */
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
  if (b->encoding == EXPLICIT_BIG) x[0] = (uint8_t)(v >> 8), x[1] = (uint8_t)v;
  put(b, x, 2);
}

static inline void put_u32(dicom_bytes *b, uint32_t v) {
  bool big = b->encoding == EXPLICIT_BIG;
  put_u16(b, big ? v >> 16 : v & 0xFFFF);
  put_u16(b, big ? v & 0xFFFF : v >> 16);
}

/* Tag, VR and length; OB, OW, SQ and UN have a long one. */
static inline void put_head(dicom_bytes *b, unsigned group, unsigned element, const char *vr,
                            uint32_t length) {
  bool wide = vr[0] == 'O' || strcmp(vr, "SQ") == 0 || strcmp(vr, "UN") == 0;
  put_u16(b, group);
  put_u16(b, element);
  if (b->encoding == IMPLICIT_LITTLE) {
    put_u32(b, length);
    return;
  }
  put(b, vr, 2);
  if (wide) put_u16(b, 0);
  if (wide)
    put_u32(b, length);
  else
    put_u16(b, length);
}

static inline void put_text(dicom_bytes *b, unsigned group, unsigned element, const char *vr,
                            const char *text) {
  size_t n = text ? strlen(text) : 0;
  if (!text) return;
  put_head(b, group, element, vr, (uint32_t)(n + n % 2));
  put(b, text, n);
  if (n % 2) put(b, strcmp(vr, "UI") == 0 ? "" : " ", 1);
}

static inline void put_number(dicom_bytes *b, unsigned group, unsigned element, int value) {
  if (value < 0) return;
  put_head(b, group, element, "US", 2);
  put_u16(b, (unsigned)value);
}

/* Words of a table: vr US or OW. */
static inline void put_words(dicom_bytes *b, unsigned group, unsigned element, const char *vr,
                             const uint16_t *v, size_t n) {
  put_head(b, group, element, vr, (uint32_t)(2 * n));
  for (size_t i = 0; i < n; i++) put_u16(b, v[i]);
}

static inline void put_fragment(dicom_bytes *b, const uint8_t *data, size_t n) {
  put_u32(b, 0xE000FFFEu);
  put_u32(b, (uint32_t)(n + n % 2));
  put(b, data, n);
  if (n % 2) put(b, "", 1);
}

static inline void put_native(dicom_bytes *b, const dicom_case *c) {
  bool words = c->allocated == 16;
  put_head(b, 0x7FE0, 0x0010, words ? "OW" : "OB", (uint32_t)(c->pixel_bytes + c->pixel_bytes % 2));
  if (!words || b->encoding != EXPLICIT_BIG)
    put(b, c->pixels, c->pixel_bytes);
  else
    for (size_t i = 0; i + 1 < c->pixel_bytes; i += 2)
      put_u16(b, (unsigned)(c->pixels[i] | c->pixels[i + 1] << 8));
  if (c->pixel_bytes % 2) put(b, "", 1);
}

static inline void put_pixels(dicom_bytes *b, const dicom_case *c) {
  if (!c->pixels) return;
  if (!c->encapsulated) {
    put_native(b, c);
    return;
  }
  put_head(b, 0x7FE0, 0x0010, "OB", 0xFFFFFFFFu);
  put_fragment(b, c->pixels, 0);
  if (c->split) put_fragment(b, c->pixels, c->split);
  put_fragment(b, c->pixels + c->split, c->pixel_bytes - c->split);
  put_u32(b, 0xE0DDFFFEu);
  put_u32(b, 0);
}

static inline void put_patient(dicom_bytes *b, const dicom_case *c) {
  put_text(b, 0x0008, 0x0016, "UI", "1.2.840.10008.5.1.4.1.1.7");
  put_text(b, 0x0008, 0x0018, "UI", c->uid);
  put_text(b, 0x0010, 0x0010, "PN", "Doe^Jane");
  put_text(b, 0x0010, 0x0020, "LO", c->id);
  put_text(b, 0x0010, 0x0040, "CS", "F");
  put_text(b, 0x0010, 0x1010, "AS", c->age);
  put_text(b, 0x0018, 0x5101, "CS", "PA");
}

static inline void put_image_group(dicom_bytes *b, const dicom_case *c) {
  put_number(b, 0x0028, 0x0002, c->samples);
  put_text(b, 0x0028, 0x0004, "CS", c->photometric);
  put_number(b, 0x0028, 0x0006, c->planar_plus_1 - 1);
  put_text(b, 0x0028, 0x0008, "IS", c->frames);
  put_number(b, 0x0028, 0x0010, c->rows);
  put_number(b, 0x0028, 0x0011, c->columns);
  put_text(b, 0x0028, 0x0030, "DS", "0.14300000000000002\\0.2");
  put_text(b, 0x0028, 0x0034, "IS", c->aspect);
  put_number(b, 0x0028, 0x0100, c->allocated);
  put_number(b, 0x0028, 0x0101, c->stored);
  put_number(b, 0x0028, 0x0102, c->high);
  put_number(b, 0x0028, 0x0103, c->is_signed);
  put_number(b, 0x0028, 0x0120, c->padding);
  put_number(b, 0x0028, 0x0121, c->limit_plus_1 - 1);
  put_text(b, 0x0028, 0x0301, "CS", c->burned_in);
  put_text(b, 0x0028, 0x1050, "DS", c->centre);
  put_text(b, 0x0028, 0x1051, "DS", c->width);
  put_text(b, 0x0028, 0x1052, "DS", c->intercept);
  put_text(b, 0x0028, 0x1053, "DS", c->slope);
  put_text(b, 0x0028, 0x1056, "CS", c->function);
  if (c->more) c->more(b);
  put_text(b, 0x2050, 0x0020, "CS", c->shape);
}

static inline void put_meta(dicom_bytes *b, const dicom_case *c) {
  size_t length;
  memset(b->data, 0, 128);
  b->n = 128;
  put(b, "DICM", 4);
  put_head(b, 2, 0, "UL", 4);
  length = b->n;
  put_u32(b, 0);
  put_text(b, 2, 0x10, "UI", c->syntax);
  b->data[length] = (uint8_t)(b->n - length - 4);
}

/* Bytes from `from` on become one stored block of deflate. */
static inline void deflate_stored(dicom_bytes *b, size_t from) {
  size_t n = b->n - from;
  uint8_t head[5] = {1, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)~n, (uint8_t)(~n >> 8)};
  if (n > 65535 || b->n + 6 > sizeof b->data) abort();
  memmove(b->data + from + 5, b->data + from, n);
  memcpy(b->data + from, head, 5);
  b->n += 5;
}

static inline void dicom_build(dicom_bytes *b, const dicom_case *c) {
  size_t from;
  b->n = 0;
  b->encoding = EXPLICIT_LITTLE;
  if (!c->no_mark) put_meta(b, c);
  from = b->n;
  b->encoding = c->encoding;
  put_patient(b, c);
  put_image_group(b, c);
  put_pixels(b, c);
  if (c->encoding == DEFLATED) deflate_stored(b, from);
}

/* false: could not be written. */
static inline bool dicom_save(const char *path, const void *data, size_t n) {
  FILE *f = fopen(path, "wb");
  bool ok = f && fwrite(data, 1, n, f) == n;
  return f && fclose(f) == 0 && ok;
}

#endif
