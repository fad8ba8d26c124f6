/* shm_sum.c -- the inner loops: bound by the way from the other cores' caches, so they read ahead.
 */
#include "base/simd.h"
#include "comm/shm_internal.h"

#include <string.h>

enum { LANES = 16, AHEAD = 32 * LANES, BLOCK = 1024 };
typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* Two ranks: both get the sum while it is in a register. */
PN_ANY_SIMD static void add_to_both(float *a, float *b, int64_t n) {
  int64_t i = 0;

  for (; i + LANES <= n; i += LANES) {
    __builtin_prefetch(a + i + AHEAD);
    __builtin_prefetch(b + i + AHEAD);
    vec sum = *(const vec *)(a + i) + *(const vec *)(b + i);
    *(vec *)(a + i) = sum;
    *(vec *)(b + i) = sum;
  }
  for (; i < n; i++) a[i] = b[i] = a[i] + b[i];
}

PN_ANY_SIMD static void add(float *out, const float *a, const float *b, int64_t n) {
  int64_t i = 0;

  for (; i + LANES <= n; i += LANES) {
    __builtin_prefetch(a + i + AHEAD);
    __builtin_prefetch(b + i + AHEAD);
    *(vec *)(out + i) = *(const vec *)(a + i) + *(const vec *)(b + i);
  }
  for (; i < n; i++) out[i] = a[i] + b[i];
}

/* Any number: a block at a time in the first-level cache. */
static void sum_block(float *const *src, int n_src, float *const *dst, int n_dst, int64_t at,
                      int64_t n) {
  float sum[BLOCK];

  add(sum, src[0] + at, src[1] + at, n);
  for (int r = 2; r < n_src; r++) add(sum, sum, src[r] + at, n);
  for (int r = 0; r < n_dst; r++) memcpy(dst[r] + at, sum, (size_t)n * sizeof *sum);
}

void pn_shm_sum(float *const *src, int n_src, float *const *dst, int n_dst, int64_t count) {
  if (n_src == 2 && n_dst == 2 && src[0] == dst[0] && src[1] == dst[1]) {
    add_to_both(src[0], src[1], count);
  } else if (n_src == 2 && n_dst == 1) {
    add(dst[0], src[0], src[1], count);
  } else if (n_src == 1) {
    for (int r = 0; r < n_dst; r++)
      if (dst[r] != src[0] && count > 0) memcpy(dst[r], src[0], (size_t)count * sizeof *src[0]);
  } else {
    for (int64_t at = 0; at < count; at += BLOCK)
      sum_block(src, n_src, dst, n_dst, at, count - at < BLOCK ? count - at : BLOCK);
  }
}
