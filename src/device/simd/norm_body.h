/* norm_body.h -- the loops of norm.h for the files that define before: LANES, the types vec (LANES
 * floats), uvec (the same, unaligned) and elem (float, or bf16 as bits), load and store (a vec from
 * and to LANES of them), vec_max, vec_pass (d where y > 0, else 0). */

enum { NORM_PIECE = 512 }; /* pixels: fit in the first cache, and keep f32 sums short */

static inline vec norm_array(const pn_norm_slab *s, int which) {
  return *(const uvec *)(s->aux + which * s->padded);
}

static inline vec norm_load(const void *p, int64_t at) {
  return load((const elem *)p + at);
}

static inline void norm_store(void *p, int64_t at, vec v) {
  store((elem *)p + at, v);
}

static inline int64_t norm_end(const pn_norm_slab *s, int64_t first) {
  return s->pixels - first < NORM_PIECE ? s->pixels : first + NORM_PIECE;
}

static inline void norm_add(double *to, vec v) {
  for (int l = 0; l < LANES; l++) to[l] += (double)((const float *)&v)[l];
}

/* Mean and sum of squared deviations of pixels [first, end). */
static void norm_piece(const pn_norm_slab *s, int64_t first, int64_t end, vec *mean, vec *m2) {
  vec a = {0}, b = {0}, q = {0}, r = {0};
  int64_t k = first;

  for (; k + 1 < end; k += 2) {
    a += norm_load(s->x, k * s->stride);
    b += norm_load(s->x, (k + 1) * s->stride);
  }
  if (k < end) a += norm_load(s->x, k * s->stride);
  *mean = (a + b) / (float)(end - first);
  for (k = first; k + 1 < end; k += 2) {
    vec d = norm_load(s->x, k * s->stride) - *mean,
        e = norm_load(s->x, (k + 1) * s->stride) - *mean;
    q += d * d;
    r += e * e;
  }
  if (k < end)
    q += (norm_load(s->x, k * s->stride) - *mean) * (norm_load(s->x, k * s->stride) - *mean);
  *m2 = q + r;
}

/* Chan's rule: pieces of the slab one after the other. */
static void norm_statistics(const pn_norm_slab *s, double *mean, double *m2) {
  for (int l = 0; l < LANES; l++) mean[l] = m2[l] = 0;
  for (int64_t first = 0; first < s->pixels; first += NORM_PIECE) {
    int64_t end = norm_end(s, first);
    double n = (double)(end - first), share = n / (double)end;
    vec m, q;
    norm_piece(s, first, end, &m, &q);
    for (int l = 0; l < LANES; l++) {
      double delta = (double)((const float *)&m)[l] - mean[l];
      mean[l] += delta * share;
      m2[l] += (double)((const float *)&q)[l] + delta * delta * share * (double)first;
    }
  }
}

static inline __attribute__((always_inline)) void norm_apply_loop(const pn_norm_slab *s, bool relu,
                                                                  bool add) {
  const vec zero = {0}, scale = norm_array(s, PN_NORM_SCALE), shift = norm_array(s, PN_NORM_SHIFT);

  for (int64_t k = 0, at = 0; k < s->pixels; k++, at += s->stride) {
    vec v = norm_load(s->x, at) * scale + shift;
    if (add) v += norm_load(s->add, at);
    if (relu) v = vec_max(zero, v);
    norm_store(s->out, at, v);
  }
}

static void norm_apply(const pn_norm_slab *s) {
  if (s->add && s->relu)
    norm_apply_loop(s, true, true);
  else if (s->add)
    norm_apply_loop(s, false, true);
  else if (s->relu)
    norm_apply_loop(s, true, false);
  else
    norm_apply_loop(s, false, false);
}

/* Sums over the slab; post: the mask is y's, and the masked diff is kept; else the mask is that of
 * the norm's output, computed again. */
static inline __attribute__((always_inline)) void
norm_sum_loop(const pn_norm_slab *s, bool post, bool relu, bool two, double *sum, double *product) {
  const vec mean = norm_array(s, PN_NORM_MEAN);
  const vec scale = norm_array(s, PN_NORM_SCALE), shift = norm_array(s, PN_NORM_SHIFT);

  for (int l = 0; l < LANES; l++) sum[l] = product[l] = 0;
  for (int64_t first = 0; first < s->pixels; first += NORM_PIECE) {
    vec a = {0}, b = {0};
    for (int64_t k = first; k < norm_end(s, first); k++) {
      int64_t at = k * s->stride;
      vec x = norm_load(s->x, at), d = norm_load(s->d, at);
      if (two) d += norm_load(s->d1, at);
      if (post) d = vec_pass(d, norm_load(s->y, at));
      if (post) norm_store(s->out, at, d);
      if (relu) d = vec_pass(d, x * scale + shift);
      a += d;
      b += d * (x - mean);
    }
    norm_add(sum, a);
    norm_add(product, b);
  }
}

static void norm_post(const pn_norm_slab *s, double *sum, double *product) {
  if (s->d1)
    norm_sum_loop(s, true, false, true, sum, product);
  else
    norm_sum_loop(s, true, false, false, sum, product);
}

static void norm_sums(const pn_norm_slab *s, double *sum, double *product) {
  if (s->d1 && s->relu)
    norm_sum_loop(s, false, true, true, sum, product);
  else if (s->d1)
    norm_sum_loop(s, false, false, true, sum, product);
  else if (s->relu)
    norm_sum_loop(s, false, true, false, sum, product);
  else
    norm_sum_loop(s, false, false, false, sum, product);
}

static inline __attribute__((always_inline)) void norm_data_loop(const pn_norm_slab *s, bool relu,
                                                                 bool two, bool add) {
  const vec scale = norm_array(s, PN_NORM_SCALE), shift = norm_array(s, PN_NORM_SHIFT);
  const vec fd = norm_array(s, PN_NORM_D), fx = norm_array(s, PN_NORM_X);
  const vec fc = norm_array(s, PN_NORM_C);

  for (int64_t k = 0, at = 0; k < s->pixels; k++, at += s->stride) {
    vec x = norm_load(s->x, at), d = norm_load(s->d, at);
    if (two) d += norm_load(s->d1, at);
    if (relu) d = vec_pass(d, x * scale + shift);
    d = d * fd + (x * fx + fc);
    if (add) d += norm_load(s->add, at);
    norm_store(s->out, at, d);
  }
}

static void norm_data(const pn_norm_slab *s) {
  switch ((s->relu ? 4 : 0) | (s->d1 ? 2 : 0) | (s->add ? 1 : 0)) {
  case 0:
    norm_data_loop(s, false, false, false);
    break;
  case 1:
    norm_data_loop(s, false, false, true);
    break;
  case 2:
    norm_data_loop(s, false, true, false);
    break;
  case 3:
    norm_data_loop(s, false, true, true);
    break;
  case 4:
    norm_data_loop(s, true, false, false);
    break;
  case 5:
    norm_data_loop(s, true, false, true);
    break;
  case 6:
    norm_data_loop(s, true, true, false);
    break;
  default:
    norm_data_loop(s, true, true, true);
    break;
  }
}

#define NORM_CODE                                                                                  \
  { norm_statistics, norm_apply, norm_post, norm_sums, norm_data }
