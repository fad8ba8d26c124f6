/* geometry.h -- resize a grey image to the size of the data set; boxes follow.
 *
 * The image is stretched to the target (no letterbox, no crop): each axis has its own factor.  An
 * axis that shrinks is averaged by area, one that grows is interpolated linearly (pixel centres at
 * half integers, edges repeated).  Within 1 grey level of the same rule in float64. */
#ifndef PN_DATA_GEOMETRY_H
#define PN_DATA_GEOMETRY_H

#include "base/status.h"
#include "data/gray.h"
#include "data/shard.h"

#include <stdint.h>

typedef struct pn_resizer pn_resizer; /* keeps the tables of the last input size */
pn_status pn_resizer_create(int64_t height, int64_t width, pn_resizer **out); /* of the output */
void pn_resizer_destroy(pn_resizer *r);

/* in: 8 or 16 bits; out: height * width bytes, 0..255 (16-bit input: value / 257, rounded).
 * Errors: NOMEM. */
pn_status pn_resizer_run(pn_resizer *r, const pn_gray *in, uint8_t *out);

/* Box of an image of in_h x in_w pixels -> the same box after the resize. */
pn_box pn_box_scale(pn_box b, int64_t in_h, int64_t in_w, int64_t out_h, int64_t out_w);

#endif
