/* dicom_read.c -- one DICOM file to grey pixels: read, sniff, parse, check, decode, present. */
#include "data/dicom_raw.h"

#include <stdlib.h>

struct pn_dicom_reader {
  pn_input file;
  pn_dicom_parser *parser;
  pn_jpeg_decoder *jpeg;
  pn_gray frame; /* a JPEG frame that still needs rescale or window */
};

pn_status pn_dicom_reader_create(pn_dicom_reader **out) {
  pn_dicom_reader *r = calloc(1, sizeof *r);
  pn_status st = PN_OK;

  *out = NULL;
  if (!r) return PN_FAIL(PN_ERR_NOMEM, "DICOM reader: out of memory");
  PN_TRY(pn_dicom_parser_create(&r->parser));
  PN_TRY(pn_jpeg_decoder_create(&r->jpeg));
  *out = r;
  r = NULL;
done:
  pn_dicom_reader_destroy(r);
  return st;
}

void pn_dicom_reader_destroy(pn_dicom_reader *r) {
  if (!r) return;
  pn_dicom_parser_destroy(r->parser);
  pn_jpeg_decoder_destroy(r->jpeg);
  pn_input_free(&r->file);
  pn_gray_free(&r->frame);
  free(r);
}

/* A JPEG frame becomes native pixels of the same image. */
static pn_status decode_jpeg(pn_dicom_reader *r, pn_dicom_raw *raw, pn_dicom_info *info,
                             pn_gray *out, pn_reject *why) {
  pn_jpeg_stream stream = {raw->pixels, raw->pixel_bytes, raw->rows, raw->columns};
  pn_jpeg_info frame;
  pn_status st;

  if (raw->bits_allocated != 8 || raw->bits_stored != 8) {
    pn_reject_set(why, "bits_conflict", "(0028,0101)",
                  "8-bit JPEG process, header: %lld bits stored in %lld",
                  (long long)raw->bits_stored, (long long)raw->bits_allocated);
    return PN_OK;
  }
  if (pn_jpeg_probe(raw->pixels, raw->pixel_bytes, &frame, why)) return PN_OK;
  if (frame.progressive) info->warnings |= PN_DICOM_W_PROGRESSIVE;
  st = pn_jpeg_decode_gray(r->jpeg, &stream, out, why);
  raw->pixels = out->data;
  raw->pixel_bytes = (size_t)raw->rows * (size_t)raw->columns;
  raw->kind = PN_PIXELS_NATIVE;
  return st;
}

/* Swap, so that a decoded frame can be the input of the presentation into `out`. */
static void swap_buffers(pn_gray *a, pn_gray *b) {
  pn_gray t = *a;
  *a = *b;
  *b = t;
}

static pn_status read_pixels(pn_dicom_reader *r, pn_dicom_raw *raw, pn_dicom_info *info,
                             pn_gray *out, pn_reject *why) {
  pn_status st;

  if ((st = pn_dicom_parser_pixels(r->parser, raw, why)) != PN_OK || why->reason[0]) return st;
  if (raw->kind != PN_PIXELS_JPEG) {
    if (pn_dicom_check_length(raw, &info->warnings, why)) return PN_OK;
    return pn_dicom_present(raw, info, out, why);
  }
  st = decode_jpeg(r, raw, info, out, why);
  if (st != PN_OK || why->reason[0]) return st;
  if (raw->slope[0] || raw->intercept[0] || raw->centre[0] || raw->width[0] || raw->is_signed)
    swap_buffers(out, &r->frame);
  return pn_dicom_present(raw, info, out, why);
}

pn_status pn_dicom_read(pn_dicom_reader *r, const char *path, pn_dicom_info *info, pn_gray *pixels,
                        pn_reject *why) {
  pn_dicom_raw raw;
  pn_status st;

  *why = (pn_reject){0};
  *info = (pn_dicom_info){0};
  if ((st = pn_input_read(&r->file, path, why)) != PN_OK || why->reason[0]) return st;
  if (pn_input_sniff(&r->file, why)) return PN_OK;
  st = pn_dicom_parser_header(r->parser, r->file.data, r->file.bytes, &raw, why);
  if (st != PN_OK || why->reason[0]) return st;
  if (pn_dicom_check(&raw, why)) return PN_OK;
  pn_dicom_describe(&raw, info);
  return read_pixels(r, &raw, info, pixels, why);
}
