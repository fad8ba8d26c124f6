/* planes.c -- see planes.h. */
#include "device/simd/planes.h"

#include <string.h>

static int64_t in_plane(const pn_pool *p) {
  return p->in[0] * p->in[1] * p->lanes;
}

static int64_t out_plane(const pn_pool *p) {
  return p->out[0] * p->out[1] * p->lanes;
}

/* Channels of stack element k that exist, and where they lie in a row N C. */
static int64_t row_place(const pn_pool *p, int64_t channels, int64_t k, int64_t *count) {
  int64_t blocks = (channels + p->lanes - 1) / p->lanes, first = k % blocks * p->lanes;
  *count = channels - first < p->lanes ? channels - first : p->lanes;
  return k / blocks * channels + first;
}

enum { CHANNELS = 64 }; /* summed at a time */

PN_CLONES static void plane_mean(const float *x, int64_t pixels, int64_t lanes, int64_t count,
                                 float *y) {
  for (int64_t l = 0; l < count; l++) y[l] = 0;
  for (int64_t i = 0; i < pixels; i++)
    for (int64_t l = 0; l < count; l++) y[l] += x[i * lanes + l];
  for (int64_t l = 0; l < count; l++) y[l] /= (float)pixels;
}

PN_CLONES static void plane_mean_bf16(const pn_bf16 *x, int64_t pixels, int64_t lanes,
                                      int64_t count, pn_bf16 *y) {
  for (int64_t first = 0; first < count; first += CHANNELS) {
    int64_t n = count - first < CHANNELS ? count - first : CHANNELS;
    float sum[CHANNELS] = {0};
    for (int64_t i = 0; i < pixels; i++)
      for (int64_t l = 0; l < n; l++) sum[l] += pn_bf16_to_f32(x[i * lanes + first + l]);
    for (int64_t l = 0; l < n; l++) y[first + l] = pn_bf16_of(sum[l] / (float)pixels);
  }
}

static void *element(const pn_pool *p, const void *base, int64_t i) {
  return (char *)base + (size_t)i * pn_dtype_bytes(p->type);
}

void pn_gap_forward(const pn_pool *p, int64_t channels, const void *x, void *y, int threads) {
  int64_t pixels = p->in[0] * p->in[1];
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t k = 0; k < p->outer; k++) {
    int64_t count, at = row_place(p, channels, k, &count);
    if (p->type == PN_BF16)
      plane_mean_bf16(element(p, x, k * in_plane(p)), pixels, p->lanes, count, element(p, y, at));
    else
      plane_mean(element(p, x, k * in_plane(p)), pixels, p->lanes, count, element(p, y, at));
  }
}

PN_CLONES static void plane_fill(const float *dy, int64_t pixels, int64_t lanes, int64_t count,
                                 float *dx) {
  for (int64_t l = 0; l < lanes; l++) dx[l] = l < count ? dy[l] / (float)pixels : 0;
  for (int64_t i = 1; i < pixels; i++)
    for (int64_t l = 0; l < lanes; l++) dx[i * lanes + l] = dx[l];
}

static void plane_fill_bf16(const pn_bf16 *dy, int64_t pixels, int64_t lanes, int64_t count,
                            pn_bf16 *dx) {
  for (int64_t l = 0; l < lanes; l++)
    dx[l] = l < count ? pn_bf16_of(pn_bf16_to_f32(dy[l]) / (float)pixels) : 0;
  for (int64_t i = 1; i < pixels; i++) memcpy(dx + i * lanes, dx, (size_t)lanes * sizeof *dx);
}

void pn_gap_backward(const pn_pool *p, int64_t channels, const void *dy, void *dx, int threads) {
  int64_t pixels = p->in[0] * p->in[1];
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t k = 0; k < p->outer; k++) {
    int64_t count, at = row_place(p, channels, k, &count);
    if (p->type == PN_BF16)
      plane_fill_bf16(element(p, dy, at), pixels, p->lanes, count, element(p, dx, k * in_plane(p)));
    else
      plane_fill(element(p, dy, at), pixels, p->lanes, count, element(p, dx, k * in_plane(p)));
  }
}

/* Rows and columns of the input under one output. */
struct field {
  int64_t r0, r1, c0, c1;
  float places; /* the sum is divided by */
};

static struct field field_at(const pn_pool *p, bool pad_counts, int64_t h, int64_t w) {
  const pn_window *k = &p->window;
  int64_t top = h * k->stride[0] - k->pad_before[0], left = w * k->stride[1] - k->pad_before[1];
  struct field f = {top, top + k->kernel[0], left, left + k->kernel[1],
                    (float)(k->kernel[0] * k->kernel[1])};
  if (f.r0 < 0) f.r0 = 0;
  if (f.c0 < 0) f.c0 = 0;
  if (f.r1 > p->in[0]) f.r1 = p->in[0];
  if (f.c1 > p->in[1]) f.c1 = p->in[1];
  if (!pad_counts) f.places = (float)((f.r1 - f.r0) * (f.c1 - f.c0));
  return f;
}

