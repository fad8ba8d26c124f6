/* norm.c -- slabs over threads, and what is computed per channel. */
#include "device/simd/norm.h"

#include "device/simd/vector.h"

#include <string.h>

enum { PAD = 16, BLOCK_BYTES = 1 << 17 };

/* Pixels of a slab of NHWC: a divisor of the image's, so few that all groups find them in the
 * cache.
 */
static int64_t block_pixels(int64_t area, int64_t pixel_bytes) {
  int64_t best = 1;

  for (int64_t n = 1; n <= area && n * pixel_bytes <= BLOCK_BYTES; n++)
    if (area % n == 0) best = n;
  return best;
}

static void channels_last(int64_t area, pn_norm_view *v) {
  int64_t block = block_pixels(area, v->channels * (int64_t)pn_dtype_bytes(v->type));

  v->images *= area / block;
  v->pixels = block;
  v->stride = v->channels;
  v->group_step = v->lanes;
  v->image_step = block * v->channels;
}

bool pn_norm_view_make(const pn_layout *l, int lanes, pn_norm_view *out) {
  const pn_shape *s = &l->shape;
  const char *tag = l->tag;
  int64_t area = s->n_dims == 4 ? s->dim[2] * s->dim[3] : 1, c = s->dim[1];

  *out = (pn_norm_view){
      .images = s->dim[0], .pixels = area, .channels = c, .lanes = lanes, .type = l->type};
  out->image_step = c * area;
  if (strcmp(tag, "ab") == 0) {
    out->images = 1;
    out->pixels = s->dim[0];
    out->stride = c;
    out->group_step = lanes;
  } else if (strcmp(tag, "acdb") == 0) {
    channels_last(area, out);
  } else if (strcmp(tag, "abcd") == 0) {
    out->stride = out->lanes = 1;
    out->group_step = area;
  } else if (strcmp(tag, "aBcd8b") == 0 || strcmp(tag, "aBcd16b") == 0) {
    out->stride = out->lanes = tag[4] == '8' ? 8 : 16;
    out->group_step = area * out->stride;
    out->image_step = (c + out->stride - 1) / out->stride * out->group_step;
  } else
    return false;
  out->groups = (c + out->lanes - 1) / out->lanes;
  return true;
}

int64_t pn_norm_padded(const pn_norm_view *v) {
  return (v->groups * v->lanes + PAD - 1) / PAD * PAD;
}

int64_t pn_norm_scratch(const pn_norm_view *v) {
  return 2 * v->images * pn_norm_padded(v);
}

static const void *moved(const void *p, int64_t elements, pn_dtype type) {
  return p ? (const char *)p + elements * (int64_t)pn_dtype_bytes(type) : NULL;
}

static void move(pn_norm_slab *s, int64_t elements, pn_dtype type) {
  s->x = moved(s->x, elements, type);
  s->y = moved(s->y, elements, type);
  s->d = moved(s->d, elements, type);
  s->d1 = moved(s->d1, elements, type);
  s->add = moved(s->add, elements, type);
  if (s->out) s->out = (char *)s->out + elements * (int64_t)pn_dtype_bytes(type);
}

/* A slab of the first tensor, moved to image i and group g. */
static pn_norm_slab slab_at(const pn_norm_job *j, const pn_norm_slab *first, int64_t i, int64_t g) {
  const pn_norm_view *v = &j->view;
  pn_norm_slab s = *first;

  s.pixels = v->pixels;
  s.stride = v->stride;
  s.padded = pn_norm_padded(v);
  s.relu = j->relu;
  s.aux += g * v->lanes;
  move(&s, i * v->image_step + g * v->group_step, v->type);
  return s;
}

enum step { STATISTICS, APPLY, POST, SUMS, DATA };

static void run_code(const pn_norm_code *code, enum step step, const pn_norm_slab *s, double *a,
                     double *b) {
  switch (step) {
  case STATISTICS:
    code->statistics(s, a, b);
    break;
  case APPLY:
    code->apply(s);
    break;
  case POST:
    code->post(s, a, b);
    break;
  case SUMS:
    code->sums(s, a, b);
    break;
  case DATA:
    code->data(s);
    break;
  }
}

/* One channel of a slab. */
static pn_norm_slab lane_of(const pn_norm_slab *s, int64_t l, pn_dtype type) {
  pn_norm_slab one = *s;
  one.aux += l;
  move(&one, l, type);
  return one;
}

