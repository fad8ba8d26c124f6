/* body_window.h -- pools, upsampling, zero padding.  Backward passes gather: each element of the
 * result looks for the windows that cover it, so there are no atomics and one order of sums. */
#ifndef PN_CUDA_BODY_WINDOW_H
#define PN_CUDA_BODY_WINDOW_H

#include "body_rows.h"

/* Places of maxima, a byte each, in the words of one access. */
typedef struct {
  uint32_t w[2];
} __attribute__((aligned(8))) cu_places8;

CU_HD uint32_t cu_place_of(const cu_places8 *p, int k) {
  return p->w[k / 4] >> (k % 4 * 8) & 0xffu;
}

CU_HD cu_places8 cu_get_places(const uint8_t *from, size_t at, int lanes) {
  cu_places8 p = {{0, 0}};
  if (lanes == CU_HALF_LANES) return *(const cu_places8 *)(const void *)(from + at);
  p.w[0] = lanes == 1 ? from[at] : *(const uint32_t *)(const void *)(from + at);
  return p;
}

CU_HD void cu_put_places(uint8_t *to, size_t at, int lanes, const uint32_t *where) {
  cu_places8 p = {{0, 0}};
  for (int k = 0; k < lanes; k++) p.w[k / 4] |= where[k] << (k % 4 * 8);
  if (lanes == 1) to[at] = (uint8_t)where[0];
  if (lanes == CU_LANES) *(uint32_t *)(void *)(to + at) = p.w[0];
  if (lanes == CU_HALF_LANES) *(cu_places8 *)(void *)(to + at) = p;
}

/* Columns of a window that are loaded together. */
enum { CU_COLUMNS = 3 };

/* The first maximum wins, NaN over all (PyTorch). */
CU_HD void cu_maxpool_forward(const cu_window *a, uint32_t i, int lanes, int type) {
  cu_at o = cu_locate(i, a->oh, a->ow, a->c, lanes);
  int32_t top = (int32_t)o.y * a->stride[0] - a->pad[0], last = (int32_t)a->w - 1;
  int32_t left = (int32_t)o.x * a->stride[1] - a->pad[1];
  float best[CU_HALF_LANES], x[CU_HALF_LANES];
  uint32_t where[CU_HALF_LANES];
  cu_raw raw[CU_COLUMNS];
  bool first = true;

  cu_fill(-INFINITY, lanes, best);
  for (int k = 0; k < lanes; k++) where[k] = CU_NOWHERE;
  for (int32_t y = 0; y < a->kernel[0]; y++)
    for (int32_t z = 0; z < a->kernel[1]; z += CU_COLUMNS) {
      if (top + y < 0 || top + y >= (int32_t)a->h) continue;
      for (int32_t j = 0; j < CU_COLUMNS; j++) {
        int32_t at = left + z + j;
        at = at < 0 ? 0 : at > last ? last : at;
        raw[j] = cu_fetch(type, a->x,
                          cu_offset(o.n, (uint32_t)(top + y), (uint32_t)at, a->h, a->w, a->c) + o.c,
                          lanes);
      }
      for (int32_t j = 0; j < CU_COLUMNS && z + j < a->kernel[1]; j++) {
        if (left + z + j < 0 || left + z + j > last) continue;
        cu_open(type, &raw[j], lanes, x);
        for (int k = 0; k < lanes; k++) {
          bool more = first || x[k] > best[k] || isnan(x[k]);
          best[k] = more ? x[k] : best[k];
          where[k] = more ? (uint32_t)(y * a->kernel[1] + z + j) : where[k];
        }
        first = false;
      }
    }
  cu_put(type, a->out, (size_t)i * (size_t)lanes, lanes, best);
  for (int k = 0; k < lanes; k++)
    if (a->relu && best[k] <= 0.0f) where[k] = CU_NOWHERE;
  if (a->where) cu_put_places(a->where, (size_t)i * (size_t)lanes, lanes, where);
}

