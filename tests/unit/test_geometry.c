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

static double pixel(const pn_gray *g, int64_t y, int64_t x) {
  size_t i = (size_t)(y * g->width + x);
  return g->bytes_per_pixel == 1 ? ((uint8_t *)g->data)[i] : ((uint16_t *)g->data)[i] / 257.0;
}

/* Weight of input j for output i, by the definition: overlap, or linear between centres. */
static double weight(int64_t i, int64_t j, int64_t in, int64_t out) {
  double f = (double)in / (double)out, lo = (double)i * f, hi = (double)(i + 1) * f, at;
  if (in >= out) return fmax(0, fmin(hi, (double)j + 1) - fmax(lo, (double)j)) / f;
  at = fmin(fmax(((double)i + 0.5) * f - 0.5, 0), (double)in - 1);
  return fmax(0, 1 - fabs(at - (double)j));
}

static double reference(const pn_gray *g, int64_t y, int64_t x, int64_t h, int64_t w) {
  double sum = 0;
  for (int64_t j = 0; j < g->height; j++) {
    double wy = weight(y, j, g->height, h);
    if (wy == 0) continue;
    for (int64_t i = 0; i < g->width; i++) sum += wy * weight(x, i, g->width, w) * pixel(g, j, i);
  }
  return sum;
}

static void fill(pn_gray *g, uint64_t seed, int smooth) {
  pn_rng r = pn_rng_make(seed, PN_RNG_TEST, 0, 0);
  for (int64_t i = 0; i < g->height * g->width; i++) {
    uint32_t v = smooth ? (uint32_t)(i * 7 % 60000) : pn_rng_u32(&r) >> 16;
    if (g->bytes_per_pixel == 1)
      ((uint8_t *)g->data)[i] = (uint8_t)(v >> 8);
    else
      ((uint16_t *)g->data)[i] = (uint16_t)v;
  }
}

static void test_against_reference(void **state) {
  static const int sizes[][4] = {{64, 64, 8, 8},   {64, 64, 64, 64}, {96, 64, 12, 16},
                                 {61, 47, 16, 16}, {17, 90, 16, 9},  {10, 12, 32, 31},
                                 {40, 10, 16, 16}, {1, 1, 5, 7},     {100, 1, 7, 1}};
  (void)state;
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
    for (int bytes = 1; bytes <= 2; bytes++) {
      int64_t h = sizes[k][2], w = sizes[k][3];
      pn_gray g = {0};
      pn_resizer *r = NULL;
      uint8_t out[64 * 64];
      assert_int_equal(pn_gray_reserve(&g, sizes[k][0], sizes[k][1], bytes), PN_OK);
      fill(&g, k, bytes == 2 && k % 2);
      assert_int_equal(pn_resizer_create(h, w, &r), PN_OK);
      assert_int_equal(pn_resizer_run(r, &g, out), PN_OK);
      for (int64_t i = 0; i < h * w; i++) {
        double d = fabs(out[i] - reference(&g, i / w, i % w, h, w));
        if (d > 0.51) fail_msg("size %zu, %d bytes, pixel %d: off by %g", k, bytes, (int)i, d);
      }
      pn_resizer_destroy(r);
      pn_gray_free(&g);
    }
}

/* The tables are made anew when the input size changes. */
static void test_changing_input(void **state) {
  pn_resizer *r = NULL;
  pn_gray g = {0};
  uint8_t out[16];
  (void)state;
  assert_int_equal(pn_resizer_create(4, 4, &r), PN_OK);
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
      assert_int_equal(pn_gray_reserve(&g, 37, 41, bytes), PN_OK);
      memset(g.data, v, (size_t)(37 * 41 * bytes));
      assert_int_equal(pn_resizer_create(9, 9, &r), PN_OK);
      assert_int_equal(pn_resizer_run(r, &g, out), PN_OK);
      for (int i = 0; i < 81; i++) assert_int_equal(out[i], v);
      pn_resizer_destroy(r);
      pn_gray_free(&g);
    }
}

static void test_boxes(void **state) {
  pn_box b = pn_box_scale((pn_box){100, 200, 50, 80, 1}, 1000, 500, 250, 250);
  (void)state;
  assert_true(b.x == 50 && b.y == 50 && b.width == 25 && b.height == 20 && b.label == 1);
}

static void test_arguments(void **state) {
  pn_resizer *r = NULL;
  pn_gray g = {0};
  (void)state;
  assert_int_equal(pn_resizer_create(0, 5, &r), PN_ERR_ARG);
  assert_null(r);
  assert_int_equal(pn_gray_reserve(&g, 0, 5, 1), PN_ERR_ARG);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_against_reference), cmocka_unit_test(test_changing_input),
      cmocka_unit_test(test_extremes),          cmocka_unit_test(test_boxes),
      cmocka_unit_test(test_arguments),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
