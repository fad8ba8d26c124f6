/* batch.c -- shares of the global batch; from images in a shard to the input of a plan. */
#include "train/batch.h"

#include "base/fault.h"
#include "parallel/tree.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

pn_batches pn_batches_make(int64_t n, int64_t global, pn_last_batch last, int rank, int size) {
  bool drop = last == PN_LAST_DROP && n >= global;

  return (pn_batches){.n = n,
                      .global = global,
                      .last = last,
                      .steps = drop ? n / global : (n + global - 1) / global,
                      .parts = 1,
                      .rank = rank,
                      .size = size};
}

static pn_share range_of(const pn_batches *b, int64_t step) {
  int64_t first = step * b->global, left = b->n - first;
  pn_share s = {.first = first, .count = left < b->global ? left : b->global};

  if (b->last == PN_LAST_EVEN) pn_partition(b->n, step, b->steps, &s.first, &s.count);
  return s;
}

int64_t pn_batches_start(const pn_batches *b, int64_t step) {
  return range_of(b, step).first;
}

int64_t pn_batches_images(const pn_batches *b, int64_t step) {
  return range_of(b, step).count;
}

int pn_batches_leaves(const pn_batches *b, int64_t step) {
  int64_t n = pn_batches_images(b, step);
  return n < b->leaves ? (int)n : b->leaves;
}

static pn_subtree own_leaves(const pn_batches *b, int64_t step) {
  return pn_tree_range(pn_batches_leaves(b, step), b->rank, b->size);
}

int pn_batches_first_leaf(const pn_batches *b, int64_t step) {
  return own_leaves(b, step).lo;
}

int64_t pn_batches_rounds(const pn_batches *b, int64_t step) {
  int64_t share = (pn_batches_images(b, step) + b->size - 1) / b->size;

  if (b->leaves > 0) return (pn_batches_leaves(b, step) + b->size - 1) / b->size;
  return b->parts < share ? b->parts : share;
}

/* Leaf i of a step; its place depends on nothing else. */
static pn_share leaf_of(const pn_batches *b, int64_t step, int i) {
  pn_share s = {.global = pn_batches_images(b, step)};

  pn_partition(s.global, i, pn_batches_leaves(b, step), &s.first, &s.count);
  s.first += pn_batches_start(b, step);
  return s;
}

void pn_batches_sizes(const pn_batches *b, int64_t step, int64_t sizes[2]) {
  int64_t n = pn_batches_parts(b, step);

  if (b->leaves > 0) {
    sizes[0] = leaf_of(b, step, 0).count;
    sizes[1] = leaf_of(b, step, pn_batches_leaves(b, step) - 1).count;
  } else {
    sizes[0] = n ? pn_batches_part(b, step, 0).count : 0;
    sizes[1] = n ? pn_batches_part(b, step, n - 1).count : 0;
  }
}

/* The leaves of a rank follow each other. */
static pn_share leaves_share(const pn_batches *b, int64_t step) {
  pn_subtree own = own_leaves(b, step);
  pn_share s = {.first = pn_batches_start(b, step), .global = pn_batches_images(b, step)};

  if (own.hi > own.lo) s.first = leaf_of(b, step, own.lo).first;
  for (int i = own.lo; i < own.hi; i++) s.count += leaf_of(b, step, i).count;
  return s;
}

pn_share pn_batches_share(const pn_batches *b, int64_t step) {
  int64_t start = pn_batches_start(b, step);
  pn_share s = {.global = pn_batches_images(b, step)};

  if (b->leaves > 0) return leaves_share(b, step);
  pn_partition(s.global, b->rank, b->size, &s.first, &s.count);
  s.first += start;
  return s;
}

int64_t pn_batches_parts(const pn_batches *b, int64_t step) {
  int64_t count = pn_batches_share(b, step).count;
  pn_subtree own = own_leaves(b, step);

  if (b->leaves > 0) return own.hi - own.lo;
  return b->parts < count ? b->parts : count;
}

pn_share pn_batches_part(const pn_batches *b, int64_t step, int64_t part) {
  pn_share s = pn_batches_share(b, step);
  int64_t start = s.first;

  if (b->leaves > 0) return leaf_of(b, step, own_leaves(b, step).lo + (int)part);
  pn_partition(s.count, part, pn_batches_parts(b, step), &s.first, &s.count);
  s.first += start;
  return s;
}

