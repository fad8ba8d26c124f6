// dicom_dcmtk.cc -- the only file that sees DCMTK: parsing and rare codecs for the reader
// (dicom_raw.h), and the writer of RSNA-style files.  What DCMTK accepts in silence is checked in
// dicom_check.c; JPEG baseline goes to libjpeg-turbo (jpeg.c), which is 2.7 times as fast.
#include "data/dicom.h"
#include "data/dicom_raw.h"

#include <dcmtk/config/osconfig.h>

#include <dcmtk/dcmdata/dcistrmb.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dcrledrg.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpls/djdecode.h>
#include <dcmtk/oflog/oflog.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

struct pn_dicom_parser {
  std::unique_ptr<DcmFileFormat> file;
  std::vector<uint8_t> joined; // fragments of one frame
  size_t file_bytes;
};

namespace {

bool encapsulated(E_TransferSyntax syntax) {
#if PACKAGE_VERSION_NUMBER >= 368 // renamed in DCMTK 3.6.8
  return DcmXfer(syntax).usesEncapsulatedFormat();
#else
  return DcmXfer(syntax).isEncapsulated();
#endif
}

const char *const kPixelTag = "(7fe0,0010)";
const size_t kMaxPixelsPerByte = 2048; // of compressed data: more is a bomb or a broken header

// Text of an element's first value, or of value `pos`: "" absent or empty, "?" not readable.
void get_text(DcmItem *set, const DcmTagKey &tag, unsigned long pos, char *out, size_t bytes) {
  DcmElement *e = nullptr;
  OFString value;

  out[0] = 0;
  if (set->findAndGetElement(tag, e).bad() || !e || e->getLength() == 0) return;
  if (e->getOFString(value, pos).bad()) {
    if (pos == 0) snprintf(out, bytes, "?");
    return;
  }
  const size_t first = value.find_first_not_of(" ");
  if (first == OFString_npos) return;
  value = value.substr(first, value.find_last_not_of(" ") - first + 1);
  snprintf(out, bytes, "%s", value.length() < bytes ? value.c_str() : "?");
}

int64_t get_number(DcmItem *set, const DcmTagKey &tag) {
  DcmElement *e = nullptr;
  Uint16 u = 0;
  Sint16 s = 0;

  if (set->findAndGetElement(tag, e).bad() || !e) return PN_DICOM_ABSENT;
  if (e->getUint16(u).good()) return u;
  if (e->getSint16(s).good()) return s;
  return PN_DICOM_ABSENT;
}

void get_frames(DcmItem *set, pn_dicom_raw *raw) {
  DcmElement *e = nullptr;
  Sint32 frames = 0;

  raw->frames = PN_DICOM_ABSENT;
  if (set->findAndGetElement(DCM_NumberOfFrames, e).bad() || !e || e->getLength() == 0) return;
  if (e->getSint32(frames).good())
    raw->frames = frames;
  else
    raw->bad_frames = true;
}

void get_image_attributes(DcmItem *set, pn_dicom_raw *raw) {
  raw->rows = get_number(set, DCM_Rows);
  raw->columns = get_number(set, DCM_Columns);
  raw->samples = get_number(set, DCM_SamplesPerPixel);
  raw->bits_allocated = get_number(set, DCM_BitsAllocated);
  raw->bits_stored = get_number(set, DCM_BitsStored);
  raw->high_bit = get_number(set, DCM_HighBit);
  raw->is_signed = get_number(set, DCM_PixelRepresentation);
  raw->padding = get_number(set, DCM_PixelPaddingValue);
  raw->padding_limit = get_number(set, DCM_PixelPaddingRangeLimit);
  get_frames(set, raw);
  get_text(set, DCM_PhotometricInterpretation, 0, raw->photometric, sizeof raw->photometric);
}

void get_presentation(DcmItem *set, pn_dicom_raw *raw) {
  DcmElement *e = nullptr;
  get_text(set, DCM_PresentationLUTShape, 0, raw->lut_shape, sizeof raw->lut_shape);
  get_text(set, DCM_VOILUTFunction, 0, raw->voi_function, sizeof raw->voi_function);
  get_text(set, DCM_RescaleSlope, 0, raw->slope, sizeof raw->slope);
  get_text(set, DCM_RescaleIntercept, 0, raw->intercept, sizeof raw->intercept);
  get_text(set, DCM_WindowCenter, 0, raw->centre, sizeof raw->centre);
  get_text(set, DCM_WindowWidth, 0, raw->width, sizeof raw->width);
  if (set->findAndGetElement(DCM_WindowCenter, e).good() && e)
    raw->n_windows = static_cast<int64_t>(e->getVM());
  raw->has_modality_lut = set->tagExistsWithValue(DCM_ModalityLUTSequence);
  raw->has_voi_lut = set->tagExistsWithValue(DCM_VOILUTSequence);
}

void get_patient(DcmItem *set, pn_dicom_raw *raw) {
  get_text(set, DCM_PatientSex, 0, raw->sex, sizeof raw->sex);
  get_text(set, DCM_PatientAge, 0, raw->age, sizeof raw->age);
  get_text(set, DCM_ViewPosition, 0, raw->view, sizeof raw->view);
  get_text(set, DCM_BurnedInAnnotation, 0, raw->burned_in, sizeof raw->burned_in);
  for (unsigned i = 0; i < 2; i++) {
    get_text(set, DCM_PixelSpacing, i, raw->spacing[i], sizeof raw->spacing[i]);
    get_text(set, DCM_PixelAspectRatio, i, raw->aspect[i], sizeof raw->aspect[i]);
  }
  get_text(set, DCM_PatientID, 0, raw->patient_id, sizeof raw->patient_id);
  get_text(set, DCM_SOPInstanceUID, 0, raw->sop_uid, sizeof raw->sop_uid);
  // an id that cannot be held whole, or read, counts as absent
  if (strcmp(raw->patient_id, "?") == 0) raw->patient_id[0] = 0;
  if (strcmp(raw->sop_uid, "?") == 0) raw->sop_uid[0] = 0;
}

void fill_raw(DcmFileFormat *file, pn_dicom_raw *raw) {
  DcmDataset *set = file->getDataset();
  DcmElement *pixels = nullptr;
  memset(raw, 0, sizeof *raw);
  get_text(file->getMetaInfo(), DCM_TransferSyntaxUID, 0, raw->syntax, sizeof raw->syntax);
  raw->has_meta = raw->syntax[0] != 0;
  raw->known_syntax = DcmXfer(raw->syntax).getXfer() != EXS_Unknown;
  get_image_attributes(set, raw);
  get_presentation(set, raw);
  get_patient(set, raw);
  raw->has_sop_class = set->tagExistsWithValue(DCM_SOPClassUID);
  raw->has_pixels = set->findAndGetElement(DCM_PixelData, pixels).good() && pixels;
}

void reject_parse(const OFCondition &why_bad, bool has_mark, pn_reject *why) {
  const bool cut = why_bad == EC_EndOfStream || why_bad == EC_StreamNotifyClient ||
                   strstr(why_bad.text(), "end of stream") != nullptr;
  pn_reject_set(why,
                !has_mark ? "not_dicom"
                : cut     ? "truncated_file"
                          : "corrupt_file",
                "", "DCMTK: %.80s", why_bad.text());
}

pn_status parse(pn_dicom_parser *p, const uint8_t *file, size_t bytes, pn_dicom_raw *raw,
                pn_reject *why) {
  const bool has_mark = bytes >= 132 && memcmp(file + 128, "DICM", 4) == 0;
  DcmInputBufferStream stream;
  p->file.reset(new DcmFileFormat);
  p->file_bytes = bytes;
  stream.setBuffer(file, static_cast<offile_off_t>(bytes));
  stream.setEos();
  p->file->transferInit();
  const OFCondition c = p->file->read(stream, EXS_Unknown, EGL_noChange, DCM_MaxReadLength);
  p->file->transferEnd();
  if (c.bad())
    reject_parse(c, has_mark, why);
  else
    fill_raw(p->file.get(), raw);
  return PN_OK;
}

// The frame's fragments (all items but the offset table) as one run of bytes.
void join_fragments(pn_dicom_parser *p, DcmPixelSequence *sequence, pn_dicom_raw *raw,
                    pn_reject *why) {
  p->joined.clear();
  for (unsigned long i = 1; i < sequence->card(); i++) {
    DcmPixelItem *item = nullptr;
    Uint8 *data = nullptr;
    if (sequence->getItem(item, i).bad() || !item || item->getLength() == 0) continue;
    if (item->getUint8Array(data).bad() || !data) {
      pn_reject_set(why, "corrupt_file", kPixelTag, "fragment %lu cannot be read", i);
      return;
    }
    raw->pixels = data;
    raw->pixel_bytes = item->getLength();
    if (sequence->card() > 2) p->joined.insert(p->joined.end(), data, data + item->getLength());
  }
  if (sequence->card() > 2) {
    raw->pixels = p->joined.data();
    raw->pixel_bytes = p->joined.size();
  }
  if (raw->pixel_bytes == 0)
    pn_reject_set(why, "no_fragments", kPixelTag, "the pixel sequence holds no data");
  raw->kind = PN_PIXELS_JPEG;
}

bool has_codec(E_TransferSyntax x) { // baseline is not DCMTK's task
  return x == EXS_JPEGProcess2_4 || x == EXS_JPEGProcess14 || x == EXS_JPEGProcess14SV1 ||
         x == EXS_JPEGLSLossless || x == EXS_JPEGLSLossy || x == EXS_RLELossless;
}

void native_pixels(DcmPixelData *pixels, pn_dicom_raw *raw, pn_reject *why) {
  Uint8 *data = nullptr;
  const Uint32 bytes = pixels->getLength();
  raw->kind = PN_PIXELS_NATIVE;
  if (bytes == 0) return; // the length check says so
  if (pixels->getUint8Array(data).bad() || !data)
    pn_reject_set(why, "corrupt_file", kPixelTag, "pixel data cannot be read");
  raw->pixels = data;
  raw->pixel_bytes = bytes;
}

// Codecs may rewrite the header to what the stream says: then the two contradict each other.
bool header_changed(DcmItem *set, const pn_dicom_raw *raw, pn_reject *why) {
  pn_dicom_raw now = {};
  get_image_attributes(set, &now);
  if (now.rows == raw->rows && now.columns == raw->columns && now.samples == raw->samples &&
      now.bits_allocated == raw->bits_allocated && now.bits_stored == raw->bits_stored &&
      now.high_bit == raw->high_bit && now.is_signed == raw->is_signed)
    return false;
  return pn_reject_set(why, "bits_conflict", "(0028,0101)",
                       "header and compressed stream disagree in size or bits");
}

void decompress(pn_dicom_parser *p, pn_dicom_raw *raw, pn_reject *why) {
  DcmDataset *set = p->file->getDataset();
  DcmElement *e = nullptr;
  const size_t n = static_cast<size_t>(raw->rows) * static_cast<size_t>(raw->columns);

  if (n / kMaxPixelsPerByte > p->file_bytes) {
    pn_reject_set(why, "pixels_truncated", kPixelTag, "file of %zu bytes, %zu pixels",
                  p->file_bytes, n);
    return;
  }
  const OFCondition c = set->chooseRepresentation(EXS_LittleEndianExplicit, nullptr);
  if (c.bad()) {
    pn_reject_set(why, "decode_error", kPixelTag, "DCMTK: %.80s", c.text());
    return;
  }
  if (header_changed(set, raw, why)) return;
  if (set->findAndGetElement(DCM_PixelData, e).bad() || e->ident() != EVR_PixelData) return;
  raw->by_codec = true;
  native_pixels(static_cast<DcmPixelData *>(e), raw, why);
}

void encapsulated_pixels(pn_dicom_parser *p, DcmPixelData *pixels, E_TransferSyntax syntax,
                         pn_dicom_raw *raw, pn_reject *why) {
  E_TransferSyntax stored = EXS_Unknown;
  const DcmRepresentationParameter *parameter = nullptr;
  DcmPixelSequence *sequence = nullptr;

  pixels->getOriginalRepresentationKey(stored, parameter);
  if (!encapsulated(stored) ||
      pixels->getEncapsulatedRepresentation(stored, parameter, sequence).bad() || !sequence)
    pn_reject_set(why, "encapsulation_conflict", kPixelTag,
                  "compressed transfer syntax, uncompressed data");
  else if (sequence->card() < 2)
    pn_reject_set(why, "no_fragments", kPixelTag, "the pixel sequence holds no data");
  else if (syntax == EXS_JPEGProcess1 || (syntax == EXS_JPEGProcess2_4 && raw->bits_allocated == 8))
    join_fragments(p, sequence, raw, why);
  else if (has_codec(syntax))
    decompress(p, raw, why);
  else
    pn_reject_set(why, "unsupported_syntax", "(0002,0010)", "%s %s", raw->syntax,
                  DcmXfer(syntax).getXferName());
}

} // namespace

