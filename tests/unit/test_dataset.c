/* test_dataset.c -- published shards read back; damage and its messages. */
#include "base/digest.h"
#include "base/file.h"
#include "data/dataset.h"
#include "data/shard.h"

#include <ftw.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SHARDS = 2, PER_SHARD = 5, CHANNELS = 3, HEIGHT = 4, WIDTH = 6 };
enum { IMAGE = CHANNELS * HEIGHT * WIDTH };
static const char *const splits[SHARDS] = {"tvt-e", "ttvtt"};

static uint8_t pixel(int number, int k) {
  return (uint8_t)(17 * number + 5 * k + 3);
}

static int label_of(int number) {
  return number % 3 == 0;
}

static void write_shard(const char *dir, int shard, pn_shard_summary *out) {
  pn_shard_format format = {CHANNELS, HEIGHT, WIDTH, 8, "normal,opacity", "test", "plan"};
  pn_shard_writer *w = NULL;
  char id[PN_SHARD_ID_BYTES];
  assert_int_equal(pn_shard_writer_create(&format, PER_SHARD, &w), PN_OK);
  for (int i = 0; i < PER_SHARD; i++) {
    int number = shard * PER_SHARD + i;
    pn_shard_row row = {.label = label_of(number), .id = id};
    uint8_t *to = pn_shard_writer_next(w);
    snprintf(id, sizeof id, "%032d", number);
    for (int k = 0; k < IMAGE; k++) to[k] = pixel(number, k);
    assert_int_equal(pn_shard_writer_append(w, &row, NULL), PN_OK);
  }
  assert_int_equal(pn_shard_writer_publish(w, dir, shard, out), PN_OK);
  pn_shard_writer_destroy(w);
}

/* Seal and write an index; takes over `index`. */
static void write_index(const char *dir, json_t *index) {
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
  text = json_dumps(index, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
  assert_int_equal(pn_path_join(path, sizeof path, dir, PN_INDEX_NAME), PN_OK);
  assert_int_equal(pn_file_write(path, text, strlen(text)), PN_OK);
  free(text);
  json_decref(index);
}

static json_t *make_index(const pn_shard_summary *shard) {
  json_t *index =
      json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:[ss], s:{s:i, s:i, s:i}, s:f, s:[]}", "format",
                PN_INDEX_FORMAT, "version", PN_INDEX_VERSION, "channels", CHANNELS, "height",
                HEIGHT, "width", WIDTH, "bits", 8, "classes", "normal", "opacity", "splits",
                "train", 6, "val", 2, "test", 1, "val_share", 0.15, "shards");
  assert_non_null(index);
  for (int k = 0; k < SHARDS; k++)
    json_array_append_new(json_object_get(index, "shards"),
                          json_pack("{s:s, s:I, s:I, s:s, s:s}", "file", shard[k].file, "images",
                                    (json_int_t)shard[k].images, "bytes",
                                    (json_int_t)shard[k].bytes, "sha256", shard[k].sha256, "split",
                                    splits[k]));
  return index;
}

typedef struct {
  char dir[64];
  pn_shard_summary shard[SHARDS];
} fixture;

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  if (!f) return -1;
  strcpy(f->dir, "/tmp/pn_dataset_XXXXXX");
  if (!mkdtemp(f->dir)) return -1;
  for (int k = 0; k < SHARDS; k++) write_shard(f->dir, k, &f->shard[k]);
  write_index(f->dir, make_index(f->shard));
  *state = f;
  return 0;
}

static int remove_entry(const char *path, const struct stat *s, int type, struct FTW *t) {
  (void)s;
  (void)type;
  (void)t;
  return remove(path);
}

