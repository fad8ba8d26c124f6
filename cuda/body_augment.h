/* body_augment.h -- images from stored bytes: grey levels, one resampling, noise, cutout, mixing.
 * The same steps in the same order as src/data/augment_apply.c. */
#ifndef PN_CUDA_BODY_AUGMENT_H
#define PN_CUDA_BODY_AUGMENT_H

#include "body_map.h"

CU_HD float cu_grey(const pn_image_job *a, const pn_image_row *r, uint32_t c, float v) {
  if (r->grey) {
    if (r->gamma != 1.0f) v = powf(v, r->gamma);
    v = (v - 0.5f) * r->contrast + 0.5f + r->brightness;
    if (c < 3) v *= r->gain[c];
    v = v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v;
  }
  return (v - a->mean) / a->sd;
}

/* Element i of the table: what a level of a channel of a row becomes. */
CU_HD void cu_image_table(const pn_image_job *a, uint32_t i, int lanes) {
  uint32_t level = i % PN_GREY_LEVELS, plane = i / PN_GREY_LEVELS;
  uint32_t n = plane / (uint32_t)a->channels, c = plane % (uint32_t)a->channels;
  const pn_image_row *r = a->row + n;
  (void)lanes;

  if (level == 0 && c == 0 && n < (uint32_t)a->n) a->label[n] = r->label;
  if (a->bits == 8 && r->image >= 0) a->table[i] = cu_grey(a, r, c, (float)level / 255.0f);
}

/* One channel of one row. */
typedef struct {
  const pn_image_job *job;
  const pn_image_row *row;
  const uint8_t *byte; /* or pairs of them */
  const float *table;
  uint32_t channel;
} cu_plane;

CU_HD cu_plane cu_plane_of(const pn_image_job *a, uint32_t n, uint32_t c) {
  const pn_image_row *r = a->row + n;
  size_t plane = (size_t)r->image * (size_t)a->channels + c;
  size_t bytes = (size_t)a->height * (size_t)a->width * (a->bits == 16 ? 2 : 1);
  cu_plane p = {a, r, (const uint8_t *)a->pixels + plane * bytes,
                a->table + ((size_t)n * (size_t)a->channels + c) * PN_GREY_LEVELS, c};
  return p;
}

CU_HD int32_t cu_clamp(int32_t i, int32_t n) {
  return i < 0 ? 0 : i < n ? i : n - 1;
}

CU_HD float cu_tap(const cu_plane *p, int32_t y, int32_t x) {
  const pn_image_job *a = p->job;
  size_t at;

  if (a->black && (x < 0 || x >= a->width || y < 0 || y >= a->height))
    return (0.0f - a->mean) / a->sd;
  at = (size_t)cu_clamp(y, a->height) * (size_t)a->width + (size_t)cu_clamp(x, a->width);
  if (a->bits == 8) return p->table[p->byte[at]];
  return cu_grey(a, p->row, p->channel,
                 (float)((const uint16_t *)(const void *)p->byte)[at] / 65535.0f);
}

CU_HD float cu_lerp(float a, float b, float t) {
  return a + t * (b - a);
}

/* Output pixel (y, x) before noise. */
CU_HD float cu_sample(const cu_plane *p, int32_t y, int32_t x) {
  const pn_image_row *r = p->row;
  int64_t px, py;
  int32_t ix, iy;
  float u, top, bottom;

  if (!r->affine) return cu_tap(p, y, r->flip ? p->job->width - 1 - x : x);
  px = r->x0 + y * r->x_row + x * r->x_col;
  py = r->y0 + y * r->y_row + x * r->y_col;
  ix = (int32_t)(px >> 32);
  iy = (int32_t)(py >> 32);
  u = (float)(uint32_t)px * 0x1p-32f;
  top = cu_lerp(cu_tap(p, iy, ix), cu_tap(p, iy, ix + 1), u);
  bottom = cu_lerp(cu_tap(p, iy + 1, ix), cu_tap(p, iy + 1, ix + 1), u);
  return cu_lerp(top, bottom, (float)(uint32_t)py * 0x1p-32f);
}

/* Numbers [i, i + lanes) of the channel's noise: eight of 16 bits in a block, of which lanes never
 * straddle two. */
CU_HD void cu_noise(const cu_plane *p, uint32_t i, int lanes, float v[CU_LANES]) {
  const pn_image_job *a = p->job;
  uint32_t pixels = (uint32_t)a->height * (uint32_t)a->width;
  uint32_t block[4] = {p->row->counter[0] + p->channel * ((pixels + 7) / 8) + i / 8,
                       p->row->counter[1], p->row->counter[2], p->row->counter[3]};
  float lo = (0.0f - a->mean) / a->sd, hi = (1.0f - a->mean) / a->sd;
  uint64_t four;

  cu_philox(block, p->row->key[0], p->row->key[1]);
  four = i % 8 < 4 ? (uint64_t)block[1] << 32 | block[0] : (uint64_t)block[3] << 32 | block[2];
  four >>= i % 4 * 16;
  for (int j = 0; j < lanes; j++) {
    uint32_t which = (uint32_t)(four >> (16 * j)) & (PN_NOISE_QUANTILES - 1);
    float x = v[j] + p->row->noise * a->quantile[which];
    v[j] = x < lo ? lo : x > hi ? hi : x;
  }
}

/* Pixels x ... x + lanes - 1 of row y of an image, not mixed. */
CU_HD void cu_image(const cu_plane *p, int32_t y, int32_t x, int lanes, float v[CU_LANES]) {
  const pn_image_row *r = p->row;

  CU_ROLLED for (int k = 0; k < lanes; k++) { /* much code: once; v stays in registers */
    float one = cu_sample(p, y, x + k);
    for (int j = 0; j < lanes; j++) v[j] = j == k ? one : v[j];
  }
  if (r->noise > 0.0f) cu_noise(p, (uint32_t)(y * p->job->width + x), lanes, v);
  if (y < r->cut[0] || y >= r->cut[1]) return;
  for (int k = 0; k < lanes; k++)
    if (x + k >= r->cut[2] && x + k < r->cut[3]) v[k] = 0.0f;
}

CU_HD void cu_image_pixels(const pn_image_job *a, uint32_t i, int lanes) {
  size_t at = (size_t)i * (size_t)lanes;
  uint32_t line = (uint32_t)at / (uint32_t)a->width, x = (uint32_t)at - line * (uint32_t)a->width;
  uint32_t y = line % (uint32_t)a->height, plane = line / (uint32_t)a->height;
  uint32_t n = plane / (uint32_t)a->channels, c = plane % (uint32_t)a->channels;
  cu_plane p = cu_plane_of(a, n, c);
  int32_t other = p.row->other;
  float share = p.row->share, v[CU_LANES] = {0}, w[CU_LANES] = {0};

  cu_image(&p, (int32_t)y, (int32_t)x, lanes, v);
  if (other >= 0) {
    p = cu_plane_of(a, (uint32_t)other, c);
    cu_image(&p, (int32_t)y, (int32_t)x, lanes, w);
    for (int k = 0; k < lanes; k++) v[k] = share * v[k] + (1.0f - share) * w[k];
  }
  cu_store(a->input, at, lanes, v);
}

#endif
