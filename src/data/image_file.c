/* image_file.c -- see image_file.h: the readers and the resize of ingest, without labels. */
#include "data/image_file.h"

#include "data/input.h"
#include "data/picture.h"

#include <stdlib.h>
#include <string.h>

struct pn_image_file {
  pn_resizer_format format;
  pn_resizer *resizer;
  pn_dicom_reader *dicom; /* NULL: a build without DCMTK */
  pn_input input;
  pn_gray image, scratch;
};

pn_status pn_image_file_create(const pn_resizer_format *format, pn_image_file **out) {
  pn_image_file *f = calloc(1, sizeof *f);
  pn_status st = PN_OK;

  *out = NULL;
  if (!f) return PN_FAIL(PN_ERR_NOMEM, "image files: out of memory");
  f->format = *format;
  PN_TRY(pn_resizer_create(format, &f->resizer));
  st = pn_dicom_reader_create(&f->dicom);
  if (st == PN_ERR_UNSUPPORTED) st = PN_OK;
  if (st != PN_OK) goto done;
  *out = f;
  f = NULL;
done:
  pn_image_file_destroy(f);
  return st;
}

void pn_image_file_destroy(pn_image_file *f) {
  if (!f) return;
  pn_resizer_destroy(f->resizer);
  pn_dicom_reader_destroy(f->dicom);
  pn_input_free(&f->input);
  pn_gray_free(&f->image);
  pn_gray_free(&f->scratch);
  free(f);
}

static pn_status decode(pn_image_file *f, pn_reject *why) {
  pn_bytes bytes = {f->input.data, f->input.bytes};
  const char *unpack, *kind = pn_file_kind(bytes.data, bytes.bytes, &unpack);
  pn_picture_info picture;
  pn_dicom_info info;

  if (!kind || strcmp(kind, "DICOM") != 0)
    return pn_picture_decode(bytes, &f->image, &f->scratch, &picture, why);
  if (f->dicom)
    return pn_dicom_read_memory(f->dicom, bytes.data, bytes.bytes, &info, &f->image, why);
  pn_reject_set(why, "no_dicom", NULL, "a DICOM file, but this build has no DCMTK");
  return PN_OK;
}

pn_status pn_image_file_read(pn_image_file *f, const char *path, void *pixels, pn_reject *why) {
  pn_status st;

  *why = (pn_reject){.reason = ""};
  st = pn_input_read(&f->input, path, why);
  if (st == PN_OK && !why->reason[0]) st = decode(f, why);
  if (st != PN_OK || why->reason[0]) return st;
  if (f->image.channels == 3 && f->format.channels == 1) pn_picture_to_grey(&f->image);
  return pn_resizer_run(f->resizer, &f->image, pixels);
}
