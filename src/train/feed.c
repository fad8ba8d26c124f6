/* feed.c -- the training batches of one rank, step by step. */
#include "train/feed.h"

#include "base/fault.h"
#include "data/image_queue.h"

#include <stdlib.h>

struct pn_feed {
  pn_reader reader;
  pn_augment *augment; /* NULL: none */
  const pn_batches *batches;
  const float *weight, *class_weight; /* NULL: all 1 */
  pn_batch batch;
  pn_prefetch *ahead;   /* NULL: read in the step */
  pn_image_queue *made; /* the device makes the batches, `ahead` is its ring; NULL: the host does */
  uint32_t epoch;
  const int64_t *order;
  int64_t next, last; /* steps of the epoch that are not queued yet: [next, last) */
  int64_t part;       /* of step `next`: the first that is not queued */
};

static pn_status make_augment(pn_feed *f, const pn_feed_spec *spec) {
  pn_status st;

  if (!pn_augment_any(spec->augment)) return PN_OK;
  st = pn_augment_create(spec->augment, &f->reader.format, &f->augment);
  f->reader.augment = f->augment;
  return st;
}

/* The device makes the batches. */
static pn_status make_queue(pn_feed *f, const pn_feed_spec *spec, int64_t capacity) {
  pn_image_store_spec store = {.device = spec->device,
                               .reader = &f->reader,
                               .capacity = capacity,
                               .where = spec->where,
                               .reserve = spec->reserve,
                               .sharing = spec->sharing > 1 ? spec->sharing : 1};
  pn_status st = pn_image_queue_create(&store, spec->ahead > 0 ? spec->ahead : 1,
                                       spec->ahead_threads, &f->made);

  if (st == PN_OK) f->ahead = pn_image_queue_ring(f->made);
  return st;
}

static pn_status make_ahead(pn_feed *f, const pn_feed_spec *spec, int64_t capacity) {
  pn_prefetch_spec ahead = {.reader = &f->reader,
                            .capacity = capacity,
                            .depth = spec->ahead,
                            .threads = spec->ahead_threads};

  if (capacity == 0) return PN_OK;
  if (pn_image_store_can(spec->device) && spec->where != PN_IMAGES_HOST)
    return make_queue(f, spec, capacity);
  return spec->ahead > 0 ? pn_prefetch_create(&ahead, &f->ahead) : PN_OK;
}

pn_status pn_feed_create(const pn_feed_spec *spec, pn_feed **out) {
  pn_feed *f = calloc(1, sizeof *f);
  int64_t largest = pn_batches_largest(spec->batches);
  pn_status st = PN_OK;

  *out = NULL;
  if (!f) return PN_FAIL(PN_ERR_NOMEM, "training batches: out of memory");
  f->batches = spec->batches;
  f->weight = spec->weight;
  f->class_weight = spec->class_weight;
  f->reader = pn_reader_make(spec->data, PN_TRAIN, spec->model->input_mean, spec->model->input_sd);
  f->reader.groups = spec->groups;
  PN_TRY(make_augment(f, spec));
  PN_TRY(pn_batch_create(&f->reader, largest, spec->threads, &f->batch));
  PN_TRY(pn_image_store_check(spec->device, spec->where));
  PN_TRY(make_ahead(f, spec, largest));
  *out = f;
  f = NULL;
done:
  pn_feed_destroy(f);
  return st;
}

const pn_image_decision *pn_feed_decision(const pn_feed *f) {
  return f->made ? pn_image_queue_decision(f->made) : NULL;
}

void pn_feed_destroy(pn_feed *f) {
  if (!f) return;
  if (!f->made) pn_prefetch_destroy(f->ahead);
  pn_image_queue_destroy(f->made);
  pn_batch_free(&f->batch);
  pn_augment_destroy(f->augment);
  free(f);
}

