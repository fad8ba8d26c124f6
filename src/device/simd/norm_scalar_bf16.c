/* norm_scalar_bf16.c -- as norm_scalar.c, for tensors of bf16. */
#include "base/bf16.h"
#include "device/simd/norm.h"

enum { LANES = 1 };
typedef float vec;
typedef float uvec;
typedef pn_bf16 elem;

static inline vec load(const elem *p) {
  return pn_bf16_to_f32(*p);
}

static inline void store(elem *p, vec v) {
  *p = pn_bf16_of(v);
}

static inline vec vec_max(vec a, vec b) {
  return a > b ? a : b;
}

static inline vec vec_pass(vec d, vec y) {
  return y > 0.0f ? d : 0.0f;
}

#include "device/simd/norm_body.h"

const pn_norm_code pn_norm_scalar_bf16 = NORM_CODE;
