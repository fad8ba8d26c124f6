/* body_map.h -- elementwise functions, dropout, copies of channels, permutations. */
#ifndef PN_CUDA_BODY_MAP_H
#define PN_CUDA_BODY_MAP_H

#include "body.h"

/* NaN passes through ReLU, as in PyTorch. */
CU_HD float cu_apply(cu_function f, float x) {
  switch (f) {
  case CU_RELU:
    return x <= 0.0f ? 0.0f : x;
  case CU_SIGMOID:
    return 1.0f / (1.0f + expf(-x));
  case CU_SILU:
    return x / (1.0f + expf(-x));
  default:
    return x;
  }
}

CU_HD void cu_map_forward(const cu_map *a, uint32_t i, int lanes, int type) {
  size_t at = (size_t)i * (size_t)lanes;
  float x[CU_HALF_LANES];

  cu_get(type, a->x, at, lanes, x);
  if (a->bias) cu_add(CU_F32, a->bias, at % a->channels, lanes, x);
  cu_add(type, a->z, at, lanes, x);
  for (int k = 0; k < lanes; k++) x[k] = cu_apply(a->f, x[k]);
  cu_put(type, a->out, at, lanes, x);
}

/* s: the argument of SiLU, else the function's value. */
CU_HD float cu_slope(cu_function f, float s) {
  float e;
  switch (f) {
  case CU_RELU:
    return s <= 0.0f ? 0.0f : 1.0f;
  case CU_SIGMOID:
    return s * (1.0f - s);
  case CU_SILU:
    e = 1.0f / (1.0f + expf(-s));
    return e * (1.0f + s * (1.0f - e));
  default:
    return 1.0f;
  }
}

CU_HD void cu_map_backward(const cu_map *a, uint32_t i, int lanes, int type) {
  size_t at = (size_t)i * (size_t)lanes;
  float d[CU_HALF_LANES], s[CU_HALF_LANES];

  cu_get(type, a->d, at, lanes, d);
  cu_add(type, a->d1, at, lanes, d);
  if (a->f != CU_COPY) {
    cu_get(type, a->f == CU_SILU ? a->x : a->y, at, lanes, s);
    for (int k = 0; k < lanes; k++)
      d[k] = a->f == CU_RELU ? (s[k] <= 0.0f ? 0.0f : d[k]) : d[k] * cu_slope(a->f, s[k]);
  }
  cu_add(type, a->add, at, lanes, d);
  cu_put(type, a->out, at, lanes, d);
}

/* Philox4x32-10, as pn_philox. */
CU_HD void cu_philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t n0 = (uint32_t)(p1 >> 32) ^ c[1] ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
    c[1] = (uint32_t)p1;
    c[3] = (uint32_t)p0;
    c[0] = n0;
    c[2] = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

/* Word `element` of the image's stream. */
CU_HD void cu_dropout_block(const cu_dropout *a, uint32_t n, uint32_t block, uint32_t c[4]) {
  const pn_step_numbers *now = a->numbers;
  uint64_t id = a->sample_id[n];
  c[0] = block;
  c[1] = now ? a->stream | (now->epoch & 0xfffffu) << 8 : a->stream;
  c[2] = (uint32_t)id;
  c[3] = (uint32_t)(id >> 32);
  cu_philox(c, now ? now->key[0] : a->key[0], now ? now->key[1] : a->key[1]);
}

/* The stream counts elements in C H W order; four in a row share a block where area is 1. */
CU_HD void cu_dropout_body(const cu_dropout *a, uint32_t i, int lanes, int type) {
  size_t at = (size_t)i * (size_t)lanes;
  uint32_t n = (uint32_t)(at / a->per_image), r = (uint32_t)(at % a->per_image), c[4] = {0};
  uint32_t made = UINT32_MAX;
  float x[CU_HALF_LANES];

  cu_get(type, a->x, at, lanes, x);
  for (int k = 0; k < lanes; k++) {
    uint32_t e = r + (uint32_t)k, logical = e % a->channels * a->area + e / a->channels;
    if (logical / 4 != made) cu_dropout_block(a, n, made = logical / 4, c);
    x[k] *= (float)(c[logical % 4] >> 8) * 0x1p-24f >= a->rate ? a->keep : 0.0f;
  }
  cu_put(type, a->out, at, lanes, x);
}

CU_HD void cu_slice_body(const cu_slice *a, uint32_t i, int lanes, int type) {
  uint32_t groups = a->channels / (uint32_t)lanes, row = i / groups;
  uint32_t c = (i - row * groups) * (uint32_t)lanes;
  float x[CU_HALF_LANES];

  cu_get(type, a->x, (size_t)row * a->from_pitch + a->from + c, lanes, x);
  cu_put(type, a->out, (size_t)row * a->to_pitch + a->to + c, lanes, x);
}

CU_HD void cu_permute_body(const cu_permute *a, uint32_t i, int lanes, int type) {
  uint32_t rest = i;
  size_t from = 0;
  float x;
  (void)lanes;

  for (int k = 3; k >= 0; k--) {
    from += (size_t)(rest % a->dim[k]) * a->stride[k];
    rest /= a->dim[k];
  }
  x = cu_one(a->from_f32 ? CU_F32 : type, a->x, from);
  cu_put(a->to_f32 ? CU_F32 : type, a->out, i, 1, &x);
}

CU_HD void cu_convert_body(const cu_convert *a, uint32_t i, int lanes, int type) {
  size_t at = (size_t)i * (size_t)lanes;
  float x[CU_HALF_LANES];

  cu_get(a->to_f32 ? type : CU_F32, a->x, at, lanes, x);
  cu_put(a->to_f32 ? CU_F32 : type, a->out, at, lanes, x);
}

#endif
