/* prefetch.c -- a ring of batches under one lock.  Threads claim one image at a time from the
 * oldest batch that has some left, so that the batch that is needed first is ready first. */
#include "data/prefetch.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  pn_rows rows; /* owned buffers of `capacity` rows */
  uint32_t epoch;
  bool mirror;
  const int64_t *index; /* borrowed */
  int64_t n, claimed, done;
  pn_failure failure;
} slot;

struct pn_prefetch {
  pn_reader reader;
  pn_device *device;
  bool pixels, mirror; /* mirror: of the next batch that is queued */
  int64_t capacity;
  int depth, n_threads;
  int n_running;     /* threads that were started */
  slot *slot;        /* [depth] */
  int oldest, count; /* of the batches in the ring */
  bool stop;
  pthread_mutex_t lock;
  pthread_cond_t work, ready;
  pthread_t *thread; /* [n_threads] */
  float **scratch;   /* [n_threads] */
  int started;       /* takes its number from here */
};

static slot *slot_at(pn_prefetch *p, int k) {
  return &p->slot[(p->oldest + k) % p->depth];
}

/* The first image nobody has begun; NULL: none.  Under the lock. */
static slot *claim(pn_prefetch *p, int64_t *row) {
  for (int k = 0; k < p->count; k++) {
    slot *s = slot_at(p, k);
    if (s->claimed == s->n) continue;
    *row = s->claimed++;
    return s;
  }
  return NULL;
}

static void finish(pn_prefetch *p, slot *s, int64_t row, pn_status st) {
  if (st != PN_OK) pn_failure_note(&s->failure, st, row);
  if (++s->done == s->n) pthread_cond_signal(&p->ready);
}

static void *run(void *arg) {
  pn_prefetch *p = arg;
  int64_t row;
  float *scratch;

  pthread_mutex_lock(&p->lock);
  scratch = p->scratch[p->started++];
  while (!p->stop) {
    slot *s = claim(p, &row);
    pn_reader reader = p->reader;
    pn_status st;
    if (!s) {
      pthread_cond_wait(&p->work, &p->lock);
      continue;
    }
    reader.mirror = s->mirror;
    pthread_mutex_unlock(&p->lock);
    st = pn_reader_read(&reader, s->epoch, s->index[row], scratch, &s->rows, row);
    pthread_mutex_lock(&p->lock);
    finish(p, s, row, st);
  }
  pthread_mutex_unlock(&p->lock);
  return NULL;
}

/* Rows of descriptions. */
static int64_t described_rows(const pn_prefetch *p) {
  return pn_reader_mixes(&p->reader) ? 2 * p->capacity : p->capacity;
}

static size_t pixels_offset(const pn_prefetch *p) {
  return ((size_t)described_rows(p) * sizeof(pn_image_row) + 63) / 64 * 64;
}

size_t pn_prefetch_block_bytes(const pn_prefetch *p) {
  size_t images = (size_t)described_rows(p) * pn_reader_image_bytes(&p->reader);
  return pixels_offset(p) + (p->pixels ? images : 0);
}

static pn_status block_alloc(const pn_prefetch *p, pn_rows *out) {
  void *block = NULL;
  pn_status st = pn_device_alloc(p->device, pn_prefetch_block_bytes(p), &block);

  out->row = block;
  out->partners = p->capacity;
  out->pixels = block && p->pixels ? (uint8_t *)block + pixels_offset(p) : NULL;
  return st;
}

static pn_status rows_alloc(const pn_prefetch *p, pn_rows *out) {
  size_t rows = (size_t)(p->capacity > 0 ? p->capacity : 1);
  size_t bytes = rows * (size_t)pn_reader_pixels(&p->reader) * sizeof(float);

  out->label = malloc(rows * sizeof *out->label);
  out->label2 = malloc(rows * sizeof *out->label2);
  out->mix = malloc(rows * sizeof *out->mix);
  out->id = malloc(rows * sizeof *out->id);
  if (!p->device) out->input = aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (out->label && out->label2 && out->mix && out->id && (out->input || p->device))
    return p->device ? block_alloc(p, out) : PN_OK;
  return PN_FAIL(PN_ERR_NOMEM, "data.prefetch: no memory for a batch of %lld images",
                 (long long)p->capacity);
}

static void rows_free(const pn_prefetch *p, pn_rows *r) {
  if (r->row) p->device->ops->free(p->device, r->row);
  free(r->input);
  free(r->label);
  free(r->label2);
  free(r->mix);
  free(r->id);
}

static pn_status allocate(pn_prefetch *p) {
  size_t scratch = (size_t)pn_reader_scratch(&p->reader) * sizeof(float);
  pn_status st = PN_OK;

  p->slot = calloc((size_t)p->depth, sizeof *p->slot);
  p->thread = calloc((size_t)p->n_threads, sizeof *p->thread);
  p->scratch = calloc((size_t)p->n_threads, sizeof *p->scratch);
  if (!p->slot || !p->thread || !p->scratch)
    return PN_FAIL(PN_ERR_NOMEM, "data.prefetch: out of memory");
  for (int k = 0; st == PN_OK && k < p->depth; k++) st = rows_alloc(p, &p->slot[k].rows);
  for (int t = 0; st == PN_OK && t < p->n_threads; t++)
    if (!(p->scratch[t] = malloc(scratch)))
      st = PN_FAIL(PN_ERR_NOMEM, "data.prefetch: out of memory");
  return st;
}

