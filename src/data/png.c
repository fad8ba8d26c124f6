/* png.c -- libpng behind status codes: its errors are rejections, a wrong checksum is an error. */
#include "data/png.h"

#include "data/picture.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RATIO = 1100, MESSAGE_BYTES = 80 }; /* deflate packs at most 1032 : 1 */

struct source {
  const uint8_t *data;
  size_t bytes, at;
  uint8_t *pixels; /* interleaved as libpng delivers them; owned */
  png_structp png;
  png_infop info;
  jmp_buf out;
  char message[MESSAGE_BYTES];
};

bool pn_png_is(const uint8_t *data, size_t bytes) {
  return bytes >= 8 && png_sig_cmp(data, 0, 8) == 0;
}

static void on_error(png_structp png, png_const_charp message) {
  struct source *s = png_get_error_ptr(png);
  snprintf(s->message, sizeof s->message, "%.70s", message);
  longjmp(s->out, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
  (void)png; /* odd colour profiles and the like: the pixels are whole */
  (void)message;
}

static void on_read(png_structp png, png_bytep to, size_t bytes) {
  struct source *s = png_get_io_ptr(png);
  if (bytes > s->bytes - s->at) {
    s->at = s->bytes;
    png_error(png, "the file ends too early");
  }
  memcpy(to, s->data + s->at, bytes);
  s->at += bytes;
}

/* What libpng delivers after the transformations asked for here. */
struct layout {
  int64_t height, width;
  int channels, bytes; /* 1 grey, 2 grey + alpha, 3 RGB, 4 RGB + alpha; bytes of one value */
  size_t row_bytes;
};

static void read_header(struct source *s, struct layout *l) {
  png_set_crc_action(s->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
  png_set_user_limits(s->png, PN_PICTURE_MAX_SIDE, PN_PICTURE_MAX_SIDE);
  png_set_read_fn(s->png, s, on_read);
  png_read_info(s->png, s->info);
  png_set_expand(s->png); /* palette to RGB, 1 to 4 bits to 8, tRNS to alpha */
  png_set_interlace_handling(s->png);
  if (png_get_bit_depth(s->png, s->info) == 16) png_set_swap(s->png); /* to little endian */
  png_read_update_info(s->png, s->info);
  l->height = (int64_t)png_get_image_height(s->png, s->info);
  l->width = (int64_t)png_get_image_width(s->png, s->info);
  l->channels = png_get_channels(s->png, s->info);
  l->bytes = png_get_bit_depth(s->png, s->info) / 8;
  l->row_bytes = png_get_rowbytes(s->png, s->info);
}

static void read_rows(struct source *s, const struct layout *l) {
  int passes = png_set_interlace_handling(s->png);

  for (int p = 0; p < passes; p++)
    for (int64_t y = 0; y < l->height; y++)
      png_read_row(s->png, s->pixels + (size_t)y * l->row_bytes, NULL);
  png_read_end(s->png, NULL);
}

/* Pixels without alpha. */
static void keep_colours(const struct source *s, const struct layout *l, pn_gray *out,
                         bool *transparent) {
  size_t n = (size_t)(l->height * l->width), value = (size_t)l->bytes;
  size_t from = (size_t)l->channels * value, to = (size_t)out->channels * value;
  bool alpha = l->channels == 2 || l->channels == 4;

  if (!alpha) {
    memcpy(out->data, s->pixels, n * to);
    return;
  }
  for (size_t i = 0; i < n; i++) {
    const uint8_t *p = s->pixels + i * from;
    memcpy((uint8_t *)out->data + i * to, p, to);
    if (p[to] != 255 || p[from - 1] != 255) *transparent = true;
  }
}

static bool reject_png(struct source *s, pn_reject *why) {
  return pn_reject_set(why, s->at >= s->bytes ? "png_truncated" : "png_corrupt", NULL, "%s",
                       s->message);
}

static pn_status decode(struct source *s, pn_gray *out, bool *transparent, pn_reject *why) {
  struct layout l;
  pn_status st;

  if (setjmp(s->out)) {
    reject_png(s, why);
    return PN_OK;
  }
  read_header(s, &l);
  if ((size_t)l.height * l.row_bytes / MAX_RATIO > s->bytes) {
    pn_reject_set(why, "png_truncated", NULL, "%zu bytes for %lldx%lld pixels", s->bytes,
                  (long long)l.height, (long long)l.width);
    return PN_OK;
  }
  if (!(s->pixels = malloc((size_t)l.height * l.row_bytes)))
    return PN_FAIL(PN_ERR_NOMEM, "PNG of %lldx%lld: out of memory", (long long)l.height,
                   (long long)l.width);
  st = l.channels >= 3 ? pn_gray_reserve_rgb(out, l.height, l.width, l.bytes)
                       : pn_gray_reserve(out, l.height, l.width, l.bytes);
  if (st != PN_OK) return st;
  read_rows(s, &l);
  keep_colours(s, &l, out, transparent);
  return PN_OK;
}

pn_status pn_png_decode(const uint8_t *data, size_t bytes, pn_gray *out, bool *transparent,
                        pn_reject *why) {
  struct source *s = calloc(1, sizeof *s); /* not on the stack: longjmp must not lose it */
  pn_status st = PN_ERR_NOMEM;

  *transparent = false;
  if (!s) return PN_FAIL(PN_ERR_NOMEM, "PNG: out of memory");
  s->data = data;
  s->bytes = bytes;
  s->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, s, on_error, on_warning);
  if (s->png) s->info = png_create_info_struct(s->png);
  if (s->info)
    st = decode(s, out, transparent, why);
  else
    PN_FAIL(PN_ERR_NOMEM, "PNG: out of memory");
  png_destroy_read_struct(&s->png, &s->info, NULL);
  free(s->pixels);
  free(s);
  return st;
}

const char *pn_png_library(void) {
  return "libpng " PNG_LIBPNG_VER_STRING;
}
