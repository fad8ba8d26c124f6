/* augment_apply.c -- from the bytes of an image to the floats a network is given. */
#include "data/augment_internal.h"

#include <math.h>
#include <string.h>

enum { LEVELS = 256 };

static float normalise(const pn_image_format *f, float v) {
  return (v - f->mean) / f->sd;
}

static bool changes_grey(const pn_draw *d, int64_t channel) {
  return d->gamma != 1 || d->contrast != 1 || d->brightness != 0 ||
         (channel < 3 && d->gain[channel] != 1);
}

/* v in [0, 1]. */
static float change_grey(const pn_draw *d, int64_t channel, float v) {
  if (d->gamma != 1) v = powf(v, (float)d->gamma);
  v = (v - 0.5f) * (float)d->contrast + 0.5f + (float)d->brightness;
  if (channel < 3) v *= (float)d->gain[channel];
  return v < 0 ? 0 : v > 1 ? 1 : v;
}

/* One channel of 8-bit pixels through a table of the 256 results: the same bits whatever the
 * compiler makes of the arithmetic.  d: NULL = grey levels stay. */
static void convert8(const pn_image_format *f, const pn_draw *d, int64_t channel, const uint8_t *in,
                     float *out) {
  float table[LEVELS];

  for (int v = 0; v < LEVELS; v++) {
    float x = (float)v / 255.0f;
    table[v] = normalise(f, d ? change_grey(d, channel, x) : x);
  }
  for (int64_t i = 0, n = f->height * f->width; i < n; i++) out[i] = table[in[i]];
}

static void convert16(const pn_image_format *f, const pn_draw *d, int64_t channel,
                      const uint16_t *in, float *out) {
  for (int64_t i = 0, n = f->height * f->width; i < n; i++) {
    float x = (float)in[i] / 65535.0f;
    out[i] = normalise(f, d ? change_grey(d, channel, x) : x);
  }
}

static void convert(const pn_image_format *f, const pn_draw *d, int64_t channel, const void *pixels,
                    float *out) {
  int64_t skip = channel * f->height * f->width;

  if (d && !changes_grey(d, channel)) d = NULL;
  if (f->bits == 16)
    convert16(f, d, channel, (const uint16_t *)pixels + skip, out);
  else
    convert8(f, d, channel, (const uint8_t *)pixels + skip, out);
}

static void flip_rows(float *x, int64_t height, int64_t width) {
  for (int64_t r = 0; r < height; r++, x += width)
    for (int64_t a = 0, b = width - 1; a < b; a++, b--) {
      float keep = x[a];
      x[a] = x[b];
      x[b] = keep;
    }
}

void pn_mirror(const pn_image_format *f, float *image) {
  flip_rows(image, f->channels * f->height, f->width);
}

/* Eight values of 12 bits from each block of the counter generator. */
static void add_noise(const pn_augment *a, const pn_draw *d, int64_t channel, float *x) {
  const pn_image_format *f = &a->format;
  const float sd = (float)d->noise / f->sd, lo = normalise(f, 0), hi = normalise(f, 1);
  pn_rng r = d->noise_rng;
  int64_t n = f->height * f->width;

  r.counter[0] += (uint32_t)(channel * ((n + 7) / 8));
  for (int64_t i = 0; i < n; r.counter[0]++) {
    uint32_t block[4];
    pn_philox(r.counter, r.key, block);
    for (int k = 0; k < 8 && i < n; k++, i++) {
      float v = x[i] + sd * a->quantile[block[k / 2] >> (k % 2 * 16) & (PN_QUANTILES - 1)];
      x[i] = v < lo ? lo : v > hi ? hi : v;
    }
  }
}

static void cut_out(const pn_draw *d, int64_t width, float *x) {
  for (int64_t r = d->cut[0]; r < d->cut[1]; r++)
    for (int64_t c = d->cut[2]; c < d->cut[3]; c++) x[r * width + c] = 0;
}

void pn_augment_apply(const pn_augment *a, const pn_draw *d, const pn_image_format *f,
                      const void *pixels, float *scratch, float *out) {
  const int64_t plane = f->height * f->width;
  const float black = normalise(f, 0);

  for (int64_t c = 0; c < f->channels; c++, out += plane) {
    bool affine = a && pn_is_affine(d);
    convert(f, a ? d : NULL, c, pixels, affine ? scratch : out);
    if (!a) continue;
    if (affine)
      pn_resample(d, f->height, f->width, a->config.black ? &black : NULL, scratch, out);
    else if (d->flip)
      flip_rows(out, f->height, f->width);
    if (d->noise > 0) add_noise(a, d, c, out);
    cut_out(d, f->width, out);
  }
}
