/* verify_shard.c -- one shard against its row of the index and against its own checksums. */
#include "data/verify_internal.h"

#include "base/digest.h"
#include "base/file.h"
#include "data/shard.h"
#include "data/shard_columns.h"
#include "data/shard_read.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SHA_BYTES = 32 };

typedef struct {
  pn_verify *v;
  int64_t k;
  const json_t *entry;
  const char *file;
  pn_shard_map map;
  pn_shard_columns columns;
} shard_check;

/* The last error without its place in our sources. */
static const char *plain_error(void) {
  const char *text = pn_last_error(), *at = strstr(text, ".c:");

  if (!at) return text;
  for (at += 3; isdigit((unsigned char)*at); at++) continue;
  return strncmp(at, ": ", 2) == 0 ? at + 2 : text;
}

static int64_t integer_of(const json_t *o, const char *key) {
  return json_integer_value(json_object_get(o, key));
}

static void compare_number(const shard_check *s, const char *what, int64_t is, int64_t said) {
  if (is != said)
    pn_verify_add(s->v, s->k, s->file, -1, "%s is %lld, the index says %lld", what, (long long)is,
                  (long long)said);
}

static void compare_text(const shard_check *s, const char *what, const char *is, const char *said) {
  if (!said || strcmp(is, said) != 0)
    pn_verify_add(s->v, s->k, s->file, -1, "%s is not that of the index", what);
}

static void check_schema(const shard_check *s) {
  const json_t *index = s->v->index;
  const pn_shard_columns *c = &s->columns;

  compare_number(s, "the number of images", s->map.images, integer_of(s->entry, "images"));
  compare_number(s, "the size in bytes", (int64_t)s->map.map_bytes, integer_of(s->entry, "bytes"));
  compare_number(s, "channels", s->map.channels, integer_of(index, "channels"));
  compare_number(s, "height", s->map.height, integer_of(index, "height"));
  compare_number(s, "width", s->map.width, integer_of(index, "width"));
  compare_number(s, "bits", s->map.bits, integer_of(index, "bits"));
  compare_text(s, "attribute classes", c->classes, s->v->classes);
  compare_text(s, "attribute decoder", c->decoder,
               json_string_value(json_object_get(index, "decoder")));
  compare_text(s, "attribute plan", c->plan, json_string_value(json_object_get(index, "plan")));
}

/* Every column has a checksum of its own in the file; the index has one over all. */
static pn_status check_columns(const shard_check *s) {
  const char *said = json_string_value(json_object_get(s->entry, "sha256"));
  uint32_t crc[PN_SHARD_COLUMNS];
  char hex[65];
  bool named = false;
  pn_status st = pn_shard_columns_digest(&s->columns, hex);

  if (st != PN_OK) return st;
  pn_shard_columns_sums(&s->columns, crc);
  for (int i = 0; i < PN_SHARD_COLUMNS; i++) {
    if (crc[i] == s->columns.sums[i]) continue;
    named = true;
    pn_verify_add(s->v, s->k, s->file, -1, "/%s: CRC-32C is %08x, stored %08x",
                  pn_shard_column_name(i), crc[i], s->columns.sums[i]);
  }
  if (!said || strcmp(hex, said) != 0)
    pn_verify_add(s->v, s->k, s->file, -1, "%s: not the SHA-256 of the index",
                  named ? "columns" : "labels, boxes, ids or metadata");
  return PN_OK;
}

static void check_boxes(const shard_check *s, int64_t i) {
  const pn_shard_columns *c = &s->columns;
  uint32_t from = c->box_start[i], to = c->box_start[i + 1];

  if (from > to || (int64_t)to > c->n_boxes) {
    pn_verify_add(s->v, s->k, s->file, i, "/box_start: rows %u to %u of %lld boxes", from, to,
                  (long long)c->n_boxes);
    return;
  }
  for (uint32_t b = from; b < to; b++) {
    const float *x = c->box[b];
    double slack = 1e-3; /* float32 of coordinates up to 16384 */
    bool good = isfinite(x[0]) && isfinite(x[1]) && x[2] > 0 && x[3] > 0 && x[0] >= -slack &&
                x[1] >= -slack && (double)x[0] + x[2] <= (double)s->map.width + slack &&
                (double)x[1] + x[3] <= (double)s->map.height + slack && x[4] >= 0 &&
                x[4] < (float)s->v->n_classes;
    if (!good)
      pn_verify_add(s->v, s->k, s->file, i,
                    "/boxes row %u: %g %g %g %g class %g is outside %lldx%lld", b, (double)x[0],
                    (double)x[1], (double)x[2], (double)x[3], (double)x[4], (long long)s->map.width,
                    (long long)s->map.height);
  }
}

