/* ingest_image.h -- what one rank holds while it turns listed files into rows of a shard.  Private
 * to ingest_*.c: ingest_piece.c walks over files, ingest_image.c reads one, ingest_store.c keeps
 * one image. */
#ifndef PN_DATA_INGEST_IMAGE_H
#define PN_DATA_INGEST_IMAGE_H

#include "data/dicom.h"
#include "data/geometry.h"
#include "data/ingest_internal.h"
#include "data/input.h"

typedef struct {
  pn_ingest *x;
  pn_dicom_reader *reader;
  pn_resizer *resizer;
  pn_shard_writer *writer;
  pn_gray image; /* pixels of the image at hand */
  pn_box *boxes; /* [box_capacity] of the image at hand, in pixels of the stored image */
  int64_t box_capacity, boxes_clipped;
  int64_t piece;
  pn_input input;     /* a file that is no DICOM */
  const char *loaded; /* path that `input` (CIFAR-10) or `reader` holds, for its next image */
  pn_gray scratch;
} pn_ingest_worker;

enum { PN_GROUP_BYTES = 80 };
/* What is known of the pixels in worker.image. */
typedef struct {
  pn_dicom_info info;
  const pn_label *label;      /* NULL: none; borrowed */
  pn_label own;               /* where the image itself says its class: label points here */
  char group[PN_GROUP_BYTES]; /* patient, where the label does not say; "" = not known */
  int64_t n_boxes;            /* in worker.boxes */
} pn_ingest_image;

/* File number `file` of the list -> one record or one event.  Errors: of this process, not of the
 * file. */
pn_status pn_ingest_take_file(pn_ingest_worker *w, int64_t file);
/* Resize worker.image into the shard, append its row and the record of it. */
pn_status pn_ingest_store(pn_ingest_worker *w, int64_t file, const pn_ingest_image *image);

#endif
