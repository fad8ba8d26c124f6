/* geometry_kernel.c -- exact integer weights and sums.  Rows are added first, whole rows at a time,
 * which vectorises; then the columns of one row. */
#include "data/geometry_kernel.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The loader picks the fastest the processor has; all give the same integers. */
#define PN_RESIZE_CLONES __attribute__((target_clones("avx2", "default")))

enum {
  U16_ROWS = 257,       /* rows of bytes whose sum fits 16 bits */
  FLOAT_EXACT = 1 << 24 /* whole numbers below it are exact in float */
};

void pn_axis_free(pn_axis *a) {
  free(a->start);
  free(a->weight);
  *a = (pn_axis){0};
}

static int64_t common_divisor(int64_t a, int64_t b) {
  while (b) {
    int64_t r = a % b;
    a = b;
    b = r;
  }
  return a;
}

/* Shrinking, in and out without common factor k: pixel j covers [j*q, (j+1)*q), output i covers
 * [i*p, (i+1)*p) where in = k*p, out = k*q. */
static void area_weights(pn_axis *a, int64_t i, int64_t p, int64_t q) {
  int64_t lo = i * p, hi = lo + p, start = lo / q;

  if (start > a->in - a->taps) start = a->in - a->taps;
  a->start[i] = (int32_t)start;
  for (int64_t j = 0; j < a->taps; j++) {
    int64_t from = (start + j) * q, to = from + q;
    int64_t overlap = (to < hi ? to : hi) - (from > lo ? from : lo);
    a->weight[i * a->taps + j] = overlap > 0 ? (uint32_t)overlap : 0;
  }
}

/* Growing: the centre of output i lies at ((2i + 1) * p - q) / 2q from the centre of pixel 0. */
static void linear_weights(pn_axis *a, int64_t i, int64_t p, int64_t q) {
  int64_t at = (2 * i + 1) * p - q, last = (a->in - 1) * 2 * q, low, part;
  uint32_t *w = a->weight + i * a->taps;

  at = at < 0 ? 0 : at > last ? last : at;
  low = at / (2 * q);
  if (low > a->in - a->taps) low = a->in - a->taps;
  part = at - low * 2 * q;
  a->start[i] = (int32_t)low;
  w[0] = (uint32_t)(2 * q - part);
  if (a->taps > 1) w[1] = (uint32_t)part;
}

pn_status pn_axis_make(pn_axis *a, int64_t in, int64_t out) {
  int64_t k = common_divisor(in, out), p = in / k, q = out / k;
  bool area = in >= out;
  int64_t taps = area ? (q == 1 ? p : (p + q - 1) / q + 1) : 2;

  pn_axis_free(a);
  if (taps > in) taps = in;
  a->start = malloc((size_t)out * sizeof *a->start);
  a->weight = malloc((size_t)(out * taps) * sizeof *a->weight);
  if (!a->start || !a->weight)
    return PN_FAIL(PN_ERR_NOMEM, "resize table of %lld: out of memory", (long long)out);
  a->in = in;
  a->out = out;
  a->taps = taps;
  a->total = (uint32_t)(area ? p : 2 * q);
  for (int64_t i = 0; i < out; i++) (area ? area_weights : linear_weights)(a, i, p, q);
  return PN_OK;
}

/* Up to ROWS rows and their weights; the absent ones have weight 0. */
enum { ROWS = 4 };
struct bundle {
  const uint8_t *row[ROWS];
  uint16_t w[ROWS];
};

static struct bundle bundle_of(const pn_plane *in, int64_t first, int64_t n, const uint32_t *w) {
  struct bundle b;

  for (int64_t k = 0; k < ROWS; k++) {
    b.row[k] = (const uint8_t *)in->data + (first + (k < n ? k : 0)) * in->stride;
    b.w[k] = k < n ? (uint16_t)w[k] : 0;
  }
  return b;
}

