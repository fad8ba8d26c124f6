/* augment.c -- the table of transforms, and what each image gets in each epoch. */
#include "data/augment_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double PI = 3.14159265358979323846;

static double uniform(pn_rng *r, double range) {
  return pn_rng_range(r, -range, range);
}

/* 1 / (1 + range) to 1 + range, even in the logarithm. */
static double factor(pn_rng *r, double range) {
  return exp(uniform(r, log1p(range)));
}

static void draw_gamma(pn_rng *r, const pn_augment *a, double range, pn_draw *d) {
  (void)a;
  d->gamma = factor(r, range);
}

static void draw_contrast(pn_rng *r, const pn_augment *a, double range, pn_draw *d) {
  (void)a;
  d->contrast = 1 + uniform(r, range);
}

static void draw_brightness(pn_rng *r, const pn_augment *a, double range, pn_draw *d) {
  (void)a;
  d->brightness = uniform(r, range);
}

static void draw_jitter(pn_rng *r, const pn_augment *a, double range, pn_draw *d) {
  (void)a;
  for (int c = 0; c < 3; c++) d->gain[c] = 1 + uniform(r, range);
}

static void draw_hflip(pn_rng *r, const pn_augment *a, double range, pn_draw *d) {
  (void)a;
  d->flip = (double)pn_rng_uniform(r) < range;
}

static void draw_zoom(pn_rng *r, const pn_augment *a, double range, pn_draw *d) {
  (void)a;
  d->zoom = factor(r, range);
}

static void draw_shear(pn_rng *r, const pn_augment *a, double range, pn_draw *d) {
  (void)a;
  d->shear = uniform(r, range) * PI / 180;
}

static void draw_rotate(pn_rng *r, const pn_augment *a, double range, pn_draw *d) {
  (void)a;
  d->angle = uniform(r, range) * PI / 180;
}

static void draw_translate(pn_rng *r, const pn_augment *a, double range, pn_draw *d) {
  d->shift[0] = rint(uniform(r, range) * (double)a->format.height);
  d->shift[1] = rint(uniform(r, range) * (double)a->format.width);
}

static void draw_noise(pn_rng *r, const pn_augment *a, double range, pn_draw *d) {
  (void)a;
  d->noise = pn_rng_range(r, 0, range);
  d->noise_rng = *r; /* at a whole block: the range took the first */
}

/* The centre lies anywhere in the image, so the rectangle may be cut by its border. */
static void draw_cutout(pn_rng *r, const pn_augment *a, double range, pn_draw *d) {
  const int64_t side[2] = {a->format.height, a->format.width};

  for (int k = 0; k < 2; k++) {
    int64_t length = llround(range * (double)side[k]);
    int64_t first = (int64_t)pn_rng_below(r, (uint32_t)side[k]) - length / 2;
    d->cut[2 * k] = first > 0 ? first : 0;
    d->cut[2 * k + 1] = first + length < side[k] ? first + length : side[k];
  }
}

/* Gamma(shape, 1) by Marsaglia and Tsang, "A simple method for generating gamma variables", 2000.
 */
static double draw_gamma_variate(pn_rng *r, double shape) {
  double boost = 1, d, c;

  if (shape < 1) {
    boost = pow(((double)pn_rng_u32(r) + 1) * 0x1p-32, 1 / shape);
    shape += 1;
  }
  d = shape - 1.0 / 3;
  c = 1 / sqrt(9 * d);
  for (;;) {
    double x = pn_rng_normal(r), v = 1 + c * x, u = ((double)pn_rng_u32(r) + 1) * 0x1p-32;
    if (v <= 0) continue;
    v = v * v * v;
    if (log(u) < 0.5 * x * x + d - d * v + d * log(v)) return boost * d * v;
  }
}

