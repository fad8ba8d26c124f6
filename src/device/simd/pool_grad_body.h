/* pool_grad_body.h -- the loops of pool_grad.h for vector_avx2.c and vector_avx512.c; see
 * small_conv_body.h for what they define. */

static inline int64_t grad_room(const pn_pool_grad *g) {
  return g->strip * g->out[1] + 1; /* the last one is written before it is known to count */
}

/* Appends what pooled row h, every second place from `first`, leaves to LANES filters from k. */
static inline void collect_row(const pn_pool_grad *g, const pn_grad_image *im, int64_t k, int64_t h,
                               int64_t first) {
  const vec zero = {0};
  int64_t room = grad_room(g), plane = g->out[0] * g->out[1];
  pn_grad_entry *list = im->list + k * room;
  int32_t *count = im->count + k;

  for (int64_t w = first; w < g->out[1]; w += 2) {
    int64_t from = k * plane + (h * g->out[1] + w) * LANES;
    ivec which = __builtin_convertvector(*(const bytes *)(im->code + from), ivec);
    vec d = *(const vec *)(im->dy + from);
    ivec pass = (*(const vec *)(im->y + from) > zero) & (d != zero);
    int32_t base = (int32_t)((2 * h * g->cols + 2 * w) * LANES);
    ivec at = base + ((which >> 1) * (int32_t)g->cols + (which & 1)) * LANES;
    for (int64_t l = 0; l < LANES; l++) {
      list[l * room + count[l]] = (pn_grad_entry){at[l], d[l]};
      count[l] -= pass[l];
    }
  }
}

/* The lists of pooled rows [h0, h1).  Places side by side share taps: they go into the list apart,
 * so that `data` does not wait for what it has just stored. */
static void collect(const pn_pool_grad *g, const pn_grad_image *im, int64_t h0, int64_t h1) {
  memset(im->count, 0, (size_t)g->filters * sizeof *im->count);
  for (int64_t k = 0; k < g->filters; k += LANES)
    for (int64_t h = h0; h < h1; h++) {
      collect_row(g, im, k, h, 0);
      collect_row(g, im, k, h, 1);
    }
}

static void add_bias(const pn_pool_grad *g, const pn_grad_image *im) {
  for (int64_t k = 0; k < g->filters; k++) {
    const pn_grad_entry *e = im->list + k * grad_room(g);
    float sum = 0.0f;
    for (int32_t i = 0; i < im->count[k]; i++) sum += e[i].diff;
    im->db[k] += sum;
  }
}

/* dw[tap] += diff * the input under the tap, over one list; x: a block's plane. */
static inline void add_weight(const pn_grad_entry *e, int32_t n, const float *x, int64_t cols,
                              vec *dw) {
  vec a0 = dw[0], a1 = dw[1], a2 = dw[2], a3 = dw[3], a4 = dw[4], a5 = dw[5], a6 = dw[6],
      a7 = dw[7], a8 = dw[8];
  for (int32_t i = 0; i < n; i++) {
    const vec *r0 = (const vec *)(x + e[i].at), *r1 = r0 + cols, *r2 = r1 + cols;
    vec d = e[i].diff - (vec){0};
    a0 += d * r0[0];
    a1 += d * r0[1];
    a2 += d * r0[2];
    a3 += d * r1[0];
    a4 += d * r1[1];
    a5 += d * r1[2];
    a6 += d * r2[0];
    a7 += d * r2[1];
    a8 += d * r2[2];
  }
  dw[0] = a0, dw[1] = a1, dw[2] = a2, dw[3] = a3, dw[4] = a4;
  dw[5] = a5, dw[6] = a6, dw[7] = a7, dw[8] = a8;
}

/* The diff under each tap += diff * weight[tap], over one list. */
static inline void add_data(const pn_grad_entry *e, int32_t n, const vec *weight, int64_t cols,
                            float *dx) {
  const vec w0 = weight[0], w1 = weight[1], w2 = weight[2], w3 = weight[3], w4 = weight[4],
            w5 = weight[5], w6 = weight[6], w7 = weight[7], w8 = weight[8];
  for (int32_t i = 0; i < n; i++) {
    vec *r0 = (vec *)(dx + e[i].at), *r1 = r0 + cols, *r2 = r1 + cols;
    vec d = e[i].diff - (vec){0};
    r0[0] += d * w0;
    r0[1] += d * w1;
    r0[2] += d * w2;
    r1[0] += d * w3;
    r1[1] += d * w4;
    r1[2] += d * w5;
    r2[0] += d * w6;
    r2[1] += d * w7;
    r2[2] += d * w8;
  }
}

static void grad_weight(const pn_pool_grad *g, const pn_grad_image *im) {
  int64_t plane = g->rows * g->cols * LANES;
  for (int64_t h = 0; h < g->out[0]; h += g->strip) {
    int64_t end = h + g->strip < g->out[0] ? h + g->strip : g->out[0];
    collect(g, im, h, end);
    add_bias(g, im);
    for (int64_t b = 0; b < g->blocks; b++)
      for (int64_t k = 0; k < g->filters; k++)
        add_weight(im->list + k * grad_room(g), im->count[k], im->planes + b * plane, g->cols,
                   (vec *)im->dw + (k * g->blocks + b) * PN_GRAD_TAPS);
  }
}

static void grad_data(const pn_pool_grad *g, const pn_grad_image *im) {
  int64_t plane = g->rows * g->cols * LANES;
  for (int64_t h = 0; h < g->out[0]; h += g->strip) {
    int64_t end = h + g->strip < g->out[0] ? h + g->strip : g->out[0];
    collect(g, im, h, end);
    for (int64_t b = 0; b < g->blocks; b++)
      for (int64_t k = 0; k < g->filters; k++)
        add_data(im->list + k * grad_room(g), im->count[k],
                 (const vec *)im->weight + (k * g->blocks + b) * PN_GRAD_TAPS, g->cols,
                 im->planes + b * plane);
  }
}