/* Sums that fit 16 bits: twice as many in a register. */
PN_RESIZE_CLONES
static void weigh_rows(const struct bundle *b, int64_t width, uint16_t *restrict s) {
  const uint8_t *r0 = b->row[0], *r1 = b->row[1], *r2 = b->row[2], *r3 = b->row[3];
  uint16_t w0 = b->w[0], w1 = b->w[1], w2 = b->w[2], w3 = b->w[3];

  for (int64_t x = 0; x < width; x++)
    s[x] = (uint16_t)(s[x] + (uint16_t)(w0 * r0[x]) + (uint16_t)(w1 * r1[x]) +
                      (uint16_t)(w2 * r2[x]) + (uint16_t)(w3 * r3[x]));
}

PN_RESIZE_CLONES
static void widen(const uint16_t *restrict s, int64_t width, uint32_t *restrict sum) {
  for (int64_t x = 0; x < width; x++) sum[x] = s[x];
}

/* s[x] += n rows of bytes added up; n <= U16_ROWS in all */
PN_RESIZE_CLONES
static void add_rows_u8(const uint8_t *restrict in, int64_t stride, int64_t width, int64_t n,
                        uint16_t *restrict s) {
  int64_t j = 0;

  for (; j + 4 <= n; j += 4) {
    const uint8_t *r0 = in + j * stride, *r1 = r0 + stride, *r2 = r1 + stride, *r3 = r2 + stride;
    for (int64_t x = 0; x < width; x++) s[x] = (uint16_t)(s[x] + r0[x] + r1[x] + r2[x] + r3[x]);
  }
  for (; j < n; j++) {
    const uint8_t *row = in + j * stride;
    for (int64_t x = 0; x < width; x++) s[x] = (uint16_t)(s[x] + row[x]);
  }
}

PN_RESIZE_CLONES
static void add_rows_u16(const uint16_t *restrict in, int64_t stride, int64_t width, int64_t n,
                         uint32_t *restrict s) {
  int64_t j = 0;

  for (; j + 4 <= n; j += 4) {
    const uint16_t *r0 = in + j * stride, *r1 = r0 + stride, *r2 = r1 + stride, *r3 = r2 + stride;
    for (int64_t x = 0; x < width; x++) s[x] += (uint32_t)r0[x] + r1[x] + r2[x] + r3[x];
  }
  for (; j < n; j++) {
    const uint16_t *row = in + j * stride;
    for (int64_t x = 0; x < width; x++) s[x] += row[x];
  }
}

PN_RESIZE_CLONES
static void scale_u16(const uint16_t *restrict s, uint32_t w, int64_t width,
                      uint32_t *restrict sum) {
  for (int64_t x = 0; x < width; x++) sum[x] += w * s[x];
}

PN_RESIZE_CLONES
static void scale_u32(const uint32_t *restrict s, uint32_t w, int64_t width,
                      uint32_t *restrict sum) {
  for (int64_t x = 0; x < width; x++) sum[x] += w * s[x];
}

/* n neighbouring rows of the same weight */
static void add_run(const pn_plane *in, int64_t first, int64_t n, uint32_t w, uint32_t *sum,
                    uint32_t *scratch) {
  int64_t most = in->bytes == 1 ? U16_ROWS : n;

  for (int64_t j = 0; j < n; j += most) {
    int64_t rows = n - j < most ? n - j : most, at = (first + j) * in->stride;
    memset(scratch, 0, (size_t)in->width * (size_t)(2 * in->bytes));
    if (in->bytes == 1) {
      add_rows_u8((const uint8_t *)in->data + at, in->stride, in->width, rows, (uint16_t *)scratch);
      scale_u16((uint16_t *)scratch, w, in->width, sum);
    } else {
      add_rows_u16((const uint16_t *)in->data + at, in->stride, in->width, rows, scratch);
      scale_u32(scratch, w, in->width, sum);
    }
  }
}

