/* geometry.c -- separable resize: rows first (whole rows are added, which vectorises), then
 * columns.  Integer factors of 8-bit images use integer sums. */
#include "data/geometry.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Output i of one axis = sum over k < count[i] of weight[first_weight[i] + k] * in[start[i] + k] */
struct axis {
  int64_t in, out;
  int64_t *start, *count, *first_weight;
  float *weight;
};

struct pn_resizer {
  int64_t height, width;
  struct axis y, x;
  float *sum_f;    /* [input width] */
  uint32_t *sum_u; /* [input width] */
};

static void axis_free(struct axis *a) {
  free(a->start);
  free(a->count);
  free(a->first_weight);
  free(a->weight);
  *a = (struct axis){0};
}

/* Area of input pixels covered by [lo, hi), normalised.  Returns the number of weights. */
static int64_t area_weights(double lo, double hi, int64_t in, int64_t *start, float *weight) {
  int64_t first = (int64_t)floor(lo), n = 0;

  *start = first;
  for (int64_t j = first; j < in && (double)j < hi - 1e-9; j++) {
    double a = fmax(lo, (double)j), b = fmin(hi, (double)j + 1);
    weight[n++] = (float)((b - a) / (hi - lo));
  }
  return n;
}

static int64_t linear_weights(double centre, int64_t in, int64_t *start, float *weight) {
  double at = fmin(fmax(centre - 0.5, 0), (double)in - 1), low = floor(at);

  *start = (int64_t)low;
  weight[0] = (float)(1 - (at - low));
  if (*start + 1 >= in) return 1;
  weight[1] = (float)(at - low);
  return 2;
}

static pn_status axis_make(struct axis *a, int64_t in, int64_t out) {
  double factor = (double)in / (double)out;
  int64_t most = in >= out ? (int64_t)ceil(factor) + 2 : 2;
  int64_t used = 0;

  axis_free(a);
  a->start = calloc((size_t)out, sizeof *a->start);
  a->count = calloc((size_t)out, sizeof *a->count);
  a->first_weight = calloc((size_t)out, sizeof *a->first_weight);
  a->weight = calloc((size_t)(out * most), sizeof *a->weight);
  if (!a->start || !a->count || !a->first_weight || !a->weight)
    return PN_FAIL(PN_ERR_NOMEM, "resize table of %lld: out of memory", (long long)out);
  for (int64_t i = 0; i < out; i++) {
    double lo = (double)i * factor, hi = (double)(i + 1) * factor;
    a->first_weight[i] = used;
    a->count[i] = in >= out ? area_weights(lo, hi, in, &a->start[i], a->weight + used)
                            : linear_weights((double)i * factor + factor / 2, in, &a->start[i],
                                             a->weight + used);
    used += a->count[i];
  }
  a->in = in;
  a->out = out;
  return PN_OK;
}

pn_status pn_resizer_create(int64_t height, int64_t width, pn_resizer **out) {
  pn_resizer *r;

  *out = NULL;
  if (height < 1 || width < 1 || height > 65536 || width > 65536)
    return PN_FAIL(PN_ERR_ARG, "resize to %lld x %lld pixels", (long long)height, (long long)width);
  if (!(r = calloc(1, sizeof *r))) return PN_FAIL(PN_ERR_NOMEM, "resize: out of memory");
  r->height = height;
  r->width = width;
  *out = r;
  return PN_OK;
}

void pn_resizer_destroy(pn_resizer *r) {
  if (!r) return;
  axis_free(&r->y);
  axis_free(&r->x);
  free(r->sum_f);
  free(r->sum_u);
  free(r);
}

