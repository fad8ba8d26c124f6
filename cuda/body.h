/* body.h -- access to elements for the kernels' bodies: one, or those of one 16-byte access of the
 * type.  lanes and type are constants after inlining. */
#ifndef PN_CUDA_BODY_H
#define PN_CUDA_BODY_H

#include "half.h"

#include <math.h>

typedef struct {
  float v[CU_LANES];
} __attribute__((aligned(16))) cu_vector;
typedef struct {
  uint16_t v[CU_HALF_LANES];
} __attribute__((aligned(16))) cu_half_vector;

/* Elements [at, at + lanes) of f32; 8 lanes are two accesses. */
CU_HD void cu_load(const float *from, size_t at, int lanes, float *x) {
  if (lanes == 1) x[0] = from[at];
  for (int i = 0; i + CU_LANES <= lanes; i += CU_LANES) {
    cu_vector v = *(const cu_vector *)(const void *)(from + at + (size_t)i);
    for (int k = 0; k < CU_LANES; k++) x[i + k] = v.v[k];
  }
}

CU_HD void cu_store(float *to, size_t at, int lanes, const float *x) {
  if (lanes == 1) to[at] = x[0];
  for (int i = 0; i + CU_LANES <= lanes; i += CU_LANES) {
    cu_vector v;
    for (int k = 0; k < CU_LANES; k++) v.v[k] = x[i + k];
    *(cu_vector *)(void *)(to + at + (size_t)i) = v;
  }
}

/* The words of one access, as they lie: a thread may have several under way before it looks. */
typedef struct {
  uint32_t w[CU_LANES];
} __attribute__((aligned(16))) cu_raw;

CU_HD cu_raw cu_nothing(void) {
  cu_raw r = {{0, 0, 0, 0}};
  return r;
}

CU_HD cu_raw cu_fetch(int type, const void *from, size_t at, int lanes) {
  cu_raw r = cu_nothing();

  if (lanes > 1)
    r = *(const cu_raw *)(const void *)((const char *)from + at * (type == CU_F32 ? 4 : 2));
  else if (type == CU_F32)
    r.w[0] = ((const uint32_t *)from)[at];
  else
    r.w[0] = ((const uint16_t *)from)[at];
  return r;
}

CU_HD void cu_open(int type, const cu_raw *r, int lanes, float *x) {
  for (int k = 0; k < lanes; k++) {
    uint32_t half = r->w[k / 2 % CU_LANES] >> (k % 2 * 16) & 0xffffu;
    x[k] = type == CU_F32 ? cu_float_of(r->w[k % CU_LANES]) : cu_of_half(type, (uint16_t)half);
  }
}

/* Elements of any type; f32 may be two accesses. */
CU_HD void cu_get(int type, const void *from, size_t at, int lanes, float *x) {
  if (type == CU_F32)
    cu_load((const float *)from, at, lanes, x);
  else {
    cu_raw r = cu_fetch(type, from, at, lanes);
    cu_open(type, &r, lanes, x);
  }
}

CU_HD void cu_put(int type, void *to, size_t at, int lanes, const float *x) {
  uint16_t *half = (uint16_t *)to;

  if (type == CU_F32)
    cu_store((float *)to, at, lanes, x);
  else if (lanes == 1)
    half[at] = cu_to_half(type, x[0]);
  else {
    cu_half_vector v;
    for (int k = 0; k < CU_HALF_LANES; k++) v.v[k] = cu_to_half(type, x[k]);
    *(cu_half_vector *)(void *)(half + at) = v;
  }
}

CU_HD float cu_one(int type, const void *from, size_t at) {
  return type == CU_F32 ? ((const float *)from)[at]
                        : cu_of_half(type, ((const uint16_t *)from)[at]);
}

/* x += from, where there is such a term. */
CU_HD void cu_add(int type, const void *from, size_t at, int lanes, float *x) {
  float t[CU_HALF_LANES];
  if (!from) return;
  cu_get(type, from, at, lanes, t);
  for (int k = 0; k < lanes; k++) x[k] += t[k];
}

CU_HD void cu_fill(float value, int lanes, float *x) {
  for (int k = 0; k < lanes; k++) x[k] = value;
}

/* Where element group i of an N H W C tensor lies. */
typedef struct {
  uint32_t n, y, x, c;
} cu_at;

CU_HD cu_at cu_locate(uint32_t i, uint32_t h, uint32_t w, uint32_t c, int lanes) {
  uint32_t groups = c / (uint32_t)lanes, pixel = i / groups;
  cu_at a;
  a.c = (i - pixel * groups) * (uint32_t)lanes;
  a.x = pixel % w;
  a.y = pixel / w % h;
  a.n = pixel / w / h;
  return a;
}

CU_HD size_t cu_offset(uint32_t n, uint32_t y, uint32_t x, uint32_t h, uint32_t w, uint32_t c) {
  return (((size_t)n * h + y) * w + x) * c;
}

#endif