/* The elements of one cell: the diff where the maximum was, 0 elsewhere. */
CU_HD void cu_pool_fill(const cu_pool_post *a, const cu_at *cell, int lanes, int type,
                        const float *d, const cu_places8 *where) {
  for (uint32_t p = 0; p < a->kernel[0]; p++)
    for (uint32_t q = 0; q < a->kernel[1]; q++) {
      uint32_t y = cell->y * a->kernel[0] + p, x = cell->x * a->kernel[1] + q;
      float e[CU_HALF_LANES];
      if (y >= a->h || x >= a->w) continue;
      for (int k = 0; k < lanes; k++)
        e[k] = cu_place_of(where, k) == p * a->kernel[1] + q ? d[k] : 0.0f;
      cu_put(type, a->rows.out, cu_offset(cell->n, y, x, a->h, a->w, a->rows.channels) + cell->c,
             lanes, e);
    }
}

/* And their sums, of a bias. */
CU_HD void cu_pool_post_body(const cu_pool_post *a, uint32_t block, uint32_t thread, int lanes,
                             int type, float sum[2][CU_HALF_LANES]) {
  cu_seat s = cu_seat_of(&a->rows, block, thread, lanes);

  cu_no_sums(lanes, sum);
  if (!s.inside) return;
  for (uint32_t r = s.part * a->rows.down + s.line; r < a->rows.rows;
       r += a->rows.parts * a->rows.down) {
    uint32_t line = r / a->cells[1], n = line / a->cells[0];
    cu_at cell = {n, line - n * a->cells[0], r - line * a->cells[1], s.c};
    cu_places8 where;
    float d[CU_HALF_LANES];

    cu_fill(0.0f, lanes, d);
    where.w[0] = where.w[1] = UINT32_MAX; /* CU_NOWHERE */
    if (cell.y < a->oh && cell.x < a->ow) {
      size_t at = cu_offset(n, cell.y, cell.x, a->oh, a->ow, a->rows.channels) + s.c;
      where = cu_get_places(a->where, at, lanes);
      cu_get(type, a->rows.d, at, lanes, d);
      cu_add(type, a->rows.d1, at, lanes, d);
    }
    for (int k = 0; k < lanes; k++) sum[0][k] += cu_place_of(&where, k) == CU_NOWHERE ? 0.0f : d[k];
    cu_pool_fill(a, &cell, lanes, type, d, &where);
  }
}

