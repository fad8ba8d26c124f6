/* pool2_body.h -- the pooling loops of the vector_*.c files; see norm_body.h for what they define.
 */

static inline __attribute__((always_inline)) void pool2_one(const elem *x, int64_t row,
                                                            int64_t step, elem *y, uint8_t *code) {
  vec best = load(x);
  ivec which = {0};
  for (int k = 1; k < 4; k++) {
    vec v = load(x + k / 2 * row + k % 2 * step);
    ivec more = (v > best) | (v != v);
    which = (more & k) | (~more & which);
    best = (vec)((more & (ivec)v) | (~more & (ivec)best));
  }
  store(y, best);
  *(bytes *)code = __builtin_convertvector(which, bytes);
}

static void pool_forward(const pn_pool2 *p, const void *big, void *small, uint8_t *code) {
  elem *y = small;
  for (int64_t h = 0; h < p->out[0]; h++)
    for (int64_t w = 0; w < p->out[1]; w++, y += p->step, code += p->step) {
      const elem *x = (const elem *)big + (2 * h * p->cols + 2 * w) * p->step;
      for (int64_t l = 0; l < p->step; l += LANES)
        pool2_one(x + l, p->cols * p->step, p->step, y + l, code + l);
    }
}

static inline __attribute__((always_inline)) ivec pool_diff(const elem *dy, const elem *y) {
  const vec zero = {0};
  ivec g = (ivec)load(dy);
  if (y) g &= load(y) > zero;
  return g;
}

static void pool_backward(const pn_pool2 *p, const void *dy, const uint8_t *code, const void *y,
                          void *big) {
  for (int64_t h = 0, at = 0; h < p->out[0]; h++)
    for (int64_t w = 0; w < p->out[1]; w++)
      for (int64_t l = 0; l < p->step; l += LANES, at += LANES) {
        elem *to = (elem *)big + (2 * h * p->cols + 2 * w) * p->step + l;
        ivec g = pool_diff((const elem *)dy + at, y ? (const elem *)y + at : NULL);
        ivec which = __builtin_convertvector(*(const bytes *)(code + at), ivec);
        for (int k = 0; k < 4; k++)
          store(to + (k / 2 * p->cols + k % 2) * p->step, (vec)(g & (which == k)));
      }
}
