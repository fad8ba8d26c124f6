// dicom_dcmtk_tables.cc -- what turns stored values into greys: tables (modality, VOI, palette),
// rescale and windows, in the image itself or in the functional groups of a frame.
#include "data/dicom_dcmtk.h"

#include <algorithm>
#include <new>

namespace {

const unsigned kMaxEntries = 65536;

// LUT data: words; or, for values of 8 bits, bytes packed two to a word.
bool get_values(DcmItem *set, const DcmTagKey &tag, size_t entries, int bits,
                std::vector<uint16_t> *to) {
  DcmElement *e = nullptr;
  Uint16 *words = nullptr;
  if (set->findAndGetElement(tag, e).bad() || !e || e->getUint16Array(words).bad() || !words)
    return false;
  const size_t have = e->getLength() / 2;
  const uint16_t mask = static_cast<uint16_t>((1u << bits) - 1);
  if (have < entries && !(bits == 8 && have * 2 >= entries)) return false;
  to->resize(entries);
  for (size_t i = 0; i < entries; i++) {
    const unsigned v = have < entries ? words[i / 2] >> (i % 2 * 8) & 0xFF : words[i];
    (*to)[i] = static_cast<uint16_t>(v & mask);
  }
  return true;
}

// Value of a descriptor: US, or SS where the inputs are signed.
bool get_descriptor(DcmElement *e, unsigned long pos, bool is_signed, int64_t *out) {
  Uint16 u = 0;
  Sint16 s = 0;
  if (e->getSint16(s, pos).good())
    *out = s;
  else if (e->getUint16(u, pos).good())
    *out = is_signed ? static_cast<Sint16>(u) : u;
  else
    return false;
  return true;
}

// nullptr, or what is wrong.
const char *read_lut(DcmItem *set, const DcmTagKey &descriptor, const DcmTagKey &data,
                     bool is_signed, std::vector<uint16_t> *values, pn_dicom_lut *lut) {
  DcmElement *e = nullptr;
  int64_t entries = 0, bits = 0;
  if (set->findAndGetElement(descriptor, e).bad() || !e || e->getVM() != 3)
    return "descriptor is missing or has not three values";
  if (!get_descriptor(e, 0, false, &entries) || !get_descriptor(e, 1, is_signed, &lut->first) ||
      !get_descriptor(e, 2, false, &bits))
    return "descriptor is no number";
  lut->entries = entries == 0 ? kMaxEntries : entries & 0xFFFF;
  if (bits < 1 || bits > 16) return "values must have 1 to 16 bits";
  lut->bits = static_cast<int>(bits);
  if (!get_values(set, data, static_cast<size_t>(lut->entries), lut->bits, values))
    return "data is missing or shorter than the descriptor says";
  lut->value = values->data();
  return nullptr;
}

void get_sequence_lut(DcmItem *set, const DcmTagKey &sequence, bool is_signed,
                      std::vector<uint16_t> *values, pn_dicom_lut *lut) {
  DcmItem *item = nullptr;
  *lut = pn_dicom_lut{};
  if (set->findAndGetSequenceItem(sequence, item, 0).bad() || !item) return;
  lut->present = true;
  lut->fault = read_lut(item, DCM_LUTDescriptor, DCM_LUTData, is_signed, values, lut);
}

void get_rescale(DcmItem *set, pn_dicom_raw *raw) {
  pn_dcmtk_text(set, DCM_RescaleSlope, 0, raw->slope, sizeof raw->slope);
  pn_dcmtk_text(set, DCM_RescaleIntercept, 0, raw->intercept, sizeof raw->intercept);
}

void get_window(DcmItem *set, int window, pn_dicom_raw *raw) {
  const unsigned long at = window > 1 ? static_cast<unsigned long>(window - 1) : 0;
  DcmElement *e = nullptr;
  pn_dcmtk_text(set, DCM_VOILUTFunction, 0, raw->voi_function, sizeof raw->voi_function);
  pn_dcmtk_text(set, DCM_WindowCenter, at, raw->centre, sizeof raw->centre);
  pn_dcmtk_text(set, DCM_WindowWidth, at, raw->width, sizeof raw->width);
  raw->n_windows = 0;
  if (set->findAndGetElement(DCM_WindowCenter, e).good() && e)
    raw->n_windows = static_cast<int64_t>(e->getVM());
}

// Enhanced objects keep rescale and window in groups: of all frames, or of each.
void get_groups(DcmItem *set, const DcmTagKey &groups, int64_t k, int window, pn_dicom_raw *raw) {
  DcmItem *group = nullptr, *item = nullptr;
  if (set->findAndGetSequenceItem(groups, group, static_cast<signed long>(k)).bad() || !group)
    return;
  if (group->findAndGetSequenceItem(DCM_PixelValueTransformationSequence, item, 0).good() && item)
    get_rescale(item, raw);
  if (group->findAndGetSequenceItem(DCM_FrameVOILUTSequence, item, 0).good() && item)
    get_window(item, window, raw);
}

} // namespace

void pn_dcmtk_palette(pn_dicom_parser *p, pn_dicom_raw *raw) {
  static const struct {
    DcmTagKey descriptor, data, segmented;
  } rows[3] = {{DCM_RedPaletteColorLookupTableDescriptor, DCM_RedPaletteColorLookupTableData,
                DCM_SegmentedRedPaletteColorLookupTableData},
               {DCM_GreenPaletteColorLookupTableDescriptor, DCM_GreenPaletteColorLookupTableData,
                DCM_SegmentedGreenPaletteColorLookupTableData},
               {DCM_BluePaletteColorLookupTableDescriptor, DCM_BluePaletteColorLookupTableData,
                DCM_SegmentedBluePaletteColorLookupTableData}};
  DcmItem *set = p->file->getDataset();

  for (int i = 0; i < 3; i++) {
    pn_dicom_lut *lut = &raw->palette[i];
    if (set->tagExists(rows[i].segmented)) raw->segmented_palette = true;
    lut->present = set->tagExists(rows[i].descriptor);
    if (lut->present)
      lut->fault = read_lut(set, rows[i].descriptor, rows[i].data, raw->is_signed == 1,
                            &p->luts[2 + i], lut);
  }
}

extern "C" pn_status pn_dicom_parser_frame(pn_dicom_parser *p, int64_t frame, int window,
                                           pn_dicom_raw *raw) {
  DcmItem *set = p->file->getDataset();
  const bool is_signed = raw->is_signed == 1;

  try {
    pn_dcmtk_text(set, DCM_PresentationLUTShape, 0, raw->lut_shape, sizeof raw->lut_shape);
    get_rescale(set, raw);
    get_window(set, window, raw);
    get_sequence_lut(set, DCM_ModalityLUTSequence, is_signed, &p->luts[0], &raw->modality);
    get_sequence_lut(set, DCM_VOILUTSequence, is_signed, &p->luts[1], &raw->voi);
    get_groups(set, DCM_SharedFunctionalGroupsSequence, 0, window, raw);
    get_groups(set, DCM_PerFrameFunctionalGroupsSequence, frame, window, raw);
  } catch (const std::bad_alloc &) {
    return PN_FAIL(PN_ERR_NOMEM, "DICOM tables: out of memory");
  }
  return PN_OK;
}
