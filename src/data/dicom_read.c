/* dicom_read.c -- one DICOM file to grey pixels: read, sniff, parse, check, decode, present. */
#include "data/dicom_raw.h"

#include <stdlib.h>

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
  pn_gray_free(&r->work);
  free(r);
}

void pn_dicom_reader_rules(pn_dicom_reader *r, const pn_dicom_rules *rules) {
  r->rules = *rules;
}

/* A frame decoded into `out` moves to the working buffer when the presentation needs `out`. */
static void make_room(pn_dicom_reader *r, const pn_dicom_frame *f, pn_gray *out) {
  pn_gray t = *out;

  if (f->data != out->data || pn_dicom_is_plain(&r->raw, f)) return;
  *out = r->work;
  r->work = t;
}

pn_status pn_dicom_read_frame(pn_dicom_reader *r, int64_t frame, pn_dicom_info *info,
                              pn_gray *pixels, pn_reject *why) {
  int64_t count = pn_dicom_frame_count(&r->raw);
  pn_dicom_frame f;
  pn_status st;

  *why = (pn_reject){0};
  if ((st = pn_dicom_parser_frame(r->parser, frame, r->rules.window, &r->raw)) != PN_OK) return st;
  pn_dicom_describe(&r->raw, info);
  if (count > 1 && r->rules.frames == PN_FRAMES_FIRST) info->warnings |= PN_DICOM_W_MORE_FRAMES;
  info->frames = r->rules.frames == PN_FRAMES_ALL ? count : 1;
  st = pn_dicom_decode(r, frame, &f, pixels, why);
  if (st != PN_OK || why->reason[0]) return st;
  if (pn_dicom_check_rules(&r->raw, &r->rules, why)) return PN_OK;
  info->warnings |= f.warnings;
  if (f.colour != PN_COLOUR_GREY) return pn_dicom_luma(&r->raw, &f, info, pixels);
  make_room(r, &f, pixels);
  return pn_dicom_present(&r->raw, &f, info, pixels, why);
}

/* Each frame will be listed as an image: a header must not make a million of them out of nothing.
 * A fragment takes 8 bytes at least. */
static bool check_frame_count(const pn_dicom_reader *r, size_t file_bytes, pn_reject *why) {
  int64_t n = pn_dicom_frame_count(&r->raw);

  if (r->rules.frames != PN_FRAMES_ALL || n == 1 || n <= (int64_t)(file_bytes / 8)) return false;
  return pn_reject_set(why, "bad_frames", "(0028,0008)", "%lld frames in a file of %zu bytes",
                       (long long)n, file_bytes);
}

static pn_status open_memory(pn_dicom_reader *r, const uint8_t *data, size_t bytes,
                             pn_reject *why) {
  pn_status st;

  *why = (pn_reject){0};
  if (pn_input_sniff(data, bytes, why) || pn_dicom_check_deflated(data, bytes, why)) return PN_OK;
  st = pn_dicom_parser_header(r->parser, data, bytes, &r->raw, why);
  if (st == PN_OK && !why->reason[0] && !pn_dicom_check(&r->raw, why))
    check_frame_count(r, bytes, why);
  return st;
}

pn_status pn_dicom_open(pn_dicom_reader *r, const char *path, pn_reject *why) {
  pn_status st = pn_input_read(&r->file, path, why);

  if (st != PN_OK || why->reason[0]) return st;
  return open_memory(r, r->file.data, r->file.bytes, why);
}

int64_t pn_dicom_frames(const pn_dicom_reader *r) {
  return pn_dicom_frame_count(&r->raw);
}

pn_status pn_dicom_read_memory(pn_dicom_reader *r, const uint8_t *data, size_t bytes,
                               pn_dicom_info *info, pn_gray *pixels, pn_reject *why) {
  pn_status st = open_memory(r, data, bytes, why);

  *info = (pn_dicom_info){0};
  if (st != PN_OK || why->reason[0]) return st;
  return pn_dicom_read_frame(r, 0, info, pixels, why);
}

pn_status pn_dicom_read(pn_dicom_reader *r, const char *path, pn_dicom_info *info, pn_gray *pixels,
                        pn_reject *why) {
  pn_status st = pn_dicom_open(r, path, why);

  *info = (pn_dicom_info){0};
  if (st != PN_OK || why->reason[0]) return st;
  return pn_dicom_read_frame(r, 0, info, pixels, why);
}
