/* augment_internal.h -- shared by the augment*.c files only. */
#ifndef PN_DATA_AUGMENT_INTERNAL_H
#define PN_DATA_AUGMENT_INTERNAL_H

#include "data/augment.h"

enum { PN_QUANTILES = 4096 };

struct pn_augment {
  pn_augment_config config;
  pn_image_format format;
  float quantile[PN_QUANTILES]; /* of the normal distribution, at the middles of equal shares */
};

/* augment_resample.c: is there any geometry but a plain flip? */
bool pn_is_affine(const pn_draw *d);
/* in -> out, one channel, bilinear; what lies outside is `fill`, or the nearest pixel where fill is
 * NULL. */
void pn_resample(const pn_draw *d, int64_t height, int64_t width, const float *fill,
                 const float *in, float *out);

#endif
