/* test_geometry.c -- the resizer against its rule in float64, over sizes and depths. */
#include "data/geometry.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static double pixel(const pn_gray *g, int c, int64_t y, int64_t x) {
  size_t i = (size_t)((y * g->width + x) * g->channels + (g->channels > 1 ? c : 0));
  return g->bytes_per_pixel == 1 ? ((uint8_t *)g->data)[i] : ((uint16_t *)g->data)[i] / 257.0;
}

/* Weight of input j for output i, by the definition: overlap, or linear between centres. */
static double weight(int64_t i, int64_t j, int64_t in, int64_t out) {
  double f = (double)in / (double)out, lo = (double)i * f, hi = (double)(i + 1) * f, at;
  if (in >= out) return fmax(0, fmin(hi, (double)j + 1) - fmax(lo, (double)j)) / f;
  at = fmin(fmax(((double)i + 0.5) * f - 0.5, 0), (double)in - 1);
  return fmax(0, 1 - fabs(at - (double)j));
}

/* The target pixel by the rule, in 8-bit grey levels; black outside map.to. */
static double reference(const pn_gray *g, int c, const pn_fit_map *m, int64_t y, int64_t x) {
  const pn_rect *f = &m->from, *t = &m->to;
  double sum = 0;
  y -= t->y;
  x -= t->x;
  if (y < 0 || x < 0 || y >= t->height || x >= t->width) return 0;
  for (int64_t j = 0; j < f->height; j++) {
    double wy = weight(y, j, f->height, t->height);
    if (wy == 0) continue;
    for (int64_t i = 0; i < f->width; i++) {
      double wx = weight(x, i, f->width, t->width);
      if (wx != 0) sum += wy * wx * pixel(g, c, f->y + j, f->x + i);
    }
  }
  return sum;
}

static void fill(pn_gray *g, uint64_t seed, int smooth) {
  pn_rng r = pn_rng_make(seed, PN_RNG_TEST, 0, 0);
  for (int64_t i = 0; i < g->height * g->width * g->channels; i++) {
    uint32_t v = smooth ? (uint32_t)(i * 7 % 60000) : pn_rng_u32(&r) >> 16;
    if (g->bytes_per_pixel == 1)
      ((uint8_t *)g->data)[i] = (uint8_t)(v >> 8);
    else
      ((uint16_t *)g->data)[i] = (uint16_t)v;
  }
}

/* One resize, every pixel of it within rounding of the rule. */
static void check_resize(const pn_gray *g, const pn_resizer_format *f) {
  size_t n = (size_t)(f->channels * f->height * f->width);
  pn_fit_map m = pn_fit_make(f->fit, g->height, g->width, f->height, f->width);
  uint16_t *out = calloc(n, sizeof *out);
  pn_resizer *r = NULL;
  double scale = f->bits == 8 ? 1 : 257, off = 0;
  assert_non_null(out);
  memset(out, 0xA5, n * (size_t)f->bits / 8); /* bars must be drawn, not left */
  assert_int_equal(pn_resizer_create(f, &r), PN_OK);
  assert_int_equal(pn_resizer_run(r, g, out), PN_OK);
  for (size_t i = 0; i < n; i++) {
    int64_t at = (int64_t)i % (f->height * f->width), y = at / f->width, x = at % f->width;
    int c = (int)((int64_t)i / (f->height * f->width));
    double is = f->bits == 8 ? ((uint8_t *)out)[i] : out[i];
    off = fmax(off, fabs(is - scale * reference(g, c, &m, y, x)));
  }
  if (off > 0.501)
    fail_msg("%dx%dx%d u%d -> %dx%d u%d %s: off by %g grey levels", (int)g->height, (int)g->width,
             g->channels, 8 * g->bytes_per_pixel, (int)f->height, (int)f->width, f->bits,
             pn_fit_name(f->fit), off);
  pn_resizer_destroy(r);
  free(out);
}