CU_HD void cu_pool_post_keep(const cu_pool_post *a, uint32_t block, uint32_t thread, int lanes,
                             const float *all) {
  if (a->rows.partial) cu_norm_keep(&a->rows, block, thread, lanes, all);
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

/* Place of element (p.y, p.x) in window (y, x); -1: it is not in it. */
CU_HD int32_t cu_place_in(const cu_window *a, const cu_at *p, int32_t y, int32_t x) {
  int32_t down = (int32_t)p->y + a->pad[0] - y * a->stride[0];
  int32_t right = (int32_t)p->x + a->pad[1] - x * a->stride[1];

  if (down < 0 || right < 0 || down >= a->kernel[0] || right >= a->kernel[1]) return -1;
  return down * a->kernel[1] + right;
}

/* The diffs of the channels whose maximum lies at `place`. */
CU_HD void cu_add_where(int32_t place, int lanes, const int32_t *where, const float *d,
                        float *sum) {
  if (place < 0) return;
  for (int k = 0; k < lanes; k++)
    if (where[k] == place) sum[k] += d[k];
}

/* Two by two elements: the windows over them are loaded once, two at a time. */
CU_HD void cu_maxpool_backward(const cu_window *a, uint32_t i, int lanes, int type) {
  cu_at p = cu_locate(i, (a->h + 1) / 2, (a->w + 1) / 2, a->c, lanes);
  uint32_t top = 2 * p.y, left = 2 * p.x;
  int32_t y0 = cu_covering(a, 0, top).lo, y1 = cu_covering(a, 0, top + 1).hi;
  int32_t x0 = cu_covering(a, 1, left).lo, x1 = cu_covering(a, 1, left + 1).hi;
  float sum[4][CU_HALF_LANES], d[CU_HALF_LANES];
  int32_t at[CU_HALF_LANES];
  cu_places8 where[2];
  cu_raw raw[2];

  for (int q = 0; q < 4; q++) cu_fill(0.0f, lanes, sum[q]);
  for (int32_t y = y0; y < y1; y++)
    for (int32_t x = x0; x < x1; x += 2) {
      for (int32_t j = 0; j < 2; j++) {
        uint32_t z = (uint32_t)(x + j < x1 ? x + j : x);
        size_t from = cu_offset(p.n, (uint32_t)y, z, a->oh, a->ow, a->c) + p.c;
        raw[j] = cu_fetch(type, a->d, from, lanes);
        where[j] = cu_get_places(a->where, from, lanes);
      }
      for (int32_t j = 0; j < 2 && x + j < x1; j++) {
        cu_open(type, &raw[j], lanes, d);
        for (int k = 0; k < lanes; k++) at[k] = (int32_t)cu_place_of(&where[j], k);
        for (uint32_t q = 0; q < 4; q++) {
          cu_at e = {p.n, top + q / 2, left + q % 2, p.c};
          cu_add_where(cu_place_in(a, &e, y, x + j), lanes, at, d, sum[q]);
        }
      }
    }
  for (uint32_t q = 0; q < 4; q++)
    if (top + q / 2 < a->h && left + q % 2 < a->w)
      cu_put(type, a->out, cu_offset(p.n, top + q / 2, left + q % 2, a->h, a->w, a->c) + p.c, lanes,
             sum[q]);
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

/* Sums of a row's columns in f32, CU_TAKEN at a time, of these in double. */
enum { CU_TAKEN = 4 };
CU_HD void cu_avgpool_forward(const cu_window *a, uint32_t i, int lanes, int type) {
  cu_at o = cu_locate(i, a->oh, a->ow, a->c, lanes);
  cu_span ys = cu_inside(a, 0, o.y), xs = cu_inside(a, 1, o.x);
  double sum[CU_HALF_LANES] = {0};
  float x[CU_HALF_LANES], some[CU_HALF_LANES], places = cu_places(a, o.y, o.x);
  cu_raw raw[CU_TAKEN];

  for (int32_t y = ys.lo; y < ys.hi; y++)
    for (int32_t z = xs.lo; z < xs.hi; z += CU_TAKEN) {
      for (int32_t j = 0; j < CU_TAKEN; j++) {
        uint32_t at = (uint32_t)(z + j < xs.hi ? z + j : z);
        raw[j] =
            cu_fetch(type, a->x, cu_offset(o.n, (uint32_t)y, at, a->h, a->w, a->c) + o.c, lanes);
      }
      cu_fill(0.0f, lanes, some);
      for (int32_t j = 0; j < CU_TAKEN; j++) {
        cu_open(type, &raw[j], lanes, x);
        for (int k = 0; k < lanes; k++) some[k] += z + j < xs.hi ? x[k] : 0.0f;
      }
      for (int k = 0; k < lanes; k++) sum[k] += (double)some[k];
    }
  for (int k = 0; k < lanes; k++) x[k] = (float)sum[k] * (1.0f / places);
  cu_put(type, a->out, (size_t)i * (size_t)lanes, lanes, x);
}

CU_HD void cu_avgpool_backward(const cu_window *a, uint32_t i, int lanes, int type) {
  cu_at p = cu_locate(i, a->h, a->w, a->c, lanes);
  cu_span ys = cu_covering(a, 0, p.y), xs = cu_covering(a, 1, p.x);
  float sum[CU_HALF_LANES], d[CU_HALF_LANES];

  cu_fill(0.0f, lanes, sum);
  for (int32_t y = ys.lo; y < ys.hi; y++)
    for (int32_t x = xs.lo; x < xs.hi; x++) {
      float share = 1.0f / cu_places(a, (uint32_t)y, (uint32_t)x);
      cu_get(type, a->d, cu_offset(p.n, (uint32_t)y, (uint32_t)x, a->oh, a->ow, a->c) + p.c, lanes,
             d);
      for (int k = 0; k < lanes; k++) sum[k] += d[k] * share;
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
