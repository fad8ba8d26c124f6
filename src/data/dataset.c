/* dataset.c -- index.json and its shards: which image is where, in which split. */
#include "data/dataset.h"

#include "base/digest.h"
#include "base/file.h"
#include "data/shard.h"
#include "data/shard_read.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGEST_BYTES = 65, MAX_CLASSES = 256 };

struct pn_dataset {
  char *path; /* folder */
  char digest[DIGEST_BYTES];
  int64_t channels, height, width, bits;
  int n_classes;
  char **class_name; /* [n_classes] */
  int n_shards;
  pn_shard_map *shard; /* [n_shards] */
  char **file;         /* [n_shards] */
  int64_t *first;      /* [n_shards + 1]: number of the shard's first image */
  int64_t count[PN_SPLIT_COUNT];
  uint32_t *number[PN_SPLIT_COUNT]; /* [count]: image numbers of a split, ascending */
  uint8_t *checked;                 /* bitset over all images: its CRC was right */
};

const char *pn_split_name(pn_split s) {
  static const char *const names[PN_SPLIT_COUNT] = {"train", "val", "test"};
  return (unsigned)s < PN_SPLIT_COUNT ? names[s] : "?";
}

static pn_status bad_index(const pn_dataset *d, const char *what) {
  return PN_FAIL(PN_ERR_FORMAT, "%s/%s: %s; ingest again", d->path, PN_INDEX_NAME, what);
}

static pn_status no_index(const char *path) {
  return PN_FAIL(PN_ERR_IO,
                 "no %s in %s: make it with `pneuma ingest DICOM_FOLDER %s` (phantoms to try "
                 "with: `pneuma synth FOLDER`)",
                 PN_INDEX_NAME, path, path);
}

static pn_status load_index(const pn_dataset *d, json_t **out) {
  char path[PATH_MAX], *text = NULL;
  json_error_t error;
  size_t bytes = 0;
  pn_status st = PN_OK;

  PN_TRY(pn_path_join(path, sizeof path, d->path, PN_INDEX_NAME));
  if (!pn_file_exists(path)) return no_index(d->path);
  PN_TRY(pn_file_read(path, &text, &bytes));
  if (!(*out = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error)))
    st = PN_FAIL(PN_ERR_FORMAT, "%s:%d: not JSON: %s", path, error.line, error.text);
done:
  free(text);
  return st;
}

static pn_status check_version(const pn_dataset *d, json_t *index) {
  const char *format = json_string_value(json_object_get(index, "format"));
  json_t *version = json_object_get(index, "version");

  if (!format || strcmp(format, PN_INDEX_FORMAT) != 0 || !json_is_integer(version))
    return bad_index(d, "not an index of shards");
  if (json_integer_value(version) != PN_INDEX_VERSION)
    return PN_FAIL(PN_ERR_FORMAT, "%s/%s: version %lld, this build reads %d; ingest again", d->path,
                   PN_INDEX_NAME, (long long)json_integer_value(version), PN_INDEX_VERSION);
  return PN_OK;
}

/* The digest is over the index without itself: an edited index does not pass. */
static pn_status check_digest(pn_dataset *d, json_t *index) {
  const char *said = json_string_value(json_object_get(index, "digest"));
  pn_sha256 *sha = NULL;
  char *text = NULL, is[DIGEST_BYTES];
  pn_status st = PN_OK;

  if (!said || strlen(said) != DIGEST_BYTES - 1) return bad_index(d, "no digest");
  memcpy(d->digest, said, DIGEST_BYTES);
  json_object_del(index, "digest");
  text = json_dumps(index, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(15));
  if (!text) PN_TRY(PN_FAIL(PN_ERR_NOMEM, "%s: index: out of memory", d->path));
  PN_TRY(pn_sha256_create(&sha));
  pn_sha256_update(sha, text, strlen(text));
  pn_sha256_hex(sha, is);
  if (strcmp(is, d->digest) != 0) st = bad_index(d, "its digest does not fit: changed or damaged");
done:
  pn_sha256_destroy(sha);
  free(text);
  return st;
}

