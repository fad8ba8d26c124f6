/* test_ingest_frames.c -- ingest.frames=all: every frame of a DICOM file is an image of the
 * account, at any number of ranks, and after a resume. */
#include "mpi/ingest_test.h"

enum { SIDE = 16, PIXELS = SIDE * SIDE, FILES = 12, FRAMES = 3 };

static void put_file(const char *name, const void *data, size_t n) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", in, name);
  assert_true(dicom_save(path, data, n));
}

/* frames: as the header says; given: how many are there. */
static void put_image(const char *name, const char *uid, const char *frames, int given, int seed) {
  static dicom_bytes b;
  static uint8_t pixels[FRAMES * PIXELS];
  dicom_case c = dicom_default(pixels, (size_t)given * PIXELS, SIDE, SIDE);

  for (int i = 0; i < FRAMES * PIXELS; i++)
    pixels[i] = (uint8_t)(i % PIXELS + seed * 17 + i / PIXELS);
  c.id = NULL;
  c.uid = uid;
  c.frames = frames;
  dicom_build(&b, &c);
  put_file(name, b.data, b.n);
}

/* listed: 12 x 3 + one + 3 duplicates + 3 cut off + 1 that lies = 44 */
static void make_input(void) {
  static char labels[2048] = "path,label\n";
  char name[48], uid[32];

  assert_int_equal(pn_make_dirs(in), PN_OK);
  for (int i = 0; i < FILES; i++) {
    snprintf(name, sizeof name, "f%02d.dcm", i);
    snprintf(uid, sizeof uid, "1.2.3.%d", i);
    put_image(name, uid, "3", FRAMES, i);
    snprintf(labels + strlen(labels), 64, "%s,%s\n", name, i % 2 ? "sick" : "well");
  }
  put_image("one.dcm", "1.2.4.1", NULL, 1, 13);
  put_image("short.dcm", "1.2.4.2", "3", 1, 14);
  put_image("lies.dcm", "1.2.4.3", "99999999", 1, 15);
  put_image("zz.dcm", "1.2.3.4", "3", FRAMES, 4);
  strcat(labels, "one.dcm,well\nshort.dcm,well\nlies.dcm,well\nzz.dcm,well\n");
  put_file("labels.csv", labels, strlen(labels));
}

static void config(pn_ingest_config *cfg, const char *to) {
  pn_ingest_config_init(cfg);
  cfg->in = in;
  cfg->out = to;
  cfg->height = cfg->width = 8;
  cfg->dicom.frames = PN_FRAMES_ALL;
}

static void check_account(const pn_ingest_result *r) {
  assert_int_equal(r->listed, FILES * FRAMES + 1 + 3 + 3 + 1 + 1); /* 1: labels.csv, skipped */
  assert_int_equal(r->written, FILES * FRAMES + 1);
  assert_int_equal(r->duplicates, 3);
  assert_int_equal(r->rejected, 4);
  assert_int_equal(r->skipped, 1);
}

static char *text_of(const char *folder, const char *name, size_t *n) {
  char path[PATH_MAX], *text = NULL;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  ok(pn_file_read(path, &text, n));
  return text;
}

static void check_rejects(void) {
  static const char *const rows[] = {
      "\"short.dcm#0\",pixels_truncated", "\"short.dcm#1\",pixels_truncated",
      "\"short.dcm#2\",pixels_truncated", "\"lies.dcm\",bad_frames,\"(0028,0008)\"",
      "\"zz.dcm#0\",duplicate_sop_uid",   "\"zz.dcm#2\",duplicate_sop_uid"};
  size_t n;
  char *text = text_of(out, "rejects.csv", &n);

  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (!strstr(text, rows[i])) fail_msg("no '%s' in\n%s", rows[i], text);
  free(text);
}

/* The frames of a file are of one patient: one split.  The rows are in the order of the frames. */
static void check_splits(void) {
  size_t n;
  char *text = text_of(out, "index.json", &n), all[FILES * FRAMES + 8] = "";
  json_t *index = json_loadb(text, n, 0, NULL), *shard;
  size_t i;

  json_array_foreach(json_object_get(index, "shards"), i, shard)
      strcat(all, json_string_value(json_object_get(shard, "split")));
  assert_int_equal(strlen(all), FILES * FRAMES + 1 + 3);
  for (i = 0; i < FILES * FRAMES; i++) assert_int_equal(all[i], all[i / FRAMES * FRAMES]);
  json_decref(index);
  free(text);
}

static void same_file(const char *name) {
  size_t n = 0, m = 0;
  char *x = text_of(out, name, &n), *y = text_of(alone, name, &m);

  if (n != m || memcmp(x, y, n) != 0) fail_msg("%s differs from that of one rank", name);
  free(x);
  free(y);
}

static void test_all_frames(void **state) {
  pn_ingest_config cfg;
  pn_ingest_result r, one;
  pn_comm *self = NULL;
  char name[32];
  (void)state;

  config(&cfg, out);
  cfg.max_rejects = 3; /* fails at the end: its pieces wait in the journal */
  assert_true(pn_ingest_run(&cfg, world, &r) != PN_OK);
  cfg.max_rejects = 4;
  ok(pn_ingest_run(&cfg, world, &r));
  check_account(&r);
  assert_true(r.resumed > 3); /* cut within files: 44 images, 8 each */
  if (rank == 0) {
    check_rejects();
    check_splits();
    config(&cfg, alone);
    ok(pn_comm_self(&self));
    ok(pn_ingest_run(&cfg, self, &one));
    pn_comm_destroy(self);
    assert_int_equal(one.resumed, 0);
    assert_string_equal(one.digest, r.digest);
    same_file("index.json");
    same_file("rejects.csv");
    for (int i = 0; i < r.shards; i++) {
      snprintf(name, sizeof name, "shard-%05d.h5", i);
      same_file(name);
    }
  }
  ok(pn_barrier(world, "compared"));
}

/* The same files by the other two rules; another plan than the one published. */
static void test_other_rules(void **state) {
  pn_ingest_config cfg;
  pn_ingest_result r;
  char other[200];
  (void)state;

  config(&cfg, out);
  cfg.dicom.frames = PN_FRAMES_FIRST;
  assert_true(pn_ingest_run(&cfg, world, &r) != PN_OK);
  assert_non_null(strstr(pn_last_error(), "made from other files or options"));
  snprintf(other, sizeof other, "%s/first", root);
  cfg.out = other;
  ok(pn_ingest_run(&cfg, world, &r));
  assert_int_equal(r.listed, FILES + 5);
  assert_int_equal(r.written, FILES + 1);
  snprintf(other, sizeof other, "%s/reject", root);
  cfg.dicom.frames = PN_FRAMES_REJECT;
  assert_true(pn_ingest_run(&cfg, world, &r) == PN_OK);
  assert_int_equal(r.written, 1);
  assert_int_equal(r.rejected, FILES + 3);
}

static int setup(void **state) {
  (void)state;
  if (!ingest_folders("test_ingest_frames")) return 1;
  if (rank == 0) make_input();
  return pn_barrier(world, "input made") == PN_OK ? 0 : 1;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_frames),
      cmocka_unit_test(test_other_rules),
  };
  if (pn_test_start(60) != PN_OK) return 1;
  if (ingest_skips()) return pn_test_leave(0);
  return pn_test_end(cmocka_run_group_tests(tests, setup, ingest_remove));
}