extern "C" pn_status pn_dicom_parser_create(pn_dicom_parser **out) {
  *out = nullptr;
  OFLog::configure(OFLogger::OFF_LOG_LEVEL); // its messages may show names
  if (!dcmDataDict.isDictionaryLoaded())
    return PN_FAIL(PN_ERR_IO, "DCMTK has no data dictionary: set DCMDICTPATH to dicom.dic "
                              "(Debian: /usr/share/libdcmtk17/dicom.dic)");
  DJDecoderRegistration::registerCodecs();
  DJLSDecoderRegistration::registerCodecs();
  DcmRLEDecoderRegistration::registerCodecs();
  *out = new (std::nothrow) pn_dicom_parser;
  return *out ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "DICOM parser: out of memory");
}

extern "C" void pn_dicom_parser_destroy(pn_dicom_parser *p) {
  delete p;
}

extern "C" pn_status pn_dicom_parser_header(pn_dicom_parser *p, const uint8_t *file, size_t bytes,
                                            pn_dicom_raw *raw, pn_reject *why) {
  try {
    return parse(p, file, bytes, raw, why);
  } catch (const std::bad_alloc &) { // a length in the file, not our need
    pn_reject_set(why, "corrupt_file", "", "an element asks for more memory than there is");
    return PN_OK;
  }
}

