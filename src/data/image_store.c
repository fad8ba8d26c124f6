/* image_store.c -- see image_store.h. */
#include "data/image_store.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = PN_COPY_LANES, CHUNK_BYTES = 16 << 20 };
/* For what libraries ask later: an eighth of the rest, or this. */
static const int64_t SLACK_MOST = (int64_t)512 << 20;

struct pn_image_store {
  pn_image_store_spec spec;
  pn_image_decision decided;
  size_t row_bytes, block_bytes; /* descriptions of a batch; with its pixels where they travel */
  int64_t rows;                  /* of a block */
  void *pixels;                  /* far, all images; NULL: in the blocks; owned, like the rest */
  void *block[LANES], *table, *quantile;
  int64_t sent, made; /* blocks so far: that of number k is in lane k % LANES */
};

const char *pn_images_where_name(pn_images_where w) {
  static const char *const names[] = {"auto", "resident", "stream", "host"};
  return (unsigned)w < sizeof names / sizeof *names ? names[w] : "?";
}

const pn_image_decision *pn_image_store_decision(const pn_image_store *s) {
  return &s->decided;
}

static const pn_image_ops *ops_of(const pn_image_store *s) {
  return s->spec.device->ops->far->images;
}

static size_t image_bytes(const pn_image_store *s) {
  return pn_reader_image_bytes(s->spec.reader);
}

bool pn_image_store_can(const pn_device *d) {
  return d && d->ops->far && d->ops->far->images;
}

pn_status pn_image_store_check(const pn_device *d, pn_images_where where) {
  if (pn_image_store_can(d) || where == PN_IMAGES_AUTO || where == PN_IMAGES_HOST) return PN_OK;
  return PN_FAIL(
      PN_ERR_ARG,
      "device.images=%s: the device %s works in host memory; leave it out, or train on a "
      "GPU with train.device=cuda",
      pn_images_where_name(where), d ? d->ops->name : "cpu");
}

static int64_t free_room(const pn_image_store *s, int64_t available) {
  int64_t left = available / s->spec.sharing - s->spec.reserve, slack;

  if (available < 0) return -1;
  if (left <= 0) return 0;
  slack = left / 8 < SLACK_MOST ? left / 8 : SLACK_MOST;
  return left - slack;
}

/* Of a batch with what is mixed in. */
static int64_t rows_of(const pn_reader *r, int64_t capacity) {
  return pn_reader_mixes(r) ? 2 * capacity : capacity;
}

static size_t row_bytes(int64_t rows) {
  return ((size_t)rows * sizeof(pn_image_row) + 63) / 64 * 64;
}

/* Levels and numbers that both ways need, and the blocks of descriptions. */
static int64_t fixed_bytes(const pn_reader *r, int64_t rows) {
  int64_t levels = rows * r->format.channels * PN_GREY_LEVELS;
  return LANES * (int64_t)row_bytes(rows) + (levels + PN_NOISE_QUANTILES) * (int64_t)sizeof(float);
}

int64_t pn_image_store_least(const pn_reader *r, int64_t capacity) {
  int64_t rows = rows_of(r, capacity);
  return fixed_bytes(r, rows) + LANES * rows * (int64_t)pn_reader_image_bytes(r);
}

static pn_status decide(pn_image_store *s) {
  pn_image_decision *d = &s->decided;
  const pn_reader *r = s->spec.reader;
  int64_t resident;

  d->images = pn_dataset_count(r->data, r->split);
  d->bytes = d->images * (int64_t)image_bytes(s);
  d->available = ops_of(s)->available(s->spec.device);
  d->room = free_room(s, d->available);
  d->where = s->spec.where;
  resident = d->bytes + fixed_bytes(r, s->rows);
  if (d->where == PN_IMAGES_AUTO)
    d->where = d->room < 0 || resident <= d->room ? PN_IMAGES_RESIDENT : PN_IMAGES_STREAM;
  if (d->where == PN_IMAGES_RESIDENT && d->room >= 0 && resident > d->room)
    return PN_FAIL(PN_ERR_NOMEM,
                   "device.images=resident: %lld images take %.1f MiB of the device, %.1f MiB are "
                   "free for them; use device.images=stream or auto",
                   (long long)d->images, (double)resident / (1 << 20), (double)d->room / (1 << 20));
  if (d->where == PN_IMAGES_STREAM) s->block_bytes += (size_t)s->rows * image_bytes(s);
  d->taken = d->where == PN_IMAGES_RESIDENT ? resident : pn_image_store_least(r, s->spec.capacity);
  return PN_OK;
}

void pn_image_decision_tell(const char *what, const pn_image_decision *d) {
  char room[64] = "free memory not known";

  if (!d) return;
  if (d->room >= 0)
    snprintf(room, sizeof room, "%.1f MiB free for images", (double)d->room / (1 << 20));
  pn_info("%-12s %s: %lld images of %.1f MiB, %.1f MiB of the device; %s", what,
          pn_images_where_name(d->where), (long long)d->images, (double)d->bytes / (1 << 20),
          (double)d->taken / (1 << 20), room);
}

static pn_status far_alloc(const pn_image_store *s, size_t bytes, void **out) {
  return s->spec.device->ops->far->alloc(s->spec.device, "batches under way", bytes, out);
}

