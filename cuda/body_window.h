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

/* Windows of one dimension that cover place `at`: [*lo, *hi). */
CU_HD void cu_covering(int32_t at, int32_t kernel, int32_t stride, int32_t pad, int32_t count,
                       int32_t *lo, int32_t *hi) {
  int32_t first = at + pad - kernel + 1;
  *lo = first <= 0 ? 0 : (first + stride - 1) / stride;
  *hi = (at + pad) / stride + 1;
  if (*hi > count) *hi = count;
}

CU_HD void cu_maxpool_backward(const cu_window *a, uint32_t i, int lanes, int type) {
  cu_at p = cu_locate(i, a->h, a->w, a->c, lanes);
  int32_t y0, y1, x0, x1;
  float sum[CU_HALF_LANES], d[CU_HALF_LANES];

  cu_fill(0.0f, lanes, sum);
  cu_covering((int32_t)p.y, a->kernel[0], a->stride[0], a->pad[0], (int32_t)a->oh, &y0, &y1);
  cu_covering((int32_t)p.x, a->kernel[1], a->stride[1], a->pad[1], (int32_t)a->ow, &x0, &x1);
  for (int32_t y = y0; y < y1; y++)
    for (int32_t x = x0; x < x1; x++) {
      size_t at = cu_offset(p.n, (uint32_t)y, (uint32_t)x, a->oh, a->ow, a->c) + p.c;
      int32_t place = ((int32_t)p.y + a->pad[0] - y * a->stride[0]) * a->kernel[1] + (int32_t)p.x +
                      a->pad[1] - x * a->stride[1];
      cu_get(type, a->d, at, lanes, d);
      for (int k = 0; k < lanes; k++)
        if ((int32_t)a->where[at + (size_t)k] == place) sum[k] += d[k];
    }
  cu_put(type, a->out, (size_t)i * (size_t)lanes, lanes, sum);
}

/* Part of the window at o that lies inside, in one dimension; returns its length. */
CU_HD int32_t cu_inside(uint32_t o, int32_t kernel, int32_t stride, int32_t pad, uint32_t count,
                        int32_t *lo, int32_t *hi) {
  *lo = (int32_t)o * stride - pad;
  *hi = *lo + kernel;
  if (*lo < 0) *lo = 0;
  if (*hi > (int32_t)count) *hi = (int32_t)count;
  return *hi - *lo;
}

CU_HD float cu_places(const cu_window *a, uint32_t oy, uint32_t ox) {
  int32_t lo, hi;
  if (a->pad_counts) return (float)(a->kernel[0] * a->kernel[1]);
  return (float)(cu_inside(oy, a->kernel[0], a->stride[0], a->pad[0], a->h, &lo, &hi) *
                 cu_inside(ox, a->kernel[1], a->stride[1], a->pad[1], a->w, &lo, &hi));
}

CU_HD void cu_avgpool_forward(const cu_window *a, uint32_t i, int lanes, int type) {
  cu_at o = cu_locate(i, a->oh, a->ow, a->c, lanes);
  int32_t y0, y1, x0, x1;
  double sum[CU_HALF_LANES] = {0};
  float x[CU_HALF_LANES], places = cu_places(a, o.y, o.x);

  cu_inside(o.y, a->kernel[0], a->stride[0], a->pad[0], a->h, &y0, &y1);
  cu_inside(o.x, a->kernel[1], a->stride[1], a->pad[1], a->w, &x0, &x1);
  for (int32_t y = y0; y < y1; y++)
    for (int32_t z = x0; z < x1; z++) {
      cu_get(type, a->x, cu_offset(o.n, (uint32_t)y, (uint32_t)z, a->h, a->w, a->c) + o.c, lanes,
             x);
      for (int k = 0; k < lanes; k++) sum[k] += (double)x[k];
    }
  for (int k = 0; k < lanes; k++) x[k] = (float)(sum[k] / (double)places);
  cu_put(type, a->out, (size_t)i * (size_t)lanes, lanes, x);
}

CU_HD void cu_avgpool_backward(const cu_window *a, uint32_t i, int lanes, int type) {
  cu_at p = cu_locate(i, a->h, a->w, a->c, lanes);
  int32_t y0, y1, x0, x1;
  float sum[CU_HALF_LANES], d[CU_HALF_LANES];

  cu_fill(0.0f, lanes, sum);
  cu_covering((int32_t)p.y, a->kernel[0], a->stride[0], a->pad[0], (int32_t)a->oh, &y0, &y1);
  cu_covering((int32_t)p.x, a->kernel[1], a->stride[1], a->pad[1], (int32_t)a->ow, &x0, &x1);
  for (int32_t y = y0; y < y1; y++)
    for (int32_t x = x0; x < x1; x++) {
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
