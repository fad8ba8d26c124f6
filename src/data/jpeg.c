/* jpeg.c -- libjpeg-turbo behind status codes.  libjpeg only warns on truncated data and then
 * paints the rest grey: here the first warning ends the decode. */
#include "data/jpeg.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

enum { MAX_PIXELS_PER_BYTE = 1024 }; /* an empty baseline block of 64 pixels needs 6 bits */
enum { SOF_JPEG_LS = 0xF7 };

struct error_trap {
  struct jpeg_error_mgr mgr; /* first: libjpeg hands us a pointer to it */
  jmp_buf out;
  char message[JMSG_LENGTH_MAX];
};

struct pn_jpeg_decoder {
  struct jpeg_decompress_struct z;
  struct error_trap trap;
};

static void trap_exit(j_common_ptr z) {
  struct error_trap *t = (struct error_trap *)z->err;
  t->mgr.format_message(z, t->message);
  longjmp(t->out, 1);
}

static void trap_emit(j_common_ptr z, int level) {
  if (level < 0) trap_exit(z); /* -1 is a corrupt-data warning, the others are trace */
}

static void trap_output(j_common_ptr z) {
  (void)z; /* stderr is not ours to write to */
}

static void trap_init(struct error_trap *t) {
  jpeg_std_error(&t->mgr);
  t->mgr.error_exit = trap_exit;
  t->mgr.emit_message = trap_emit;
  t->mgr.output_message = trap_output;
  t->message[0] = 0;
}

pn_status pn_jpeg_decoder_create(pn_jpeg_decoder **out) {
  pn_jpeg_decoder *d = calloc(1, sizeof *d);

  *out = NULL;
  if (!d) return PN_FAIL(PN_ERR_NOMEM, "JPEG decoder: out of memory");
  trap_init(&d->trap);
  d->z.err = &d->trap.mgr;
  if (setjmp(d->trap.out)) {
    pn_fail(PN_ERR_NOMEM, __FILE__, __LINE__, "JPEG decoder: %s", d->trap.message);
    free(d);
    return PN_ERR_NOMEM;
  }
  jpeg_create_decompress(&d->z);
  *out = d;
  return PN_OK;
}

void pn_jpeg_decoder_destroy(pn_jpeg_decoder *d) {
  if (!d) return;
  jpeg_destroy_decompress(&d->z);
  free(d);
}

static bool is_sof(int marker) {
  bool dct = marker >= 0xC0 && marker <= 0xCF;
  return (dct && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) || marker == SOF_JPEG_LS;
}

static bool read_sof(const uint8_t *p, size_t length, int marker, pn_jpeg_info *info,
                     pn_reject *why) {
  if (length < 8) return pn_reject_set(why, "jpeg_corrupt", "(7fe0,0010)", "short frame header");
  info->bits = p[2];
  info->height = p[3] << 8 | p[4];
  info->width = p[5] << 8 | p[6];
  info->components = p[7];
  info->progressive = marker == 0xC2 || marker == 0xC6 || marker == 0xCA || marker == 0xCE;
  info->lossless =
      marker == SOF_JPEG_LS || marker == 0xC3 || marker == 0xC7 || marker == 0xCB || marker == 0xCF;
  return false;
}

bool pn_jpeg_probe(const uint8_t *data, size_t bytes, pn_jpeg_info *info, pn_reject *why) {
  const char *tag = "(7fe0,0010)";
  size_t at = 2;

  *info = (pn_jpeg_info){0};
  if (bytes < 4 || data[0] != 0xFF || data[1] != 0xD8)
    return pn_reject_set(why, "jpeg_no_soi", tag, "the fragment is not a JPEG stream");
  while (at + 4 <= bytes) {
    int marker = data[at + 1];
    size_t length = (size_t)data[at + 2] << 8 | data[at + 3];

    if (data[at] != 0xFF) return pn_reject_set(why, "jpeg_corrupt", tag, "no marker at %zu", at);
    if (marker == 0xFF) { /* fill byte */
      at++;
      continue;
    }
    if (marker == 0xDA || marker == 0xD9) break;
    if (length < 2 || length > bytes - at - 2) break;
    if (is_sof(marker)) return read_sof(data + at + 2, length, marker, info, why);
    at += 2 + length;
  }
  return pn_reject_set(why, "jpeg_truncated", tag, "no frame header in %zu bytes", bytes);
}

/* What must hold before a decoder may allocate anything. */
static bool check_frame(const pn_jpeg_info *info, const pn_jpeg_stream *in, int components,
                        pn_reject *why) {
  const char *tag = "(7fe0,0010)";

  if (info->components != components)
    return pn_reject_set(why, "jpeg_components", tag, "%d components, expected %d",
                         info->components, components);
  if (info->bits != 8)
    return pn_reject_set(why, "bits_conflict", tag, "JPEG of %d bits, expected 8", info->bits);
  if (info->lossless) return pn_reject_set(why, "jpeg_process", tag, "lossless JPEG process");
  if (info->height != in->height || info->width != in->width)
    return pn_reject_set(why, "size_conflict", tag, "JPEG is %lldx%lld, Rows x Columns %lldx%lld",
                         (long long)info->height, (long long)info->width, (long long)in->height,
                         (long long)in->width);
  if (in->height * in->width / MAX_PIXELS_PER_BYTE > (int64_t)in->bytes)
    return pn_reject_set(why, "jpeg_truncated", tag, "%zu bytes for %lldx%lld pixels", in->bytes,
                         (long long)in->height, (long long)in->width);
  return false;
}