PN_CLONES static void avg_plane(const pn_pool *p, bool pad_counts, const float *x, float *y) {
  for (int64_t h = 0; h < p->out[0]; h++)
    for (int64_t w = 0; w < p->out[1]; w++, y += p->lanes) {
      struct field f = field_at(p, pad_counts, h, w);
      for (int64_t l = 0; l < p->lanes; l++) y[l] = 0;
      for (int64_t r = f.r0; r < f.r1; r++)
        for (int64_t c = f.c0; c < f.c1; c++)
          for (int64_t l = 0; l < p->lanes; l++) y[l] += x[(r * p->in[1] + c) * p->lanes + l];
      for (int64_t l = 0; l < p->lanes; l++) y[l] /= f.places;
    }
}

PN_CLONES static void avg_plane_back(const pn_pool *p, bool pad_counts, const float *dy,
                                     float *dx) {
  memset(dx, 0, (size_t)in_plane(p) * sizeof *dx);
  for (int64_t h = 0; h < p->out[0]; h++)
    for (int64_t w = 0; w < p->out[1]; w++, dy += p->lanes) {
      struct field f = field_at(p, pad_counts, h, w);
      for (int64_t r = f.r0; r < f.r1; r++)
        for (int64_t c = f.c0; c < f.c1; c++)
          for (int64_t l = 0; l < p->lanes; l++)
            dx[(r * p->in[1] + c) * p->lanes + l] += dy[l] / f.places;
    }
}

void pn_avg_forward(const pn_pool *p, bool pad_counts, const float *x, float *y, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t k = 0; k < p->outer; k++)
    avg_plane(p, pad_counts, x + k * in_plane(p), y + k * out_plane(p));
}

void pn_avg_backward(const pn_pool *p, bool pad_counts, const float *dy, float *dx, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t k = 0; k < p->outer; k++)
    avg_plane_back(p, pad_counts, dy + k * out_plane(p), dx + k * in_plane(p));
}

/* Offset of input row r in the padded plane. */
static int64_t padded_at(const pn_pool *p, int64_t r) {
  return ((r + p->window.pad_before[0]) * p->out[1] + p->window.pad_before[1]) * p->lanes;
}

void pn_zeropad(const pn_pool *p, const void *x, void *y, int threads) {
  int64_t row = p->in[1] * p->lanes;
  size_t bytes = pn_dtype_bytes(p->type);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t k = 0; k < p->outer; k++) {
    memset(element(p, y, k * out_plane(p)), 0, (size_t)out_plane(p) * bytes);
    for (int64_t r = 0; r < p->in[0]; r++)
      memcpy(element(p, y, k * out_plane(p) + padded_at(p, r)),
             element(p, x, k * in_plane(p) + r * row), (size_t)row * bytes);
  }
}

void pn_zeropad_back(const pn_pool *p, const void *dy, void *dx, int threads) {
  int64_t row = p->in[1] * p->lanes;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t k = 0; k < p->outer; k++)
    for (int64_t r = 0; r < p->in[0]; r++)
      memcpy(element(p, dx, k * in_plane(p) + r * row),
             element(p, dy, k * out_plane(p) + padded_at(p, r)),
             (size_t)row * pn_dtype_bytes(p->type));
}

PN_CLONES static void upsample_plane(const pn_pool *p, const float *x, float *y) {
  for (int64_t h = 0; h < p->out[0]; h++)
    for (int64_t w = 0; w < p->out[1]; w++, y += p->lanes) {
      const float *from = x + (h / 2 * p->in[1] + w / 2) * p->lanes;
      for (int64_t l = 0; l < p->lanes; l++) y[l] = from[l];
    }
}

PN_CLONES static void upsample_plane_back(const pn_pool *p, const float *dy, float *dx) {
  int64_t row = p->out[1] * p->lanes;
  for (int64_t h = 0; h < p->in[0]; h++)
    for (int64_t w = 0; w < p->in[1]; w++, dx += p->lanes) {
      const float *a = dy + 2 * h * row + 2 * w * p->lanes, *b = a + row;
      for (int64_t l = 0; l < p->lanes; l++)
        dx[l] = a[l] + a[p->lanes + l] + b[l] + b[p->lanes + l];
    }
}

void pn_upsample(const pn_pool *p, const float *x, float *y, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t k = 0; k < p->outer; k++)
    upsample_plane(p, x + k * in_plane(p), y + k * out_plane(p));
}

void pn_upsample_back(const pn_pool *p, const float *dy, float *dx, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t k = 0; k < p->outer; k++)
    upsample_plane_back(p, dy + k * out_plane(p), dx + k * in_plane(p));
}
