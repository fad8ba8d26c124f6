/* vector_bf16.c -- vector.h with vectors of 16 f32 that lie in memory as bf16. */
#include "device/simd/vector.h"

#ifdef __x86_64__
#include "base/bf16.h"

#pragma GCC target("avx512bf16,avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")

#include <immintrin.h>
#include <math.h>

enum { LANES = 16 };
typedef float vec __attribute__((vector_size(64), may_alias));
typedef float uvec __attribute__((vector_size(64), may_alias, aligned(4)));
typedef int32_t ivec __attribute__((vector_size(64), may_alias));
typedef uint8_t bytes __attribute__((vector_size(16), may_alias));

typedef pn_bf16 elem;

static inline vec load(const elem *p) {
  __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)p);
  return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

static inline void store(elem *p, vec v) {
  _mm256_storeu_si256((__m256i *)(void *)p, (__m256i)_mm512_cvtneps_pbh((__m512)v));
}

static inline vec vec_max(vec a, vec b) {
  return (vec)_mm512_max_ps((__m512)a, (__m512)b);
}

static inline vec vec_pass(vec d, vec y) {
  const vec zero = {0};
  return (vec)((ivec)d & (y > zero));
}

#include "device/simd/norm_body.h"
#include "device/simd/pool2_body.h"
#include "device/simd/pool_body.h"
#include "device/simd/small_conv_body.h"

const pn_vector_code pn_vector_bf16 = {.lanes = LANES,
                                       .conv_forward = forward,
                                       .conv_gradient = gradient,
                                       .pool_forward = pool_forward,
                                       .pool_backward = pool_backward,
                                       .pool_any_forward = pool_any_forward,
                                       .pool_any_backward = pool_any_backward,
                                       .norm = NORM_CODE};
#endif
