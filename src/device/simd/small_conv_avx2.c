/* small_conv_avx2.c -- small_conv.h with vectors of 8. */
#include "device/simd/small_conv.h"

#ifdef __x86_64__
#pragma GCC target("avx2,fma")

#include <immintrin.h>

enum { LANES = 8 };
typedef float vec __attribute__((vector_size(32), may_alias));
typedef int32_t ivec __attribute__((vector_size(32), may_alias));
typedef uint8_t bytes __attribute__((vector_size(8), may_alias));

static inline vec vec_max(vec a, vec b) {
  return (vec)_mm256_max_ps((__m256)a, (__m256)b);
}

#include "device/simd/small_conv_body.h"

const pn_small_conv_code pn_small_conv_avx2 = {LANES, forward, gradient};
#endif
