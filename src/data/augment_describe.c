/* augment_describe.c -- what an image gets, as numbers for the kernels of a device. */
#include "data/augment_internal.h"

#include <string.h>

const float *pn_augment_quantiles(const pn_augment *a) {
  return a->quantile;
}

bool pn_augment_black(const pn_augment *a) {
  return a->config.black;
}

static void describe_grey(const pn_draw *d, pn_image_row *out) {
  out->grey = d->gamma != 1 || d->contrast != 1 || d->brightness != 0;
  out->gamma = (float)d->gamma;
  out->contrast = (float)d->contrast;
  out->brightness = (float)d->brightness;
  for (int c = 0; c < 3; c++) {
    out->gain[c] = (float)d->gain[c];
    out->grey |= d->gain[c] != 1;
  }
}

static void describe_places(const pn_draw *d, const pn_image_format *f, pn_image_row *out) {
  pn_places p = pn_make_places(d, f->height, f->width);

  out->affine = 1;
  out->x0 = p.x0;
  out->y0 = p.y0;
  out->x_col = p.x_col;
  out->y_col = p.y_col;
  out->x_row = p.x_row;
  out->y_row = p.y_row;
}

void pn_augment_describe(const pn_augment *a, const pn_draw *d, const pn_image_format *f,
                         pn_image_row *out) {
  *out = (pn_image_row){.other = -1};
  if (!a) return;
  describe_grey(d, out);
  out->flip = d->flip;
  if (pn_is_affine(d)) describe_places(d, f, out);
  for (int k = 0; k < 4; k++) out->cut[k] = (int32_t)d->cut[k];
  if (!(d->noise > 0)) return;
  out->noise = (float)d->noise / f->sd;
  memcpy(out->key, d->noise_rng.key, sizeof out->key);
  memcpy(out->counter, d->noise_rng.counter, sizeof out->counter);
}