/* Whole and odd factors, down and up, one axis of each, 1 pixel; all depths, fits and channels. */
static void test_against_reference(void **state) {
  static const int sizes[][4] = {
      {64, 64, 8, 8},     {64, 64, 64, 64}, {96, 64, 12, 16}, {61, 47, 16, 16}, {17, 90, 16, 9},
      {10, 12, 32, 31},   {40, 10, 16, 16}, {1, 1, 5, 7},     {100, 1, 7, 1},   {300, 30, 16, 24},
      {128, 128, 28, 28}, {601, 599, 2, 2}, {2, 700, 3, 1},   {36, 36, 12, 12}, {3, 5, 64, 64}};
  (void)state;
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
    for (int kind = 0; kind < 4; kind++) { /* 8, 16 bits in; 8, 16 bits out */
      int bytes = 1 + kind % 2;
      pn_resizer_format f = {k % 3 == 1 ? 3 : 1, sizes[k][2], sizes[k][3], 8 + kind / 2 * 8, 0};
      pn_gray g = {0};
      if (f.channels == 3 && k % 2)
        assert_int_equal(pn_gray_reserve_rgb(&g, sizes[k][0], sizes[k][1], bytes), PN_OK);
      else
        assert_int_equal(pn_gray_reserve(&g, sizes[k][0], sizes[k][1], bytes), PN_OK);
      fill(&g, k, bytes == 2 && k % 2);
      for (f.fit = 0; f.fit < PN_FIT_COUNT; f.fit++) check_resize(&g, &f);
      pn_gray_free(&g);
    }
}

/* The sizes of real films, and the sums at their largest: white, exact. */
static void test_large(void **state) {
  static const int sizes[][3] = {{1024, 1024, 224}, {2991, 2992, 256}, {16384, 2, 640}};
  (void)state;
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
    for (int bits = 8; bits <= 16; bits += 8) {
      pn_resizer_format f = {1, sizes[k][2], sizes[k][2], bits, PN_FIT_STRETCH};
      size_t n = (size_t)(f.height * f.width * bits / 8);
      uint8_t *out = malloc(n);
      pn_resizer *r = NULL;
      pn_gray g = {0};
      assert_int_equal(pn_gray_reserve(&g, sizes[k][0], sizes[k][1], bits / 8), PN_OK);
      memset(g.data, 255, (size_t)(g.height * g.width * bits / 8));
      assert_int_equal(pn_resizer_create(&f, &r), PN_OK);
      assert_int_equal(pn_resizer_run(r, &g, out), PN_OK);
      for (size_t i = 0; i < n; i++) assert_int_equal(out[i], 255);
      pn_resizer_destroy(r);
      pn_gray_free(&g);
      free(out);
    }
}

/* The tables are made anew when the input size changes. */
static void test_changing_input(void **state) {
  pn_resizer *r = NULL;
  pn_gray g = {0};
  uint8_t out[16];
  (void)state;
  pn_resizer_format f = {1, 4, 4, 8, PN_FIT_STRETCH};
  assert_int_equal(pn_resizer_create(&f, &r), PN_OK);
  for (int64_t side = 3; side < 40; side += 5) {
    assert_int_equal(pn_gray_reserve(&g, side, side + 1, 1), PN_OK);
    memset(g.data, 200, (size_t)(side * (side + 1)));
    assert_int_equal(pn_resizer_run(r, &g, out), PN_OK);
    for (int i = 0; i < 16; i++) assert_int_equal(out[i], 200);
  }
  pn_gray_free(&g);
  pn_resizer_destroy(r);
}

/* Full range: white stays white, black stays black. */
static void test_extremes(void **state) {
  (void)state;
  for (int bytes = 1; bytes <= 2; bytes++)
    for (int v = 0; v <= 255; v += 255) {
      pn_resizer *r = NULL;
      pn_gray g = {0};
      uint8_t out[9 * 9];
      pn_resizer_format f = {1, 9, 9, 8, PN_FIT_STRETCH};
      assert_int_equal(pn_gray_reserve(&g, 37, 41, bytes), PN_OK);
      memset(g.data, v, (size_t)(37 * 41 * bytes));
      assert_int_equal(pn_resizer_create(&f, &r), PN_OK);
      assert_int_equal(pn_resizer_run(r, &g, out), PN_OK);
      for (int i = 0; i < 81; i++) assert_int_equal(out[i], v);
      pn_resizer_destroy(r);
      pn_gray_free(&g);
    }
}

