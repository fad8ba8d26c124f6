/* dataset.c -- published shards, opened when they are needed, and the images in them. */
#include "data/dataset_internal.h"

#include "base/digest.h"
#include "base/fault.h"
#include "base/file.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { OPEN_AT_ONCE = 256 }; /* so few shards are opened, and their damage found, at the start */

const char *pn_split_name(pn_split s) {
  static const char *const names[PN_SPLIT_COUNT] = {"train", "val", "test"};
  return (unsigned)s < PN_SPLIT_COUNT ? names[s] : "?";
}

static pn_status check_shard(const pn_dataset *d, int k, const char *path) {
  const pn_shard_map *m = &d->shard[k];
  int64_t images = d->first[k + 1] - d->first[k], bytes = d->bytes[k];

  if (m->images != images || (int64_t)m->map_bytes != bytes)
    return PN_FAIL(PN_ERR_FORMAT,
                   "%s: %lld images in %zu bytes, the index says %lld in %lld: not the file that "
                   "was ingested; ingest again",
                   path, (long long)m->images, m->map_bytes, (long long)images, (long long)bytes);
  if (m->channels != d->channels || m->height != d->height || m->width != d->width ||
      m->bits != d->bits)
    return PN_FAIL(PN_ERR_FORMAT,
                   "%s: images of %lld x %lld x %lld, %d bits; the index says %lld x %lld x %lld, "
                   "%lld bits",
                   path, (long long)m->channels, (long long)m->height, (long long)m->width, m->bits,
                   (long long)d->channels, (long long)d->height, (long long)d->width,
                   (long long)d->bits);
  for (int64_t i = 0; i < images; i++)
    if (m->label[i] >= d->n_classes)
      return PN_FAIL(PN_ERR_FORMAT, "%s: image %lld has label %d of %d classes", path, (long long)i,
                     m->label[i], d->n_classes);
  return PN_OK;
}

/* Not for two threads at a time: HDF5 is not either. */
static pn_status open_shard(pn_dataset *d, int k) {
  pn_shard_map *m = &d->shard[k];
  char path[PATH_MAX];
  pn_status st;

  if (m->map) return PN_OK;
  PN_TRY(pn_path_join(path, sizeof path, d->path, d->file[k]));
  PN_TRY(pn_fault_at(PN_FAULT_OPEN, NULL));
  PN_TRY(pn_shard_open_map(path, m));
  if ((st = check_shard(d, k, path)) != PN_OK) pn_shard_unmap(m);
  /* Advice only: images come in random order, and pn_dataset_reach asks for whole ones. */
  if (st == PN_OK) (void)madvise(m->map, m->map_bytes, MADV_RANDOM);
done:
  return st;
}

pn_status pn_dataset_open(const char *path, pn_dataset **out) {
  pn_dataset *d = calloc(1, sizeof *d);
  pn_status st = PN_OK;

  *out = NULL;
  if (!d || !(d->path = strdup(path)))
    PN_TRY(PN_FAIL(PN_ERR_NOMEM, "data set %s: out of memory", path));
  PN_TRY(pn_fault_at(PN_FAULT_OPEN, NULL));
  PN_TRY(pn_dataset_read_index(d));
  for (int k = 0; d->n_shards <= OPEN_AT_ONCE && k < d->n_shards; k++) PN_TRY(open_shard(d, k));
  *out = d;
  d = NULL;
done:
  pn_dataset_close(d);
  return st;
}

void pn_dataset_close(pn_dataset *d) {
  if (!d) return;
  for (int k = 0; k < d->n_shards; k++) {
    pn_shard_unmap(&d->shard[k]);
    free(d->file[k]);
  }
  for (int i = 0; i < d->n_classes; i++) free(d->class_name[i]);
  for (int s = 0; s < PN_SPLIT_COUNT; s++) free(d->number[s]);
  for (int i = 0; i < d->n_warnings; i++) free(d->warning[i]);
  free(d->class_name);
  free(d->warning);
  free(d->shard);
  free(d->file);
  free(d->bytes);
  free(d->first);
  free((void *)d->checked);
  free(d->path);
  free(d);
}

int64_t pn_dataset_count(const pn_dataset *d, pn_split s) {
  return (unsigned)s < PN_SPLIT_COUNT ? d->count[s] : 0;
}

void pn_dataset_shape(const pn_dataset *d, int64_t *channels, int64_t *height, int64_t *width) {
  *channels = d->channels;
  *height = d->height;
  *width = d->width;
}

const char *pn_dataset_fit(const pn_dataset *d) {
  return d->fit;
}

int pn_dataset_bits(const pn_dataset *d) {
  return (int)d->bits;
}

