/* vector_avx2.c -- vector.h with vectors of 8. */
#include "device/simd/vector.h"

#ifdef __x86_64__
#pragma GCC target("avx2,fma")

#include <immintrin.h>
#include <math.h>
#include <string.h>

enum { LANES = 8 };
typedef float vec __attribute__((vector_size(32), may_alias));
typedef float uvec __attribute__((vector_size(32), may_alias, aligned(4)));
typedef int32_t ivec __attribute__((vector_size(32), may_alias));
typedef uint8_t bytes __attribute__((vector_size(8), may_alias));

typedef float elem;

static inline vec load(const elem *p) {
  return *(const uvec *)p;
}

static inline void store(elem *p, vec v) {
  *(uvec *)p = v;
}

static inline vec vec_max(vec a, vec b) {
  return (vec)_mm256_max_ps((__m256)a, (__m256)b);
}

static inline vec vec_pass(vec d, vec y) {
  const vec zero = {0};
  return (vec)((ivec)d & (y > zero));
}

#include "device/simd/norm_body.h"
#include "device/simd/peak_body.h"
#include "device/simd/pool2_body.h"
#include "device/simd/pool_body.h"
#include "device/simd/pool_grad_body.h"
#include "device/simd/small_conv_body.h"

const pn_vector_code pn_vector_avx2 = {.lanes = LANES,
                                       .conv_forward = forward,
                                       .conv_gradient = gradient,
                                       .pool_forward = pool_forward,
                                       .pool_backward = pool_backward,
                                       .pool_any_forward = pool_any_forward,
                                       .pool_any_backward = pool_any_backward,
                                       .grad_weight = grad_weight,
                                       .grad_data = grad_data,
                                       .peak_chains = peak_chains,
                                       .norm = NORM_CODE};
#endif