extern "C" pn_status pn_dicom_parser_pixels(pn_dicom_parser *p, pn_dicom_raw *raw, pn_reject *why) {
  DcmElement *e = nullptr;
  const E_TransferSyntax syntax = p->file->getDataset()->getOriginalXfer();

  if (p->file->getDataset()->findAndGetElement(DCM_PixelData, e).bad() || !e ||
      e->ident() != EVR_PixelData) {
    pn_reject_set(why, "corrupt_file", kPixelTag, "PixelData has a wrong value representation");
    return PN_OK;
  }
  try {
    DcmPixelData *pixels = static_cast<DcmPixelData *>(e);
    if (encapsulated(syntax))
      encapsulated_pixels(p, pixels, syntax, raw, why);
    else
      native_pixels(pixels, raw, why);
  } catch (const std::bad_alloc &) {
    pn_reject_set(why, "decode_error", kPixelTag, "out of memory while decoding");
  }
  return PN_OK;
}

namespace {

OFCondition put_text(DcmItem *to, const pn_dicom_rsna *d) {
  const char *view = d->ap ? "AP" : "PA", *sex = d->sex == 'F' ? "F" : "M";
  char age[16], spacing[80], series[16];
  snprintf(age, sizeof age, "%d", d->age);
  snprintf(spacing, sizeof spacing, "%.17g\\%.17g", d->spacing_mm, d->spacing_mm);
  snprintf(series, sizeof series, "view: %s", view);
  const struct {
    DcmTagKey tag;
    const char *text;
  } rows[] = {{DCM_SpecificCharacterSet, "ISO_IR 100"},
              {DCM_SOPClassUID, UID_SecondaryCaptureImageStorage},
              {DCM_SOPInstanceUID, d->sop_uid},
              {DCM_StudyDate, "19010101"},
              {DCM_StudyTime, "000000.00"},
              {DCM_AccessionNumber, ""},
              {DCM_Modality, "CR"},
              {DCM_ConversionType, "WSD"},
              {DCM_ReferringPhysicianName, ""},
              {DCM_SeriesDescription, series},
              {DCM_PatientName, d->id},
              {DCM_PatientID, d->id},
              {DCM_PatientBirthDate, ""},
              {DCM_PatientSex, sex},
              {DCM_PatientAge, age},
              {DCM_BodyPartExamined, "CHEST"},
              {DCM_ViewPosition, view},
              {DCM_StudyInstanceUID, d->study_uid},
              {DCM_SeriesInstanceUID, d->series_uid},
              {DCM_StudyID, ""},
              {DCM_SeriesNumber, "1"},
              {DCM_InstanceNumber, "1"},
              {DCM_PatientOrientation, ""},
              {DCM_PhotometricInterpretation, "MONOCHROME2"},
              {DCM_PixelSpacing, spacing},
              {DCM_LossyImageCompression, "01"},
              {DCM_LossyImageCompressionMethod, "ISO_10918_1"}};
  OFCondition rc = EC_Normal;
  for (const auto &row : rows)
    if (rc.good()) rc = to->putAndInsertString(row.tag, row.text);
  return rc;
}

OFCondition put_numbers(DcmItem *to, const pn_dicom_rsna *d) {
  const struct {
    DcmTagKey tag;
    int value;
  } rows[] = {{DCM_SamplesPerPixel, 1},    {DCM_Rows, d->rows}, {DCM_Columns, d->columns},
              {DCM_BitsAllocated, 8},      {DCM_BitsStored, 8}, {DCM_HighBit, 7},
              {DCM_PixelRepresentation, 0}};
  OFCondition rc = EC_Normal;
  for (const auto &row : rows)
    if (rc.good()) rc = to->putAndInsertUint16(row.tag, static_cast<Uint16>(row.value));
  return rc;
}

// One frame: an empty offset table and one fragment, padded to an even length.
OFCondition put_jpeg(DcmItem *to, const pn_dicom_rsna *d) {
  DcmPixelSequence *frames = new DcmPixelSequence(DCM_PixelSequenceTag);
  DcmPixelData *pixels = new DcmPixelData(DCM_PixelData);
  pixels->putOriginalRepresentation(EXS_JPEGProcess1, nullptr, frames); // owns frames
  DcmPixelItem *table = new DcmPixelItem(DCM_PixelItemTag);
  frames->insert(table);
  DcmPixelItem *frame = new DcmPixelItem(DCM_PixelItemTag);
  frames->insert(frame);
  size_t even = d->jpeg_bytes + d->jpeg_bytes % 2;
  Uint8 *bytes = nullptr;
  OFCondition rc = frame->createUint8Array(static_cast<Uint32>(even), bytes);
  if (rc.good()) {
    bytes[even - 1] = 0;
    memcpy(bytes, d->jpeg, d->jpeg_bytes);
    rc = to->insert(pixels, OFTrue);
  }
  if (rc.bad()) delete pixels;
  return rc;
}

} // namespace

extern "C" pn_status pn_dicom_write_rsna(const char *path, const pn_dicom_rsna *image) {
  DcmFileFormat file;
  DcmDataset *set = file.getDataset();
  OFCondition rc = put_text(set, image);

  if (rc.good()) rc = put_numbers(set, image);
  if (rc.good()) rc = put_jpeg(set, image);
  if (rc.good()) rc = file.saveFile(path, EXS_JPEGProcess1);
  if (rc.bad()) return PN_FAIL(PN_ERR_IO, "cannot write %s: %s", path, rc.text());
  return PN_OK;
}

extern "C" const char *pn_dicom_library(void) {
  return "DCMTK " OFFIS_DCMTK_VERSION_STRING;
}