static pn_status prepare(pn_resizer *r, const pn_gray *in) {
  pn_status st;

  if (r->y.in == in->height && r->x.in == in->width) return PN_OK;
  if ((st = axis_make(&r->y, in->height, r->height)) != PN_OK) return st;
  if ((st = axis_make(&r->x, in->width, r->width)) != PN_OK) return st;
  free(r->sum_f);
  free(r->sum_u);
  r->sum_f = malloc((size_t)in->width * sizeof *r->sum_f);
  r->sum_u = malloc((size_t)in->width * sizeof *r->sum_u);
  if (r->sum_f && r->sum_u) return PN_OK;
  r->y.in = 0; /* so that the next call tries again */
  return PN_FAIL(PN_ERR_NOMEM, "resize: out of memory");
}

/* sum[x] = sum of k rows; k * 255 fits u16 for the first pass of the usual factors */
static void add_rows_u8(const uint8_t *in, int64_t width, int64_t k, uint32_t *restrict sum) {
  for (int64_t x = 0; x < width; x++) sum[x] = in[x];
  for (int64_t j = 1; j < k; j++) {
    const uint8_t *row = in + j * width;
    for (int64_t x = 0; x < width; x++) sum[x] += row[x];
  }
}

static void run_integer(pn_resizer *r, const pn_gray *in, uint8_t *out) {
  int64_t ky = in->height / r->height, kx = in->width / r->width;
  uint64_t n = (uint64_t)(ky * kx);

  for (int64_t y = 0; y < r->height; y++, out += r->width) {
    add_rows_u8((const uint8_t *)in->data + y * ky * in->width, in->width, ky, r->sum_u);
    for (int64_t x = 0; x < r->width; x++) {
      uint64_t s = 0;
      for (int64_t j = 0; j < kx; j++) s += r->sum_u[x * kx + j];
      out[x] = (uint8_t)((s + n / 2) / n);
    }
  }
}

static void add_row_f(const pn_gray *in, int64_t y, float w, float *restrict sum) {
  int64_t width = in->width;

  if (in->bytes_per_pixel == 1) {
    const uint8_t *row = (const uint8_t *)in->data + y * width;
    for (int64_t x = 0; x < width; x++) sum[x] += w * (float)row[x];
  } else {
    const uint16_t *row = (const uint16_t *)in->data + y * width;
    for (int64_t x = 0; x < width; x++) sum[x] += w * (float)row[x];
  }
}

static void run_weights(pn_resizer *r, const pn_gray *in, uint8_t *out) {
  float scale = in->bytes_per_pixel == 1 ? 1.0f : 1.0f / 257.0f;

  for (int64_t y = 0; y < r->height; y++, out += r->width) {
    memset(r->sum_f, 0, (size_t)in->width * sizeof *r->sum_f);
    for (int64_t j = 0; j < r->y.count[y]; j++)
      add_row_f(in, r->y.start[y] + j, scale * r->y.weight[r->y.first_weight[y] + j], r->sum_f);
    for (int64_t x = 0; x < r->width; x++) {
      const float *w = r->x.weight + r->x.first_weight[x], *p = r->sum_f + r->x.start[x];
      float s = 0;
      for (int64_t j = 0; j < r->x.count[x]; j++) s += w[j] * p[j];
      out[x] = (uint8_t)fminf(s + 0.5f, 255.0f);
    }
  }
}

pn_status pn_resizer_run(pn_resizer *r, const pn_gray *in, uint8_t *out) {
  pn_status st = prepare(r, in);

  if (st != PN_OK) return st;
  if (in->bytes_per_pixel == 1 && in->height % r->height == 0 && in->width % r->width == 0)
    run_integer(r, in, out);
  else
    run_weights(r, in, out);
  return PN_OK;
}

pn_box pn_box_scale(pn_box b, int64_t in_h, int64_t in_w, int64_t out_h, int64_t out_w) {
  double sx = (double)out_w / (double)in_w, sy = (double)out_h / (double)in_h;

  return (pn_box){.x = (float)(b.x * sx),
                  .y = (float)(b.y * sy),
                  .width = (float)(b.width * sx),
                  .height = (float)(b.height * sy),
                  .label = b.label};
}
