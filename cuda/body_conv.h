/* body_conv.h -- convolution one element at a time: right on every shape, for machines without
 * cuDNN or cuBLAS and for what these refuse.  Sums in double. */
#ifndef PN_CUDA_BODY_CONV_H
#define PN_CUDA_BODY_CONV_H

#include "body.h"

CU_HD double cu_dot(int type, const void *a, size_t at, const void *b, size_t bt, uint32_t n) {
  double sum = 0;
  for (uint32_t k = 0; k < n; k++)
    sum += (double)cu_one(type, a, at + k) * (double)cu_one(type, b, bt + k);
  return sum;
}

CU_HD void cu_conv_forward(const cu_conv *a, uint32_t i, int lanes, int type) {
  cu_at o = cu_locate(i, a->oh, a->ow, a->o, 1);
  double sum = a->bias ? (double)a->bias[o.c] : 0.0;
  float result;
  (void)lanes;

  for (int32_t p = 0; p < a->kernel[0] * a->kernel[1]; p++) {
    int32_t y = (int32_t)o.y * a->stride[0] - a->pad[0] + p / a->kernel[1];
    int32_t x = (int32_t)o.x * a->stride[1] - a->pad[1] + p % a->kernel[1];
    if (y < 0 || x < 0 || y >= (int32_t)a->h || x >= (int32_t)a->w) continue;
    sum += cu_dot(type, a->x, cu_offset(o.n, (uint32_t)y, (uint32_t)x, a->h, a->w, a->c), a->weight,
                  ((size_t)o.c * (size_t)(a->kernel[0] * a->kernel[1]) + (size_t)p) * a->c, a->c);
  }
  result = a->relu && sum <= 0 ? 0.0f : (float)sum;
  cu_put(a->f32_out ? CU_F32 : type, a->out, i, 1, &result);
}

/* Diff of input element i: every output whose window covers it. */
CU_HD void cu_conv_data(const cu_conv *a, uint32_t i, int lanes, int type) {
  cu_at q = cu_locate(i, a->h, a->w, a->c, 1);
  int32_t places = a->kernel[0] * a->kernel[1];
  double sum = 0;
  float result;
  (void)lanes;

  for (int32_t p = 0; p < places; p++) {
    int32_t y = (int32_t)q.y + a->pad[0] - p / a->kernel[1];
    int32_t x = (int32_t)q.x + a->pad[1] - p % a->kernel[1];
    size_t d, w = (size_t)p * a->c + q.c;
    if (y < 0 || x < 0 || y % a->stride[0] || x % a->stride[1]) continue;
    y /= a->stride[0];
    x /= a->stride[1];
    if (y >= (int32_t)a->oh || x >= (int32_t)a->ow) continue;
    d = cu_offset(q.n, (uint32_t)y, (uint32_t)x, a->oh, a->ow, a->o);
    for (uint32_t o = 0; o < a->o; o++)
      sum += (double)cu_one(type, a->d, d + o) *
             (double)cu_one(type, a->weight, w + (size_t)o * (size_t)places * a->c);
  }
  result = (float)sum;
  cu_put(type, a->out, i, 1, &result);
}

/* Diff of weight i, in O KH KW I order. */
CU_HD void cu_conv_weight(const cu_conv *a, uint32_t i, int lanes, int type) {
  uint32_t c = i % a->c, place = i / a->c % (uint32_t)(a->kernel[0] * a->kernel[1]);
  uint32_t o = i / a->c / (uint32_t)(a->kernel[0] * a->kernel[1]);
  int32_t down = (int32_t)place / a->kernel[1] - a->pad[0];
  int32_t right = (int32_t)place % a->kernel[1] - a->pad[1];
  double sum = 0;
  (void)lanes;

  for (uint32_t p = 0; p < a->n * a->oh * a->ow; p++) {
    int32_t y = (int32_t)(p / a->ow % a->oh) * a->stride[0] + down;
    int32_t x = (int32_t)(p % a->ow) * a->stride[1] + right;
    if (y < 0 || x < 0 || y >= (int32_t)a->h || x >= (int32_t)a->w) continue;
    sum += (double)cu_one(type, a->d, (size_t)p * a->o + o) *
           (double)cu_one(type, a->x,
                          cu_offset(p / a->ow / a->oh, (uint32_t)y, (uint32_t)x, a->h, a->w, a->c) +
                              c);
  }
  ((float *)a->out)[i] = (float)sum;
}

#endif
