/* augment_internal.h -- shared by the augment*.c files only. */
#ifndef PN_DATA_AUGMENT_INTERNAL_H
#define PN_DATA_AUGMENT_INTERNAL_H

#include "data/augment.h"

enum { PN_QUANTILES = PN_NOISE_QUANTILES };

struct pn_augment {
  pn_augment_config config;
  pn_image_format format;
  float quantile[PN_QUANTILES]; /* of the normal distribution, at the middles of equal shares */
};

/* Places in the source in 32.32 fixed point: the same on every machine, and exact over a row. */
typedef struct {
  int64_t x0, y0;       /* of output pixel (0, 0) */
  int64_t x_col, y_col; /* per column */
  int64_t x_row, y_row; /* per row */
} pn_places;

/* augment_resample.c: is there any geometry but a plain flip? */
bool pn_is_affine(const pn_draw *d);
pn_places pn_make_places(const pn_draw *d, int64_t height, int64_t width);
/* in -> out, one channel, bilinear; what lies outside is `fill`, or the nearest pixel where fill is
 * NULL. */
void pn_resample(const pn_draw *d, int64_t height, int64_t width, const float *fill,
                 const float *in, float *out);

#endif