static void draw_mixup(pn_rng *r, const pn_augment *a, double range, pn_draw *d) {
  double x = draw_gamma_variate(r, range), y = draw_gamma_variate(r, range);

  (void)a;
  d->mix = x + y > 0 ? x / (x + y) : 1; /* both may underflow at a tiny range */
  d->partner = pn_rng_u32(r);           /* brought into the split by pn_augment_draw */
}

static const struct transform {
  const char *name;
  void (*draw)(pn_rng *r, const pn_augment *a, double range, pn_draw *d);
} transforms[PN_AUG_COUNT] = {
    [PN_AUG_GAMMA] = {"gamma", draw_gamma},
    [PN_AUG_CONTRAST] = {"contrast", draw_contrast},
    [PN_AUG_BRIGHTNESS] = {"brightness", draw_brightness},
    [PN_AUG_JITTER] = {"jitter", draw_jitter},
    [PN_AUG_HFLIP] = {"hflip", draw_hflip},
    [PN_AUG_ZOOM] = {"zoom", draw_zoom},
    [PN_AUG_SHEAR] = {"shear", draw_shear},
    [PN_AUG_ROTATE] = {"rotate", draw_rotate},
    [PN_AUG_TRANSLATE] = {"translate", draw_translate},
    [PN_AUG_NOISE] = {"noise", draw_noise},
    [PN_AUG_CUTOUT] = {"cutout", draw_cutout},
    [PN_AUG_MIXUP] = {"mixup", draw_mixup},
};

const char *pn_transform_name(pn_transform t) {
  return (unsigned)t < PN_AUG_COUNT ? transforms[t].name : "?";
}

bool pn_augment_any(const pn_augment_config *c) {
  for (int t = 0; t < PN_AUG_COUNT; t++)
    if (c->range[t] > 0) return true;
  return false;
}

/* Inverse of the normal distribution function for p < 1/2 by Newton's method: to the left of 0 the
 * function is convex, so that the steps from 0 never pass the root. */
static double normal_quantile(double p) {
  double x = 0;

  for (int i = 0; i < 30; i++)
    x -= (0.5 * erfc(-x / sqrt(2)) - p) * sqrt(2 * PI) * exp(0.5 * x * x);
  return x;
}

pn_status pn_augment_create(const pn_augment_config *c, const pn_image_format *f,
                            pn_augment **out) {
  pn_augment *a;

  *out = NULL;
  if (c->range[PN_AUG_JITTER] > 0 && f->channels != 3)
    return PN_FAIL(PN_ERR_ARG,
                   "augment.jitter=%g: needs images of three channels, these have %lld; "
                   "augment.brightness and augment.contrast work on any",
                   c->range[PN_AUG_JITTER], (long long)f->channels);
  if (!(a = calloc(1, sizeof *a))) return PN_FAIL(PN_ERR_NOMEM, "augmentation: out of memory");
  a->config = *c;
  a->format = *f;
  for (int i = 0; i < PN_QUANTILES / 2; i++) {
    double x = normal_quantile((i + 0.5) / PN_QUANTILES);
    a->quantile[i] = (float)x;
    a->quantile[PN_QUANTILES - 1 - i] = (float)-x;
  }
  *out = a;
  return PN_OK;
}

void pn_augment_destroy(pn_augment *a) {
  free(a);
}

double pn_augment_range(const pn_augment *a, pn_transform t) {
  return a->config.range[t];
}

pn_draw pn_augment_draw(const pn_augment *a, uint32_t epoch, uint64_t id, int64_t count) {
  pn_draw d = {.gamma = 1, .contrast = 1, .gain = {1, 1, 1}, .zoom = 1, .mix = 1};

  for (uint32_t t = 0; t < PN_AUG_COUNT; t++) {
    pn_rng r = pn_rng_make(a->config.seed, PN_RNG_AUGMENT, id, epoch * 16 + t);
    if (a->config.range[t] > 0) transforms[t].draw(&r, a, a->config.range[t], &d);
  }
  d.partner = count > 0 ? d.partner % count : 0;
  return d;
}
