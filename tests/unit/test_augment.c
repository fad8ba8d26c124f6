/* test_augment.c -- each transform against a float64 reference that is written on its own; what is
 * drawn; nothing changed when all is off. */
#include "data/augment.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { H = 23, W = 30, C = 3, PLANE = H * W, ALL = C * PLANE };
static const double PI = 3.14159265358979323846;
static const pn_image_format format8 = {C, H, W, 8, 0.45f, 0.3f}, format16 = {C, H, W, 16, 0, 1};

static uint8_t bytes[ALL];
static uint16_t words[ALL];

static int make_images(void **state) {
  pn_rng r = pn_rng_make(4, PN_RNG_TEST, 0, 0);
  (void)state;
  for (int i = 0; i < ALL; i++) {
    bytes[i] = (uint8_t)pn_rng_below(&r, 256);
    words[i] = (uint16_t)pn_rng_below(&r, 65536);
  }
  bytes[0] = 0;
  words[0] = 0;
  bytes[1] = 255;
  words[1] = 65535;
  return 0;
}

static pn_augment *make(const pn_augment_config *c, const pn_image_format *f) {
  pn_augment *a = NULL;
  if (pn_augment_create(c, f, &a) != PN_OK) fail_msg("%s", pn_last_error());
  return a;
}

/* ---- the reference ---- */

static double ref_grey(const pn_draw *d, int channel, double v) {
  v = pow(v, d->gamma);
  v = ((v - 0.5) * d->contrast + 0.5 + d->brightness) * d->gain[channel];
  return fmin(1, fmax(0, v));
}

static void multiply(const double a[4], double b[4]) { /* b = a b */
  double c[4] = {a[0] * b[0] + a[1] * b[2], a[0] * b[1] + a[1] * b[3], a[2] * b[0] + a[3] * b[2],
                 a[2] * b[1] + a[3] * b[3]};
  memcpy(b, c, sizeof c);
}

/* Where output pixel (x, y) looks: the forward matrix built step by step, then inverted. */
static void ref_place(const pn_draw *d, double x, double y, double out[2]) {
  double m[4] = {d->flip ? -1 : 1, 0, 0, 1};
  const double zoom[4] = {d->zoom, 0, 0, d->zoom}, shear[4] = {1, tan(d->shear), 0, 1};
  const double turn[4] = {cos(d->angle), -sin(d->angle), sin(d->angle), cos(d->angle)};
  double det, px, py, cx = (W - 1) / 2.0, cy = (H - 1) / 2.0;
  multiply(zoom, m);
  multiply(shear, m);
  multiply(turn, m);
  det = m[0] * m[3] - m[1] * m[2];
  px = x - cx - d->shift[1];
  py = y - cy - d->shift[0];
  out[0] = (m[3] * px - m[1] * py) / det + cx;
  out[1] = (m[0] * py - m[2] * px) / det + cy;
}

static double ref_tap(const double *in, int x, int y, bool black) {
  if (black && (x < 0 || x >= W || y < 0 || y >= H)) return 0;
  x = x < 0 ? 0 : x >= W ? W - 1 : x;
  y = y < 0 ? 0 : y >= H ? H - 1 : y;
  return in[y * W + x];
}

static double ref_bilinear(const double *in, const double at[2], bool black) {
  int x = (int)floor(at[0]), y = (int)floor(at[1]);
  double u = at[0] - x, v = at[1] - y;
  return (1 - v) * ((1 - u) * ref_tap(in, x, y, black) + u * ref_tap(in, x + 1, y, black)) +
         v * ((1 - u) * ref_tap(in, x, y + 1, black) + u * ref_tap(in, x + 1, y + 1, black));
}

/* The normal quantile by bisection. */
static double ref_quantile(double p) {
  double lo = -8, hi = 8;
  for (int i = 0; i < 60; i++) {
    double mid = (lo + hi) / 2;
    if (0.5 * erfc(-mid / sqrt(2)) < p)
      lo = mid;
    else
      hi = mid;
  }
  return lo;
}

