// dicom_dcmtk_write.cc -- RSNA-style files, for phantoms and tests.
#include "data/dicom.h"

#include <dcmtk/config/osconfig.h>

#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dctk.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

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
  errno = 0; // DCMTK's text does not tell a full disk
  if (rc.good()) rc = file.saveFile(path, EXS_JPEGProcess1);
  if (rc.bad())
    return PN_FAIL(PN_ERR_IO, "cannot write %s: %s", path, errno ? strerror(errno) : rc.text());
  return PN_OK;
}

extern "C" const char *pn_dicom_library(void) {
  return "DCMTK " OFFIS_DCMTK_VERSION_STRING;
}
