/* test_tree.c -- sums along the fixed tree, however the leaves are shared out; sums without
 * rounding. */
#include "base/exact_sum.h"
#include "parallel/tree.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { COUNT = 5, MOST = 21 };

/* Values of many magnitudes: another order gives other bits. */
static void fill(float *v, int leaf) {
  for (int i = 0; i < COUNT; i++)
    v[i] = (float)(sin(leaf * 12.9898 + i * 78.233) * pow(10, (leaf * 7 + i) % 9));
}

/* The definition, told once more. */
static void direct(int lo, int hi, float *out) {
  float right[COUNT];
  int half = 1;

  if (hi - lo == 1) {
    fill(out, lo);
    return;
  }
  for (int p = 1; p < hi - lo; p *= 2) half = p;
  direct(lo, lo + half, out);
  direct(lo + half, hi, right);
  for (int i = 0; i < COUNT; i++) out[i] += right[i];
}

/* Leaves into subtrees on each of `size` ranks, then all subtrees into one. */
static void shared(int leaves, int size, float *out) {
  pn_tree own, all;

  assert_int_equal(pn_tree_make(PN_TREE_DEPTH, COUNT, 1, &all), PN_OK);
  pn_tree_start(&all, leaves);
  for (int r = 0; r < size; r++) {
    pn_subtree range = pn_tree_range(leaves, r, size), roots[PN_TREE_DEPTH];
    int depth, n = pn_tree_roots(leaves, range, roots, &depth);
    assert_int_equal(pn_tree_make(depth, COUNT, 1, &own), PN_OK); /* enough on the way */
    pn_tree_start(&own, leaves);
    for (int i = range.lo; i < range.hi; i++) {
      float v[COUNT];
      fill(v, i);
      pn_tree_push(&own, (pn_subtree){i, i + 1}, v);
    }
    assert_int_equal(own.n, n);
    for (int i = 0; i < n; i++) {
      assert_memory_equal(&own.node[i], &roots[i], sizeof roots[i]);
      pn_tree_push(&all, own.node[i], own.sum[i]);
    }
    pn_tree_free(&own);
  }
  assert_int_equal(all.n, 1);
  assert_int_equal(all.node[0].hi, leaves);
  memcpy(out, all.sum[0], COUNT * sizeof *out);
  pn_tree_free(&all);
}

static void test_any_ranks(void **state) {
  int differs = 0;

  (void)state;
  for (int leaves = 1; leaves <= MOST; leaves++) {
    float want[COUNT], got[COUNT], plain[COUNT] = {0};
    direct(0, leaves, want);
    for (int size = 1; size <= MOST + 2; size++) {
      shared(leaves, size, got);
      assert_memory_equal(got, want, sizeof want);
    }
    for (int i = 0; i < leaves; i++) {
      float v[COUNT];
      fill(v, i);
      for (int k = 0; k < COUNT; k++) plain[k] += v[k];
    }
    differs += memcmp(plain, want, sizeof want) != 0;
  }
  assert_true(differs > MOST / 2); /* the values tell orders apart */
}

static void test_roots(void **state) {
  (void)state;
  for (int leaves = 1; leaves <= PN_MAX_LEAVES; leaves = leaves * 3 / 2 + 1)
    for (int size = 1; size <= 7; size++)
      for (int r = 0; r < size; r++) {
        int depth, n = pn_tree_roots(leaves, pn_tree_range(leaves, r, size), NULL, &depth);
        assert_true(n <= 2 * (int)ceil(log2(leaves)) + 1 && depth < PN_TREE_DEPTH);
      }
  /* a power of two of ranks: one subtree each */
  for (int r = 0; r < 4; r++)
    assert_int_equal(pn_tree_roots(8, pn_tree_range(8, r, 4), NULL, NULL), 1);
}

static void test_doubles(void **state) {
  double v[7] = {1e16, 1, -1e16, 1, 1e-3, 1e16, 3};

  (void)state;
  assert_true(pn_tree_sum(v, 1) == v[0]);
  assert_true(pn_tree_sum(v, 7) == ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + v[6]));
}

static void test_exact_sum(void **state) {
  enum { N = 20000 };
  pn_exact_sum up = {{0}}, down = {{0}}, half = {{0}};
  double ends = 0x1p-1074, back;

  (void)state;
  for (int i = 0; i < N; i++) pn_exact_sum_add(&up, pow(1.01, i % 3000) * 1e-9);
  for (int i = N - 1; i >= 0; i--)
    pn_exact_sum_add(i % 2 ? &down : &half, pow(1.01, i % 3000) * 1e-9);
  for (int k = 0; k < PN_EXACT_DIGITS; k++) down.digit[k] += half.digit[k];
  assert_true(pn_exact_sum_value(&up) == pn_exact_sum_value(&down));
  /* what a double would lose, and the ends of the range */
  half = (pn_exact_sum){{0}};
  pn_exact_sum_add(&half, 0x1p60);
  for (int i = 0; i < 4096; i++) pn_exact_sum_add(&half, 0x1p-5);
  assert_true(pn_exact_sum_value(&half) == 0x1p60 + 128);
  for (int e = -1074; e < 1024; e += 7) {
    half = (pn_exact_sum){{0}};
    pn_exact_sum_add(&half, ldexp(1, e));
    back = pn_exact_sum_value(&half);
    assert_true(back == ldexp(1, e));
  }
  pn_exact_sum_add(&half, ends);
  pn_exact_sum_add(&half, INFINITY);
  assert_true(isnan(pn_exact_sum_value(&half)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_any_ranks),
      cmocka_unit_test(test_roots),
      cmocka_unit_test(test_doubles),
      cmocka_unit_test(test_exact_sum),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