static pn_status allocate(pn_image_store *s) {
  const pn_reader *r = s->spec.reader;
  size_t levels = (size_t)(s->rows * r->format.channels) * PN_GREY_LEVELS;
  pn_device *d = s->spec.device;
  pn_status st = PN_OK;

  PN_TRY(far_alloc(s, levels * sizeof(float), &s->table));
  for (int i = 0; i < LANES; i++) {
    PN_TRY(far_alloc(s, s->block_bytes, &s->block[i]));
    PN_TRY(ops_of(s)->done(d, i)); /* copies come behind the zeroing of the memory */
  }
  if (!r->augment) return PN_OK;
  PN_TRY(far_alloc(s, PN_NOISE_QUANTILES * sizeof(float), &s->quantile));
  PN_TRY(d->ops->far->upload(d, s->quantile, pn_augment_quantiles(r->augment),
                             PN_NOISE_QUANTILES * sizeof(float)));
done:
  return st;
}

/* Images [first, first + n) of the split, checked, to the end of `staging` and to the device. */
static pn_status copy_chunk(const pn_image_store *s, int64_t first, int64_t n, uint8_t *staging) {
  const pn_reader *r = s->spec.reader;
  size_t bytes = image_bytes(s);
  pn_device *d = s->spec.device;
  pn_sample sample;
  pn_status st = PN_OK;

  for (int64_t i = 0; i < n; i++) {
    int64_t index = first + i;
    PN_TRY(pn_dataset_reach(r->data, r->split, &index, 1));
    PN_TRY(pn_dataset_get(r->data, r->split, index, &sample));
    memcpy(staging + (size_t)i * bytes, sample.pixels, bytes);
  }
  PN_TRY(d->ops->far->upload(d, (char *)s->pixels + (size_t)first * bytes, staging,
                             (size_t)n * bytes));
done:
  return st;
}

static pn_status copy_all(pn_image_store *s) {
  pn_device *d = s->spec.device;
  int64_t chunk = CHUNK_BYTES / (int64_t)image_bytes(s) + 1, n = s->decided.images;
  void *staging = NULL;
  pn_status st = PN_OK;

  if (chunk > n) chunk = n;
  PN_TRY(pn_device_alloc(d, (size_t)chunk * image_bytes(s), &staging));
  PN_TRY(d->ops->far->alloc(d, "images of the data set", (size_t)s->decided.bytes, &s->pixels));
  for (int64_t at = 0; at < n; at += chunk)
    PN_TRY(copy_chunk(s, at, n - at < chunk ? n - at : chunk, staging));
done:
  if (staging) d->ops->free(d, staging);
  return st;
}

pn_status pn_image_store_create(const pn_image_store_spec *spec, pn_image_store **out) {
  pn_image_store *s = calloc(1, sizeof *s);
  pn_status st = PN_OK;

  *out = NULL;
  if (!s) return PN_FAIL(PN_ERR_NOMEM, "images on the device: out of memory");
  s->spec = *spec;
  s->rows = rows_of(spec->reader, spec->capacity);
  s->row_bytes = s->block_bytes = row_bytes(s->rows);
  PN_TRY(decide(s));
  PN_TRY(allocate(s));
  if (s->decided.where == PN_IMAGES_RESIDENT) PN_TRY(copy_all(s));
  *out = s;
  s = NULL;
done:
  pn_image_store_destroy(s);
  return st;
}

void pn_image_store_destroy(pn_image_store *s) {
  pn_device *d;

  if (!s) return;
  d = s->spec.device;
  (void)pn_image_store_forget(s);
  for (int i = 0; i < LANES; i++) d->ops->far->free(d, s->block[i]);
  d->ops->far->free(d, s->pixels);
  d->ops->far->free(d, s->table);
  d->ops->far->free(d, s->quantile);
  free(s);
}

pn_status pn_image_store_send(pn_image_store *s, const pn_rows *rows, size_t bytes) {
  int lane = (int)(s->sent % LANES);
  pn_status st;

  if (s->sent - s->made >= LANES || bytes != s->block_bytes)
    return PN_FAIL(PN_ERR_ARG, "images: a block of %zu bytes (expected %zu), %lld under way", bytes,
                   s->block_bytes, (long long)(s->sent - s->made));
  st = ops_of(s)->begin(s->spec.device, lane, s->block[lane], rows->row, bytes);
  if (st == PN_OK) s->sent++;
  return st;
}

pn_status pn_image_store_make(pn_image_store *s, int64_t n, float *input, int32_t *label) {
  const pn_reader *r = s->spec.reader;
  int lane = (int)(s->made % LANES);
  char *block = s->block[lane];
  pn_image_job job = {.channels = (int32_t)r->format.channels,
                      .height = (int32_t)r->format.height,
                      .width = (int32_t)r->format.width,
                      .bits = r->format.bits,
                      .mean = r->format.mean,
                      .sd = r->format.sd,
                      .black = r->augment && pn_augment_black(r->augment),
                      .n = (int32_t)n,
                      .all = (int32_t)(s->rows > s->spec.capacity ? s->spec.capacity + n : n),
                      .row = (const pn_image_row *)(void *)block,
                      .pixels = s->pixels ? s->pixels : block + s->row_bytes,
                      .quantile = s->quantile,
                      .table = s->table,
                      .input = input,
                      .label = label};
  pn_status st;

  PN_TRY(ops_of(s)->arrive(s->spec.device, lane));
  s->made++;
  PN_TRY(ops_of(s)->make(s->spec.device, &job));
  PN_TRY(ops_of(s)->done(s->spec.device, lane));
done:
  return st;
}

pn_status pn_image_store_settle(pn_image_store *s) {
  return s->made ? ops_of(s)->settle(s->spec.device, (int)((s->made - 1) % LANES)) : PN_OK;
}

pn_status pn_image_store_forget(pn_image_store *s) {
  pn_status st = PN_OK, one;

  for (int i = 0; i < LANES; i++) {
    if (i < s->sent && (one = ops_of(s)->settle(s->spec.device, i)) != PN_OK) st = one;
  }
  s->made = s->sent;
  return st;
}
