// dicom_dcmtk_pixels.cc -- pixel data: native bytes, the compressed stream of one frame, and
// DCMTK's codecs for JPEG-LS, lossless and 12-bit JPEG (jpeg.c and jpeg2000_openjpeg.c do the
// others).
#include "data/dicom_dcmtk.h"

#include <dcmtk/dcmdata/dccodec.h>
#include <dcmtk/dcmdata/dcpxitem.h>

#include <cstdio>
#include <cstring>
#include <new>

namespace {

const char *const kPixelTag = "(7fe0,0010)";
const size_t kMaxPixelsPerByte = 2048; // of compressed data: more is a bomb or a broken header

bool encapsulated(E_TransferSyntax syntax) {
#if PACKAGE_VERSION_NUMBER >= 368 // renamed in DCMTK 3.6.8
  return DcmXfer(syntax).usesEncapsulatedFormat();
#else
  return DcmXfer(syntax).isEncapsulated();
#endif
}

// Which decoder takes a compressed syntax.  JPEG of 8 bits is libjpeg-turbo's.
pn_pixel_kind kind_of(E_TransferSyntax x, const pn_dicom_raw *raw) {
  switch (x) {
  case EXS_JPEGProcess1:
    return PN_PIXELS_JPEG;
  case EXS_JPEGProcess2_4:
  case EXS_JPEGProcess10_12:
    return raw->bits_allocated <= 8 ? PN_PIXELS_JPEG : PN_PIXELS_CODEC;
  case EXS_JPEGProcess14:
  case EXS_JPEGProcess14SV1:
  case EXS_JPEGLSLossless:
  case EXS_JPEGLSLossy:
    return PN_PIXELS_CODEC;
  case EXS_JPEG2000LosslessOnly:
  case EXS_JPEG2000:
    return PN_PIXELS_JPEG2000;
  case EXS_RLELossless:
    return PN_PIXELS_RLE;
  default:
    return PN_PIXELS_NONE;
  }
}

// Items [*first, *last) of the sequence hold the frame; item 0 is the offset table.
bool find_fragments(DcmPixelSequence *sequence, int64_t frame, int64_t frames, unsigned long *first,
                    unsigned long *last) {
  Uint32 from = 1, to = static_cast<Uint32>(sequence->card());
  const Sint32 count = static_cast<Sint32>(frames);

  if (frames > 1) {
    const Uint32 k = static_cast<Uint32>(frame);
    if (DcmCodec::determineStartFragment(k, count, sequence, from).bad()) return false;
    if (frame + 1 < frames && DcmCodec::determineStartFragment(k + 1, count, sequence, to).bad())
      return false;
  }
  *first = from;
  *last = to;
  return from >= 1 && from < to && to <= sequence->card();
}

// The fragments as one run of bytes; a single one is not copied.
void join_fragments(pn_dicom_parser *p, DcmPixelSequence *sequence, int64_t frame,
                    pn_dicom_raw *raw, pn_reject *why) {
  unsigned long first = 0, last = 0;
  raw->pixels = nullptr;
  raw->pixel_bytes = 0;
  p->joined.clear();
  if (!find_fragments(sequence, frame, pn_dicom_frame_count(raw), &first, &last)) {
    pn_reject_set(why, "pixels_truncated", kPixelTag, "%lu fragments for %lld frames",
                  sequence->card() - 1, static_cast<long long>(pn_dicom_frame_count(raw)));
    return;
  }
  for (unsigned long i = first; i < last; i++) {
    DcmPixelItem *item = nullptr;
    Uint8 *data = nullptr;
    if (sequence->getItem(item, i).bad() || !item || item->getLength() == 0) continue;
    if (item->getUint8Array(data).bad() || !data) {
      pn_reject_set(why, "corrupt_file", kPixelTag, "fragment %lu cannot be read", i);
      return;
    }
    raw->pixels = data;
    raw->pixel_bytes = item->getLength();
    if (last - first > 1) p->joined.insert(p->joined.end(), data, data + item->getLength());
  }
  if (last - first > 1) {
    raw->pixels = p->joined.data();
    raw->pixel_bytes = p->joined.size();
  }
  if (raw->pixel_bytes == 0)
    pn_reject_set(why, "no_fragments", kPixelTag, "the pixel sequence holds no data");
}

void native_pixels(DcmPixelData *pixels, pn_dicom_raw *raw, pn_reject *why) {
  Uint8 *data = nullptr;
  const Uint32 bytes = pixels->getLength();
  raw->kind = PN_PIXELS_NATIVE;
  raw->pixels = nullptr;
  raw->pixel_bytes = 0;
  if (bytes == 0) return; // the length check says so
  if (pixels->getUint8Array(data).bad() || !data) {
    pn_reject_set(why, "corrupt_file", kPixelTag, "pixel data cannot be read");
    return;
  }
  raw->pixels = data;
  raw->pixel_bytes = bytes;
}

void encapsulated_pixels(pn_dicom_parser *p, DcmPixelData *pixels, int64_t frame, pn_dicom_raw *raw,
                         pn_reject *why) {
  const E_TransferSyntax syntax = p->file->getDataset()->getOriginalXfer();
  E_TransferSyntax stored = EXS_Unknown;
  const DcmRepresentationParameter *parameter = nullptr;
  DcmPixelSequence *sequence = nullptr;

  raw->kind = kind_of(syntax, raw);
  pixels->getOriginalRepresentationKey(stored, parameter);
  if (!encapsulated(stored) ||
      pixels->getEncapsulatedRepresentation(stored, parameter, sequence).bad() || !sequence)
    pn_reject_set(why, "encapsulation_conflict", kPixelTag,
                  "compressed transfer syntax, uncompressed data");
  else if (raw->kind == PN_PIXELS_NONE)
    pn_reject_set(why, "unsupported_syntax", "(0002,0010)", "syntax %s not built in", raw->syntax);
  else
    join_fragments(p, sequence, frame, raw, why);
}

DcmPixelData *find_pixels(pn_dicom_parser *p, pn_reject *why) {
  DcmElement *e = nullptr;

  if (p->file->getDataset()->findAndGetElement(DCM_PixelData, e).good() && e &&
      e->ident() == EVR_PixelData)
    return static_cast<DcmPixelData *>(e);
  pn_reject_set(why, "corrupt_file", kPixelTag, "PixelData has a wrong value representation");
  return nullptr;
}

void decode(pn_dicom_parser *p, DcmPixelData *pixels, int64_t frame, pn_dicom_raw *raw,
            pn_reject *why) {
  const size_t pixel_count = static_cast<size_t>(raw->rows) * static_cast<size_t>(raw->columns);
  const size_t need = pixel_count * static_cast<size_t>(raw->samples * raw->bits_allocated / 8);
  Uint32 fragment = 0;
  OFString colour;

  if (pixel_count / kMaxPixelsPerByte > raw->pixel_bytes) {
    pn_reject_set(why, "pixels_truncated", kPixelTag, "stream of %zu bytes, %zu pixels",
                  raw->pixel_bytes, pixel_count);
    return;
  }
  p->decoded.resize(need + need % 2);
  const OFCondition c = pixels->getUncompressedFrame(
      p->file->getDataset(), static_cast<Uint32>(frame), fragment, p->decoded.data(),
      static_cast<Uint32>(p->decoded.size()), colour);
  if (c.bad()) {
    pn_reject_set(why, "decode_error", kPixelTag, "DCMTK: %.80s", c.text());
    return;
  }
  raw->pixels = p->decoded.data();
  raw->pixel_bytes = need;
  snprintf(raw->decoded, sizeof raw->decoded, "%s", colour.c_str());
}

} // namespace

extern "C" pn_status pn_dicom_parser_pixels(pn_dicom_parser *p, int64_t frame, pn_dicom_raw *raw,
                                            pn_reject *why) {
  DcmPixelData *pixels = find_pixels(p, why);

  if (!pixels) return PN_OK;
  try {
    if (encapsulated(p->file->getDataset()->getOriginalXfer()))
      encapsulated_pixels(p, pixels, frame, raw, why);
    else
      native_pixels(pixels, raw, why);
  } catch (const std::bad_alloc &) {
    pn_reject_set(why, "decode_error", kPixelTag, "out of memory while decoding");
  }
  return PN_OK;
}

extern "C" pn_status pn_dicom_parser_decode(pn_dicom_parser *p, int64_t frame, pn_dicom_raw *raw,
                                            pn_reject *why) {
  DcmPixelData *pixels = find_pixels(p, why);

  if (!pixels) return PN_OK;
  try {
    decode(p, pixels, frame, raw, why);
  } catch (const std::bad_alloc &) {
    pn_reject_set(why, "decode_error", kPixelTag, "out of memory while decoding");
  }
  return PN_OK;
}
