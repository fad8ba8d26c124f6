// dicom_dcmtk.cc -- DCMTK parses a file in memory into attributes (dicom_raw.h).  DCMTK stays in
// the dicom_dcmtk*.cc files; what it accepts in silence is checked in dicom_check.c.
#include "data/dicom_dcmtk.h"

#include <dcmtk/dcmdata/dcistrmb.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpls/djdecode.h>
#include <dcmtk/oflog/oflog.h>

#include <cstdio>
#include <cstring>
#include <new>

void pn_dcmtk_text(DcmItem *set, const DcmTagKey &tag, unsigned long pos, char *out, size_t bytes) {
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

namespace {

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
  raw->planar = get_number(set, DCM_PlanarConfiguration);
  raw->padding = get_number(set, DCM_PixelPaddingValue);
  raw->padding_limit = get_number(set, DCM_PixelPaddingRangeLimit);
  get_frames(set, raw);
  pn_dcmtk_text(set, DCM_PhotometricInterpretation, 0, raw->photometric, sizeof raw->photometric);
}

void get_patient(DcmItem *set, pn_dicom_raw *raw) {
  pn_dcmtk_text(set, DCM_PatientSex, 0, raw->sex, sizeof raw->sex);
  pn_dcmtk_text(set, DCM_PatientAge, 0, raw->age, sizeof raw->age);
  pn_dcmtk_text(set, DCM_ViewPosition, 0, raw->view, sizeof raw->view);
  pn_dcmtk_text(set, DCM_BurnedInAnnotation, 0, raw->burned_in, sizeof raw->burned_in);
  for (unsigned i = 0; i < 2; i++) {
    pn_dcmtk_text(set, DCM_PixelSpacing, i, raw->spacing[i], sizeof raw->spacing[i]);
    pn_dcmtk_text(set, DCM_PixelAspectRatio, i, raw->aspect[i], sizeof raw->aspect[i]);
  }
  pn_dcmtk_text(set, DCM_PatientID, 0, raw->patient_id, sizeof raw->patient_id);
  pn_dcmtk_text(set, DCM_SOPInstanceUID, 0, raw->sop_uid, sizeof raw->sop_uid);
  // an id that cannot be held whole, or read, counts as absent
  if (strcmp(raw->patient_id, "?") == 0) raw->patient_id[0] = 0;
  if (strcmp(raw->sop_uid, "?") == 0) raw->sop_uid[0] = 0;
}

void fill_raw(pn_dicom_parser *p, pn_dicom_raw *raw) {
  DcmFileFormat *file = p->file.get();
  DcmDataset *set = file->getDataset();
  DcmElement *pixels = nullptr;
  memset(raw, 0, sizeof *raw);
  pn_dcmtk_text(file->getMetaInfo(), DCM_TransferSyntaxUID, 0, raw->syntax, sizeof raw->syntax);
  raw->has_meta = raw->syntax[0] != 0;
  raw->known_syntax = DcmXfer(raw->syntax).getXfer() != EXS_Unknown;
  get_image_attributes(set, raw);
  pn_dcmtk_palette(p, raw);
  get_patient(set, raw);
  raw->has_sop_class = set->tagExistsWithValue(DCM_SOPClassUID);
  raw->has_pixels = set->findAndGetElement(DCM_PixelData, pixels).good() && pixels;
}

void reject_parse(const OFCondition &why_bad, bool has_mark, pn_reject *why) {
  const bool cut = why_bad == EC_EndOfStream || why_bad == EC_StreamNotifyClient ||
                   why_bad == EC_InvalidStream || // a value longer than what is left
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
  stream.setBuffer(file, static_cast<offile_off_t>(bytes));
  stream.setEos();
  p->file->transferInit();
  const OFCondition c = p->file->read(stream, EXS_Unknown, EGL_noChange, DCM_MaxReadLength);
  p->file->transferEnd();
  if (c.bad())
    reject_parse(c, has_mark, why);
  else
    fill_raw(p, raw);
  return PN_OK;
}

} // namespace

extern "C" pn_status pn_dicom_parser_create(pn_dicom_parser **out) {
  *out = nullptr;
  OFLog::configure(OFLogger::OFF_LOG_LEVEL); // its messages may show names
  if (!dcmDataDict.isDictionaryLoaded())
    return PN_FAIL(PN_ERR_IO, "DCMTK has no data dictionary: set DCMDICTPATH to dicom.dic "
                              "(Debian: /usr/share/libdcmtk17/dicom.dic)");
  DJDecoderRegistration::registerCodecs(EDC_photometricInterpretation, EUC_never, EPC_colorByPixel);
  DJLSDecoderRegistration::registerCodecs(EJLSUC_never, EJLSPC_colorByPixel);
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
