/* preview.h -- a sheet of training images as the network would see them: one row per image, first
 * as it is stored, then once per epoch. */
#ifndef PN_DATA_PREVIEW_H
#define PN_DATA_PREVIEW_H

#include "data/reader.h"

typedef struct {
  const pn_reader *reader; /* with its augmentation, if any; borrowed */
  int images, epochs;      /* rows; columns after the first, epochs 1, 2, ... */
} pn_preview_spec;

typedef struct {
  int64_t height, width,
      step;        /* of the sheet in pixels; every step-th pixel of an image is shown */
  int channels;    /* 1 or 3 */
  uint8_t *pixels; /* [height][width][channels], owned */
} pn_sheet;

/* Images are taken evenly from the split.  Errors: ARG (empty split), NOMEM, those of reading. */
pn_status pn_preview_draw(const pn_preview_spec *spec, pn_sheet *out);
void pn_sheet_free(pn_sheet *s);

#endif
