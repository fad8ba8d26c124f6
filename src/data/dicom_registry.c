/* dicom_registry.c -- answers for dicom.h and dicom_raw.h when the build has no DCMTK. */
#include "data/dicom_raw.h"

#ifndef PN_WITH_DCMTK
static pn_status absent(void) {
  return PN_FAIL(PN_ERR_UNSUPPORTED,
                 "this build has no DCMTK: apt install libdcmtk-dev and rebuild");
}

pn_status pn_dicom_parser_create(pn_dicom_parser **out) {
  *out = NULL;
  return absent();
}

void pn_dicom_parser_destroy(pn_dicom_parser *p) {
  (void)p; /* always NULL */
}

pn_status pn_dicom_parser_header(pn_dicom_parser *p, const uint8_t *file, size_t bytes,
                                 pn_dicom_raw *raw, pn_reject *why) {
  (void)p, (void)file, (void)bytes, (void)raw, (void)why;
  return absent();
}

pn_status pn_dicom_parser_frame(pn_dicom_parser *p, int64_t frame, int window, pn_dicom_raw *raw) {
  (void)p, (void)frame, (void)window, (void)raw;
  return absent();
}

pn_status pn_dicom_parser_pixels(pn_dicom_parser *p, int64_t frame, pn_dicom_raw *raw,
                                 pn_reject *why) {
  (void)p, (void)frame, (void)raw, (void)why;
  return absent();
}

pn_status pn_dicom_parser_decode(pn_dicom_parser *p, int64_t frame, pn_dicom_raw *raw,
                                 pn_reject *why) {
  (void)p, (void)frame, (void)raw, (void)why;
  return absent();
}

pn_status pn_dicom_write_rsna(const char *path, const pn_dicom_rsna *image) {
  (void)path, (void)image;
  return absent();
}

const char *pn_dicom_library(void) {
  return "none";
}
#endif