/* Fill the ring. */
static void queue(pn_feed *f) {
  while (f->next < f->last && !pn_prefetch_full(f->ahead)) {
    if (f->part == pn_batches_parts(f->batches, f->next)) {
      f->next++;
      f->part = 0;
    } else {
      pn_share s = pn_batches_part(f->batches, f->next, f->part++);
      pn_prefetch_submit(f->ahead, f->epoch, f->order + s.first, s.count);
    }
  }
}

void pn_feed_start(pn_feed *f, uint32_t epoch, const int64_t *order, int64_t first, int64_t last) {
  f->epoch = epoch;
  f->order = order;
  f->next = first;
  f->last = last;
  f->part = 0;
  if (!f->ahead) return;
  if (f->made) /* of an epoch that was left in the middle */
    pn_image_queue_drop(f->made);
  else
    pn_prefetch_drop(f->ahead);
  queue(f);
}

static pn_status load_queued(pn_feed *f, int64_t n, pn_plan *plan) {
  pn_rows rows;
  pn_status st = pn_prefetch_take(f->ahead, &rows);

  if (st == PN_OK) st = pn_fault_at(PN_FAULT_READ, rows.input);
  if (st == PN_OK) pn_batch_copy(&f->batch, &f->reader, &rows, n, plan);
  pn_prefetch_release(f->ahead);
  queue(f);
  return st;
}

static pn_status load_made(pn_feed *f, int64_t n, pn_plan *plan) {
  int32_t *label;
  float *input = pn_plan_far_input(plan, &label);
  pn_rows rows;
  pn_status st = pn_image_queue_make(f->made, n, input, label, &rows);

  if (st == PN_OK) pn_batch_note(&f->batch, &rows, n);
  queue(f);
  return st;
}

/* Over all ranks. */
static float sum_of_weights(const pn_feed *f, int64_t step) {
  int64_t first = pn_batches_start(f->batches, step), n = pn_batches_images(f->batches, step);
  double sum = 0;

  if (!f->weight) return (float)n;
  for (int64_t i = 0; i < n; i++) sum += (double)f->weight[f->order[first + i]];
  return (float)sum;
}

/* Weights of a mixed image: a share of its loss counts as much as its label says. */
static void weigh_mixed(pn_feed *f, int64_t n, float sum) {
  for (int64_t i = 0; i < n && f->weight && pn_reader_mixes(&f->reader); i++) {
    float own = f->batch.scale[i], mix = f->batch.mix[i];
    float other = f->class_weight[f->batch.label2[i]] / sum;
    if (mix >= 1.0f) continue;
    f->batch.scale[i] = mix * own + (1 - mix) * other;
    f->batch.mix[i] = mix * own / f->batch.scale[i];
  }
}

pn_status pn_feed_load(pn_feed *f, int64_t step, int64_t part, pn_plan *plan) {
  pn_share share = pn_batches_part(f->batches, step, part);
  pn_batch_source src = {.reader = &f->reader,
                         .epoch = f->epoch,
                         .index = f->order + share.first,
                         .n = share.count,
                         .plan_batch = share.count};
  float sum = sum_of_weights(f, step);
  pn_status st;

  for (int64_t i = 0; i < share.count; i++)
    f->batch.scale[i] = (f->weight ? f->weight[src.index[i]] : 1.0f) / sum;
  if (f->made)
    st = load_made(f, share.count, plan);
  else
    st = f->ahead ? load_queued(f, share.count, plan) : pn_batch_load(&f->batch, &src, plan);
  if (st == PN_OK) weigh_mixed(f, share.count, sum);
  return st;
}

pn_step_ctx pn_feed_context(const pn_feed *f) {
  bool mixes = pn_reader_mixes(&f->reader);

  return (pn_step_ctx){.epoch = f->epoch,
                       .sample_id = f->batch.id,
                       .sample_scale = f->batch.scale,
                       .label2 = mixes ? f->batch.label2 : NULL,
                       .mix = mixes ? f->batch.mix : NULL};
}
