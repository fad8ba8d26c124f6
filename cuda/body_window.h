/* body_window.h -- pools, upsampling, zero padding.  Backward passes gather: each element of the
 * result looks for the windows that cover it, so there are no atomics and one order of sums. */
#ifndef PN_CUDA_BODY_WINDOW_H
#define PN_CUDA_BODY_WINDOW_H

#include "body.h"

/* The first maximum wins, NaN over all (PyTorch). */
CU_HD void cu_maxpool_forward(const cu_window *a, uint32_t i, int lanes, int type) {
  cu_at o = cu_locate(i, a->oh, a->ow, a->c, lanes);
  float best[CU_HALF_LANES], x[CU_HALF_LANES];
  uint8_t where[CU_HALF_LANES];

  for (int k = 0; k < lanes; k++) {
    best[k] = -INFINITY;
    where[k] = CU_NOWHERE;
  }
  for (int32_t p = 0; p < a->kernel[0] * a->kernel[1]; p++) {
    int32_t y = (int32_t)o.y * a->stride[0] - a->pad[0] + p / a->kernel[1];
    int32_t z = (int32_t)o.x * a->stride[1] - a->pad[1] + p % a->kernel[1];
    if (y < 0 || z < 0 || y >= (int32_t)a->h || z >= (int32_t)a->w) continue;
    cu_get(type, a->x, cu_offset(o.n, (uint32_t)y, (uint32_t)z, a->h, a->w, a->c) + o.c, lanes, x);
    for (int k = 0; k < lanes; k++)
      if (where[k] == CU_NOWHERE || x[k] > best[k] || isnan(x[k])) {
        best[k] = x[k];
        where[k] = (uint8_t)p;
      }
  }
  cu_put(type, a->out, (size_t)i * (size_t)lanes, lanes, best);
  for (int k = 0; k < lanes && a->where; k++)
    a->where[(size_t)i * (size_t)lanes + (size_t)k] = where[k];
}

typedef struct {
  int32_t lo, hi; /* [lo, hi) */
} cu_span;

/* Windows that cover place `at` of dimension dim (0: rows, 1: columns). */
CU_HD cu_span cu_covering(const cu_window *a, int dim, uint32_t at) {
  int32_t stride = a->stride[dim], last = (int32_t)at + a->pad[dim];
  int32_t first = last - a->kernel[dim] + 1, count = (int32_t)(dim == 0 ? a->oh : a->ow);
  cu_span s = {first <= 0 ? 0 : (first + stride - 1) / stride, last / stride + 1};
  if (s.hi > count) s.hi = count;
  return s;
}

CU_HD void cu_maxpool_backward(const cu_window *a, uint32_t i, int lanes, int type) {
  cu_at p = cu_locate(i, a->h, a->w, a->c, lanes);
  cu_span ys = cu_covering(a, 0, p.y), xs = cu_covering(a, 1, p.x);
  float sum[CU_HALF_LANES], d[CU_HALF_LANES];

  cu_fill(0.0f, lanes, sum);
  for (int32_t y = ys.lo; y < ys.hi; y++)
    for (int32_t x = xs.lo; x < xs.hi; x++) {
      size_t at = cu_offset(p.n, (uint32_t)y, (uint32_t)x, a->oh, a->ow, a->c) + p.c;
      int32_t place = ((int32_t)p.y + a->pad[0] - y * a->stride[0]) * a->kernel[1] + (int32_t)p.x +
                      a->pad[1] - x * a->stride[1];
      cu_get(type, a->d, at, lanes, d);
      for (int k = 0; k < lanes; k++)
        if ((int32_t)a->where[at + (size_t)k] == place) sum[k] += d[k];
    }
  cu_put(type, a->out, (size_t)i * (size_t)lanes, lanes, sum);
}

/* Places of window o that lie inside, in dimension dim. */
CU_HD cu_span cu_inside(const cu_window *a, int dim, uint32_t o) {
  int32_t count = (int32_t)(dim == 0 ? a->h : a->w);
  int32_t lo = (int32_t)o * a->stride[dim] - a->pad[dim], hi = lo + a->kernel[dim];
  cu_span s = {lo < 0 ? 0 : lo, hi > count ? count : hi};
  return s;
}

