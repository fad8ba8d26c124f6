/* dicom_frame.c -- one frame of a parsed file as stored values: native bytes are found, bits
 * unpacked, RLE, JPEG and JPEG 2000 streams decoded; DCMTK's codecs do the others. */
#include "data/dicom_raw.h"
#include "data/jpeg2000.h"

#include <stdlib.h>
#include <string.h>

static pn_dicom_colour colour_of(const char *photometric) {
  if (strcmp(photometric, "PALETTE COLOR") == 0) return PN_COLOUR_PALETTE;
  if (strncmp(photometric, "MONOCHROME", 10) == 0) return PN_COLOUR_GREY;
  if (strcmp(photometric, "YBR_FULL") == 0) return PN_COLOUR_YBR;
  if (strcmp(photometric, "YBR_FULL_422") == 0) return PN_COLOUR_YBR_422;
  return PN_COLOUR_RGB; /* RGB; YBR_ICT and YBR_RCT exist inside JPEG 2000 only */
}

/* The layout the attributes promise. */
static pn_dicom_frame frame_of(const pn_dicom_raw *raw) {
  return (pn_dicom_frame){.data = raw->pixels,
                          .allocated = (int)raw->bits_allocated,
                          .stored = (int)raw->bits_stored,
                          .high_bit = (int)raw->high_bit,
                          .colour = colour_of(raw->photometric)};
}

/* 1 bit per pixel, lowest bit first, frames not padded -> 1 byte per pixel. */
static pn_status unpack_bits(const pn_dicom_raw *raw, int64_t k, pn_dicom_frame *f, pn_gray *to) {
  size_t n = (size_t)raw->rows * (size_t)raw->columns, first = (size_t)k * n;
  pn_status st = pn_gray_reserve(to, raw->rows, raw->columns, 1);

  if (st != PN_OK) return st;
  for (size_t i = 0; i < n; i++)
    ((uint8_t *)to->data)[i] = raw->pixels[(first + i) / 8] >> (first + i) % 8 & 1;
  f->data = to->data;
  f->allocated = 8;
  return PN_OK;
}

/* Uncompressed colour needs to say how it lies. */
static bool set_planar(const pn_dicom_raw *raw, pn_dicom_frame *f, pn_reject *why) {
  if (raw->samples == 1) return false;
  if (raw->planar == PN_DICOM_ABSENT)
    return pn_reject_set(why, "missing_attribute", "(0028,0006)", "PlanarConfiguration is missing");
  if (raw->planar != 0 && (raw->planar != 1 || f->colour == PN_COLOUR_YBR_422))
    return pn_reject_set(why, "planar_conflict", "(0028,0006)", "%lld with %s",
                         (long long)raw->planar, raw->photometric);
  f->planar = raw->planar == 1;
  return false;
}

static pn_status native_frame(pn_dicom_reader *r, int64_t k, pn_dicom_frame *f, pn_reject *why) {
  const pn_dicom_raw *raw = &r->raw;

  if (strcmp(raw->photometric, "YBR_ICT") == 0 || strcmp(raw->photometric, "YBR_RCT") == 0) {
    pn_reject_set(why, "unsupported_photometric", "(0028,0004)", "%s without JPEG 2000",
                  raw->photometric);
    return PN_OK;
  }
  if (f->colour == PN_COLOUR_YBR_422 && raw->columns % 2 != 0) {
    pn_reject_set(why, "bad_dimensions", "(0028,0011)",
                  "YBR_FULL_422 of %lld columns, must be even", (long long)raw->columns);
    return PN_OK;
  }
  if (pn_dicom_check_length(raw, &f->warnings, why) || set_planar(raw, f, why)) return PN_OK;
  if (raw->bits_allocated == 1) return unpack_bits(raw, k, f, &r->work);
  f->data += k * (pn_dicom_frame_bits(raw) / 8);
  return PN_OK;
}

static pn_status rle_frame(pn_dicom_reader *r, pn_dicom_frame *f, pn_reject *why) {
  const pn_dicom_raw *raw = &r->raw;
  int64_t bytes = raw->columns * raw->samples * (raw->bits_allocated / 8);
  pn_status st;

  if (raw->bits_allocated == 1 || f->colour == PN_COLOUR_YBR_422) {
    pn_reject_set(why, "unsupported_bits", "(0028,0100)", "RLE of 1-bit or subsampled pixels");
    return PN_OK;
  }
  if (raw->rows * bytes / 64 > (int64_t)raw->pixel_bytes) { /* 2 bytes give at most 128 */
    pn_reject_set(why, "pixels_truncated", "(7fe0,0010)", "RLE of %zu bytes, %lld expected",
                  raw->pixel_bytes, (long long)(raw->rows * bytes));
    return PN_OK;
  }
  if ((st = pn_gray_reserve(&r->work, raw->rows, bytes, 1)) != PN_OK) return st;
  if (!pn_dicom_unpack_rle(raw, r->work.data, why)) f->data = r->work.data;
  return PN_OK;
}

