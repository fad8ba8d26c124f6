/* batch.c -- shares of the global batch; from bytes in a shard to floats in a plan. */
#include "train/batch.h"

#include <stdlib.h>
#include <string.h>

pn_batches pn_batches_make(int64_t n, int64_t global, int rank, int size) {
  return (pn_batches){
      .n = n, .global = global, .steps = (n + global - 1) / global, .rank = rank, .size = size};
}

pn_share pn_batches_share(const pn_batches *b, int64_t step) {
  int64_t start = step * b->global, left = b->n - start;
  pn_share s = {.global = left < b->global ? left : b->global};

  pn_partition(s.global, b->rank, b->size, &s.first, &s.count);
  s.first += start;
  return s;
}

int64_t pn_batches_largest(const pn_batches *b) {
  int64_t global = b->n < b->global ? b->n : b->global;
  return (global + b->size - 1) / b->size;
}

pn_status pn_batch_create(int64_t capacity, pn_batch *out) {
  size_t n = (size_t)(capacity > 0 ? capacity : 1);

  *out = (pn_batch){.capacity = capacity};
  out->sample = calloc(n, sizeof *out->sample);
  out->id = calloc(n, sizeof *out->id);
  out->scale = calloc(n, sizeof *out->scale);
  if (out->sample && out->id && out->scale) return PN_OK;
  pn_batch_free(out);
  return PN_FAIL(PN_ERR_NOMEM, "batch of %lld images: out of memory", (long long)capacity);
}

void pn_batch_free(pn_batch *b) {
  free(b->sample);
  free(b->id);
  free(b->scale);
  *b = (pn_batch){0};
}

/* A table of the 256 inputs: the same bits whatever the compiler makes of the arithmetic. */
static void input_table(const pn_model_config *m, float table[256]) {
  for (int v = 0; v < 256; v++) table[v] = ((float)v / 255.0f - m->input_mean) / m->input_sd;
}

static void to_float(const uint8_t *in, const float table[256], float *out, int64_t n) {
  for (int64_t i = 0; i < n; i++) out[i] = table[in[i]];
}

static void to_float16(const pn_model_config *m, const uint16_t *in, float *out, int64_t n) {
  for (int64_t i = 0; i < n; i++) out[i] = ((float)in[i] / 65535.0f - m->input_mean) / m->input_sd;
}

pn_status pn_batch_load(pn_batch *b, const pn_batch_source *src, pn_plan *plan) {
  int64_t c, h, w, pixels;
  float *input = pn_plan_input(plan);
  int32_t *labels = pn_plan_labels(plan);
  bool wide = pn_dataset_bits(src->data) == 16;
  float table[256];

  if (src->n > b->capacity)
    return PN_FAIL(PN_ERR_ARG, "batch of %lld images in buffers for %lld", (long long)src->n,
                   (long long)b->capacity);
  pn_dataset_shape(src->data, &c, &h, &w);
  pixels = c * h * w;
  input_table(src->model, table);
  for (int64_t i = 0; i < src->n; i++) { /* pn_dataset_get is for one thread */
    pn_status st = pn_dataset_get(src->data, src->split, src->index[i], &b->sample[i]);
    if (st != PN_OK) return st;
    b->id[i] = b->sample[i].id;
    labels[i] = b->sample[i].label;
  }
#pragma omp parallel for num_threads(src->threads) if (src->threads > 1)
  for (int64_t i = 0; i < src->n; i++)
    if (wide) /* the shard's pixels are aligned for it */
      to_float16(src->model, (const void *)b->sample[i].pixels, input + i * pixels, pixels);
    else
      to_float(b->sample[i].pixels, table, input + i * pixels, pixels);
  if (src->plan_batch > src->n) {
    size_t empty = (size_t)(src->plan_batch - src->n);
    memset(input + src->n * pixels, 0, empty * (size_t)pixels * sizeof *input);
    memset(labels + src->n, 0, empty * sizeof *labels);
  }
  return PN_OK;
}