static int tear_down(void **state) {
  fixture *f = *state;
  nftw(f->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
  free(f);
  return 0;
}

static void check_split(pn_dataset *d, pn_split s, const int *numbers, int n) {
  assert_int_equal(pn_dataset_count(d, s), n);
  for (int i = 0; i < n; i++) {
    pn_sample x;
    assert_int_equal(pn_dataset_get(d, s, i, &x), PN_OK);
    assert_int_equal(x.id, numbers[i]);
    assert_int_equal(x.label, label_of(numbers[i]));
    for (int k = 0; k < IMAGE; k++) assert_int_equal(x.pixels[k], pixel(numbers[i], k));
  }
}

static void test_read(void **state) {
  static const int train[] = {0, 2, 5, 6, 8, 9}, val[] = {1, 7}, test[] = {4}; /* 3 is dropped */
  fixture *f = *state;
  int64_t c, h, w;
  pn_dataset *d = NULL;
  pn_sample x;
  assert_int_equal(pn_dataset_open(f->dir, &d), PN_OK);
  pn_dataset_shape(d, &c, &h, &w);
  assert_true(c == CHANNELS && h == HEIGHT && w == WIDTH);
  assert_int_equal(pn_dataset_n_classes(d), 2);
  assert_string_equal(pn_dataset_class_name(d, 1), "opacity");
  assert_int_equal(strlen(pn_dataset_digest(d)), 64);
  check_split(d, PN_TRAIN, train, 6);
  check_split(d, PN_VAL, val, 2);
  check_split(d, PN_TEST, test, 1);
  assert_int_equal(pn_dataset_get(d, PN_TEST, 1, &x), PN_ERR_ARG);
  assert_int_equal(pn_dataset_get(d, PN_TRAIN, -1, &x), PN_ERR_ARG);
  assert_string_equal(pn_split_name(PN_VAL), "val");
  pn_dataset_close(d);
  pn_dataset_close(NULL);
}

/* 16-bit pixels come back as they went in. */
static void test_16_bits(void **state) {
  fixture *f = *state;
  json_t *index;
  pn_shard_format format = {1, 2, 3, 16, "normal,opacity", "test", "plan"};
  pn_shard_row row = {.label = 1, .id = "0123456789abcdef0123456789abcdef"};
  pn_shard_writer *w = NULL;
  pn_shard_summary s;
  pn_dataset *d = NULL;
  pn_sample x;
  static const uint16_t pixels[6] = {0, 1, 255, 256, 65534, 65535};
  assert_int_equal(pn_shard_writer_create(&format, 1, &w), PN_OK);
  memcpy(pn_shard_writer_next(w), pixels, sizeof pixels);
  assert_int_equal(pn_shard_writer_append(w, &row, NULL), PN_OK);
  assert_null(pn_shard_writer_next(w));
  assert_int_equal(pn_shard_writer_publish(w, f->dir, 7, &s), PN_OK);
  pn_shard_writer_destroy(w);
  index = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:[ss], s:{s:i, s:i, s:i}, "
                    "s:[{s:s, s:I, s:I, s:s, s:s}]}",
                    "format", PN_INDEX_FORMAT, "version", PN_INDEX_VERSION, "channels", 1, "height",
                    2, "width", 3, "bits", 16, "classes", "normal", "opacity", "splits", "train", 1,
                    "val", 0, "test", 0, "shards", "file", s.file, "images", (json_int_t)s.images,
                    "bytes", (json_int_t)s.bytes, "sha256", s.sha256, "split", "t");
  write_index(f->dir, index);
  assert_int_equal(pn_dataset_open(f->dir, &d), PN_OK);
  assert_int_equal(pn_dataset_bits(d), 16);
  assert_int_equal(pn_dataset_get(d, PN_TRAIN, 0, &x), PN_OK);
  assert_memory_equal(x.pixels, pixels, sizeof pixels);
  pn_dataset_close(d);
  format.bits = 12;
  assert_int_equal(pn_shard_writer_create(&format, 1, &w), PN_ERR_ARG);
}

static void path_of(const fixture *f, int shard, char path[256]) {
  snprintf(path, 256, "%s/%s", f->dir, f->shard[shard].file);
}

/* Flip one bit of pixel 9 of image `number`, found by its bytes. */
static void damage(const fixture *f, int number) {
  char path[256], *text;
  uint8_t image[IMAGE], *at;
  size_t bytes;
  FILE *file;
  path_of(f, number / PER_SHARD, path);
  for (int k = 0; k < IMAGE; k++) image[k] = pixel(number, k);
  assert_int_equal(pn_file_read(path, &text, &bytes), PN_OK);
  at = memmem(text, bytes, image, IMAGE);
  assert_non_null(at);
  at[9] ^= 4;
  file = fopen(path, "wb"); /* same size, no rename */
  assert_non_null(file);
  assert_int_equal(fwrite(text, 1, bytes, file), bytes);
  assert_int_equal(fclose(file), 0);
  free(text);
}

/* One flipped bit is found when its image is visited, and only there. */
static void test_damaged_pixels(void **state) {
  fixture *f = *state;
  pn_dataset *d = NULL;
  pn_sample x;
  damage(f, 8); /* row 3 of shard 1, train image 4 */
  assert_int_equal(pn_dataset_open(f->dir, &d), PN_OK);
  for (int64_t i = 0; i < 6; i++)
    assert_int_equal(pn_dataset_get(d, PN_TRAIN, i, &x), i == 4 ? PN_ERR_FORMAT : PN_OK);
  assert_int_equal(pn_dataset_get(d, PN_TRAIN, 4, &x), PN_ERR_FORMAT); /* not forgotten */
  assert_non_null(strstr(pn_last_error(), "shard-00001.h5"));
  assert_non_null(strstr(pn_last_error(), "image 3 (number 8"));
  assert_non_null(strstr(pn_last_error(), "CRC-32C"));
  pn_dataset_close(d);
}