static pn_status start(pn_prefetch *p) {
  for (; p->n_running < p->n_threads; p->n_running++) {
    int rc = pthread_create(&p->thread[p->n_running], NULL, run, p);
    if (rc != 0)
      return PN_FAIL(PN_ERR_NOMEM, "data.threads=%d: cannot start thread %d: %s", p->n_threads,
                     p->n_running + 1, strerror(rc));
  }
  return PN_OK;
}

pn_status pn_prefetch_create(const pn_prefetch_spec *spec, pn_prefetch **out) {
  pn_prefetch *p = NULL;
  pn_status st = PN_OK;

  *out = NULL;
  if (spec->depth < 1 || spec->threads < 1)
    return PN_FAIL(PN_ERR_ARG, "prefetch of %d batches by %d threads: expected at least 1",
                   spec->depth, spec->threads);
  if (!(p = calloc(1, sizeof *p))) return PN_FAIL(PN_ERR_NOMEM, "data.prefetch: out of memory");
  p->reader = *spec->reader;
  p->device = spec->device;
  p->pixels = spec->pixels;
  p->mirror = spec->reader->mirror;
  p->capacity = spec->capacity;
  p->depth = spec->depth;
  p->n_threads = spec->threads;
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->work, NULL);
  pthread_cond_init(&p->ready, NULL);
  PN_TRY(allocate(p));
  PN_TRY(start(p));
  *out = p;
  p = NULL;
done:
  pn_prefetch_destroy(p);
  return st;
}

static void stop(pn_prefetch *p) {
  pthread_mutex_lock(&p->lock);
  p->stop = true;
  pthread_cond_broadcast(&p->work);
  pthread_mutex_unlock(&p->lock);
  for (int t = 0; t < p->n_running; t++) pthread_join(p->thread[t], NULL);
}

void pn_prefetch_destroy(pn_prefetch *p) {
  if (!p) return;
  stop(p);
  for (int k = 0; p->slot && k < p->depth; k++) rows_free(p, &p->slot[k].rows);
  for (int t = 0; p->scratch && t < p->n_threads; t++) free(p->scratch[t]);
  pthread_cond_destroy(&p->ready);
  pthread_cond_destroy(&p->work);
  pthread_mutex_destroy(&p->lock);
  free(p->slot);
  free(p->thread);
  free(p->scratch);
  free(p);
}

bool pn_prefetch_full(const pn_prefetch *p) {
  return p->count == p->depth; /* only the caller's thread changes count */
}

void pn_prefetch_mirror(pn_prefetch *p, bool mirror) {
  p->mirror = mirror;
}

void pn_prefetch_submit(pn_prefetch *p, uint32_t epoch, const int64_t *index, int64_t n) {
  slot *s = slot_at(p, p->count);
  bool resident = p->device && !p->pixels; /* nothing of the shards is read */
  pn_status st = resident ? PN_OK : pn_reader_reach(&p->reader, epoch, index, n);

  assert(p->count < p->depth && n <= p->capacity);
  s->epoch = epoch;
  s->mirror = p->mirror;
  s->index = index;
  s->n = st == PN_OK ? n : 0;
  s->claimed = s->done = 0;
  s->failure = (pn_failure){.status = PN_OK};
  if (st != PN_OK) pn_failure_note(&s->failure, st, 0);
  pthread_mutex_lock(&p->lock);
  p->count++;
  pthread_cond_broadcast(&p->work);
  pthread_mutex_unlock(&p->lock);
}

pn_status pn_prefetch_take(pn_prefetch *p, pn_rows *rows) {
  slot *s = slot_at(p, 0);

  assert(p->count > 0);
  pthread_mutex_lock(&p->lock);
  while (s->done < s->n) pthread_cond_wait(&p->ready, &p->lock);
  pthread_mutex_unlock(&p->lock);
  *rows = s->rows;
  return pn_failure_raise(&s->failure);
}

bool pn_prefetch_peek(pn_prefetch *p, pn_rows *rows) {
  slot *s = slot_at(p, 1);
  bool ready;

  if (p->count < 2) return false;
  pthread_mutex_lock(&p->lock);
  ready = s->done == s->n && s->failure.status == PN_OK;
  pthread_mutex_unlock(&p->lock);
  *rows = s->rows;
  return ready;
}

void pn_prefetch_release(pn_prefetch *p) {
  pthread_mutex_lock(&p->lock);
  p->oldest = (p->oldest + 1) % p->depth;
  p->count--;
  pthread_mutex_unlock(&p->lock);
}

void pn_prefetch_drop(pn_prefetch *p) {
  pn_rows rows;

  while (p->count > 0) {
    (void)pn_prefetch_take(p, &rows); /* nobody asked for its images */
    pn_prefetch_release(p);
  }
}
