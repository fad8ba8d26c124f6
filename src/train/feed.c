/* feed.c -- the training batches of one rank, step by step. */
#include "train/feed.h"

#include "base/fault.h"
#include "data/prefetch.h"

#include <math.h>
#include <stdlib.h>

struct pn_feed {
  pn_reader reader;
  pn_augment *augment; /* NULL: none */
  const pn_batches *batches;
  const float *weight; /* NULL: all 1 */
  pn_batch batch;
  pn_prefetch *ahead;    /* NULL: read in the step */
  pn_image_store *store; /* the device makes the batches; NULL: the host does */
  bool held, sent;       /* the ring's oldest batch was used; the next one is on its way */
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

/* The device makes the batches: two of them leave the ring late, the one in use and the next. */
static pn_status make_store(pn_feed *f, const pn_feed_spec *spec, pn_prefetch_spec *ahead) {
  pn_image_store_spec store = {.device = spec->device,
                               .reader = &f->reader,
                               .capacity = ahead->capacity,
                               .where = spec->where,
                               .reserve = spec->reserve,
                               .sharing = spec->sharing > 1 ? spec->sharing : 1};
  pn_status st = pn_image_store_create(&store, &f->store);

  if (st != PN_OK) return st;
  ahead->depth = (spec->ahead > 0 ? spec->ahead : 1) + 2;
  ahead->device = spec->device;
  ahead->pixels = pn_image_store_decision(f->store)->where == PN_IMAGES_STREAM;
  return PN_OK;
}

static bool has_store(const pn_device *d) {
  return d && d->ops->far && d->ops->far->images;
}

static pn_status check_where(const pn_feed_spec *spec) {
  if (has_store(spec->device) || spec->where == PN_IMAGES_AUTO || spec->where == PN_IMAGES_HOST)
    return PN_OK;
  return PN_FAIL(
      PN_ERR_ARG,
      "device.images=%s: the device %s works in host memory; leave it out, or train on a "
      "GPU with train.device=cuda",
      pn_images_where_name(spec->where), spec->device ? spec->device->ops->name : "cpu");
}

pn_status pn_feed_create(const pn_feed_spec *spec, pn_feed **out) {
  pn_feed *f = calloc(1, sizeof *f);
  int64_t largest = pn_batches_largest(spec->batches);
  pn_prefetch_spec ahead = {
      .capacity = largest, .depth = spec->ahead, .threads = spec->ahead_threads};
  pn_status st = PN_OK;

  *out = NULL;
  if (!f) return PN_FAIL(PN_ERR_NOMEM, "training batches: out of memory");
  f->batches = spec->batches;
  f->weight = spec->weight;
  f->reader = pn_reader_make(spec->data, PN_TRAIN, spec->model->input_mean, spec->model->input_sd);
  PN_TRY(make_augment(f, spec));
  PN_TRY(pn_batch_create(&f->reader, largest, spec->threads, &f->batch));
  ahead.reader = &f->reader;
  PN_TRY(check_where(spec));
  if (has_store(spec->device) && spec->where != PN_IMAGES_HOST && largest > 0)
    PN_TRY(make_store(f, spec, &ahead));
  if (ahead.depth > 0 && largest > 0) PN_TRY(pn_prefetch_create(&ahead, &f->ahead));
  *out = f;
  f = NULL;
done:
  pn_feed_destroy(f);
  return st;
}

const pn_image_decision *pn_feed_decision(const pn_feed *f) {
  return f->store ? pn_image_store_decision(f->store) : NULL;
}

void pn_feed_destroy(pn_feed *f) {
  if (!f) return;
  pn_image_store_destroy(f->store); /* first: it copies from the ring */
  pn_prefetch_destroy(f->ahead);
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
  if (f->store) (void)pn_image_store_forget(f->store); /* a copy's error shows again in the next */
  f->held = f->sent = false;
  pn_prefetch_drop(f->ahead); /* of an epoch that was left in the middle */
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

/* The batch that was used last goes back to the ring; its copy is over long ago. */
static pn_status release_held(pn_feed *f) {
  pn_status st;

  if (!f->held) return PN_OK;
  f->held = false;
  st = pn_image_store_settle(f->store);
  pn_prefetch_release(f->ahead);
  queue(f);
  return st;
}

static pn_status send(pn_feed *f, const pn_rows *rows) {
  return pn_image_store_send(f->store, rows, pn_prefetch_block_bytes(f->ahead));
}

/* Made on the device from the oldest block of the ring, while the next one travels. */
static pn_status load_stored(pn_feed *f, int64_t n, pn_plan *plan) {
  int32_t *label;
  float *input = pn_plan_far_input(plan, &label);
  pn_rows rows;
  pn_status st = PN_OK;

  PN_TRY(release_held(f));
  f->held = true;
  PN_TRY(pn_prefetch_take(f->ahead, &rows));
  PN_TRY(pn_fault_at(PN_FAULT_READ, &rows.row[0].brightness));
  if (isnan(rows.row[0].brightness)) rows.row[0].grey = 1;
  if (!f->sent) PN_TRY(send(f, &rows));
  f->sent = false;
  PN_TRY(pn_image_store_make(f->store, n, input, label));
  pn_batch_note(&f->batch, &rows, n);
  if (pn_fault_armed == PN_FAULT_READ || !pn_prefetch_peek(f->ahead, &rows)) return PN_OK;
  PN_TRY(send(f, &rows));
  f->sent = true;
done:
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

pn_status pn_feed_load(pn_feed *f, int64_t step, int64_t part, pn_plan *plan) {
  pn_share share = pn_batches_part(f->batches, step, part);
  pn_batch_source src = {.reader = &f->reader,
                         .epoch = f->epoch,
                         .index = f->order + share.first,
                         .n = share.count,
                         .plan_batch = share.count};
  float sum = sum_of_weights(f, step);

  for (int64_t i = 0; i < share.count; i++)
    f->batch.scale[i] = (f->weight ? f->weight[src.index[i]] : 1.0f) / sum;
  if (f->store) return load_stored(f, share.count, plan);
  return f->ahead ? load_queued(f, share.count, plan) : pn_batch_load(&f->batch, &src, plan);
}

pn_step_ctx pn_feed_context(const pn_feed *f) {
  bool mixes = pn_reader_mixes(&f->reader);

  return (pn_step_ctx){.epoch = f->epoch,
                       .sample_id = f->batch.id,
                       .sample_scale = f->batch.scale,
                       .label2 = mixes ? f->batch.label2 : NULL,
                       .mix = mixes ? f->batch.mix : NULL};
}