static void expect_failure(const fixture *f, pn_status st, const char *part) {
  pn_dataset *d = NULL;
  assert_int_equal(pn_dataset_open(f->dir, &d), st);
  assert_null(d);
  if (!strstr(pn_last_error(), part)) fail_msg("'%s' is not in: %s", part, pn_last_error());
}

static void index_path(const fixture *f, char path[256]) {
  snprintf(path, 256, "%s/%s", f->dir, PN_INDEX_NAME);
}

static void test_missing(void **state) {
  fixture *f = *state;
  char path[256], was[64];
  path_of(f, 1, path);
  assert_int_equal(unlink(path), 0);
  expect_failure(f, PN_ERR_IO, "shard-00001.h5");
  index_path(f, path);
  assert_int_equal(unlink(path), 0);
  expect_failure(f, PN_ERR_IO, "pneuma ingest");
  strcpy(was, f->dir);
  strcat(f->dir, "_not");
  expect_failure(f, PN_ERR_IO, "pneuma ingest");
  strcpy(f->dir, was);
}

static void test_cut_short(void **state) {
  fixture *f = *state;
  char path[256];
  path_of(f, 0, path);
  assert_int_equal(truncate(path, f->shard[0].bytes / 2), 0);
  expect_failure(f, PN_ERR_FORMAT, "shard-00000.h5");
}

static void test_not_a_shard(void **state) {
  fixture *f = *state;
  char path[256];
  path_of(f, 0, path);
  assert_int_equal(pn_file_write(path, "hello", 5), PN_OK);
  expect_failure(f, PN_ERR_FORMAT, "shard-00000.h5");
}

/* A shard of another ingest has another size or shape. */
static void test_swapped_shape(void **state) {
  fixture *f = *state;
  json_t *index = make_index(f->shard);
  json_object_set_new(index, "height", json_integer(HEIGHT + 1));
  write_index(f->dir, index);
  expect_failure(f, PN_ERR_FORMAT, "the index says 3 x 5 x 6");
}

static void test_edited_index(void **state) {
  fixture *f = *state;
  char path[256], *text, *at;
  index_path(f, path);
  assert_int_equal(pn_file_read(path, &text, NULL), PN_OK);
  at = strstr(text, "tvt-e");
  assert_non_null(at);
  at[1] = 't';
  assert_int_equal(pn_file_write(path, text, strlen(text)), PN_OK);
  free(text);
  expect_failure(f, PN_ERR_FORMAT, "digest");
}

/* Sealed, but wrong in itself: one change per row. */
static void test_bad_index(void **state) {
  static const struct {
    const char *key, *value, *message;
  } bad[] = {
      {"version", "1", "this build reads 2"},
      {"format", "\"pneuma-shard\"", "not an index"},
      {"channels", "0", "shape"},
      {"bits", "12", "bits is not 8 or 16"},
      {"bits", "16", "8 bits; the index says"},
      {"classes", "[]", "classes"},
      {"classes", "[\"one\"]", "label 1 of 1"},
      {"shards", "[]", "no shards"},
      {"shards", "[{\"file\": \"../x.h5\"}]", "bad name"},
      {"splits", "{\"train\": 7, \"val\": 2, \"test\": 1}", "counts differ"},
      {"splits", "{\"train\": 5, \"val\": 2, \"test\": 1}", "counts differ"},
      {"splits", "{\"train\": -1}", "counts of the splits"},
  };
  fixture *f = *state;
  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
    json_t *index = make_index(f->shard);
    json_object_set_new(index, bad[k].key, json_loads(bad[k].value, JSON_DECODE_ANY, NULL));
    write_index(f->dir, index);
    expect_failure(f, PN_ERR_FORMAT, bad[k].message);
  }
}

static void test_not_json(void **state) {
  fixture *f = *state;
  char path[256];
  index_path(f, path);
  assert_int_equal(pn_file_write(path, "{\"format\": ", 11), PN_OK);
  expect_failure(f, PN_ERR_FORMAT, "not JSON");
}

int main(void) {
#define WITH_FILES(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      WITH_FILES(test_read),         WITH_FILES(test_damaged_pixels),
      WITH_FILES(test_missing),      WITH_FILES(test_cut_short),
      WITH_FILES(test_not_a_shard),  WITH_FILES(test_swapped_shape),
      WITH_FILES(test_edited_index), WITH_FILES(test_bad_index),
      WITH_FILES(test_not_json),     WITH_FILES(test_16_bits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