int64_t pn_batches_largest(const pn_batches *b) {
  int64_t share = (pn_batches_images(b, 0) + b->size - 1) / b->size;

  if (b->leaves > 0) return leaf_of(b, 0, 0).count;
  return (share + b->parts - 1) / b->parts;
}

pn_status pn_batch_create(const pn_reader *r, int64_t capacity, int threads, pn_batch *out) {
  size_t n = (size_t)(capacity > 0 ? capacity : 1);
  size_t scratch = (size_t)threads * (size_t)pn_reader_scratch(r);

  *out = (pn_batch){.capacity = capacity, .threads = threads};
  out->id = calloc(n, sizeof *out->id);
  out->scale = calloc(n, sizeof *out->scale);
  out->label2 = calloc(n, sizeof *out->label2);
  out->mix = calloc(n, sizeof *out->mix);
  out->scratch = malloc(scratch * sizeof *out->scratch);
  if (out->id && out->scale && out->label2 && out->mix && out->scratch) return PN_OK;
  pn_batch_free(out);
  return PN_FAIL(PN_ERR_NOMEM, "batch of %lld images: out of memory", (long long)capacity);
}

void pn_batch_free(pn_batch *b) {
  free(b->id);
  free(b->scale);
  free(b->label2);
  free(b->mix);
  free(b->scratch);
  *b = (pn_batch){0};
}

static pn_status read_rows(const pn_batch *b, const pn_batch_source *src, const pn_rows *rows) {
  const int64_t scratch = pn_reader_scratch(src->reader);
  pn_failure failure = {.status = PN_OK};

#pragma omp parallel for num_threads(b->threads) if (b->threads > 1)
  for (int64_t i = 0; i < src->n; i++) {
    float *own = b->scratch + omp_get_thread_num() * scratch;
    pn_status st = pn_reader_read(src->reader, src->epoch, src->index[i], own, rows, i);
    if (st != PN_OK) {
#pragma omp critical(pn_batch_failure)
      pn_failure_note(&failure, st, i);
    }
  }
  return pn_failure_raise(&failure);
}

pn_status pn_batch_load(pn_batch *b, const pn_batch_source *src, pn_plan *plan) {
  const int64_t pixels = pn_reader_pixels(src->reader);
  pn_rows rows = {.input = pn_plan_input(plan),
                  .label = pn_plan_labels(plan),
                  .label2 = b->label2,
                  .mix = b->mix,
                  .id = b->id};
  pn_status st = PN_OK;

  if (src->n > b->capacity)
    return PN_FAIL(PN_ERR_ARG, "batch of %lld images in buffers for %lld", (long long)src->n,
                   (long long)b->capacity);
  PN_TRY(pn_reader_reach(src->reader, src->epoch, src->index, src->n));
  PN_TRY(read_rows(b, src, &rows));
  PN_TRY(pn_fault_at(PN_FAULT_READ, rows.input));
  if (src->plan_batch > src->n) {
    size_t empty = (size_t)(src->plan_batch - src->n);
    memset(rows.input + src->n * pixels, 0, empty * (size_t)pixels * sizeof *rows.input);
    memset(rows.label + src->n, 0, empty * sizeof *rows.label);
  }
done:
  return st;
}

void pn_batch_copy(pn_batch *b, const pn_reader *r, const pn_rows *rows, int64_t n, pn_plan *plan) {
  size_t count = (size_t)n;

  memcpy(pn_plan_input(plan), rows->input,
         count * (size_t)pn_reader_pixels(r) * sizeof *rows->input);
  memcpy(pn_plan_labels(plan), rows->label, count * sizeof *rows->label);
  pn_batch_note(b, rows, n);
}

void pn_batch_note(pn_batch *b, const pn_rows *rows, int64_t n) {
  size_t count = (size_t)n;

  memcpy(b->label2, rows->label2, count * sizeof *b->label2);
  memcpy(b->mix, rows->mix, count * sizeof *b->mix);
  memcpy(b->id, rows->id, count * sizeof *b->id);
}
