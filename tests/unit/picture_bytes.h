/* picture_bytes.h -- PNG and JPEG files in memory for tests, written by libpng and libjpeg. */
#ifndef PN_TESTS_PICTURE_BYTES_H
#define PN_TESTS_PICTURE_BYTES_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

typedef struct {
  uint8_t data[65536];
  size_t n;
} picture_bytes;

static inline void picture_put(png_structp png, png_bytep data, size_t n) {
  picture_bytes *b = png_get_io_ptr(png);
  if (n > sizeof b->data - b->n) abort();
  memcpy(b->data + b->n, data, n);
  b->n += n;
}

/* rows: as PNG stores them (bit depth and colour type as given); palette of 2 entries where asked.
 */
typedef struct {
  int width, height, bits, colour_type;
  bool interlaced;
  const uint8_t *rows;
  size_t row_bytes;
} png_case;

static inline void picture_png(picture_bytes *b, const png_case *c) {
  png_color palette[2] = {{10, 20, 30}, {200, 100, 50}};
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info = png_create_info_struct(png);
  int passes;

  b->n = 0;
  png_set_write_fn(png, b, picture_put, NULL);
  png_set_IHDR(png, info, (png_uint_32)c->width, (png_uint_32)c->height, c->bits, c->colour_type,
               c->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (c->colour_type == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 2);
  png_write_info(png, info);
  passes = png_set_interlace_handling(png);
  for (int p = 0; p < passes; p++)
    for (int y = 0; y < c->height; y++) png_write_row(png, c->rows + (size_t)y * c->row_bytes);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
}

/* An 8-bit PNG of 1 (grey) or 3 (RGB) channels. */
static inline void picture_png8(picture_bytes *b, const uint8_t *pixels, int height, int width,
                                int channels) {
  png_case c = {.width = width,
                .height = height,
                .bits = 8,
                .colour_type = channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
                .rows = pixels,
                .row_bytes = (size_t)(width * channels)};
  picture_png(b, &c);
}

/* channels 1, 3 (RGB in, YCbCr in the file) or 4 (CMYK as stored, with Adobe's marker); an EXIF
 * orientation where it is not 0. */
static inline void picture_jpeg(picture_bytes *b, const uint8_t *pixels, int height, int width,
                                int channels, int orientation) {
  static const J_COLOR_SPACE space[] = {0, JCS_GRAYSCALE, 0, JCS_RGB, JCS_CMYK};
  uint8_t exif[] = "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
  struct jpeg_compress_struct z;
  struct jpeg_error_mgr error;
  unsigned char *out = NULL;
  unsigned long bytes = 0;

  z.err = jpeg_std_error(&error);
  jpeg_create_compress(&z);
  jpeg_mem_dest(&z, &out, &bytes);
  z.image_width = (JDIMENSION)width;
  z.image_height = (JDIMENSION)height;
  z.input_components = channels;
  z.in_color_space = space[channels];
  jpeg_set_defaults(&z);
  jpeg_set_quality(&z, 98, TRUE);
  jpeg_start_compress(&z, TRUE);
  exif[25] = (uint8_t)orientation;
  if (orientation) jpeg_write_marker(&z, JPEG_APP0 + 1, exif, sizeof exif - 1);
  while (z.next_scanline < z.image_height) {
    JSAMPROW row = (JSAMPROW)(uintptr_t)(pixels + z.next_scanline * (JDIMENSION)(width * channels));
    jpeg_write_scanlines(&z, &row, 1);
  }
  jpeg_finish_compress(&z);
  jpeg_destroy_compress(&z);
  if (bytes > sizeof b->data) abort();
  memcpy(b->data, out, bytes);
  b->n = bytes;
  free(out);
}

#endif
