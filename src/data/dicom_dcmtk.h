// dicom_dcmtk.h -- what the C++ files of the DICOM parser share.  DCMTK stays inside them.
#ifndef PN_DATA_DICOM_DCMTK_H
#define PN_DATA_DICOM_DCMTK_H

#include "data/dicom_raw.h"

#include <dcmtk/config/osconfig.h>

#include <dcmtk/dcmdata/dctk.h>

#include <memory>
#include <vector>

enum { PN_DCMTK_LUTS = 5 }; // modality, VOI, red, green, blue

struct pn_dicom_parser {
  std::unique_ptr<DcmFileFormat> file;
  std::vector<uint8_t> joined;               // fragments of one frame
  std::vector<uint8_t> decoded;              // one frame from a codec
  std::vector<uint16_t> luts[PN_DCMTK_LUTS]; // values of tables
};

// Text of value `pos` of an element: "" absent or empty, "?" not readable.
void pn_dcmtk_text(DcmItem *set, const DcmTagKey &tag, unsigned long pos, char *out, size_t bytes);
// raw->palette and segmented_palette, from the data set just parsed (dicom_dcmtk_tables.cc).
void pn_dcmtk_palette(pn_dicom_parser *p, pn_dicom_raw *raw);

#endif