/* What a JPEG family stream says of its size and bits against the header. */
static bool check_stream(const pn_dicom_raw *raw, const pn_jpeg_info *s, pn_reject *why) {
  if (s->components != raw->samples)
    return pn_reject_set(why, "jpeg_components", "(7fe0,0010)", "%d components, header: %lld",
                         s->components, (long long)raw->samples);
  if (s->height != raw->rows || s->width != raw->columns)
    return pn_reject_set(why, "size_conflict", "(7fe0,0010)",
                         "stream is %lldx%lld, Rows x Columns %lldx%lld", (long long)s->height,
                         (long long)s->width, (long long)raw->rows, (long long)raw->columns);
  return pn_dicom_check_precision(raw, s->bits, why);
}

/* A stream of exactly BitsStored bits holds the value right-aligned, whatever HighBit says. */
static void align(pn_dicom_frame *f, int bits) {
  if (f->allocated < 8) f->allocated = 8;
  if (bits == f->stored) f->high_bit = f->stored - 1;
}

static pn_status jpeg_frame(pn_dicom_reader *r, pn_dicom_frame *f, pn_gray *out, pn_reject *why) {
  const pn_dicom_raw *raw = &r->raw;
  bool grey = raw->samples == 1;
  pn_jpeg_stream s = {raw->pixels, raw->pixel_bytes, raw->rows, raw->columns};
  pn_jpeg_colour colour = f->colour == PN_COLOUR_RGB ? PN_JPEG_RGB : PN_JPEG_YBR;
  pn_jpeg_info stream;
  pn_status st;

  if (pn_jpeg_probe(s.data, s.bytes, &stream, why) || check_stream(raw, &stream, why)) return PN_OK;
  if (stream.progressive) f->warnings |= PN_DICOM_W_PROGRESSIVE;
  align(f, stream.bits);
  if (grey) {
    st = pn_jpeg_decode_gray(r->jpeg, &s, out, why);
    f->data = out->data;
    return st;
  }
  st = pn_jpeg_decode_colour(r->jpeg, &s, &colour, &r->work, why);
  f->data = r->work.data;
  f->colour = colour == PN_JPEG_RGB ? PN_COLOUR_RGB : PN_COLOUR_YBR;
  return st;
}

static pn_status jpeg2000_frame(pn_dicom_reader *r, pn_dicom_frame *f, pn_reject *why) {
  const pn_dicom_raw *raw = &r->raw;
  pn_jpeg_stream s = {raw->pixels, raw->pixel_bytes, raw->rows, raw->columns};
  pn_jpeg_info stream;
  pn_status st;

  if (strcmp(pn_jpeg2000_library(), "none") == 0) {
    pn_reject_set(why, "unsupported_syntax", "(0002,0010)",
                  "syntax %s not built in: needs OpenJPEG (libopenjp2-7-dev)", raw->syntax);
    return PN_OK;
  }
  if (pn_jpeg2000_probe(&s, &stream, why) || check_stream(raw, &stream, why)) return PN_OK;
  align(f, stream.bits);
  if ((st = pn_jpeg2000_decode(&s, &r->work, why)) != PN_OK) return st;
  f->data = r->work.data;
  f->allocated = 8 * r->work.bytes_per_pixel;
  if (f->colour == PN_COLOUR_YBR_422) f->colour = PN_COLOUR_YBR; /* as decoded: not subsampled */
  return PN_OK;
}

/* JPEG-LS, lossless and 12-bit JPEG: DCMTK decodes what the header allows; colour by pixel. */
static pn_status codec_frame(pn_dicom_reader *r, int64_t k, pn_dicom_frame *f, pn_reject *why) {
  pn_dicom_raw *raw = &r->raw;
  pn_jpeg_info stream;
  pn_status st;

  if (pn_jpeg_probe(raw->pixels, raw->pixel_bytes, &stream, why)) return PN_OK;
  if (check_stream(raw, &stream, why)) return PN_OK;
  align(f, stream.bits);
  if ((st = pn_dicom_parser_decode(r->parser, k, raw, why)) != PN_OK) return st;
  f->data = raw->pixels;
  f->colour = colour_of(raw->decoded);
  if (f->colour == PN_COLOUR_YBR_422) f->colour = PN_COLOUR_YBR; /* codecs do not subsample */
  return PN_OK;
}

pn_status pn_dicom_decode(pn_dicom_reader *r, int64_t k, pn_dicom_frame *f, pn_gray *out,
                          pn_reject *why) {
  pn_status st = pn_dicom_parser_pixels(r->parser, k, &r->raw, why);

  *f = frame_of(&r->raw);
  if (st != PN_OK || why->reason[0]) return st;
  switch (r->raw.kind) {
  case PN_PIXELS_JPEG:
    return jpeg_frame(r, f, out, why);
  case PN_PIXELS_JPEG2000:
    return jpeg2000_frame(r, f, why);
  case PN_PIXELS_RLE:
    return rle_frame(r, f, why);
  case PN_PIXELS_CODEC:
    return codec_frame(r, k, f, why);
  default:
    return native_frame(r, k, f, why);
  }
}