/* Bytes, and the weights add up to no more than U16_ROWS. */
static void sum_rows_narrow(const pn_axis *y, int64_t row, const pn_plane *in, uint32_t *sum,
                            uint16_t *s) {
  const uint32_t *w = y->weight + row * y->taps;

  memset(s, 0, (size_t)in->width * sizeof *s);
  for (int64_t j = 0; j < y->taps; j += ROWS) {
    struct bundle b = bundle_of(in, y->start[row] + j, y->taps - j, w + j);
    weigh_rows(&b, in->width, s);
  }
  widen(s, in->width, sum);
}

void pn_sum_rows(const pn_axis *y, int64_t row, const pn_plane *in, uint32_t *sum,
                 uint32_t *scratch) {
  const uint32_t *w = y->weight + row * y->taps;

  if (in->bytes == 1 && y->total <= U16_ROWS) {
    sum_rows_narrow(y, row, in, sum, (uint16_t *)scratch);
    return;
  }
  memset(sum, 0, (size_t)in->width * sizeof *sum);
  for (int64_t j = 0, k; j < y->taps; j = k) {
    for (k = j + 1; k < y->taps && w[k] == w[j]; k++) continue;
    if (w[j] > 0) add_run(in, y->start[row] + j, k - j, w[j], sum, scratch);
  }
}

/* Inlined with a constant number of taps, the inner loop is unrolled. */
static inline __attribute__((always_inline)) void columns_u32(const pn_axis *x, int64_t taps,
                                                              const uint32_t *sum, int32_t *out) {
  for (int64_t i = 0; i < x->out; i++) {
    const uint32_t *w = x->weight + i * taps, *p = sum + x->start[i];
    uint32_t s = 0;
    for (int64_t j = 0; j < taps; j++) s += w[j] * p[j];
    out[i] = (int32_t)s;
  }
}

PN_RESIZE_CLONES
static void add_pairs(const uint32_t *restrict in, int64_t n, uint32_t *restrict out) {
  for (int64_t i = 0; i < n; i++) out[i] = in[2 * i] + in[2 * i + 1];
}

/* Whole factor: neighbours of weight 1, halved as often as it goes.  Returns where the sums are:
 * in a or in b. */
static const int32_t *columns_whole(const pn_axis *x, uint32_t *a, uint32_t *b) {
  int64_t taps = x->taps;

  for (; taps % 2 == 0; taps /= 2) {
    uint32_t *other = a;
    add_pairs(a, x->out * taps / 2, b);
    a = b;
    b = other;
  }
  for (int64_t i = 0; taps > 1 && i < x->out; i++) {
    uint32_t s = 0;
    for (int64_t j = 0; j < taps; j++) s += a[i * taps + j];
    a[i] = s; /* already read: i <= i * taps */
  }
  return (const int32_t *)a;
}

PN_RESIZE_CLONES
static void columns_weighted(const pn_axis *x, const uint32_t *sum, int32_t *out) {
  if (x->taps == 2)
    columns_u32(x, 2, sum, out);
  else if (x->taps == 3)
    columns_u32(x, 3, sum, out);
  else if (x->taps == 4)
    columns_u32(x, 4, sum, out);
  else if (x->taps == 6)
    columns_u32(x, 6, sum, out);
  else
    columns_u32(x, x->taps, sum, out);
}

static void wide_columns(const pn_axis *x, const uint32_t *sum, uint64_t *out) {
  for (int64_t i = 0; i < x->out; i++) {
    const uint32_t *w = x->weight + i * x->taps, *p = sum + x->start[i];
    uint64_t s = 0;
    for (int64_t j = 0; j < x->taps; j++) s += (uint64_t)w[j] * p[j];
    out[i] = s;
  }
}

/* Sums below 2^24 are exact in float. */
PN_RESIZE_CLONES
static void round_small_u8(const int32_t *restrict s, float scale, int64_t n,
                           uint8_t *restrict out) {
  for (int64_t i = 0; i < n; i++) out[i] = (uint8_t)(int32_t)((float)s[i] * scale + 0.5f);
}

PN_RESIZE_CLONES
static void round_narrow_u8(const int32_t *restrict s, double scale, int64_t n,
                            uint8_t *restrict out) {
  for (int64_t i = 0; i < n; i++) out[i] = (uint8_t)(int32_t)((double)s[i] * scale + 0.5);
}

