/* pool_body.h -- max-pooling with any window over planes of LANES channels, for vector_avx2.c and
 * vector_avx512.c; see small_conv_body.h. */

/* Places of the window at one output that lie in the input: rows [r0, r1), columns [c0, c1). */
struct pool_places {
  int64_t top, left, r0, r1, c0, c1;
};

static inline struct pool_places pool_places_at(const pn_pool_plane *p, int64_t h, int64_t w) {
  struct pool_places a = {.top = h * p->stride[0] - p->pad[0],
                          .left = w * p->stride[1] - p->pad[1]};
  a.r0 = a.top < 0 ? -a.top : 0;
  a.c0 = a.left < 0 ? -a.left : 0;
  a.r1 = p->in[0] - a.top < p->kernel[0] ? p->in[0] - a.top : p->kernel[0];
  a.c1 = p->in[1] - a.left < p->kernel[1] ? p->in[1] - a.left : p->kernel[1];
  return a;
}

static void pool_any_forward(const pn_pool_plane *p, const float *big, float *small,
                             uint8_t *code) {
  for (int64_t h = 0; h < p->out[0]; h++)
    for (int64_t w = 0; w < p->out[1]; w++, small += LANES, code += LANES) {
      struct pool_places a = pool_places_at(p, h, w);
      vec best = (vec){0} - INFINITY;
      ivec which = (ivec){0} + (int32_t)(a.r0 * p->kernel[1] + a.c0);
      for (int64_t r = a.r0; r < a.r1; r++)
        for (int64_t c = a.c0; c < a.c1; c++) {
          vec v = *(const vec *)(big + ((a.top + r) * p->in[1] + a.left + c) * LANES);
          ivec more = (v > best) | (v != v); /* the first maximum; NaN wins */
          which = (more & (int32_t)(r * p->kernel[1] + c)) | (~more & which);
          best = (vec)((more & (ivec)v) | (~more & (ivec)best));
        }
      *(vec *)small = best;
      *(bytes *)code = __builtin_convertvector(which, bytes);
    }
}

/* Adds to `big`, which holds zeros. */
static void pool_any_backward(const pn_pool_plane *p, const float *dy, const uint8_t *code,
                              const float *y, float *big) {
  const vec zero = {0};
  for (int64_t h = 0, at = 0; h < p->out[0]; h++)
    for (int64_t w = 0; w < p->out[1]; w++, at += LANES) {
      struct pool_places a = pool_places_at(p, h, w);
      ivec g = *(const ivec *)(dy + at);
      ivec which = __builtin_convertvector(*(const bytes *)(code + at), ivec);
      if (y) g &= *(const vec *)(y + at) > zero;
      for (int64_t r = a.r0; r < a.r1; r++)
        for (int64_t c = a.c0; c < a.c1; c++) {
          vec *to = (vec *)(big + ((a.top + r) * p->in[1] + a.left + c) * LANES);
          *to += (vec)(g & (which == (int32_t)(r * p->kernel[1] + c)));
        }
    }
}
