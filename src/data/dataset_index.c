/* dataset_index.c -- index.json to compact tables: 4 bytes and a bit per image. */
#include "data/dataset_internal.h"

#include "base/digest.h"
#include "base/file.h"
#include "data/shard.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_CLASSES = 256 };

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
    st = PN_FAIL(PN_ERR_FORMAT, "%s:%d: not JSON: %s; restore it, or ingest again", path,
                 error.line, error.text);
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
  char *text = NULL, is[PN_DIGEST_BYTES];
  pn_status st = PN_OK;

  if (!said || strlen(said) != PN_DIGEST_BYTES - 1) return bad_index(d, "no digest");
  memcpy(d->digest, said, PN_DIGEST_BYTES);
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
  const char *fit = json_string_value(json_object_get(index, "fit"));
  int64_t *to[] = {&d->channels, &d->height, &d->width, &d->bits};
  static const char *const keys[] = {"channels", "height", "width", "bits"};

  for (int k = 0; k < 4; k++) {
    *to[k] = json_integer_value(json_object_get(index, keys[k]));
    if (*to[k] < 1 || *to[k] > INT16_MAX) return bad_index(d, "bad image shape");
  }
  snprintf(d->fit, sizeof d->fit, "%s", fit ? fit : "stretch");
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

/* Indexes of earlier versions say nothing. */
static pn_status read_ties(pn_dataset *d, json_t *index) {
  json_t *ties = json_object_get(index, "ties"), *tie;
  size_t i, n = json_array_size(ties);

  if (!(d->warning = calloc(n + 1, sizeof *d->warning)))
    return PN_FAIL(PN_ERR_NOMEM, "%s: index: out of memory", d->path);
  json_array_foreach(ties, i, tie) {
    const char *class, *by;
    double accuracy;
    if (json_unpack(tie, "{s:s, s:s, s:F}", "class", &class, "by", &by, "balanced_accuracy",
                    &accuracy) != 0)
      return bad_index(d, "bad list of ties");
    if (asprintf(&d->warning[i],
                 "class %s: the %s alone tells its images from all others (balanced accuracy "
                 "%.3f): a network may learn where they come from instead of what they show",
                 class, by, accuracy) < 0)
      return PN_FAIL(PN_ERR_NOMEM, "%s: index: out of memory", d->path);
    d->n_warnings++;
  }
  return PN_OK;
}

/* A shard that is not there, or was cut, is found now; the rest when it is opened. */
static pn_status check_file(const pn_dataset *d, int k) {
  char path[PATH_MAX];
  struct stat info;
  pn_status st = pn_path_join(path, sizeof path, d->path, d->file[k]);

  if (st != PN_OK) return st;
  if (stat(path, &info) != 0)
    return PN_FAIL(PN_ERR_IO, "cannot open shard %s: %s", path, strerror(errno));
  if (info.st_size != d->bytes[k])
    return PN_FAIL(PN_ERR_FORMAT,
                   "%s has %lld bytes, the index says %lld: not the file that was ingested; ingest "
                   "again",
                   path, (long long)info.st_size, (long long)d->bytes[k]);
  return PN_OK;
}

static pn_status read_shard(pn_dataset *d, int k, json_t *entry) {
  const char *file = json_string_value(json_object_get(entry, "file"));
  int64_t images = json_integer_value(json_object_get(entry, "images"));

  if (!file || !*file || strchr(file, '/')) return bad_index(d, "bad name of a shard");
  if (images < 1 || images > UINT32_MAX) return bad_index(d, "bad number of images of a shard");
  if (!(d->file[k] = strdup(file)))
    return PN_FAIL(PN_ERR_NOMEM, "%s: shards: out of memory", d->path);
  d->bytes[k] = json_integer_value(json_object_get(entry, "bytes"));
  d->first[k + 1] = d->first[k] + images;
  return check_file(d, k);
}

static pn_status read_shards(pn_dataset *d, json_t *index) {
  json_t *shards = json_object_get(index, "shards");
  size_t n = json_array_size(shards);
  pn_status st = PN_OK;

  if (n < 1 || n > INT32_MAX) return bad_index(d, "no shards");
  d->shard = calloc(n, sizeof *d->shard);
  d->file = calloc(n, sizeof *d->file);
  d->bytes = calloc(n, sizeof *d->bytes);
  d->first = calloc(n + 1, sizeof *d->first);
  if (!d->shard || !d->file || !d->bytes || !d->first)
    return PN_FAIL(PN_ERR_NOMEM, "%s: %zu shards: out of memory", d->path, n);
  d->n_shards = (int)n;
  for (size_t k = 0; k < n; k++) PN_TRY(read_shard(d, (int)k, json_array_get(shards, k)));
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

static int split_of(char c) {
  for (int s = 0; s < PN_SPLIT_COUNT; s++)
    if (PN_SPLIT_CHARS[s] == c) return s;
  return -1;
}

/* Give each image of shard k to its split; at[]: images each split has so far. */
static pn_status fill_splits(pn_dataset *d, int k, const char *split, int64_t at[PN_SPLIT_COUNT]) {
  int64_t n = d->first[k + 1] - d->first[k];

  if (!split || strlen(split) != (size_t)n) return bad_index(d, "a shard without its splits");
  for (int64_t i = 0; i < n; i++) {
    int s = split_of(split[i]);
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

pn_status pn_dataset_read_index(pn_dataset *d) {
  json_t *index = NULL;
  pn_status st = PN_OK;

  PN_TRY(load_index(d, &index));
  PN_TRY(check_version(d, index));
  PN_TRY(check_digest(d, index));
  PN_TRY(read_shape(d, index));
  PN_TRY(read_classes(d, index));
  PN_TRY(read_ties(d, index));
  PN_TRY(read_shards(d, index));
  PN_TRY(read_splits(d, index));
done:
  json_decref(index);
  return st;
}