static pn_status read_shape(pn_dataset *d, json_t *index) {
  int64_t *to[] = {&d->channels, &d->height, &d->width, &d->bits};
  static const char *const keys[] = {"channels", "height", "width", "bits"};

  for (int k = 0; k < 4; k++) {
    *to[k] = json_integer_value(json_object_get(index, keys[k]));
    if (*to[k] < 1 || *to[k] > INT16_MAX) return bad_index(d, "bad image shape");
  }
  return d->bits == 8 || d->bits == 16 ? PN_OK : bad_index(d, "bits is not 8 or 16");
}

static pn_status read_classes(pn_dataset *d, json_t *index) {
  json_t *names = json_object_get(index, "classes");
  size_t n = json_array_size(names);

  if (n < 1 || n > MAX_CLASSES) return bad_index(d, "bad list of classes");
  if (!(d->class_name = calloc(n, sizeof *d->class_name)))
    return PN_FAIL(PN_ERR_NOMEM, "%s: classes: out of memory", d->path);
  d->n_classes = (int)n;
  for (size_t i = 0; i < n; i++) {
    const char *name = json_string_value(json_array_get(names, i));
    if (!name) return bad_index(d, "bad list of classes");
    if (!(d->class_name[i] = strdup(name)))
      return PN_FAIL(PN_ERR_NOMEM, "%s: classes: out of memory", d->path);
  }
  return PN_OK;
}

