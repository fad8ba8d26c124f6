/* norm_scalar.c -- norm.h for one channel at a time: tails and processors without wide vectors. */
#include "device/simd/norm.h"

enum { LANES = 1 };
typedef float vec;
typedef float uvec;
typedef float elem;

static inline vec load(const elem *p) {
  return *p;
}

static inline void store(elem *p, vec v) {
  *p = v;
}

static inline vec vec_max(vec a, vec b) {
  return a > b ? a : b;
}

static inline vec vec_pass(vec d, vec y) {
  return y > 0.0f ? d : 0.0f;
}

#include "device/simd/norm_body.h"

const pn_norm_code pn_norm_scalar = NORM_CODE;
