/* test_ingest_account.c -- the account fails the job when a file is missing from it, and the cut of
 * the list into pieces covers every file once. */
#include "data/ingest_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

/* Six files: 3 written, one of each other kind. */
struct books {
  pn_ingest_config cfg;
  pn_ingest_record record[4];
  pn_ingest_event event[3];
  pn_ingest_shard shard[2];
  pn_ingest x;
};

static void keep(struct books *b) {
  static const int split[4] = {PN_TRAIN, -1, PN_VAL, PN_TEST};

  memset(b, 0, sizeof *b);
  pn_ingest_config_init(&b->cfg);
  b->cfg.out = "out";
  for (int i = 0; i < 4; i++) b->record[i] = (pn_ingest_record){.file = i, .split = split[i]};
  b->event[0] = (pn_ingest_event){.file = 1, .outcome = PN_OUT_DUPLICATE};
  b->event[1] = (pn_ingest_event){.file = 4, .outcome = PN_OUT_REJECTED};
  b->event[2] = (pn_ingest_event){.file = 5, .outcome = PN_OUT_SKIPPED};
  b->shard[0].shard.images = 3;
  b->shard[1].shard.images = 1;
  b->x.cfg = &b->cfg;
  b->x.source.n = 6;
  b->x.records = (pn_ingest_array){b->record, 4, 4, sizeof *b->record};
  b->x.events = (pn_ingest_array){b->event, 3, 3, sizeof *b->event};
  b->x.shards = (pn_ingest_array){b->shard, 2, 2, sizeof *b->shard};
  b->x.rejected = b->x.duplicates = b->x.skipped = b->x.dropped = 1;
}

static void fails(const struct books *b, const char *why) {
  assert_int_equal(pn_ingest_check_account(&b->x), PN_ERR_FORMAT);
  if (!strstr(pn_last_error(), why)) fail_msg("%s", pn_last_error());
}

static void test_account(void **state) {
  struct books b;
  (void)state;

  keep(&b);
  assert_int_equal(pn_ingest_check_account(&b.x), PN_OK);
  b.x.source.n = 7; /* a file that nobody spoke of */
  fails(&b, "files were lost: listed 7, written 3 + rejected 1 + duplicates 1 + skipped 1");
  keep(&b);
  b.x.records.n = 3; /* an image without a record */
  fails(&b, "files were lost");
  keep(&b);
  b.shard[0].shard.images = 2; /* a record without an image */
  fails(&b, "(3 images stored, 4 recorded)");
  keep(&b);
  b.x.rejected = 2; /* counted twice */
  fails(&b, "files were lost");
  keep(&b);
  b.cfg.max_rejects = 0;
  fails(&b, "1 files were rejected, ingest.max_rejects allows 0");
  b.cfg.max_rejects = 1;
  assert_int_equal(pn_ingest_check_account(&b.x), PN_OK);
}

static void test_index(void **state) {
  struct books b;
  json_t *good = json_loads("{\"shards\": [{\"images\": 3, \"split\": \"t-v\"},"
                            "{\"images\": 1, \"split\": \"e\"}]}",
                            0, NULL);
  static const char *const bad[] = {
      "{\"shards\": [{\"images\": 3, \"split\": \"t-v\"}]}",
      "{\"shards\": [{\"images\": 3, \"split\": \"t-v\"}, {\"images\": 1, \"split\": \"\"}]}",
      "{\"shards\": [{\"images\": 3, \"split\": \"ttv\"}, {\"images\": 1, \"split\": \"e\"}]}",
      "{\"shards\": [{\"images\": 4, \"split\": \"t-v\"}, {\"images\": 1, \"split\": \"e\"}]}",
      "{}"};
  (void)state;

  keep(&b);
  assert_int_equal(pn_ingest_check_index(&b.x, good), PN_OK);
  json_decref(good);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    json_t *index = json_loads(bad[i], 0, NULL);
    assert_non_null(index);
    assert_int_equal(pn_ingest_check_index(&b.x, index), PN_ERR_FORMAT);
    json_decref(index);
  }
}

/* n files of `size` bytes, some of them skipped; returns the number of pieces. */
static int64_t cut(int64_t n, int64_t size, int64_t shard_mb, int64_t *capacity) {
  pn_ingest_config cfg;
  pn_ingest x = {.cfg = &cfg, .format = {.channels = 1, .height = 1000, .width = 1000, .bits = 8}};
  int64_t pieces;

  pn_ingest_config_init(&cfg);
  cfg.shard_mb = shard_mb;
  x.source.n = n;
  x.source.file = calloc((size_t)n + 1, sizeof *x.source.file);
  assert_non_null(x.source.file);
  for (int64_t i = 0; i < n; i++)
    x.source.file[i] = (pn_ingest_file){
        .path = "f", .size = size + i % 7, .of = 1, .skip_reason = i % 50 == 49 ? "x" : NULL};
  assert_int_equal(pn_ingest_cut(&x), PN_OK);
  assert_int_equal(x.cut[0], 0);
  if (x.n_pieces > 0) assert_int_equal(x.cut[x.n_pieces], n);
  for (int64_t p = 0; p < x.n_pieces; p++) {
    assert_true(x.cut[p] < x.cut[p + 1]);
    assert_true(x.cut[p + 1] - x.cut[p] <= x.capacity + 1 + x.capacity / 49);
  }
  pieces = x.n_pieces;
  *capacity = x.capacity;
  free(x.cut);
  free(x.source.file);
  return pieces;
}

static void test_cut(void **state) {
  int64_t capacity;
  (void)state;

  assert_int_equal(cut(0, 100000, 64, &capacity), 0);
  assert_true(capacity >= 1); /* the shard writer wants room for one */
  assert_int_equal(cut(1, 100000, 64, &capacity), 1);
  assert_int_equal(cut(24, 100000, 64, &capacity), 3); /* of 8 */
  assert_in_range(cut(320, 100000, 512, &capacity), 15, 17);
  assert_in_range(capacity, 18, 22);
  assert_in_range(cut(3200, 100000, 512, &capacity), 48, 50); /* 3136 MB in shards of 64 */
  assert_in_range(capacity, 62, 68);
  assert_in_range(cut(100000, 100000, 64, &capacity), 98000 / 64, 98000 / 64 + 2);
  assert_int_equal(capacity, 64); /* 64 MB of 1000 x 1000 pixels */
  assert_int_equal(cut(100, 0, 1, &capacity), 98);
  assert_int_equal(capacity, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_account),
      cmocka_unit_test(test_index),
      cmocka_unit_test(test_cut),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