static pn_status check_shard(const pn_dataset *d, const pn_shard_map *m, const char *path,
                             json_t *entry) {
  int64_t images = json_integer_value(json_object_get(entry, "images"));
  int64_t bytes = json_integer_value(json_object_get(entry, "bytes"));

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

static pn_status open_shard(pn_dataset *d, int k, json_t *entry) {
  const char *file = json_string_value(json_object_get(entry, "file"));
  char path[PATH_MAX];
  pn_status st;

  if (!file || !*file || strchr(file, '/')) return bad_index(d, "bad name of a shard");
  if (!(d->file[k] = strdup(file)))
    return PN_FAIL(PN_ERR_NOMEM, "%s: shards: out of memory", d->path);
  PN_TRY(pn_path_join(path, sizeof path, d->path, file));
  PN_TRY(pn_shard_open_map(path, &d->shard[k]));
  PN_TRY(check_shard(d, &d->shard[k], path, entry));
  d->first[k + 1] = d->first[k] + d->shard[k].images;
done:
  return st;
}

static pn_status open_shards(pn_dataset *d, json_t *index) {
  json_t *shards = json_object_get(index, "shards");
  size_t n = json_array_size(shards);
  pn_status st = PN_OK;

  if (n < 1 || n > INT32_MAX) return bad_index(d, "no shards");
  d->shard = calloc(n, sizeof *d->shard);
  d->file = calloc(n, sizeof *d->file);
  d->first = calloc(n + 1, sizeof *d->first);
  if (!d->shard || !d->file || !d->first)
    return PN_FAIL(PN_ERR_NOMEM, "%s: %zu shards: out of memory", d->path, n);
  d->n_shards = (int)n;
  for (size_t k = 0; k < n; k++) PN_TRY(open_shard(d, (int)k, json_array_get(shards, k)));
  if (d->first[n] > UINT32_MAX) st = bad_index(d, "more than 2^32 images");
done:
  return st;
}

static pn_status allocate_splits(pn_dataset *d, json_t *index) {
  json_t *splits = json_object_get(index, "splits");
  int64_t total = d->first[d->n_shards];

  d->checked = calloc((size_t)total / 8 + 1, 1);
  if (!d->checked) return PN_FAIL(PN_ERR_NOMEM, "%s: index: out of memory", d->path);
  for (int s = 0; s < PN_SPLIT_COUNT; s++) {
    int64_t n = json_integer_value(json_object_get(splits, pn_split_name((pn_split)s)));
    if (n < 0 || n > total) return bad_index(d, "bad counts of the splits");
    d->count[s] = n;
    d->number[s] = malloc(((size_t)n + 1) * sizeof *d->number[s]);
    if (!d->number[s]) return PN_FAIL(PN_ERR_NOMEM, "%s: index: out of memory", d->path);
  }
  return PN_OK;
}

/* Give each image of shard k to its split; at[]: images each split has so far. */
static pn_status fill_splits(pn_dataset *d, int k, const char *split, int64_t at[PN_SPLIT_COUNT]) {
  int64_t n = d->shard[k].images;

  if (!split || strlen(split) != (size_t)n) return bad_index(d, "a shard without its splits");
  for (int64_t i = 0; i < n; i++) {
    const char *found = strchr(PN_SPLIT_CHARS, split[i]);
    long s = found ? found - PN_SPLIT_CHARS : -1;
    if (split[i] == PN_SPLIT_DROPPED) continue;
    if (s < 0 || at[s] >= d->count[s]) return bad_index(d, "splits and their counts differ");
    d->number[s][at[s]++] = (uint32_t)(d->first[k] + i);
  }
  return PN_OK;
}

static pn_status read_splits(pn_dataset *d, json_t *index) {
  json_t *shards = json_object_get(index, "shards");
  int64_t at[PN_SPLIT_COUNT] = {0};
  pn_status st = allocate_splits(d, index);

  for (int k = 0; st == PN_OK && k < d->n_shards; k++) {
    json_t *split = json_object_get(json_array_get(shards, (size_t)k), "split");
    st = fill_splits(d, k, json_string_value(split), at);
  }
  if (st == PN_OK && memcmp(at, d->count, sizeof at) != 0)
    st = bad_index(d, "splits and their counts differ");
  return st;
}

pn_status pn_dataset_open(const char *path, pn_dataset **out) {
  pn_dataset *d = calloc(1, sizeof *d);
  json_t *index = NULL;
  pn_status st = PN_OK;

  *out = NULL;
  if (!d || !(d->path = strdup(path)))
    PN_TRY(PN_FAIL(PN_ERR_NOMEM, "data set %s: out of memory", path));
  PN_TRY(load_index(d, &index));
  PN_TRY(check_version(d, index));
  PN_TRY(check_digest(d, index));
  PN_TRY(read_shape(d, index));
  PN_TRY(read_classes(d, index));
  PN_TRY(open_shards(d, index));
  PN_TRY(read_splits(d, index));
  *out = d;
  d = NULL;
done:
  json_decref(index);
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
  free(d->class_name);
  free(d->shard);
  free(d->file);
  free(d->first);
  free(d->checked);
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

int pn_dataset_bits(const pn_dataset *d) {
  return (int)d->bits;
}

int pn_dataset_n_classes(const pn_dataset *d) {
  return d->n_classes;
}

const char *pn_dataset_class_name(const pn_dataset *d, int i) {
  return i >= 0 && i < d->n_classes ? d->class_name[i] : "?";
}

const char *pn_dataset_digest(const pn_dataset *d) {
  return d->digest;
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

static pn_status check_pixels(pn_dataset *d, int k, int64_t row, int64_t number) {
  size_t bytes = d->shard[k].image_bytes;
  uint32_t is = pn_crc32c(0, d->shard[k].pixels + (size_t)row * bytes, bytes);

  if (is != d->shard[k].crc[row])
    return PN_FAIL(PN_ERR_FORMAT,
                   "%s/%s: image %lld (number %lld of the set): CRC-32C is %08x, stored %08x: the "
                   "file is damaged; restore it or ingest again",
                   d->path, d->file[k], (long long)row, (long long)number, is,
                   d->shard[k].crc[row]);
  d->checked[number / 8] |= (uint8_t)(1u << (number % 8));
  return PN_OK;
}

pn_status pn_dataset_get(pn_dataset *d, pn_split s, int64_t i, pn_sample *out) {
  int64_t number, row;
  int k;

  if (i < 0 || i >= pn_dataset_count(d, s))
    return PN_FAIL(PN_ERR_ARG, "image %lld of split %s, which has %lld", (long long)i,
                   pn_split_name(s), (long long)pn_dataset_count(d, s));
  number = d->number[s][i];
  k = shard_of(d, number);
  row = number - d->first[k];
  if (!(d->checked[number / 8] >> (number % 8) & 1)) {
    pn_status st = check_pixels(d, k, row, number);
    if (st != PN_OK) return st;
  }
  *out = (pn_sample){.pixels = d->shard[k].pixels + (size_t)row * d->shard[k].image_bytes,
                     .label = d->shard[k].label[row],
                     .id = (uint64_t)number};
  return PN_OK;
}
