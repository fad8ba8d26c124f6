/* pool2_body.h -- the pooling loops of vector_avx2.c and vector_avx512.c; see small_conv_body.h. */

static void pool_forward(const pn_pool2 *p, const float *big, float *small, uint8_t *code) {
  for (int64_t h = 0; h < p->out[0]; h++)
    for (int64_t w = 0; w < p->out[1]; w++, small += LANES, code += LANES) {
      const vec *at = (const vec *)(big + (2 * h * p->cols + 2 * w) * LANES);
      vec best = at[0];
      ivec which = {0};
      for (int k = 1; k < 4; k++) {
        vec v = at[k / 2 * p->cols + k % 2];
        ivec more = (v > best) | (v != v);
        which = (more & k) | (~more & which);
        best = (vec)((more & (ivec)v) | (~more & (ivec)best));
      }
      *(vec *)small = best;
      *(bytes *)code = __builtin_convertvector(which, bytes);
    }
}

static void pool_backward(const pn_pool2 *p, const float *dy, const uint8_t *code, const float *y,
                          float *big) {
  const vec zero = {0};
  for (int64_t h = 0; h < p->out[0]; h++)
    for (int64_t w = 0; w < p->out[1]; w++) {
      int64_t at = (h * p->out[1] + w) * LANES;
      vec *to = (vec *)(big + (2 * h * p->cols + 2 * w) * LANES);
      ivec g = *(const ivec *)(dy + at);
      ivec which = __builtin_convertvector(*(const bytes *)(code + at), ivec);
      if (y) g &= *(const vec *)(y + at) > zero;
      for (int k = 0; k < 4; k++) to[k / 2 * p->cols + k % 2] = (vec)(g & (which == k));
    }
}