int pn_dataset_n_classes(const pn_dataset *d) {
  return d->n_classes;
}

const char *pn_dataset_class_name(const pn_dataset *d, int i) {
  return i >= 0 && i < d->n_classes ? d->class_name[i] : "?";
}

int pn_dataset_n_warnings(const pn_dataset *d) {
  return d->n_warnings;
}

const char *pn_dataset_warning(const pn_dataset *d, int i) {
  return i >= 0 && i < d->n_warnings ? d->warning[i] : "";
}

const char *pn_dataset_digest(const pn_dataset *d) {
  return d->digest;
}

void pn_dataset_set_check(pn_dataset *d, pn_check check) {
  d->check = check;
}

/* The last shard that starts at or before `number`. */
static int shard_of(const pn_dataset *d, int64_t number) {
  int lo = 0, hi = d->n_shards;

  while (hi - lo > 1) {
    int mid = lo + (hi - lo) / 2;
    if (d->first[mid] <= number)
      lo = mid;
    else
      hi = mid;
  }
  return lo;
}

/* Where an image is. */
typedef struct {
  int shard;
  int64_t row, number;
} place;

static pn_status find(const pn_dataset *d, pn_split s, int64_t i, place *out) {
  if (i < 0 || i >= pn_dataset_count(d, s))
    return PN_FAIL(PN_ERR_ARG, "image %lld of split %s, which has %lld", (long long)i,
                   pn_split_name(s), (long long)pn_dataset_count(d, s));
  out->number = d->number[s][i];
  out->shard = shard_of(d, out->number);
  out->row = out->number - d->first[out->shard];
  return PN_OK;
}

uint64_t pn_dataset_id(const pn_dataset *d, pn_split s, int64_t i) {
  return d->number[s][i];
}

static const uint8_t *pixels_at(const pn_dataset *d, const place *p) {
  const pn_shard_map *m = &d->shard[p->shard];
  return m->pixels + (size_t)p->row * m->image_bytes;
}

static pn_status check_pixels(pn_dataset *d, const place *p) {
  const pn_shard_map *m = &d->shard[p->shard];
  uint8_t bit = (uint8_t)(1u << (p->number % 8));
  uint32_t is;

  if (d->check == PN_CHECK_NEVER) return PN_OK;
  if (d->check == PN_CHECK_FIRST &&
      atomic_load_explicit(&d->checked[p->number / 8], memory_order_relaxed) & bit)
    return PN_OK;
  is = pn_crc32c(0, pixels_at(d, p), m->image_bytes);
  if (is != m->crc[p->row])
    return PN_FAIL(PN_ERR_FORMAT,
                   "%s/%s: image %lld (number %lld of the set): CRC-32C is %08x, stored %08x: the "
                   "file is damaged; restore it or ingest again",
                   d->path, d->file[p->shard], (long long)p->row, (long long)p->number, is,
                   m->crc[p->row]);
  atomic_fetch_or_explicit(&d->checked[p->number / 8], bit, memory_order_relaxed);
  return PN_OK;
}

/* Ask the kernel to bring an image in, as one read and without waiting for it. */
static void advise(const pn_dataset *d, const place *p) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
  uintptr_t from = (uintptr_t)pixels_at(d, p), to = from + d->shard[p->shard].image_bytes;

  from &= ~page;
  (void)madvise((void *)from, to - from, MADV_WILLNEED); /* advice only */
}

pn_status pn_dataset_reach(pn_dataset *d, pn_split s, const int64_t *index, int64_t n) {
  place p;
  pn_status st = PN_OK;

  for (int64_t i = 0; i < n; i++) {
    PN_TRY(find(d, s, index[i], &p));
    PN_TRY(open_shard(d, p.shard));
    advise(d, &p);
  }
done:
  return st;
}

pn_status pn_dataset_label(pn_dataset *d, pn_split s, int64_t i, int *label) {
  place p;
  pn_status st = PN_OK;

  PN_TRY(find(d, s, i, &p));
  if (!d->shard[p.shard].map) PN_TRY(open_shard(d, p.shard));
  *label = d->shard[p.shard].label[p.row];
done:
  return st;
}

pn_status pn_dataset_get(pn_dataset *d, pn_split s, int64_t i, pn_sample *out) {
  place p;
  pn_status st = PN_OK;

  PN_TRY(find(d, s, i, &p));
  if (!d->shard[p.shard].map) PN_TRY(open_shard(d, p.shard));
  PN_TRY(check_pixels(d, &p));
  *out = (pn_sample){.pixels = pixels_at(d, &p),
                     .label = d->shard[p.shard].label[p.row],
                     .id = (uint64_t)p.number};
done:
  return st;
}
