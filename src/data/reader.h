/* reader.h -- one image of a split as the network is given it: checked, augmented, normalised. */
#ifndef PN_DATA_READER_H
#define PN_DATA_READER_H

#include "data/augment.h"
#include "data/dataset.h"

#include <stddef.h>

/* Copied by value; all borrowed. */
typedef struct {
  pn_dataset *data;
  pn_split split;
  pn_image_format format;
  const pn_augment *augment;     /* NULL: none */
  const pn_class_groups *groups; /* classes of which mixup takes its other image; NULL: any image */
  bool mirror; /* left and right exchanged, after all else; descriptions: without `augment` only */
} pn_reader;

/* mean, sd: of the input, see pn_image_format. */
pn_reader pn_reader_make(pn_dataset *d, pn_split s, float mean, float sd);
int64_t pn_reader_pixels(const pn_reader *r);     /* floats of one image */
size_t pn_reader_image_bytes(const pn_reader *r); /* of one stored image */
int64_t pn_reader_scratch(const pn_reader *r);    /* floats that pn_reader_read needs */
bool pn_reader_mixes(const pn_reader *r);         /* label2 and mix are of use */

/* Where the images of a batch go, row by row. */
typedef struct {
  float *input;    /* [rows][channels][height][width] */
  int32_t *label;  /* [rows] */
  int32_t *label2; /* [rows]; with its share of the target 1 - mix */
  float *mix;      /* [rows] */
  uint64_t *id;    /* [rows] */
  /* Not NULL: images are described for a device, `input` is left alone.  What is mixed into image i
   * is row partners + i. */
  pn_image_row *row;
  int64_t partners;
  uint8_t *pixels; /* [rows of `row`] stored images; NULL: the whole split lies on the device */
} pn_rows;

/* Before reading images index[0 .. n) in `epoch`; see pn_dataset_reach.  Thread-safe: no. */
pn_status pn_reader_reach(const pn_reader *r, uint32_t epoch, const int64_t *index, int64_t n);
/* Image i of the split in `epoch` into row `at`, or its description.  Depends on nothing else: not
 * on batch, thread or rank.  scratch: pn_reader_scratch floats.  Errors: those of pn_dataset_get.
 * Thread-safe. */
pn_status pn_reader_read(const pn_reader *r, uint32_t epoch, int64_t i, float *scratch,
                         const pn_rows *rows, int64_t at);

/* The first failure of several threads, by row, kept as text: pn_last_error is per thread. */
enum { PN_FAILURE_BYTES = 900 };
typedef struct {
  pn_status status;
  int64_t row;
  char text[PN_FAILURE_BYTES];
} pn_failure;

void pn_failure_note(pn_failure *f, pn_status st, int64_t row); /* st: just failed on this thread */
pn_status pn_failure_raise(const pn_failure *f); /* PN_OK if there is none; else fails here */

#endif
