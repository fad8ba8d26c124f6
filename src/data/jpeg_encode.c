/* jpeg_encode.c -- libjpeg with its fatal errors turned into a status. */
#include "data/jpeg_encode.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

typedef struct {
  struct jpeg_error_mgr mgr; /* first: libjpeg sees only this part */
  jmp_buf escape;
  char text[JMSG_LENGTH_MAX];
} catcher;

static void on_error(j_common_ptr info) {
  catcher *c = (catcher *)info->err;
  c->mgr.format_message(info, c->text);
  longjmp(c->escape, 1);
}

static void on_message(j_common_ptr info) {
  (void)info; /* libjpeg prints warnings on stderr otherwise */
}

/* What libjpeg changes after setjmp lives behind a pointer, not in registers. */
typedef struct {
  struct jpeg_compress_struct jpeg;
  catcher error;
  unsigned char *out;
  unsigned long bytes;
} encoder;

static void encode(encoder *e, const uint8_t *pixels, int quality) {
  struct jpeg_compress_struct *c = &e->jpeg;

  jpeg_set_defaults(c);
  jpeg_set_quality(c, quality, TRUE);
  c->dct_method = JDCT_ISLOW;
  jpeg_start_compress(c, TRUE);
  while (c->next_scanline < c->image_height) {
    JSAMPROW row = (JSAMPROW)(uintptr_t)(pixels + (size_t)c->next_scanline * c->image_width);
    jpeg_write_scanlines(c, &row, 1);
  }
  jpeg_finish_compress(c);
}

/* false: libjpeg gave up, e->error.text says why. */
static bool run(encoder *e, const uint8_t *pixels, int width, int height, int quality) {
  if (setjmp(e->error.escape)) return false;
  jpeg_create_compress(&e->jpeg);
  jpeg_mem_dest(&e->jpeg, &e->out, &e->bytes);
  e->jpeg.image_width = (JDIMENSION)width;
  e->jpeg.image_height = (JDIMENSION)height;
  e->jpeg.input_components = 1;
  e->jpeg.in_color_space = JCS_GRAYSCALE;
  encode(e, pixels, quality);
  return true;
}

pn_status pn_jpeg_encode_grey(const uint8_t *pixels, int width, int height, int quality,
                              uint8_t **out, size_t *bytes) {
  encoder *e = calloc(1, sizeof *e);
  pn_status st = PN_OK;

  *out = NULL;
  *bytes = 0;
  if (!e) return PN_FAIL(PN_ERR_NOMEM, "JPEG encoder: out of memory");
  e->jpeg.err = jpeg_std_error(&e->error.mgr);
  e->error.mgr.error_exit = on_error;
  e->error.mgr.output_message = on_message;
  if (run(e, pixels, width, height, quality)) {
    *out = e->out;
    *bytes = e->bytes;
  } else {
    st = PN_FAIL(PN_ERR_IO, "JPEG encoder, %d x %d: %s", width, height, e->error.text);
    free(e->out);
  }
  jpeg_destroy_compress(&e->jpeg);
  free(e);
  return st;
}
