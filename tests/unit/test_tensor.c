/* test_tensor.c -- shapes, and every layout tag against a brute-force address computation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tensor/dtype.h"
#include "tensor/layout.h"

#include <stdlib.h>
#include <string.h>

static void test_shape(void **state) {
  char text[64], tiny[4];
  (void)state;

  assert_int_equal(pn_shape_count(pn_shape4(32, 64, 128, 128)), 33554432);
  assert_int_equal(pn_shape_count((pn_shape){0}), 1);
  pn_shape_text(pn_shape4(32, 64, 128, 129), text, sizeof text);
  assert_string_equal(text, "32x64x128x129");
  pn_shape_text(pn_shape2(1234, 5), tiny, sizeof tiny);
  assert_string_equal(tiny, "123");
  assert_true(pn_shape_equal(pn_shape2(3, 4), pn_shape2(3, 4)));
  assert_false(pn_shape_equal(pn_shape2(3, 4), pn_shape3(3, 4, 1)));
  assert_false(pn_shape_equal(pn_shape2(3, 4), pn_shape2(4, 3)));
}

static void test_dtype(void **state) {
  (void)state;
  assert_int_equal(pn_dtype_bytes(PN_U8), 1);
  assert_int_equal(pn_dtype_bytes(PN_I64), 8);
  assert_int_equal(pn_dtype_bytes(PN_F32), 4);
  assert_string_equal(pn_dtype_name(PN_F64), "f64");
}

/* One dimension of an address: which digit of which dimension, from the outermost inwards. */
struct brute_axis {
  int dim;
  int64_t extent, step;
};

/* Address of logical index `at`, each tag written out by hand. */
struct tag_case {
  const char *tag;
  pn_shape shape;
  struct brute_axis axis[8];
  int n;
};

static const struct tag_case cases[] = {
    {"a", {1, {5}}, {{0, 5, 1}}, 1},
    {"ab", {2, {3, 4}}, {{0, 3, 1}, {1, 4, 1}}, 2},
    {"ba", {2, {3, 4}}, {{1, 4, 1}, {0, 3, 1}}, 2},
    {"abcd", {4, {2, 3, 4, 5}}, {{0, 2, 1}, {1, 3, 1}, {2, 4, 1}, {3, 5, 1}}, 4},
    {"acdb", {4, {2, 3, 4, 5}}, {{0, 2, 1}, {2, 4, 1}, {3, 5, 1}, {1, 3, 1}}, 4},
    {"aBcd8b", {4, {2, 11, 2, 3}}, {{0, 2, 1}, {1, 2, 8}, {2, 2, 1}, {3, 3, 1}, {1, 8, 1}}, 5},
    {"aBcd16b", {4, {2, 16, 2, 3}}, {{0, 2, 1}, {1, 1, 16}, {2, 2, 1}, {3, 3, 1}, {1, 16, 1}}, 5},
    {"ABcd16b16a",
     {4, {17, 20, 1, 3}},
     {{0, 2, 16}, {1, 2, 16}, {2, 1, 1}, {3, 3, 1}, {1, 16, 1}, {0, 16, 1}},
     6},
    {"Acdb8a", {4, {9, 2, 3, 2}}, {{0, 2, 8}, {2, 3, 1}, {3, 2, 1}, {1, 2, 1}, {0, 8, 1}}, 5},
    /* b = outer * 16 + (first 4b) * 4 + (last 4b) */
    {"ABcd4b16a4b",
     {4, {18, 35, 2, 1}},
     {{0, 2, 16}, {1, 3, 16}, {2, 2, 1}, {3, 1, 1}, {1, 4, 4}, {0, 16, 1}, {1, 4, 1}},
     7},
    {"BA16a64b", {2, {17, 70}}, {{1, 2, 64}, {0, 2, 16}, {0, 16, 1}, {1, 64, 1}}, 4},
    {"AB8b8a2b", {2, {9, 33}}, {{0, 2, 8}, {1, 3, 16}, {1, 8, 2}, {0, 8, 1}, {1, 2, 1}}, 5},
};

static int64_t brute_count(const struct tag_case *c) {
  int64_t count = 1;
  for (int i = 0; i < c->n; i++) count *= c->axis[i].extent;
  return count;
}

static int64_t brute_address(const struct tag_case *c, const int64_t *at) {
  int64_t address = 0;
  for (int i = 0; i < c->n; i++) {
    const struct brute_axis *x = &c->axis[i];
    address = address * x->extent + at[x->dim] / x->step % x->extent;
  }
  return address;
}

static void unravel(pn_shape s, int64_t i, int64_t *at) {
  for (int d = s.n_dims - 1; d >= 0; d--) {
    at[d] = i % s.dim[d];
    i /= s.dim[d];
  }
}

static void check_tag(const struct tag_case *c) {
  pn_layout l = pn_layout_any(c->shape);
  int64_t n = pn_shape_count(c->shape), stored_n, at[PN_MAX_DIMS];
  float *logical = malloc((size_t)n * sizeof(float)), *back = calloc((size_t)n, sizeof(float));
  float *stored, *expected;

  strcpy(l.tag, c->tag);
  assert_int_equal(pn_layout_count(&l, &stored_n), PN_OK);
  assert_int_equal(stored_n, brute_count(c));
  stored = malloc((size_t)stored_n * sizeof(float));
  expected = calloc((size_t)stored_n, sizeof(float));
  memset(stored, 0x7f, (size_t)stored_n * sizeof(float)); /* padding must be overwritten */
  for (int64_t i = 0; i < n; i++) {
    logical[i] = (float)(i + 1);
    unravel(c->shape, i, at);
    expected[brute_address(c, at)] = logical[i];
  }
  assert_int_equal(pn_layout_pack(&l, logical, stored), PN_OK);
  assert_memory_equal(stored, expected, (size_t)stored_n * sizeof(float));
  assert_int_equal(pn_layout_unpack(&l, stored, back), PN_OK);
  assert_memory_equal(back, logical, (size_t)n * sizeof(float));
  free(logical);
  free(back);
  free(stored);
  free(expected);
}

static void test_tags(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_tag(&cases[i]);
}

static void test_bad_tags(void **state) {
  static const char *const bad[] = {"",         "abc",        "abce",     "abcc",    "abcd16b",
                                    "aBcd",     "aBcd16",     "aBcd16B",  "aBcd0b",  "aBcd16c",
                                    "aBcd16b ", "aBcd99999b", "aBcd-16b", "aBcd16bx"};
  int64_t count;
  (void)state;

  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    pn_layout l = pn_layout_any(pn_shape4(2, 20, 3, 3));
    strcpy(l.tag, bad[i]);
    assert_int_equal(pn_layout_count(&l, &count), PN_ERR_ARG);
  }
}

static void test_plain(void **state) {
  pn_layout plain = pn_layout_plain(pn_shape4(1, 2, 3, 4)), other = plain;
  (void)state;

  assert_string_equal(plain.tag, "abcd");
  assert_true(pn_layout_is_plain(&plain));
  strcpy(other.tag, "acdb");
  assert_false(pn_layout_is_plain(&other));
  assert_false(pn_layout_equal(&plain, &other));
  other = pn_layout_plain(pn_shape4(1, 2, 3, 5));
  assert_false(pn_layout_equal(&plain, &other));
  other = pn_layout_any(plain.shape);
  assert_string_equal(other.tag, "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_shape), cmocka_unit_test(test_dtype),    cmocka_unit_test(test_tags),
      cmocka_unit_test(test_plain), cmocka_unit_test(test_bad_tags),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
