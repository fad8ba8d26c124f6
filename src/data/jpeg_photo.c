/* jpeg_photo.c -- libjpeg-turbo for whole JPEG files.  libjpeg only warns on truncated data and
 * then paints the rest grey: here the first warning ends the decode. */
#include "data/jpeg_photo.h"

#include "data/jpeg.h"
#include "data/picture.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

enum { MAX_PIXELS_PER_BYTE = 1024, MEMORY_ERROR = 56 /* JERR_OUT_OF_MEMORY */ };

struct photo {
  struct jpeg_error_mgr mgr; /* first: libjpeg hands us a pointer to it */
  struct jpeg_decompress_struct z;
  uint8_t *row; /* of a CMYK image; owned */
  jmp_buf out;
  char message[JMSG_LENGTH_MAX];
};

static void on_exit_error(j_common_ptr z) {
  struct photo *p = (struct photo *)z->err;
  p->mgr.format_message(z, p->message);
  longjmp(p->out, 1);
}

static void on_message(j_common_ptr z, int level) {
  if (level < 0) on_exit_error(z); /* -1 is a corrupt-data warning, the others are trace */
}

static void on_output(j_common_ptr z) {
  (void)z; /* stderr is not ours to write to */
}

static bool check_header(const pn_jpeg_info *i, size_t bytes, pn_reject *why) {
  if (i->components != 1 && i->components != 3 && i->components != 4)
    return pn_reject_set(why, "jpeg_components", NULL, "%d components, expected 1, 3 or 4",
                         i->components);
  if (i->bits != 8 || i->lossless)
    return pn_reject_set(why, "jpeg_process", NULL, "%d bits%s, expected 8 bits, not lossless",
                         i->bits, i->lossless ? ", lossless" : "");
  if (i->height < 1 || i->width < 1 || i->height > PN_PICTURE_MAX_SIDE ||
      i->width > PN_PICTURE_MAX_SIDE)
    return pn_reject_set(why, "bad_dimensions", NULL, "%lldx%lld pixels, expected 1 to %d",
                         (long long)i->height, (long long)i->width, PN_PICTURE_MAX_SIDE);
  if (i->height * i->width / MAX_PIXELS_PER_BYTE > (int64_t)bytes)
    return pn_reject_set(why, "jpeg_truncated", NULL, "%zu bytes for %lldx%lld pixels", bytes,
                         (long long)i->height, (long long)i->width);
  return false;
}

static uint8_t product(int a, int b) {
  return (uint8_t)((a * b + 127) / 255);
}

/* Adobe writes CMYK inverted (255 = no ink); without its marker 255 is full ink. */
static void cmyk_to_rgb(const uint8_t *in, int64_t width, bool inverted, uint8_t *out) {
  for (int64_t x = 0; x < width; x++, in += 4, out += 3)
    for (int c = 0; c < 3; c++)
      out[c] = inverted ? product(in[c], in[3]) : product(255 - in[c], 255 - in[3]);
}

static void decode_rows(struct photo *p, pn_gray *out) {
  size_t stride = (size_t)out->width * (size_t)out->channels;

  while (p->z.output_scanline < p->z.output_height) {
    uint8_t *to = (uint8_t *)out->data + p->z.output_scanline * stride;
    JSAMPROW row = p->row ? p->row : to;
    jpeg_read_scanlines(&p->z, &row, 1);
    if (p->row) cmyk_to_rgb(p->row, out->width, p->z.saw_Adobe_marker, to);
  }
}

static pn_status decode(struct photo *p, const uint8_t *data, size_t bytes,
                        const pn_jpeg_info *info, pn_gray *out, pn_reject *why) {
  if (setjmp(p->out)) {
    if (p->mgr.msg_code == MEMORY_ERROR)
      return PN_FAIL(PN_ERR_NOMEM, "JPEG decoder: %s", p->message);
    pn_reject_set(why, "jpeg_corrupt", NULL, "%.90s", p->message);
    return PN_OK;
  }
  jpeg_mem_src(&p->z, data, (unsigned long)bytes);
  jpeg_read_header(&p->z, TRUE);
  p->z.out_color_space = info->components == 1   ? JCS_GRAYSCALE
                         : info->components == 3 ? JCS_RGB
                                                 : JCS_CMYK;
  p->z.dct_method = JDCT_ISLOW;
  jpeg_start_decompress(&p->z);
  if (p->z.output_height != (JDIMENSION)out->height ||
      p->z.output_width != (JDIMENSION)out->width || p->z.output_components != info->components) {
    pn_reject_set(why, "size_conflict", NULL, "two frame headers that differ");
    return PN_OK;
  }
  decode_rows(p, out);
  jpeg_finish_decompress(&p->z);
  return PN_OK;
}

static pn_status prepare(struct photo *p, const pn_jpeg_info *info, pn_gray *out) {
  jpeg_std_error(&p->mgr);
  p->mgr.error_exit = on_exit_error;
  p->mgr.emit_message = on_message;
  p->mgr.output_message = on_output;
  p->z.err = &p->mgr;
  if (info->components == 4 && !(p->row = malloc((size_t)info->width * 4)))
    return PN_FAIL(PN_ERR_NOMEM, "JPEG decoder: out of memory");
  return info->components == 1 ? pn_gray_reserve(out, info->height, info->width, 1)
                               : pn_gray_reserve_rgb(out, info->height, info->width, 1);
}

/* The tag of pn_jpeg_probe is that of DICOM pixel data: here is none. */
static bool probe(const uint8_t *data, size_t bytes, pn_jpeg_info *info, pn_reject *why) {
  bool rejected = pn_jpeg_probe(data, bytes, info, why) || check_header(info, bytes, why);
  if (rejected) why->tag[0] = 0;
  return rejected;
}

pn_status pn_jpeg_photo_decode(const uint8_t *data, size_t bytes, pn_gray *out, pn_reject *why) {
  struct photo *p = NULL; /* not on the stack: longjmp must not lose it */
  pn_jpeg_info info;
  pn_status st;

  if (probe(data, bytes, &info, why)) return PN_OK;
  if (!(p = calloc(1, sizeof *p))) return PN_FAIL(PN_ERR_NOMEM, "JPEG decoder: out of memory");
  if ((st = prepare(p, &info, out)) == PN_OK) {
    if (setjmp(p->out) == 0) {
      jpeg_create_decompress(&p->z);
      st = decode(p, data, bytes, &info, out, why);
    } else {
      st = PN_FAIL(PN_ERR_NOMEM, "JPEG decoder: %s", p->message);
    }
    jpeg_destroy_decompress(&p->z);
  }
  free(p->row);
  free(p);
  return st;
}
