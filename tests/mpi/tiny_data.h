/* tiny_data.h -- a small data set made by the shard writer, in a folder of its own. */
#ifndef PN_TESTS_TINY_DATA_H
#define PN_TESTS_TINY_DATA_H

#include "base/digest.h"
#include "base/file.h"
#include "base/rng.h"
#include "data/dataset.h"
#include "data/shard.h"
#include "mpi/mpi_test.h"

#include <ftw.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TINY_SIDE = 16, TINY_SHARD = 64, TINY_SHARDS = 3 };
/* Of 192 images: 101 train, 21 val, 70 test. */
enum { TINY_TRAIN = 101, TINY_VAL = 21, TINY_TEST = 70 };

static inline char tiny_split(int number) {
  return number < TINY_TRAIN ? 't' : number < TINY_TRAIN + TINY_VAL ? 'v' : 'e';
}

/* Class 1 has a brighter corner, under noise. */
static inline void tiny_image(uint8_t *pixels, uint64_t seed, int number, int label) {
  pn_rng r = pn_rng_make(seed, PN_RNG_TEST, (uint64_t)number, 0);
  for (int p = 0; p < TINY_SIDE * TINY_SIDE; p++) {
    bool corner = p / TINY_SIDE < 8 && p % TINY_SIDE < 8;
    pixels[p] = (uint8_t)(pn_rng_below(&r, 120) + (corner && label ? 100u : 0u));
  }
}

static inline json_t *tiny_shard(pn_shard_writer *w, const char *folder, uint64_t seed, int k) {
  char split[TINY_SHARD + 1] = "";
  pn_shard_summary sum;

  for (int i = 0; i < TINY_SHARD; i++) {
    int number = k * TINY_SHARD + i;
    pn_shard_row row = {.label = number % 2, .id = "0123456789abcdef0123456789abcdef"};
    uint8_t *pixels = pn_shard_writer_next(w);
    assert_non_null(pixels);
    tiny_image(pixels, seed, number, row.label);
    ok(pn_shard_writer_append(w, &row, NULL));
    split[i] = tiny_split(number);
  }
  ok(pn_shard_writer_publish(w, folder, k, &sum));
  return json_pack("{s:s, s:I, s:I, s:s, s:s}", "file", sum.file, "images", (json_int_t)sum.images,
                   "bytes", (json_int_t)sum.bytes, "sha256", sum.sha256, "split", split);
}

/* Digest as dataset.c checks it: of the index without it. */
static inline void tiny_index(const char *folder, json_t *shards) {
  json_t *index =
      json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:[s,s], s:{s:i, s:i, s:i}, s:o}", "format",
                PN_INDEX_FORMAT, "version", PN_INDEX_VERSION, "channels", 1, "height", TINY_SIDE,
                "width", TINY_SIDE, "bits", 8, "classes", "normal", "opacity", "splits", "train",
                TINY_TRAIN, "val", TINY_VAL, "test", TINY_TEST, "shards", shards);
  char *text = json_dumps(index, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
  char hex[65], path[4096];
  pn_sha256 *sha = NULL;

  ok(pn_sha256_create(&sha));
  pn_sha256_update(sha, text, strlen(text));
  pn_sha256_hex(sha, hex);
  pn_sha256_destroy(sha);
  free(text);
  json_object_set_new(index, "digest", json_string(hex));
  text = json_dumps(index, JSON_INDENT(1));
  ok(pn_path_join(path, sizeof path, folder, PN_INDEX_NAME));
  ok(pn_file_write(path, text, strlen(text)));
  free(text);
  json_decref(index);
}

/* Not collective. */
static inline void tiny_write(const char *folder, uint64_t seed) {
  pn_shard_format format = {.channels = 1,
                            .height = TINY_SIDE,
                            .width = TINY_SIDE,
                            .bits = 8,
                            .classes = "normal,opacity",
                            .decoder = "test",
                            .plan = "test"};
  pn_shard_writer *w = NULL;
  json_t *shards = json_array();

  ok(pn_make_dirs(folder));
  ok(pn_shard_writer_create(&format, TINY_SHARD, &w));
  for (int k = 0; k < TINY_SHARDS; k++)
    json_array_append_new(shards, tiny_shard(w, folder, seed, k));
  pn_shard_writer_destroy(w);
  tiny_index(folder, shards);
}

/* The same new folder on all ranks. */
static inline void tiny_folder(char out[256]) {
  const char *tmp = getenv("TMPDIR");

  snprintf(out, 256, "%s/pn_test_XXXXXX", tmp ? tmp : "/tmp");
  if (rank == 0 && !mkdtemp(out)) MPI_Abort(MPI_COMM_WORLD, 1);
  ok(pn_bcast(world, "folder", out, 256, PN_U8, 0));
}

/* A new folder with shards in it, written and opened.  Collective. */
static inline void tiny_open(char folder[256], char shards[300], pn_dataset **out) {
  tiny_folder(folder);
  snprintf(shards, 300, "%s/shards", folder);
  if (rank == 0) tiny_write(shards, 1);
  ok(pn_barrier(world, "data written"));
  ok(pn_agree(world, pn_dataset_open(shards, out)));
}

static inline int tiny_remove_one(const char *path, const struct stat *s, int kind,
                                  struct FTW *at) {
  (void)s;
  (void)kind;
  (void)at;
  return remove(path);
}

static inline void tiny_remove(const char *folder) {
  ok(pn_barrier(world, "before removing"));
  if (rank == 0) nftw(folder, tiny_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
