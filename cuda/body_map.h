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
  if (a->bias) cu_add(CU_F32, a->bias, (uint32_t)at % a->channels, lanes, x);
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

/* The stream counts elements in C H W order, four to a block: of the group's channels, bit
 * CU_PIXELS * k + j says whether pixel j of channel k is kept. */
CU_HD uint64_t cu_dropout_kept(const cu_dropout *a, uint32_t n, uint32_t c, uint32_t pixel,
                               int lanes) {
  uint32_t left = a->area - pixel, most = CU_PIXELS, pixels = left < most ? left : most;
  uint64_t kept = 0;

  CU_ROLLED for (int k = 0; k < lanes; k++) {
    uint32_t first = (c + (uint32_t)k) * a->area + pixel, skip = first % 4, bits = 0;
    CU_ROLLED for (uint32_t b = 0; 4 * b < skip + pixels; b++) {
      uint32_t word[4];
      cu_dropout_block(a, n, first / 4 + b, word);
      for (uint32_t j = 0; j < 4; j++)
        bits |= (uint32_t)((float)(word[j] >> 8) * 0x1p-24f >= a->rate) << (4 * b + j);
    }
    kept |= (uint64_t)(bits >> skip & ((1u << CU_PIXELS) - 1)) << (CU_PIXELS * k);
  }
  return kept;
}

/* CU_PIXELS pixels of a group of channels.  Forward keeps the bits for the way back. */
CU_HD void cu_dropout_body(const cu_dropout *a, uint32_t i, int lanes, int type) {
  uint32_t groups = a->channels / (uint32_t)lanes, rest = i / groups, n = rest / a->runs;
  uint32_t c = (i - rest * groups) * (uint32_t)lanes, pixel = (rest - n * a->runs) * CU_PIXELS;
  size_t first = (size_t)n * a->area;
  uint64_t kept;
  cu_raw raw[CU_PIXELS];
  float x[CU_HALF_LANES];

  for (uint32_t j = 0; j < CU_PIXELS; j++) {
    uint32_t p = pixel + j < a->area ? pixel + j : a->area - 1;
    raw[j] = cu_fetch(type, a->x, (first + p) * a->channels + c, lanes);
  }
  kept = a->back ? a->kept[i] : cu_dropout_kept(a, n, c, pixel, lanes);
  if (!a->back && a->kept) a->kept[i] = kept;
  for (uint32_t j = 0; j < CU_PIXELS && pixel + j < a->area; j++) {
    cu_open(type, &raw[j], lanes, x);
    for (int k = 0; k < lanes; k++) x[k] *= kept >> (CU_PIXELS * k + (int)j) & 1 ? a->keep : 0.0f;
    cu_put(type, a->out, (first + pixel + j) * a->channels + c, lanes, x);
  }
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

CU_HD void cu_interleave_body(const cu_interleave *a, uint32_t i, int lanes, int type) {
  uint32_t at = i * (uint32_t)lanes, image = at / (a->channels * a->plane);
  uint32_t rest = at - image * a->channels * a->plane, pixel = rest / a->channels;
  uint32_t c = rest - pixel * a->channels;
  const float *from = a->x + (size_t)image * a->channels * a->plane;
  float x[CU_HALF_LANES];

  for (int k = 0; k < lanes; k++) {
    x[k] = from[(size_t)c * a->plane + pixel];
    if (++c == a->channels) c = 0, pixel++;
  }
  cu_put(type, a->out, at, lanes, x);
}

CU_HD void cu_convert_body(const cu_convert *a, uint32_t i, int lanes, int type) {
  size_t at = (size_t)i * (size_t)lanes;
  float x[CU_HALF_LANES];

  cu_get(a->to_f32 ? type : CU_F32, a->x, at, lanes, x);
  cu_put(a->to_f32 ? CU_F32 : type, a->out, at, lanes, x);
}

#endif