/* Number i of the noise of a channel: 16 bits of a stream of words, of which the low 12 count. */
static double ref_noise(const pn_draw *d, int channel, int i) {
  uint32_t at = (uint32_t)(channel * ((PLANE + 7) / 8) + i / 8), block[4], counter[4];
  memcpy(counter, d->noise_rng.counter, sizeof counter);
  counter[0] += at;
  pn_philox(counter, d->noise_rng.key, block);
  return d->noise * ref_quantile(((block[i % 8 / 2] >> (i % 2 ? 16 : 0) & 0xfff) + 0.5) / 4096);
}

static void ref_apply(const pn_draw *d, const pn_image_format *f, bool black, double *out) {
  double plane[PLANE];
  for (int c = 0; c < C; c++) {
    for (int i = 0; i < PLANE; i++)
      plane[i] = ref_grey(
          d, c, f->bits == 8 ? bytes[c * PLANE + i] / 255.0 : words[c * PLANE + i] / 65535.0);
    for (int i = 0; i < PLANE; i++) {
      double at[2], v;
      ref_place(d, i % W, i / W, at);
      v = ref_bilinear(plane, at, black);
      if (d->noise > 0) v = fmin(1, fmax(0, v + ref_noise(d, c, i)));
      v = (v - (double)f->mean) / (double)f->sd;
      if (i / W >= d->cut[0] && i / W < d->cut[1] && i % W >= d->cut[2] && i % W < d->cut[3]) v = 0;
      out[c * PLANE + i] = v;
    }
  }
}

/* ---- the tests ---- */

static const double ranges[PN_AUG_COUNT] = {
    [PN_AUG_GAMMA] = 0.6,  [PN_AUG_CONTRAST] = 0.4, [PN_AUG_BRIGHTNESS] = 0.3,
    [PN_AUG_JITTER] = 0.2, [PN_AUG_HFLIP] = 0.5,    [PN_AUG_ZOOM] = 0.4,
    [PN_AUG_SHEAR] = 20,   [PN_AUG_ROTATE] = 35,    [PN_AUG_TRANSLATE] = 0.2,
    [PN_AUG_NOISE] = 0.2,  [PN_AUG_CUTOUT] = 0.4,   [PN_AUG_MIXUP] = 0.4};

/* Largest error over a few images; also counts how many pixels a transform changed. */
static void compare(const pn_augment_config *c, const pn_image_format *f, const char *what) {
  static double want[ALL];
  static float got[ALL], plain[ALL], scratch[PLANE];
  const void *pixels = f->bits == 8 ? (const void *)bytes : words;
  pn_augment *a = make(c, f);
  int64_t changed = 0;
  pn_augment_apply(NULL, NULL, f, pixels, scratch, plain);
  for (uint64_t id = 0; id < 12; id++) {
    pn_draw d = pn_augment_draw(a, 3, id, 100);
    pn_augment_apply(a, &d, f, pixels, scratch, got);
    ref_apply(&d, f, c->black, want);
    for (int i = 0; i < ALL; i++) {
      changed += got[i] != plain[i];
      if (!(fabs((double)got[i] - want[i]) < 2e-5))
        fail_msg("%s, image %d, pixel %d: %g, reference %g", what, (int)id, i, (double)got[i],
                 want[i]);
    }
  }
  if (c->range[PN_AUG_MIXUP] <= 0) assert_true(changed > ALL); /* of 12 ALL: it does something */
  pn_augment_destroy(a);
}

static void test_reference(void **state) {
  (void)state;
  for (int bits = 8; bits <= 16; bits += 8)
    for (int black = 0; black < 2; black++) {
      const pn_image_format *f = bits == 8 ? &format8 : &format16;
      pn_augment_config all = {.seed = 5, .black = black};
      for (int t = 0; t < PN_AUG_COUNT; t++) {
        pn_augment_config one = {.seed = 5, .black = black};
        one.range[t] = ranges[t];
        if (t != PN_AUG_MIXUP) compare(&one, f, pn_transform_name((pn_transform)t));
        all.range[t] = t == PN_AUG_MIXUP ? 0 : ranges[t];
      }
      compare(&all, f, "all");
    }
}

