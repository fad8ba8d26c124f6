/* body.h -- access to elements for the kernels' bodies: one, or CU_LANES as one 16-byte access. */
#ifndef PN_CUDA_BODY_H
#define PN_CUDA_BODY_H

#include "kernels.h"

#include <math.h>

typedef struct {
  float v[CU_LANES];
} __attribute__((aligned(16))) cu_vector;

/* Elements [at, at + lanes); lanes is a constant after inlining. */
CU_HD void cu_load(const float *from, size_t at, int lanes, float x[CU_LANES]) {
  if (lanes == CU_LANES) {
    cu_vector v = *(const cu_vector *)(const void *)(from + at);
    for (int k = 0; k < CU_LANES; k++) x[k] = v.v[k];
  } else
    x[0] = from[at];
}

CU_HD void cu_store(float *to, size_t at, int lanes, const float x[CU_LANES]) {
  if (lanes == CU_LANES) {
    cu_vector v;
    for (int k = 0; k < CU_LANES; k++) v.v[k] = x[k];
    *(cu_vector *)(void *)(to + at) = v;
  } else
    to[at] = x[0];
}

/* x += from, where there is such a term. */
CU_HD void cu_add(const float *from, size_t at, int lanes, float x[CU_LANES]) {
  float t[CU_LANES];
  if (!from) return;
  cu_load(from, at, lanes, t);
  for (int k = 0; k < lanes; k++) x[k] += t[k];
}

CU_HD void cu_fill(float value, int lanes, float x[CU_LANES]) {
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
