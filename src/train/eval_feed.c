/* eval_feed.c -- see eval_feed.h. */
#include "train/eval_feed.h"

#include "data/image_queue.h"

#include <stdlib.h>

struct split {
  pn_reader reader;      /* never augments */
  pn_image_queue *queue; /* NULL: the host makes the batches */
  int64_t *index; /* [whole chunks]: images in order, then the last one again; NULL: no queue */
};

struct pn_eval_feed {
  pn_device *device;
  struct split split[PN_SPLIT_COUNT];
  pn_batch batch;
  pn_eval_passes passes;
  int64_t queued, loaded; /* passes so far */
};

pn_status pn_eval_feed_create(pn_dataset *data, const pn_model_config *model, pn_device *device,
                              pn_eval_feed **out) {
  pn_eval_feed *f = calloc(1, sizeof *f);
  pn_status st;

  *out = NULL;
  if (!f) return PN_FAIL(PN_ERR_NOMEM, "evaluation: out of memory");
  f->device = device;
  for (int s = 0; s < PN_SPLIT_COUNT; s++)
    f->split[s].reader = pn_reader_make(data, (pn_split)s, model->input_mean, model->input_sd);
  st = pn_batch_create(&f->split[0].reader, PN_EVAL_BATCH, device->threads, &f->batch);
  if (st == PN_OK)
    *out = f;
  else
    pn_eval_feed_destroy(f);
  return st;
}

void pn_eval_feed_destroy(pn_eval_feed *f) {
  if (!f) return;
  for (int s = 0; s < PN_SPLIT_COUNT; s++) {
    pn_image_queue_destroy(f->split[s].queue);
    free(f->split[s].index);
  }
  pn_batch_free(&f->batch);
  free(f);
}

static int64_t images_of(const pn_eval_feed *f, pn_split split) {
  return pn_dataset_count(f->split[split].reader.data, split);
}

static pn_status make_index(int64_t n, int64_t **out) {
  int64_t room = (n + PN_EVAL_BATCH - 1) / PN_EVAL_BATCH * PN_EVAL_BATCH;

  if (!(*out = malloc((size_t)room * sizeof **out)))
    return PN_FAIL(PN_ERR_NOMEM, "evaluation: out of memory");
  for (int64_t i = 0; i < room; i++) (*out)[i] = i < n ? i : n - 1;
  return PN_OK;
}

pn_status pn_eval_feed_on_device(pn_eval_feed *f, pn_split split, const pn_eval_images *how) {
  struct split *s = &f->split[split];
  pn_image_store_spec store = {.device = f->device,
                               .reader = &s->reader,
                               .capacity = PN_EVAL_BATCH,
                               .where = how->where,
                               .reserve = how->reserve,
                               .sharing = how->sharing};
  int64_t n = images_of(f, split);
  pn_status st = PN_OK;

  PN_TRY(pn_image_store_check(f->device, how->where));
  if (n == 0 || how->where == PN_IMAGES_HOST || !pn_image_store_can(f->device)) return PN_OK;
  if (how->once && store.where == PN_IMAGES_AUTO) store.where = PN_IMAGES_STREAM;
  PN_TRY(make_index(n, &s->index));
  PN_TRY(pn_image_queue_create(&store, 1, how->threads, &s->queue));
done:
  return st;
}

int64_t pn_eval_feed_least(const pn_eval_feed *f, pn_split split) {
  const pn_reader *r = &f->split[split].reader;
  return images_of(f, split) > 0 ? pn_image_store_least(r, PN_EVAL_BATCH) : 0;
}

const pn_image_decision *pn_eval_feed_decision(const pn_eval_feed *f, pn_split split) {
  const pn_image_queue *queue = f->split[split].queue;
  return queue ? pn_image_queue_decision(queue) : NULL;
}

int64_t pn_eval_chunk_images(int64_t n, int64_t chunk) {
  int64_t left = n - chunk * PN_EVAL_BATCH;
  return left < PN_EVAL_BATCH ? left : PN_EVAL_BATCH;
}

static int64_t chunk_of(const pn_eval_passes *p, int64_t pass) {
  return p->first + (p->mirror ? pass / 2 : pass) * p->stride;
}

static bool is_mirrored(const pn_eval_passes *p, int64_t pass) {
  return p->mirror && pass % 2 == 1;
}

/* Fill the ring. */
static void queue(pn_eval_feed *f) {
  const struct split *s = &f->split[f->passes.split];
  pn_prefetch *ring = pn_image_queue_ring(s->queue);
  int64_t n = images_of(f, f->passes.split);

  for (; !pn_prefetch_full(ring); f->queued++) {
    int64_t first = chunk_of(&f->passes, f->queued) * PN_EVAL_BATCH;
    if (first >= n) return;
    pn_prefetch_mirror(ring, is_mirrored(&f->passes, f->queued));
    pn_prefetch_submit(ring, 0, s->index + first, PN_EVAL_BATCH);
  }
}

void pn_eval_feed_start(pn_eval_feed *f, const pn_eval_passes *passes) {
  f->passes = *passes;
  f->queued = f->loaded = 0;
  if (!f->split[passes->split].queue) return;
  pn_image_queue_drop(f->split[passes->split].queue); /* of a run that failed */
  queue(f);
}

static pn_status load_made(pn_eval_feed *f, pn_plan *plan) {
  int32_t *label;
  float *input = pn_plan_far_input(plan, &label);
  pn_rows rows;
  pn_status st =
      pn_image_queue_make(f->split[f->passes.split].queue, PN_EVAL_BATCH, input, label, &rows);

  if (st == PN_OK) pn_batch_note(&f->batch, &rows, PN_EVAL_BATCH);
  queue(f);
  return st;
}

static pn_status load_read(pn_eval_feed *f, int64_t pass, pn_plan *plan) {
  pn_reader reader = f->split[f->passes.split].reader;
  int64_t index[PN_EVAL_BATCH], chunk = chunk_of(&f->passes, pass);
  pn_batch_source src = {.reader = &reader,
                         .index = index,
                         .n = pn_eval_chunk_images(images_of(f, f->passes.split), chunk),
                         .plan_batch = PN_EVAL_BATCH};

  reader.mirror = is_mirrored(&f->passes, pass);
  for (int64_t i = 0; i < src.n; i++) index[i] = chunk * PN_EVAL_BATCH + i;
  return pn_batch_load(&f->batch, &src, plan);
}

/* An image that is not mixed has its label twice. */
pn_status pn_eval_feed_load(pn_eval_feed *f, pn_plan *plan, pn_eval_batch *out) {
  int64_t pass = f->loaded++;

  *out = (pn_eval_batch){.label = f->batch.label2, .id = f->batch.id};
  return f->split[f->passes.split].queue ? load_made(f, plan) : load_read(f, pass, plan);
}