/* Vectors where the slab has as many channels in memory as they have lanes. */
static void run_slab(const pn_norm_job *j, enum step step, const pn_norm_slab *s, int64_t g,
                     double *a, double *b) {
  const pn_norm_view *v = &j->view;
  const pn_vector_code *wide = pn_vector_find(v->lanes, v->type);
  const pn_norm_code *scalar = v->type == PN_BF16 ? &pn_norm_scalar_bf16 : &pn_norm_scalar;
  int64_t lanes = v->lanes;

  if (v->stride == v->channels && v->channels - g * lanes < lanes) {
    lanes = v->channels - g * lanes; /* NHWC: other pixels follow */
    wide = NULL;
  }
  if (wide) {
    run_code(&wide->norm, step, s, a, b);
    return;
  }
  for (int64_t l = 0; l < lanes; l++) {
    pn_norm_slab one = lane_of(s, l, v->type);
    run_code(scalar, step, &one, a ? a + l : NULL, b ? b + l : NULL);
  }
}

/* All slabs; scratch: two doubles per image and channel for what a step returns. */
static void run_all(const pn_norm_job *j, enum step step, const pn_norm_slab *first,
                    double *scratch) {
  const pn_norm_view *v = &j->view;
  int64_t padded = pn_norm_padded(v), half = v->images * padded;

#pragma omp parallel for schedule(static) num_threads(j->threads)
  for (int64_t k = 0; k < v->images * v->groups; k++) {
    int64_t i = k / v->groups, g = k % v->groups, at = i * padded + g * v->lanes;
    pn_norm_slab s = slab_at(j, first, i, g);
    run_slab(j, step, &s, g, scratch ? scratch + at : NULL, scratch ? scratch + half + at : NULL);
  }
}

void pn_norm_statistics(const pn_norm_job *j, const void *x, float *aux, double *scratch) {
  const pn_norm_view *v = &j->view;
  int64_t padded = pn_norm_padded(v), half = v->images * padded;
  pn_norm_slab first = {.x = x, .aux = aux};

  run_all(j, STATISTICS, &first, scratch);
  for (int64_t c = 0; c < v->channels; c++) {
    double mean = 0, m2 = 0;
    for (int64_t i = 0; i < v->images; i++) { /* images have the same number of pixels */
      double delta = scratch[i * padded + c] - mean;
      mean += delta / (double)(i + 1);
      m2 += scratch[half + i * padded + c] +
            delta * delta * (double)v->pixels * (double)i / (double)(i + 1);
    }
    aux[PN_NORM_MEAN * padded + c] = (float)mean;
    aux[PN_NORM_INV * padded + c] = (float)(m2 / (double)(v->images * v->pixels));
  }
}

void pn_norm_apply(const pn_norm_job *j, const void *x, const void *add, const float *aux,
                   void *y) {
  pn_norm_slab first = {.x = x, .add = add, .out = y, .aux = aux};
  run_all(j, APPLY, &first, NULL);
}

static void run_sums(const pn_norm_job *j, enum step step, const pn_norm_diffs *p, float *aux,
                     double *scratch) {
  const pn_norm_view *v = &j->view;
  int64_t padded = pn_norm_padded(v), half = v->images * padded;
  pn_norm_slab first = {.x = p->x, .y = p->y, .d = p->d, .d1 = p->d1, .out = p->out, .aux = aux};

  run_all(j, step, &first, scratch);
  for (int64_t c = 0; c < v->channels; c++) {
    double sum = 0, product = 0;
    for (int64_t i = 0; i < v->images; i++) {
      sum += scratch[i * padded + c];
      product += scratch[half + i * padded + c];
    }
    aux[PN_NORM_SUM * padded + c] = (float)sum;
    aux[PN_NORM_PRODUCT * padded + c] = (float)(product * (double)aux[PN_NORM_INV * padded + c]);
  }
}

void pn_norm_post(const pn_norm_job *j, const pn_norm_diffs *p, float *aux, double *scratch) {
  run_sums(j, POST, p, aux, scratch);
}

void pn_norm_sums(const pn_norm_job *j, const pn_norm_diffs *p, float *aux, double *scratch) {
  run_sums(j, SUMS, p, aux, scratch);
}

void pn_norm_data(const pn_norm_job *j, const pn_norm_diffs *p, const float *aux) {
  pn_norm_slab first = {
      .x = p->x, .d = p->d, .d1 = p->d1, .add = p->add, .out = p->out, .aux = aux};
  run_all(j, DATA, &first, NULL);
}
