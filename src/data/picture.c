/* picture.c -- what a file is, by its first bytes; decode, turn upright, to grey. */
#include "data/picture.h"

#include "data/exif.h"
#include "data/jpeg_photo.h"
#include "data/png.h"

#include <stdlib.h>
#include <string.h>

/* JPEG chroma of a grey picture wavers by a few levels; a coloured one goes beyond. */
enum { COLOUR_NOISE = 16 };

const char *pn_file_kind(const uint8_t *data, size_t bytes, const char **unpack) {
  static const struct {
    const char *magic;
    size_t bytes, at;
    const char *name, *unpack;
  } known[] = {
      {"\x89PNG\r\n\x1A\n", 8, 0, "PNG", NULL},
      {"\xFF\xD8\xFF", 3, 0, "JPEG", NULL},
      {"DICM", 4, 128, "DICOM", NULL},
      {"GIF8", 4, 0, "GIF", NULL},
      {"II*\0", 4, 0, "TIFF", NULL},
      {"MM\0*", 4, 0, "TIFF", NULL},
      {"WEBP", 4, 8, "WebP", NULL},
      {"BM", 2, 0, "BMP", NULL},
      {"%PDF", 4, 0, "PDF", NULL},
      {"\x89HDF", 4, 0, "HDF5", NULL},
      {"\0\5\x16\7", 4, 0, "AppleDouble", NULL},
      {"\x1F\x8B", 2, 0, "gzip", "gunzip"},
      {"PK\3\4", 4, 0, "zip", "unzip"},
      {"BZh", 3, 0, "bzip2", "bunzip2"},
      {"\xFD\x37zXZ", 5, 0, "xz", "unxz"},
      {"\x28\xB5\x2F\xFD", 4, 0, "zstd", "unzstd"},
      {"7z\xBC\xAF", 4, 0, "7z", "7z x"},
      {"Rar!", 4, 0, "rar", "unrar x"},
      {"ustar", 5, 257, "tar", "tar -xf"},
  };

  *unpack = NULL;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (bytes >= known[i].at + known[i].bytes &&
        memcmp(data + known[i].at, known[i].magic, known[i].bytes) == 0) {
      *unpack = known[i].unpack;
      return known[i].name;
    }
  return NULL;
}

static bool far_apart(int a, int b, int c, int limit) {
  return abs(a - b) > limit || abs(b - c) > limit || abs(a - c) > limit;
}

static bool has_colour(const pn_gray *g) {
  size_t n = (size_t)(g->height * g->width);

  if (g->channels != 3) return false;
  for (size_t i = 0; i < 3 * n; i += 3) {
    const uint8_t *b = (const uint8_t *)g->data + i;
    const uint16_t *w = (const uint16_t *)g->data + i;
    if (g->bytes_per_pixel == 1 ? far_apart(b[0], b[1], b[2], COLOUR_NOISE)
                                : far_apart(w[0], w[1], w[2], COLOUR_NOISE * 257))
      return true;
  }
  return false;
}

static uint32_t luma(uint32_t r, uint32_t g, uint32_t b) {
  return (299 * r + 587 * g + 114 * b + 500) / 1000;
}

void pn_picture_to_grey(pn_gray *image) {
  size_t n = (size_t)(image->height * image->width);
  uint8_t *b = image->data;
  uint16_t *w = image->data;

  if (image->channels == 1) return;
  if (image->bytes_per_pixel == 1)
    for (size_t i = 0; i < n; i++) b[i] = (uint8_t)luma(b[3 * i], b[3 * i + 1], b[3 * i + 2]);
  else
    for (size_t i = 0; i < n; i++) w[i] = (uint16_t)luma(w[3 * i], w[3 * i + 1], w[3 * i + 2]);
  image->channels = 1;
}

/* Pixel (y, x) of the upright image comes from this one of the stored image. */
static size_t source_of(const pn_gray *in, int orientation, int64_t y, int64_t x) {
  int64_t last_y = in->height - 1, last_x = in->width - 1, from_y = y, from_x = x;

  if (orientation >= 5) {
    from_y = x;
    from_x = y;
  }
  if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7)
    from_y = last_y - from_y;
  if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8)
    from_x = last_x - from_x;
  return (size_t)(from_y * in->width + from_x);
}

pn_status pn_picture_turn(const pn_gray *in, int orientation, pn_gray *out) {
  bool swap = orientation >= 5;
  int64_t height = swap ? in->width : in->height, width = swap ? in->height : in->width;
  size_t pixel = (size_t)(in->channels * in->bytes_per_pixel);
  uint8_t *to;
  pn_status st = in->channels == 3 ? pn_gray_reserve_rgb(out, height, width, in->bytes_per_pixel)
                                   : pn_gray_reserve(out, height, width, in->bytes_per_pixel);

  if (st != PN_OK) return st;
  to = out->data;
  for (int64_t y = 0; y < height; y++)
    for (int64_t x = 0; x < width; x++, to += pixel)
      memcpy(to, (const uint8_t *)in->data + source_of(in, orientation, y, x) * pixel, pixel);
  return PN_OK;
}

static pn_status turn_upright(pn_bytes file, pn_gray *out, pn_gray *scratch,
                              pn_picture_info *info) {
  int orientation = pn_exif_orientation(file.data, file.bytes);
  pn_gray stored;
  pn_status st;

  if (orientation == 1) return PN_OK;
  if ((st = pn_picture_turn(out, orientation, scratch)) != PN_OK) return st;
  stored = *out;
  *out = *scratch;
  *scratch = stored;
  info->turned = true;
  return PN_OK;
}

pn_status pn_picture_decode(pn_bytes file, pn_gray *out, pn_gray *scratch, pn_picture_info *info,
                            pn_reject *why) {
  const char *unpack = NULL, *kind = pn_file_kind(file.data, file.bytes, &unpack);
  pn_status st = PN_OK;

  *info = (pn_picture_info){0};
  if (kind && strcmp(kind, "PNG") == 0) {
    st = pn_png_decode(file.data, file.bytes, out, &info->transparent, why);
  } else if (kind && strcmp(kind, "JPEG") == 0) {
    st = pn_jpeg_photo_decode(file.data, file.bytes, out, why);
    if (st == PN_OK && !why->reason[0]) st = turn_upright(file, out, scratch, info);
  } else if (kind && strcmp(kind, "AppleDouble") == 0) {
    pn_reject_set(why, "junk_file", NULL, "AppleDouble");
  } else if (unpack) {
    pn_reject_set(why, "archive", NULL, "%s: unpack it with %s", kind, unpack);
  } else {
    pn_reject_set(why, "not_a_picture", NULL, "%s%s", kind ? kind : "unknown content",
                  kind ? ", expected PNG or JPEG" : ": neither PNG, JPEG nor DICOM");
  }
  if (st == PN_OK && !why->reason[0]) info->colour = has_colour(out);
  return st;
}
