/* pool_body.h -- max-pooling with any window for the vector_*.c files; after pool2_body.h. */

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

static inline int64_t pool_place(const pn_pool_plane *p, const struct pool_places *a, int64_t r,
                                 int64_t c) {
  return ((a->top + r) * p->in[1] + a->left + c) * p->step;
}

/* LANES channels of one output. */
static inline void pool_any_one(const pn_pool_plane *p, const struct pool_places *a, const elem *x,
                                elem *y, uint8_t *code) {
  vec best = (vec){0} - INFINITY;
  ivec which = (ivec){0} + (int32_t)(a->r0 * p->kernel[1] + a->c0);
  for (int64_t r = a->r0; r < a->r1; r++)
    for (int64_t c = a->c0; c < a->c1; c++) {
      vec v = load(x + pool_place(p, a, r, c));
      ivec more = (v > best) | (v != v); /* the first maximum; NaN wins */
      which = (more & (int32_t)(r * p->kernel[1] + c)) | (~more & which);
      best = (vec)((more & (ivec)v) | (~more & (ivec)best));
    }
  store(y, best);
  *(bytes *)code = __builtin_convertvector(which, bytes);
}

static void pool_any_forward(const pn_pool_plane *p, const void *big, void *small, uint8_t *code) {
  elem *y = small;
  for (int64_t h = 0; h < p->out[0]; h++)
    for (int64_t w = 0; w < p->out[1]; w++, y += p->step, code += p->step) {
      struct pool_places a = pool_places_at(p, h, w);
      for (int64_t l = 0; l < p->step; l += LANES)
        pool_any_one(p, &a, (const elem *)big + l, y + l, code + l);
    }
}

/* Adds to `big`, which holds zeros. */
static void pool_any_backward(const pn_pool_plane *p, const void *dy, const uint8_t *code,
                              const void *y, void *big) {
  for (int64_t h = 0, at = 0; h < p->out[0]; h++)
    for (int64_t w = 0; w < p->out[1]; w++) {
      struct pool_places a = pool_places_at(p, h, w);
      for (int64_t l = 0; l < p->step; l += LANES, at += LANES) {
        ivec g = pool_diff((const elem *)dy + at, y ? (const elem *)y + at : NULL);
        ivec which = __builtin_convertvector(*(const bytes *)(code + at), ivec);
        for (int64_t r = a.r0; r < a.r1; r++)
          for (int64_t c = a.c0; c < a.c1; c++) {
            elem *to = (elem *)big + pool_place(p, &a, r, c) + l;
            store(to, load(to) + (vec)(g & (which == (int32_t)(r * p->kernel[1] + c))));
          }
      }
    }
}