static void check_box(pn_fit fit, pn_box b, pn_box_fate fate, pn_box want) {
  pn_fit_map m = pn_fit_make(fit, 1000, 500, 250, 250);
  assert_int_equal(pn_fit_box(&m, &b), fate);
  assert_true(b.x == want.x && b.y == want.y && b.width == want.width && b.height == want.height);
  assert_true(b.label == want.label);
}

static void test_boxes(void **state) {
  pn_box b = {100, 200, 50, 80, 1};
  (void)state;
  check_box(PN_FIT_STRETCH, b, PN_BOX_WHOLE, (pn_box){50, 50, 25, 20, 1});
  check_box(PN_FIT_LETTERBOX, b, PN_BOX_WHOLE, (pn_box){62 + 25, 50, 12.5f, 20, 1});
  check_box(PN_FIT_CROP, b, PN_BOX_CLIPPED, (pn_box){50, 0, 25, 15, 1}); /* rows 250..750 */
  b.y = 720;
  check_box(PN_FIT_CROP, b, PN_BOX_CLIPPED, (pn_box){50, 235, 25, 15, 1});
  b.y = 400;
  check_box(PN_FIT_CROP, b, PN_BOX_WHOLE, (pn_box){50, 75, 25, 40, 1});
  b.y = 750;
  check_box(PN_FIT_CROP, b, PN_BOX_OUTSIDE, b);
  check_box(PN_FIT_STRETCH, (pn_box){0, 0, 500, 1000, 0}, PN_BOX_WHOLE,
            (pn_box){0, 0, 250, 250, 0});
}

/* What is shown keeps its shape and is never empty. */
static void test_maps(void **state) {
  pn_fit_map m = pn_fit_make(PN_FIT_LETTERBOX, 2000, 3000, 256, 256);
  (void)state;
  assert_true(m.to.width == 256 && m.to.height == 171 && m.to.x == 0 && m.to.y == 42);
  m = pn_fit_make(PN_FIT_CROP, 2000, 3000, 256, 256);
  assert_true(m.from.width == 2000 && m.from.height == 2000 && m.from.x == 500 && m.from.y == 0);
  m = pn_fit_make(PN_FIT_CROP, 2000, 3000, 300, 200);
  assert_true(m.from.width == 1333 && m.from.height == 2000);
  m = pn_fit_make(PN_FIT_LETTERBOX, 1, 16384, 16, 16);
  assert_true(m.to.height == 1 && m.to.width == 16);
  m = pn_fit_make(PN_FIT_CROP, 1, 16384, 16, 4);
  assert_true(m.from.height == 1 && m.from.width == 1);
  assert_true(pn_fit_find("crop", &(pn_fit){0}) && !pn_fit_find("zoom", &(pn_fit){0}));
}

static void test_arguments(void **state) {
  pn_resizer_format f = {1, 0, 5, 8, PN_FIT_STRETCH};
  pn_resizer *r = NULL;
  pn_gray g = {0};
  uint8_t out[25];
  (void)state;
  assert_int_equal(pn_resizer_create(&f, &r), PN_ERR_ARG);
  assert_null(r);
  f.height = 5;
  f.bits = 12;
  assert_int_equal(pn_resizer_create(&f, &r), PN_ERR_ARG);
  f.bits = 8;
  assert_int_equal(pn_resizer_create(&f, &r), PN_OK);
  assert_int_equal(pn_gray_reserve(&g, 0, 5, 1), PN_ERR_ARG);
  assert_int_equal(pn_gray_reserve_rgb(&g, 8, 8, 1), PN_OK);
  assert_int_equal(pn_resizer_run(r, &g, out), PN_ERR_ARG); /* colour into grey: not ours to mix */
  pn_gray_free(&g);
  assert_int_equal(pn_gray_reserve(&g, 1, PN_RESIZE_MAX_SIDE + 1, 1), PN_OK);
  assert_int_equal(pn_resizer_run(r, &g, out), PN_ERR_ARG);
  pn_gray_free(&g);
  pn_resizer_destroy(r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_against_reference),
      cmocka_unit_test(test_changing_input),
      cmocka_unit_test(test_large),
      cmocka_unit_test(test_maps),
      cmocka_unit_test(test_extremes),
      cmocka_unit_test(test_boxes),
      cmocka_unit_test(test_arguments),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