/* Off: the plain table of inputs, bit for bit, with and without an augmentation object. */
static void test_identity(void **state) {
  static float got[2][ALL], scratch[PLANE];
  const pn_augment_config off = {.seed = 9};
  pn_augment *a = make(&off, &format8);
  pn_draw d = pn_augment_draw(a, 1, 7, 10);
  (void)state;
  assert_false(pn_augment_any(&off));
  pn_augment_apply(NULL, NULL, &format8, bytes, scratch, got[0]);
  pn_augment_apply(a, &d, &format8, bytes, scratch, got[1]);
  assert_memory_equal(got[0], got[1], sizeof got[0]);
  for (int i = 0; i < ALL; i++) {
    float want = ((float)bytes[i] / 255.0f - format8.mean) / format8.sd;
    assert_memory_equal(&got[0][i], &want, sizeof want);
  }
  pn_augment_destroy(a);
}

static void test_flip_is_exact(void **state) {
  static float plain[ALL], got[ALL], scratch[PLANE];
  const pn_augment_config c = {.range[PN_AUG_HFLIP] = 1};
  pn_augment *a = make(&c, &format8);
  pn_draw d = pn_augment_draw(a, 0, 0, 1);
  (void)state;
  assert_true(d.flip);
  pn_augment_apply(NULL, NULL, &format8, bytes, scratch, plain);
  pn_augment_apply(a, &d, &format8, bytes, scratch, got);
  for (int i = 0; i < ALL; i++)
    assert_memory_equal(&got[i], &plain[i - i % W + (W - 1 - i % W)], sizeof *got);
  pn_augment_destroy(a);
}

typedef struct {
  double lo, hi, sum, sum2;
  int n;
} spread;

static void note(spread *s, double x) {
  s->lo = s->n ? fmin(s->lo, x) : x;
  s->hi = s->n ? fmax(s->hi, x) : x;
  s->sum += x;
  s->sum2 += x * x;
  s->n++;
}

/* All within [lo, hi], reaching close to both ends, with the mean of the distribution. */
static void within(const spread *s, double lo, double hi, double mean) {
  double slack = 0.02 * (hi - lo), at = s->sum / s->n;
  if (s->lo < lo || s->hi > hi || s->lo > lo + slack || s->hi < hi - slack ||
      fabs(at - mean) > slack)
    fail_msg("%g .. %g with mean %g, expected %g .. %g with %g", s->lo, s->hi, at, lo, hi, mean);
}

static void test_ranges(void **state) {
  enum { N = 4000 };
  pn_augment_config c = {.seed = 2};
  spread gamma = {0}, contrast = {0}, bright = {0}, gain = {0}, flip = {0}, zoom = {0}, shear = {0},
         angle = {0}, down = {0}, right = {0}, noise = {0}, mix = {0};
  pn_augment *a;
  (void)state;
  memcpy(c.range, ranges, sizeof ranges);
  a = make(&c, &format8);
  for (uint64_t id = 0; id < N; id++) {
    pn_draw d = pn_augment_draw(a, 1, id, 50);
    note(&gamma, log(d.gamma));
    note(&contrast, d.contrast);
    note(&bright, d.brightness);
    note(&gain, d.gain[1]);
    note(&flip, d.flip);
    note(&zoom, log(d.zoom));
    note(&shear, d.shear * 180 / PI);
    note(&angle, d.angle * 180 / PI);
    note(&down, d.shift[0]);
    note(&right, d.shift[1]);
    assert_true(d.shift[0] == rint(d.shift[0]) && d.shift[1] == rint(d.shift[1]));
    note(&noise, d.noise);
    note(&mix, d.mix);
    assert_in_range(d.partner, 0, 49);
    assert_true(d.cut[0] >= 0 && d.cut[1] <= H && d.cut[2] >= 0 && d.cut[3] <= W);
    assert_true(d.cut[1] - d.cut[0] <= 10 && d.cut[3] - d.cut[2] <= 12);
  }
  within(&gamma, -log(1.6), log(1.6), 0);
  within(&contrast, 0.6, 1.4, 1);
  within(&bright, -0.3, 0.3, 0);
  within(&gain, 0.8, 1.2, 1);
  within(&flip, 0, 1, 0.5);
  within(&zoom, -log(1.4), log(1.4), 0);
  within(&shear, -20, 20, 0);
  within(&angle, -35, 35, 0);
  within(&down, -rint(0.2 * H), rint(0.2 * H), 0);
  within(&right, -rint(0.2 * W), rint(0.2 * W), 0);
  within(&noise, 0, 0.2, 0.1);
  within(&mix, 0, 1, 0.5);
  /* variance of Beta(a, a): 1 / (4 (2 a + 1)) */
  assert_true(fabs(mix.sum2 / N - pow(mix.sum / N, 2) - (1 / (4 * (2 * 0.4 + 1)))) < 0.01);
  pn_augment_destroy(a);
}