static void round_wide_u8(const uint64_t *s, double scale, int64_t n, uint8_t *out) {
  for (int64_t i = 0; i < n; i++) out[i] = (uint8_t)((double)s[i] * scale + 0.5);
}

static void round_narrow_u16(const int32_t *s, double scale, int64_t n, uint16_t *out) {
  for (int64_t i = 0; i < n; i++) out[i] = (uint16_t)((double)s[i] * scale + 0.5);
}

static void round_wide_u16(const uint64_t *s, double scale, int64_t n, uint16_t *out) {
  for (int64_t i = 0; i < n; i++) out[i] = (uint16_t)((double)s[i] * scale + 0.5);
}

static void round_narrow(const pn_columns *c, const int32_t *s, double total, double scale,
                         void *out) {
  if (c->bits == 16)
    round_narrow_u16(s, scale, c->x->out, out);
  else if (total * c->largest < FLOAT_EXACT)
    round_small_u8(s, (float)scale, c->x->out, out);
  else
    round_narrow_u8(s, scale, c->x->out, out);
}

static bool power_of_2(int64_t n) {
  return n > 0 && (n & (n - 1)) == 0;
}

static bool whole(const pn_axis *a) {
  return a->total == a->taps && a->out * a->taps == a->in && power_of_2(a->taps);
}

/* 256 bytes add up to no more than 16 bits hold. */
bool pn_can_halve(const pn_axis *y, const pn_columns *c, const pn_plane *in) {
  return in->bytes == 1 && c->bits == 8 && whole(y) && whole(c->x) && y->taps * c->x->taps <= 256;
}

PN_RESIZE_CLONES
static void add_pairs_u16(const uint16_t *restrict in, int64_t n, uint16_t *restrict out) {
  for (int64_t i = 0; i < n; i++) out[i] = (uint16_t)(in[2 * i] + in[2 * i + 1]);
}

PN_RESIZE_CLONES
static void shift_u8(const uint16_t *restrict s, int shift, int64_t n, uint8_t *restrict out) {
  uint16_t half = (uint16_t)(1 << shift >> 1);
  for (int64_t i = 0; i < n; i++) out[i] = (uint8_t)((uint16_t)(s[i] + half) >> shift);
}

void pn_halve_row(const pn_axis *y, int64_t row, const pn_columns *c, const pn_plane *in, void *out,
                  uint32_t *scratch) {
  uint16_t *a = (uint16_t *)scratch, *b = a + in->width, *other;
  const uint8_t *first = (const uint8_t *)in->data + row * y->taps * in->stride;
  int shift = __builtin_ctzll((unsigned long long)(y->taps * c->x->taps));

  memset(a, 0, (size_t)in->width * sizeof *a);
  add_rows_u8(first, in->stride, in->width, y->taps, a);
  for (int64_t taps = c->x->taps; taps > 1; taps /= 2) {
    add_pairs_u16(a, c->x->out * taps / 2, b);
    other = a;
    a = b;
    b = other;
  }
  shift_u8(a, shift, c->x->out, out);
}

void pn_sum_columns(const pn_columns *c, uint32_t *sum, void *out, uint64_t *scratch) {
  const pn_axis *x = c->x;
  double total = (double)x->total * c->rows_total;
  double most = c->bits == 8 ? 255 : 65535, scale = most / (c->largest * total);

  if (total * c->largest < (double)INT32_MAX) {
    const int32_t *s = (const int32_t *)scratch;
    if (x->total == x->taps && x->out * x->taps == x->in)
      s = columns_whole(x, sum, (uint32_t *)scratch);
    else
      columns_weighted(x, sum, (int32_t *)scratch);
    round_narrow(c, s, total, scale, out);
  } else {
    wide_columns(x, sum, scratch);
    if (c->bits == 8)
      round_wide_u8(scratch, scale, x->out, out);
    else
      round_wide_u16(scratch, scale, x->out, out);
  }
}
