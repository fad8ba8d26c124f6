/* shard_folder.h -- a small folder of shards for the tests of what reads them. */
#ifndef PN_TESTS_SHARD_FOLDER_H
#define PN_TESTS_SHARD_FOLDER_H

#include "base/digest.h"
#include "base/file.h"
#include "base/rng.h"
#include "data/shard.h"

#include <ftw.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct {
  int64_t channels, height, width;
  int bits, shards, per_shard;
} folder_shape;

static inline size_t folder_image_bytes(const folder_shape *f) {
  return (size_t)(f->channels * f->height * f->width * f->bits / 8);
}

/* Byte k of image `number`. */
static inline uint8_t folder_byte(int64_t number, size_t k) {
  return (uint8_t)((uint64_t)number * 31 + k * 7 + (k >> 5) + 3);
}

static inline void folder_write_shard(const char *dir, const folder_shape *f, int shard,
                                      pn_shard_summary *out) {
  pn_shard_format format = {f->channels,      f->height, f->width, f->bits,
                            "normal,opacity", "test",    "plan"};
  pn_shard_writer *w = NULL;
  assert_int_equal(pn_shard_writer_create(&format, f->per_shard, &w), PN_OK);
  for (int i = 0; i < f->per_shard; i++) {
    int number = shard * f->per_shard + i;
    pn_shard_row row = {.label = number % 2, .id = "0123456789abcdef0123456789abcdef"};
    uint8_t *to = pn_shard_writer_next(w);
    for (size_t k = 0; k < folder_image_bytes(f); k++) to[k] = folder_byte(number, k);
    assert_int_equal(pn_shard_writer_append(w, &row, NULL), PN_OK);
  }
  assert_int_equal(pn_shard_writer_publish(w, dir, shard, out), PN_OK);
  pn_shard_writer_destroy(w);
}

/* Seal and write an index; takes over `index`. */
static inline void folder_write_index(const char *dir, json_t *index) {
  char path[256], hex[65], *text;
  pn_sha256 *sha = NULL;
  text = json_dumps(index, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(15));
  assert_non_null(text);
  assert_int_equal(pn_sha256_create(&sha), PN_OK);
  pn_sha256_update(sha, text, strlen(text));
  pn_sha256_hex(sha, hex);
  pn_sha256_destroy(sha);
  free(text);
  json_object_set_new(index, "digest", json_string(hex));
  text = json_dumps(index, JSON_COMPACT | JSON_REAL_PRECISION(15));
  assert_int_equal(pn_path_join(path, sizeof path, dir, PN_INDEX_NAME), PN_OK);
  assert_int_equal(pn_file_write(path, text, strlen(text)), PN_OK);
  free(text);
  json_decref(index);
}

/* The head of an index without shards; all images are of the training split but `n_val`. */
static inline json_t *folder_index(const folder_shape *f, int64_t n_val) {
  json_int_t total = (json_int_t)f->shards * f->per_shard;
  return json_pack("{s:s, s:i, s:I, s:I, s:I, s:i, s:[ss], s:{s:I, s:I, s:i}, s:[]}", "format",
                   PN_INDEX_FORMAT, "version", PN_INDEX_VERSION, "channels",
                   (json_int_t)f->channels, "height", (json_int_t)f->height, "width",
                   (json_int_t)f->width, "bits", f->bits, "classes", "normal", "opacity", "splits",
                   "train", total - n_val, "val", (json_int_t)n_val, "test", 0, "shards");
}

static inline void folder_add_shard(json_t *index, const pn_shard_summary *s, const char *split) {
  json_array_append_new(json_object_get(index, "shards"),
                        json_pack("{s:s, s:I, s:I, s:s, s:s}", "file", s->file, "images",
                                  (json_int_t)s->images, "bytes", (json_int_t)s->bytes, "sha256",
                                  s->sha256, "split", split));
}

/* A new folder under /tmp with all of it; the last image of each shard is of the val split. */
static inline void folder_make(const folder_shape *f, char dir[64]) {
  json_t *index = folder_index(f, f->shards);
  char *split = calloc((size_t)f->per_shard + 1, 1);
  pn_shard_summary s;
  strcpy(dir, "/tmp/pn_shards_XXXXXX");
  assert_non_null(mkdtemp(dir));
  memset(split, 't', (size_t)f->per_shard);
  split[f->per_shard - 1] = 'v';
  for (int k = 0; k < f->shards; k++) {
    folder_write_shard(dir, f, k, &s);
    folder_add_shard(index, &s, split);
  }
  free(split);
  folder_write_index(dir, index);
}

static inline int folder_remove_entry(const char *path, const struct stat *s, int type,
                                      struct FTW *t) {
  (void)s;
  (void)type;
  (void)t;
  return remove(path);
}

static inline void folder_remove(const char *dir) {
  nftw(dir, folder_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* Flip one bit of image `number`, found by its bytes. */
static inline void folder_damage(const char *dir, const folder_shape *f, int64_t number) {
  char path[256], *text;
  size_t bytes, n = folder_image_bytes(f);
  uint8_t *image = malloc(n), *at;
  FILE *file;
  snprintf(path, sizeof path, "%s/shard-%05d.h5", dir, (int)(number / f->per_shard));
  for (size_t k = 0; k < n; k++) image[k] = folder_byte(number, k);
  assert_int_equal(pn_file_read(path, &text, &bytes), PN_OK);
  at = memmem(text, bytes, image, n);
  assert_non_null(at);
  at[n / 2] ^= 4;
  file = fopen(path, "r+b");
  assert_non_null(file);
  assert_int_equal(fwrite(text, 1, bytes, file), bytes);
  assert_int_equal(fclose(file), 0);
  free(text);
  free(image);
}

#endif
