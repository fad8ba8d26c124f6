/* small_conv_body.h -- the loops of vector_avx2.c and vector_avx512.c, which define before:
 * what norm_body.h lists, and the types ivec and bytes (LANES int32s, uint8s). */

/* The first largest of four outputs, after ReLU, and which it was. */
static inline void pool_store(const vec a[4], elem *y, uint8_t *code) {
  const vec zero = {0};
  vec best = a[0];
  ivec which = {0};
  for (int k = 1; k < 4; k++) {
    ivec more = a[k] > best;
    which = (more & k) | (~more & which);
    best = vec_max(a[k], best);
  }
  store(y, vec_max(zero, best));
  *(bytes *)code = __builtin_convertvector(which, bytes);
}

/* a[k] += the taps of one channel, k = the four outputs under one pooled place. */
static inline __attribute__((always_inline)) void add_taps(const float *x, int64_t cols,
                                                           const vec *weight, vec a[4]) {
#pragma GCC unroll 4
  for (int r = 0; r < 4; r++)
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++)
#pragma GCC unroll 4
      for (int k = 0; k < 4; k++) {
        int tr = r - k / 2, tc = c - k % 2;
        if (tr >= 0 && tr < 3 && tc >= 0 && tc < 3) a[k] += x[r * cols + c] * weight[tr * 3 + tc];
      }
}

/* Block b of the filters; `channels` is a constant where it is inlined with one. */
static inline __attribute__((always_inline)) void
forward_block(const pn_small_conv *c, const pn_small_image *im, int64_t channels, int64_t b) {
  elem *y = (elem *)im->y + b * c->block;
  uint8_t *code = im->code + b * c->block;
  const vec *weight = (const vec *)im->weight + b * channels * PN_SMALL_TAPS;
  vec bias = ((const vec *)im->bias)[b];
  for (int64_t h = 0; h < c->out[0]; h++)
    for (int64_t w = 0; w < c->out[1]; w++, y += c->pixel, code += c->pixel) {
      vec a[4] = {bias, bias, bias, bias};
      for (int64_t i = 0; i < channels; i++)
        add_taps(im->planes + (i * c->rows + 2 * h) * c->cols + 2 * w, c->cols,
                 weight + i * PN_SMALL_TAPS, a);
      pool_store(a, y, code);
    }
}

static void forward(const pn_small_conv *c, const pn_small_image *im) {
  for (int64_t b = 0; b < c->blocks; b++) {
    if (c->channels == 1)
      forward_block(c, im, 1, b);
    else
      forward_block(c, im, c->channels, b);
  }
}

/* dw[tap] += diff of each of the four outputs * the pixel under the tap. */
static inline __attribute__((always_inline)) void add_gradient(const float *x, int64_t cols,
                                                               const vec d[4], vec dw[9]) {
#pragma GCC unroll 4
  for (int r = 0; r < 4; r++)
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++)
#pragma GCC unroll 4
      for (int k = 0; k < 4; k++) {
        int tr = r - k / 2, tc = c - k % 2;
        if (tr >= 0 && tr < 3 && tc >= 0 && tc < 3) dw[tr * 3 + tc] += x[r * cols + c] * d[k];
      }
}

/* One block of filters and one channel; returns the sum of the diffs that passed the ReLU. */
static vec gradient_block(const pn_small_conv *c, const pn_small_image *im, int64_t b, int64_t i) {
  const vec zero = {0};
  const float *plane = im->planes + i * c->rows * c->cols;
  const elem *dy = (const elem *)im->dy + b * c->block, *y = (const elem *)im->y + b * c->block;
  const uint8_t *code = im->code + b * c->block;
  vec dw[PN_SMALL_TAPS] = {{0}}, db = {0}, *out;
  for (int64_t h = 0; h < c->out[0]; h++)
    for (int64_t w = 0; w < c->out[1]; w++, dy += c->pixel, y += c->pixel, code += c->pixel) {
      ivec g = (ivec)load(dy) & (load(y) > zero);
      ivec which = __builtin_convertvector(*(const bytes *)code, ivec);
      vec d[4];
      for (int k = 0; k < 4; k++) d[k] = (vec)(g & (which == k));
      add_gradient(plane + 2 * h * c->cols + 2 * w, c->cols, d, dw);
      db += (vec)g;
    }
  out = (vec *)im->dw + (b * c->channels + i) * PN_SMALL_TAPS;
  for (int t = 0; t < PN_SMALL_TAPS; t++) out[t] += dw[t];
  return db;
}

static void gradient(const pn_small_conv *c, const pn_small_image *im) {
  for (int64_t b = 0; b < c->blocks; b++)
    for (int64_t i = 0; i < c->channels; i++) {
      vec sum = gradient_block(c, im, b, i);
      if (i == 0) ((vec *)im->db)[b] += sum;
    }
}
