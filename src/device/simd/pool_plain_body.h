/* pool_plain_body.h -- max-pooling of a plane with any number of channels side by side, for pool.c,
 * which defines before: elem (float, or bf16 as bits), get and put (one of them), PLAIN (a name
 * with the type's suffix).  No include guard: once per type. */

/* One output of `lanes` channels; place k of the window is (r, c), clipped to the input. */
__attribute__((always_inline)) static inline void PLAIN(pool_one)(const struct plane *p,
                                                                  int64_t lanes, const elem *x,
                                                                  const int64_t at[2], elem *y,
                                                                  uint8_t *code) {
  struct window_at a = window_at(p, at);

  for (int64_t l = 0; l < lanes; l++) {
    y[l] = put(-INFINITY);
    code[l] = (uint8_t)(a.r0 * p->w->kernel[1] + a.c0);
  }
  for (int64_t r = a.r0; r < a.r1; r++)
    for (int64_t c = a.c0; c < a.c1; c++) {
      const elem *v = x + ((a.top + r) * p->in[1] + a.left + c) * lanes;
      uint8_t k = (uint8_t)(r * p->w->kernel[1] + c);
      for (int64_t l = 0; l < lanes; l++) {
        bool better = get(v[l]) > get(y[l]) || get(v[l]) != get(v[l]); /* the first; NaN wins */
        y[l] = better ? v[l] : y[l];
        code[l] = better ? k : code[l];
      }
    }
}

PN_CLONES static void PLAIN(forward_plane)(const struct plane *p, int64_t lanes, const void *x,
                                           void *y, uint8_t *code) {
  for (int64_t h = 0; h < p->out[0]; h++)
    for (int64_t w = 0; w < p->out[1]; w++) {
      int64_t o = (h * p->out[1] + w) * lanes, at[2] = {h, w};
      PLAIN(pool_one)(p, lanes, x, at, (elem *)y + o, code + o);
    }
}

/* The diff reaches a place only if it held the maximum, and passed the ReLU before the pool. */
__attribute__((always_inline)) static inline void PLAIN(back_one)(const struct plane *p,
                                                                  int64_t lanes,
                                                                  const struct grads *g, int64_t o,
                                                                  const int64_t at[2]) {
  const elem *dy = (const elem *)g->dy + o, *y = (const elem *)g->y + o;
  struct window_at a = window_at(p, at);

  for (int64_t r = a.r0; r < a.r1; r++)
    for (int64_t c = a.c0; c < a.c1; c++) {
      elem *v = (elem *)g->dx + ((a.top + r) * p->in[1] + a.left + c) * lanes;
      uint8_t k = (uint8_t)(r * p->w->kernel[1] + c);
      for (int64_t l = 0; l < lanes; l++) {
        bool here = g->code[o + l] == k && (!g->relu || get(y[l]) > 0.0f);
        v[l] = put(get(v[l]) + (here ? get(dy[l]) : 0.0f));
      }
    }
}

PN_CLONES static void PLAIN(backward_plane)(const struct plane *p, int64_t lanes,
                                            const struct grads *g) {
  memset(g->dx, 0, (size_t)(p->in[0] * p->in[1] * lanes) * sizeof(elem));
  for (int64_t h = 0; h < p->out[0]; h++)
    for (int64_t w = 0; w < p->out[1]; w++) {
      int64_t o = (h * p->out[1] + w) * lanes, at[2] = {h, w};
      PLAIN(back_one)(p, lanes, g, o, at);
    }
}
