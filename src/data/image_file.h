/* image_file.h -- one image file (DICOM, PNG, JPEG by its content) to the pixels that ingest stores
 * for it in a data set of this format. */
#ifndef PN_DATA_IMAGE_FILE_H
#define PN_DATA_IMAGE_FILE_H

#include "data/dicom.h"
#include "data/geometry.h"
#include "data/reject.h"

typedef struct pn_image_file pn_image_file; /* reusable; for one thread */

/* Errors: ARG (format), NOMEM.  Without DCMTK in the build DICOM files are rejected. */
pn_status pn_image_file_create(const pn_resizer_format *format, pn_image_file **out);
void pn_image_file_destroy(pn_image_file *f);

/* pixels: channels planes of height x width u8 or u16.  *why: the file is rejected, why->reason[0]
 * != 0; pixels are then undefined.  PN_OK for a rejected file too; errors are of this process. */
pn_status pn_image_file_read(pn_image_file *f, const char *path, void *pixels, pn_reject *why);

#endif
