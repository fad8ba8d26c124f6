/* geometry.h -- resize an image to the size of the data set; boxes follow.
 *
 * Three fits.  stretch: the whole image on the whole target, each axis with its own factor.
 * letterbox: the whole image, aspect ratio kept, centred on black.  crop: the largest centred part
 * with the target's aspect ratio, to whole pixels.
 *
 * An axis that shrinks is averaged by area, one that grows is interpolated linearly (pixel centres
 * at half integers, edges repeated).  Sums are exact integers: the result is the rule's value
 * rounded to the nearest grey level. */
#ifndef PN_DATA_GEOMETRY_H
#define PN_DATA_GEOMETRY_H

#include "base/status.h"
#include "data/gray.h"
#include "data/shard.h"

#include <stdint.h>

typedef enum { PN_FIT_STRETCH, PN_FIT_LETTERBOX, PN_FIT_CROP, PN_FIT_COUNT } pn_fit;
const char *pn_fit_name(pn_fit fit);             /* "stretch", "letterbox", "crop" */
bool pn_fit_find(const char *name, pn_fit *out); /* false: there is none of that name */

typedef struct {
  int64_t y, x, height, width; /* pixels */
} pn_rect;
/* The part of the source that is shown, and where in the target; the rest of that is black. */
typedef struct {
  pn_rect from, to;
} pn_fit_map;
pn_fit_map pn_fit_make(pn_fit fit, int64_t in_h, int64_t in_w, int64_t out_h, int64_t out_w);

typedef enum { PN_BOX_WHOLE, PN_BOX_CLIPPED, PN_BOX_OUTSIDE } pn_box_fate;
/* Box in source pixels -> the part of it that is shown, in target pixels.  OUTSIDE: nothing of it
 * is, *b is unchanged. */
pn_box_fate pn_fit_box(const pn_fit_map *m, pn_box *b);

typedef struct {
  int64_t channels, height, width; /* of the output; 1 or 3 channels */
  int bits;                        /* of the output: 8 or 16 */
  pn_fit fit;
} pn_resizer_format;

typedef struct pn_resizer pn_resizer; /* keeps the tables of the last input size */
/* Errors: ARG (sizes 1..PN_RESIZE_MAX_SIDE), NOMEM. */
enum { PN_RESIZE_MAX_SIDE = 16384 };
pn_status pn_resizer_create(const pn_resizer_format *format, pn_resizer **out);
void pn_resizer_destroy(pn_resizer *r);

/* in: grey or RGB, 8 or 16 bits (8 -> 16: value * 257; 16 -> 8: value / 257).  out: channels planes
 * of height x width u8 or u16; a grey input fills every plane.
 * Errors: ARG (RGB input of a grey output, side too large), NOMEM. */
pn_status pn_resizer_run(pn_resizer *r, const pn_gray *in, void *out);

#endif