/* Noise of standard deviation 1 in units of its draw, mean 0. */
static void test_noise_is_normal(void **state) {
  enum { SIDE = 256 };
  const pn_image_format f = {1, SIDE, SIDE, 8, 0.5f, 1};
  const pn_augment_config c = {.range[PN_AUG_NOISE] = 0.05, .seed = 3};
  pn_augment *a = make(&c, &f);
  pn_draw d = pn_augment_draw(a, 0, 1, 1);
  uint8_t *grey = malloc(SIDE * SIDE);
  float *out = malloc(sizeof *out * SIDE * SIDE);
  double sum = 0, sum2 = 0, beyond = 0;
  (void)state;
  memset(grey, 128, SIDE * SIDE);
  pn_augment_apply(a, &d, &f, grey, NULL, out);
  for (int i = 0; i < SIDE * SIDE; i++) {
    double z = ((double)out[i] - (128 / 255.0 - 0.5)) / d.noise;
    sum += z;
    sum2 += z * z;
    beyond += fabs(z) > 1.959964;
  }
  assert_true(fabs(sum / (SIDE * SIDE) - (0)) < 0.015);
  assert_true(fabs(sum2 / (SIDE * SIDE) - (1)) < 0.02);
  assert_true(fabs(beyond / (SIDE * SIDE) - (0.05)) < 0.004);
  free(grey);
  free(out);
  pn_augment_destroy(a);
}

/* Seed, epoch, image and transform each change the draw; nothing else does. */
static void test_keys(void **state) {
  pn_augment_config c = {.seed = 1, .range[PN_AUG_ROTATE] = 10}, other = c, more = c;
  pn_augment *a = make(&c, &format8), *b, *m;
  double angle = pn_augment_draw(a, 1, 1, 9).angle;
  (void)state;
  other.seed = 2;
  more.range[PN_AUG_SHEAR] = 10; /* another transform does not move the streams of the rest */
  b = make(&other, &format8);
  m = make(&more, &format8);
  assert_true(pn_augment_draw(a, 1, 1, 9).angle == angle);
  assert_true(pn_augment_draw(a, 2, 1, 9).angle != angle);
  assert_true(pn_augment_draw(a, 1, 2, 9).angle != angle);
  assert_true(pn_augment_draw(b, 1, 1, 9).angle != angle);
  assert_true(pn_augment_draw(m, 1, 1, 9).angle == angle);
  assert_true(pn_augment_draw(m, 1, 1, 9).shear != angle);
  pn_augment_destroy(a);
  pn_augment_destroy(b);
  pn_augment_destroy(m);
}

static void test_refusals(void **state) {
  const pn_image_format grey = {1, H, W, 8, 0, 1};
  const pn_augment_config c = {.range[PN_AUG_JITTER] = 0.1};
  pn_augment *a;
  (void)state;
  assert_true(pn_augment_any(&c));
  assert_int_equal(pn_augment_create(&c, &grey, &a), PN_ERR_ARG);
  assert_null(a);
  assert_non_null(strstr(pn_last_error(), "three channels"));
  pn_augment_destroy(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_reference),       cmocka_unit_test(test_identity),
      cmocka_unit_test(test_flip_is_exact),   cmocka_unit_test(test_ranges),
      cmocka_unit_test(test_noise_is_normal), cmocka_unit_test(test_keys),
      cmocka_unit_test(test_refusals)};
  return cmocka_run_group_tests(tests, make_images, NULL);
}