static pn_status check_pixels(const shard_check *s, int64_t i) {
  const uint8_t *pixels = s->map.pixels + (size_t)i * s->map.image_bytes;
  const uint8_t *sha = s->columns.sha + (size_t)i * SHA_BYTES;
  uint32_t crc = pn_crc32c(0, pixels, s->map.image_bytes);
  char is[65], said[65];
  pn_sha256 *hash = NULL;
  bool crc_fits = crc == s->columns.crc[i], sha_fits;
  pn_status st = pn_sha256_create(&hash);

  if (st != PN_OK) return st;
  pn_sha256_update(hash, pixels, s->map.image_bytes);
  pn_sha256_hex(hash, is);
  pn_sha256_destroy(hash);
  for (int b = 0; b < SHA_BYTES; b++) snprintf(said + 2 * b, 3, "%02x", sha[b]);
  sha_fits = strcmp(is, said) == 0;
  if (!crc_fits && !sha_fits)
    pn_verify_add(s->v, s->k, s->file, i,
                  "pixels: CRC-32C is %08x, stored %08x; SHA-256 differs too", crc,
                  s->columns.crc[i]);
  else if (!crc_fits)
    pn_verify_add(s->v, s->k, s->file, i,
                  "/crc32c: stored %08x, the pixels have %08x (and their SHA-256)",
                  s->columns.crc[i], crc);
  else if (!sha_fits)
    pn_verify_add(s->v, s->k, s->file, i, "/sha256: differs, while the pixels have their CRC-32C");
  return PN_OK;
}

/* Label and split of image i, into the counts. */
static void count_image(const shard_check *s, int64_t i, const char *split) {
  int label = s->columns.label[i];
  const char *at = strchr(PN_SPLIT_CHARS, split[i]);

  if (label >= s->v->n_classes)
    pn_verify_add(s->v, s->k, s->file, i, "/label: %d of %d classes", label, s->v->n_classes);
  if (split[i] == PN_SPLIT_DROPPED) return;
  if (!split[i] || !at) {
    pn_verify_add(s->v, s->k, PN_INDEX_NAME, i, "split '%c' of %s", split[i], s->file);
    return;
  }
  s->v->split_count[at - PN_SPLIT_CHARS]++;
  s->v->class_count[label]++;
}

static pn_status check_images(const shard_check *s) {
  const char *split = json_string_value(json_object_get(s->entry, "split"));
  int64_t n = s->map.images;
  pn_status st = PN_OK;

  if (s->columns.images != n) {
    pn_verify_add(s->v, s->k, s->file, -1, "/label has %lld rows, /images %lld",
                  (long long)s->columns.images, (long long)n);
    return PN_OK;
  }
  if (!split || strlen(split) != (size_t)n) {
    pn_verify_add(s->v, s->k, PN_INDEX_NAME, -1, "the split of %s is not of %lld images", s->file,
                  (long long)n);
    split = NULL;
  }
  for (int64_t i = 0; i < n && st == PN_OK; i++) {
    st = check_pixels(s, i);
    check_boxes(s, i);
    if (split) count_image(s, i, split);
  }
  s->v->images += n;
  s->v->bytes += (int64_t)s->map.map_bytes;
  return st;
}

/* NOMEM is ours, anything else is the shard's. */
static pn_status unreadable(const shard_check *s, pn_status st) {
  if (st == PN_ERR_NOMEM) return st;
  pn_verify_add(s->v, s->k, s->file, -1, "%s", plain_error());
  return PN_OK;
}

pn_status pn_verify_shard(pn_verify *v, int64_t k) {
  shard_check s = {.v = v, .k = k};
  char path[PATH_MAX];
  pn_status st;

  s.entry = json_array_get(json_object_get(v->index, "shards"), (size_t)k);
  s.file = json_string_value(json_object_get(s.entry, "file"));
  v->shards++;
  if (!s.file || !*s.file || strchr(s.file, '/') || strlen(s.file) >= PN_VERIFY_FILE_BYTES) {
    pn_verify_add(v, k, PN_INDEX_NAME, -1, "bad name of shard %lld", (long long)k);
    return PN_OK;
  }
  if ((st = pn_path_join(path, sizeof path, v->path, s.file)) != PN_OK) return st;
  if ((st = pn_shard_open_map(path, &s.map)) != PN_OK) return unreadable(&s, st);
  if ((st = pn_shard_columns_read(path, &s.columns)) != PN_OK) {
    st = unreadable(&s, st);
    goto done;
  }
  check_schema(&s);
  PN_TRY(check_columns(&s));
  PN_TRY(check_images(&s));
done:
  pn_shard_unmap(&s.map);
  pn_shard_columns_free(&s.columns);
  return st;
}
