/* synth.h -- phantoms: drawn chest X-rays in the RSNA layout, for demos and tests.
 *
 * Image i depends on (seed, i) and the options only, never on the number of ranks.  Nothing here is
 * a real person: names, ids and dates are derived from the seed. */
#ifndef PN_DATA_SYNTH_H
#define PN_DATA_SYNTH_H

#include "comm/comm.h"

#include <stddef.h>
#include <stdint.h>

enum { PN_SYNTH_SIDE = 1024, PN_SYNTH_MAX_BOXES = 3, PN_SYNTH_ID_BYTES = 37 };

typedef struct {
  const char *out;  /* borrowed; folder to write, made when missing; must hold nothing else */
  int64_t images;   /* >= 1 */
  uint64_t seed;    /* default 1 */
  double positives; /* share with class Lung Opacity, 0..1; the count is exact (rounded) */
  double normals;   /* share of the rest that is class Normal, 0..1; the count is exact */
  double contrast;  /* strength of the opacities, 0.1..4; 1 = the default difficulty */
  int quality;      /* JPEG quality, 1..100 */
} pn_synth_config;

/* What a run wrote, over all ranks. */
typedef struct {
  int64_t images, positives, boxes, bytes; /* bytes: DICOM files only */
  double seconds, images_per_s;
} pn_synth_result;

/* positives 0.4, normals 0.5, contrast 1, quality 84, seed 1, images 400; out NULL. */
pn_synth_config pn_synth_defaults(void);

/* Write out/stage_2_train_images/<id>.dcm, out/stage_2_train_labels.csv and
 * out/stage_2_detailed_class_info.csv.  Ranks draw images rank, rank + size, ...  Collective.
 * Errors: ARG (a value out of range; `out` already holds files), IO, NOMEM. */
pn_status pn_synth_run(const pn_synth_config *cfg, pn_comm *c, pn_synth_result *result);

typedef enum { PN_SYNTH_NORMAL, PN_SYNTH_NOT_NORMAL, PN_SYNTH_OPACITY } pn_synth_class;

/* One soft-edged cloud inside a lung; pixels of the final image. */
typedef struct {
  float x, y, width, height; /* upper-left corner and size; inside the image */
} pn_synth_box;

/* All that is known of an image without drawing it. */
typedef struct {
  char id[PN_SYNTH_ID_BYTES]; /* a uuid (version 4 form) */
  pn_synth_class cls;
  int age;  /* years */
  char sex; /* 'F' or 'M' */
  bool ap;  /* view AP, else PA */
  double spacing_mm;
  int n_boxes; /* > 0 only for PN_SYNTH_OPACITY */
  pn_synth_box box[PN_SYNTH_MAX_BOXES];
} pn_synth_case;

const char *pn_synth_class_name(pn_synth_class cls); /* the names of the RSNA class file */

/* Describe image i of the set.  Errors: ARG (i outside 0 .. images - 1). */
pn_status pn_synth_describe(const pn_synth_config *cfg, int64_t i, pn_synth_case *out);

/* Draw image i: pixels of PN_SYNTH_SIDE x PN_SYNTH_SIDE bytes, caller's.  Errors: ARG, NOMEM. */
pn_status pn_synth_draw(const pn_synth_config *cfg, int64_t i, uint8_t *pixels);

#endif