static void decode_rows(pn_jpeg_decoder *d, pn_gray *out) {
  JSAMPROW rows[16];
  size_t stride = (size_t)out->width;

  while (d->z.output_scanline < d->z.output_height) {
    JDIMENSION y = d->z.output_scanline, n = 0;
    for (; n < 16 && y + n < d->z.output_height; n++)
      rows[n] = (uint8_t *)out->data + (y + n) * stride;
    jpeg_read_scanlines(&d->z, rows, n);
  }
}

/* Grey of whole blocks: libjpeg writes into the image, without a copy of each row. */
static void decode_blocks(pn_jpeg_decoder *d, pn_gray *out) {
  JSAMPROW rows[DCTSIZE];
  JSAMPARRAY plane = rows;
  size_t stride = (size_t)out->width;

  while (d->z.output_scanline < d->z.output_height) {
    uint8_t *first = (uint8_t *)out->data + d->z.output_scanline * stride;
    for (size_t k = 0; k < DCTSIZE; k++) rows[k] = first + k * stride;
    jpeg_read_raw_data(&d->z, &plane, DCTSIZE);
  }
}

static bool whole_blocks(const struct jpeg_decompress_struct *z) {
  return z->num_components == 1 && z->image_width % DCTSIZE == 0 &&
         z->image_height % DCTSIZE == 0 && z->comp_info[0].h_samp_factor == 1 &&
         z->comp_info[0].v_samp_factor == 1;
}

/* Markers of the stream win over the file's header; without any, the header is believed. */
static void choose_colour(struct jpeg_decompress_struct *z, pn_jpeg_colour *colour) {
  if (!z->saw_Adobe_marker && !z->saw_JFIF_marker)
    z->jpeg_color_space = *colour == PN_JPEG_RGB ? JCS_RGB : JCS_YCbCr;
  *colour = z->jpeg_color_space == JCS_RGB ? PN_JPEG_RGB : PN_JPEG_YBR;
  z->out_color_space = z->jpeg_color_space;
}

/* colour NULL: grey.  libjpeg leaves by longjmp to d->trap.out. */
static void decode(pn_jpeg_decoder *d, const pn_jpeg_stream *in, pn_jpeg_colour *colour,
                   pn_gray *out, pn_reject *why) {
  int components = colour ? 3 : 1;

  jpeg_mem_src(&d->z, in->data, (unsigned long)in->bytes);
  jpeg_read_header(&d->z, TRUE);
  if (colour && d->z.num_components == 3)
    choose_colour(&d->z, colour);
  else
    d->z.out_color_space = JCS_GRAYSCALE;
  d->z.dct_method = JDCT_ISLOW;
  d->z.raw_data_out = whole_blocks(&d->z);
  jpeg_start_decompress(&d->z);
  if (d->z.output_height != (JDIMENSION)in->height || d->z.output_width != (JDIMENSION)in->width ||
      d->z.output_components != components) {
    jpeg_abort_decompress(&d->z);
    pn_reject_set(why, "size_conflict", "(7fe0,0010)", "two frame headers that differ");
    return;
  }
  if (d->z.raw_data_out)
    decode_blocks(d, out);
  else
    decode_rows(d, out);
  jpeg_finish_decompress(&d->z);
}

static pn_status trapped(pn_jpeg_decoder *d, pn_reject *why) {
  bool memory = d->trap.mgr.msg_code == 56; /* JERR_OUT_OF_MEMORY in every libjpeg API 6.2+ */

  jpeg_abort_decompress(&d->z);
  if (memory) return PN_FAIL(PN_ERR_NOMEM, "JPEG decoder: %s", d->trap.message);
  pn_reject_set(why, "jpeg_corrupt", "(7fe0,0010)", "%s", d->trap.message);
  return PN_OK;
}

static pn_status decode_checked(pn_jpeg_decoder *d, const pn_jpeg_stream *in,
                                pn_jpeg_colour *colour, pn_gray *out, pn_reject *why) {
  int components = colour ? 3 : 1;
  pn_jpeg_info info;
  pn_status st;

  if (pn_jpeg_probe(in->data, in->bytes, &info, why)) return PN_OK;
  if (check_frame(&info, in, components, why)) return PN_OK;
  st = pn_gray_reserve(out, in->height, in->width * components, 1);
  if (st != PN_OK) return st;
  if (setjmp(d->trap.out)) return trapped(d, why);
  decode(d, in, colour, out, why);
  return PN_OK;
}

pn_status pn_jpeg_decode_gray(pn_jpeg_decoder *d, const pn_jpeg_stream *in, pn_gray *out,
                              pn_reject *why) {
  return decode_checked(d, in, NULL, out, why);
}

pn_status pn_jpeg_decode_colour(pn_jpeg_decoder *d, const pn_jpeg_stream *in,
                                pn_jpeg_colour *colour, pn_gray *out, pn_reject *why) {
  return decode_checked(d, in, colour, out, why);
}

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

const char *pn_jpeg_library(void) {
  return "libjpeg-turbo " TEXT(LIBJPEG_TURBO_VERSION);
}