CU_HD float cu_places(const cu_window *a, uint32_t oy, uint32_t ox) {
  cu_span y = cu_inside(a, 0, oy), x = cu_inside(a, 1, ox);
  if (a->pad_counts) return (float)(a->kernel[0] * a->kernel[1]);
  return (float)((y.hi - y.lo) * (x.hi - x.lo));
}

CU_HD void cu_avgpool_forward(const cu_window *a, uint32_t i, int lanes, int type) {
  cu_at o = cu_locate(i, a->oh, a->ow, a->c, lanes);
  cu_span ys = cu_inside(a, 0, o.y), xs = cu_inside(a, 1, o.x);
  double sum[CU_HALF_LANES] = {0};
  float x[CU_HALF_LANES], places = cu_places(a, o.y, o.x);

  for (int32_t y = ys.lo; y < ys.hi; y++)
    for (int32_t z = xs.lo; z < xs.hi; z++) {
      cu_get(type, a->x, cu_offset(o.n, (uint32_t)y, (uint32_t)z, a->h, a->w, a->c) + o.c, lanes,
             x);
      for (int k = 0; k < lanes; k++) sum[k] += (double)x[k];
    }
  for (int k = 0; k < lanes; k++) x[k] = (float)(sum[k] / (double)places);
  cu_put(type, a->out, (size_t)i * (size_t)lanes, lanes, x);
}

CU_HD void cu_avgpool_backward(const cu_window *a, uint32_t i, int lanes, int type) {
  cu_at p = cu_locate(i, a->h, a->w, a->c, lanes);
  cu_span ys = cu_covering(a, 0, p.y), xs = cu_covering(a, 1, p.x);
  float sum[CU_HALF_LANES], d[CU_HALF_LANES];

  cu_fill(0.0f, lanes, sum);
  for (int32_t y = ys.lo; y < ys.hi; y++)
    for (int32_t x = xs.lo; x < xs.hi; x++) {
      float places = cu_places(a, (uint32_t)y, (uint32_t)x);
      cu_get(type, a->d, cu_offset(p.n, (uint32_t)y, (uint32_t)x, a->oh, a->ow, a->c) + p.c, lanes,
             d);
      for (int k = 0; k < lanes; k++) sum[k] += d[k] / places;
    }
  cu_put(type, a->out, (size_t)i * (size_t)lanes, lanes, sum);
}

CU_HD void cu_upsample_forward(const cu_window *a, uint32_t i, int lanes, int type) {
  cu_at o = cu_locate(i, a->oh, a->ow, a->c, lanes);
  float x[CU_HALF_LANES];

  cu_get(type, a->x, cu_offset(o.n, o.y / 2, o.x / 2, a->h, a->w, a->c) + o.c, lanes, x);
  cu_put(type, a->out, (size_t)i * (size_t)lanes, lanes, x);
}

CU_HD void cu_upsample_backward(const cu_window *a, uint32_t i, int lanes, int type) {
  cu_at p = cu_locate(i, a->h, a->w, a->c, lanes);
  float sum[CU_HALF_LANES];

  cu_fill(0.0f, lanes, sum);
  for (uint32_t q = 0; q < 4; q++)
    cu_add(type, a->d, cu_offset(p.n, 2 * p.y + q / 2, 2 * p.x + q % 2, a->oh, a->ow, a->c) + p.c,
           lanes, sum);
  cu_put(type, a->out, (size_t)i * (size_t)lanes, lanes, sum);
}

CU_HD void cu_place_body(const cu_place *a, uint32_t i, int lanes, int type) {
  cu_at o = cu_locate(i, a->oh, a->ow, a->c, lanes);
  int32_t y = (int32_t)o.y - a->top, z = (int32_t)o.x - a->left;
  float x[CU_HALF_LANES];

  cu_fill(0.0f, lanes, x);
  if (y >= 0 && z >= 0 && y < (int32_t)a->h && z < (int32_t)a->w)
    cu_get(type, a->x, cu_offset(o.n, (uint32_t)y, (uint32_t)z, a->h, a->w, a->c) + o.c, lanes, x);
  cu_put(type, a->out, (size_t)i * (size_t)lanes, lanes, x);
}

#endif
