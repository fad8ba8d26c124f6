/* test_ingest_rows.c -- rows 46 to 49, 53, 54, 58 and 60 of the table of bad inputs in a whole
 * ingest: what becomes of the file, and of the account.  docs/bad_inputs.md lists all rows. */
#include "data/labels.h"
#include "mpi/ingest_test.h"

#include <linux/capability.h>
#include <sys/syscall.h>

enum { GOOD = 12 };
static char images[200], labels[8192];

static void path_of(char path[PATH_MAX], const char *name) {
  snprintf(path, PATH_MAX, "%s/%s", images, name);
}

static void put_file(const char *name, const void *data, size_t n) {
  char path[PATH_MAX];
  path_of(path, name);
  assert_true(dicom_save(path, data, n));
}

static void label(const char *line) {
  assert_true(strlen(labels) + strlen(line) + 2 < sizeof labels);
  strcat(labels, line);
  strcat(labels, "\n");
}

static void put_image(const char *name, const char *id, const char *uid, int seed) {
  const dicom_bytes *b = ingest_dicom(id, uid, seed);
  put_file(name, b->data, b->n);
}

static void make_good(void) {
  for (int i = 0; i < GOOD; i++) {
    ingest_name n = ingest_good(i);
    char line[64];
    put_image(n.file, n.id, n.uid, i);
    snprintf(line, sizeof line, i % 2 ? "%s,2,4,8,6,1" : "%s,,,,,0", n.id);
    label(line);
  }
}

/* 46, 47: 2 duplicates.  48: 1 skipped, 2 labels without a file. */
static void make_duplicates(void) {
  put_image("uid.dcm", "uid", "1.2.3.1", 60);
  put_image("zpixels.dcm", "zpixels", "1.2.4.1", 0);
  label("uid,,,,,0\nzpixels,,,,,0");
  put_image("nolabel.dcm", "nolabel", "1.2.4.2", 61);
  label("nofile-1,,,,,0\nnofile-2,1,1,4,4,1");
}

/* 49: 6 rejected, 1 written, 7 bad rows. */
static void make_boxes(void) {
  static const char *const bad[] = {"nan,1,4,4", "1,1,0,4",  "1,1,4,-2",
                                    "10,1,7,4",  "-1,1,4,4", ",,,"};
  char name[32], id[16], line[64];

  for (int i = 0; i < 6; i++) {
    snprintf(id, sizeof id, "box-%d", i);
    snprintf(name, sizeof name, "%s.dcm", id);
    snprintf(line, sizeof line, "%s,%s,1", id, bad[i]);
    put_image(name, id, NULL, 70 + i);
    label(line);
  }
  put_image("box-two.dcm", "box-two", NULL, 80);
  label("box-two,1,1,4,4,1\nbox-two,1,inf,4,4,1");
}

/* 53: 2 written, the first by its tag (class 1), with a warning; 1 label without a file. */
static void make_names(void) {
  put_image("name-a.dcm", "tag-a", NULL, 90);
  put_image("name-b.dcm", NULL, NULL, 91);
  label("tag-a,1,1,4,4,1\nname-a,,,,,0\nname-b,,,,,0");
}

/* 34, 54: 4 rejected, 2 skipped. */
static void make_unreadable(void) {
  char path[PATH_MAX];

  put_image("noaccess.dcm", "noaccess", NULL, 92);
  path_of(path, "noaccess.dcm");
  assert_int_equal(chmod(path, 0), 0);
  path_of(path, "dangling.dcm");
  assert_int_equal(symlink("nowhere", path), 0);
  path_of(path, "loop.dcm");
  assert_int_equal(symlink("loop.dcm", path), 0);
  path_of(path, "fifo.dcm");
  assert_int_equal(mkfifo(path, 0600), 0);
  path_of(path, "folder.dcm");
  assert_int_equal(mkdir(path, 0700), 0);
  path_of(path, "up");
  assert_int_equal(symlink("..", path), 0);
}

/* 58: 5 skipped.  60: 3 rejected. */
static void make_junk(void) {
  char path[PATH_MAX];

  path_of(path, "__MACOSX");
  assert_int_equal(mkdir(path, 0700), 0);
  put_file("__MACOSX/good-00.dcm", "\0\5\x16\7\0\2\0\0", 8);
  put_file("apple.dcm", "\0\5\x16\7\0\2\0\0", 8);
  put_file("DICOMDIR", "x", 1);
  put_file(".DS_Store", "x", 1);
  put_file("Thumbs.db", "x", 1);
  put_file("good-00.dcm.gz", "\x1F\x8B\x08\0", 4);
  put_file("set.zip", "PK\3\4", 4);
  put_file("hidden.dcm", "\x1F\x8B\x08\0", 4);
}

static void make_input(void) {
  char path[PATH_MAX];

  assert_int_equal(pn_make_dirs(images), PN_OK);
  label("patientId,x,y,width,height,Target");
  make_good();
  make_duplicates();
  make_boxes();
  make_names();
  make_unreadable();
  make_junk();
  snprintf(path, sizeof path, "%s/stage_2_train_labels.csv", in);
  assert_true(dicom_save(path, labels, strlen(labels)));
  snprintf(path, sizeof path, "%s/stage_2_detailed_class_info.csv", in);
  assert_true(dicom_save(path, "patientId,class\n", 16));
}

static void config(pn_ingest_config *cfg, const char *to) {
  pn_ingest_config_init(cfg);
  cfg->in = in;
  cfg->out = to;
  cfg->height = cfg->width = 8;
}

static void check_account(const pn_ingest_result *r) {
  assert_int_equal(r->written, GOOD + 1 + 2);
  assert_int_equal(r->rejected, 6 + 4 + 3);
  assert_int_equal(r->duplicates, 2);
  assert_int_equal(r->skipped, 1 + 2 + 5);
  assert_int_equal(r->listed, r->written + r->rejected + r->duplicates + r->skipped);
  assert_int_equal(r->bad_label_rows, 7);
  assert_int_equal(r->labels_without_file, 3);
  assert_int_equal(r->class_count[PN_RSNA_OPACITY], GOOD / 2 + 2); /* box-two and tag-a */
}

#define PATH_ "\"stage_2_train_images/"
static void check_rejects(void) {
  static const char *const rows[] = {
      PATH_ "uid.dcm\",duplicate_sop_uid,\"(0008,0018)\",\"same as", /* 46 */
      "good-00.dcm\"\n",
      PATH_ "zpixels.dcm\",duplicate_pixels,\"\",\"same as", /* 47 */
      PATH_ "nolabel.dcm\",no_label",                        /* 48 */
      PATH_ "box-0.dcm\",no_valid_box,\"line 18\"",          /* 49 */
      "\"stage_2_train_labels.csv\",bad_box,\"line 18\",\"x nan",
      "\"stage_2_train_labels.csv\",bad_box,\"line 19\",\"x 1 y 1 width 0",
      "\"stage_2_train_labels.csv\",bad_box,\"line 20\",\"x 1 y 1 width 4 height -2",
      "\"stage_2_train_labels.csv\",bad_box,\"line 21\",\"x 10",
      "\"stage_2_train_labels.csv\",bad_box,\"line 22\",\"x -1",
      "\"stage_2_train_labels.csv\",bad_box,\"line 23\",\"x nan",
      "\"stage_2_train_labels.csv\",bad_box,\"line 25\",\"x 1 y inf",
      PATH_ "box-5.dcm\",no_valid_box,\"line 23\"",
      PATH_ "noaccess.dcm\",permission_denied", /* 54 */
      PATH_ "dangling.dcm\",file_vanished",
      PATH_ "loop.dcm\",link_loop",
      PATH_ "fifo.dcm\",not_a_regular_file",
      PATH_ "folder.dcm\",directory", /* 34 */
      PATH_ "up\",link_to_folder",
      PATH_ "__MACOSX/good-00.dcm\",junk_file", /* 58 */
      PATH_ "apple.dcm\",junk_file",
      PATH_ "DICOMDIR\",junk_file",
      PATH_ ".DS_Store\",junk_file",
      PATH_ "Thumbs.db\",junk_file",
      PATH_ "good-00.dcm.gz\",archive,\"\",\"unpack it with gunzip\"", /* 60 */
      PATH_ "set.zip\",archive,\"\",\"unpack it with unzip\"",
      PATH_ "hidden.dcm\",not_dicom,\"\",\"looks like gzip: unpack it with gunzip\""};
  char path[PATH_MAX], *text = NULL;
  size_t n = 0;

  snprintf(path, sizeof path, "%s/rejects.csv", out);
  ok(pn_file_read(path, &text, &n));
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (!strstr(text, rows[i])) fail_msg("no '%s' in\n%s", rows[i], text);
  assert_null(strstr(text, "name-")); /* both are written */
  free(text);
}

static void check_warnings(void) {
  char path[PATH_MAX];
  json_t *index;

  snprintf(path, sizeof path, "%s/index.json", out);
  index = json_load_file(path, 0, NULL);
  assert_int_equal(
      json_integer_value(json_object_get(json_object_get(index, "warnings"), "name_mismatch")), 1);
  json_decref(index);
}

static void test_rows(void **state) {
  pn_ingest_config cfg;
  pn_ingest_result r, one;
  pn_comm *self = NULL;
  (void)state;

  config(&cfg, out);
  ok(pn_ingest_run(&cfg, world, &r));
  check_account(&r);
  if (rank == 0) {
    check_rejects();
    check_warnings();
    config(&cfg, alone);
    ok(pn_comm_self(&self));
    ok(pn_ingest_run(&cfg, self, &one));
    pn_comm_destroy(self);
    assert_string_equal(one.digest, r.digest);
  }
  ok(pn_barrier(world, "compared"));
}

/* 48: an image without a label fails the job if asked to; a label without an image never does. */
static void test_require_labels(void **state) {
  pn_ingest_config cfg;
  pn_ingest_result r;
  char other[200], path[PATH_MAX];
  (void)state;

  snprintf(other, sizeof other, "%s/strict", root);
  config(&cfg, other);
  cfg.require_labels = true;
  assert_true(pn_ingest_run(&cfg, world, &r) != PN_OK);
  assert_non_null(strstr(pn_last_error(), "nolabel.dcm has no label"));
  path_of(path, "nolabel.dcm");
  if (rank == 0) assert_int_equal(unlink(path), 0);
  ok(pn_barrier(world, "removed"));
  ok(pn_ingest_run(&cfg, world, &r));
  assert_int_equal(r.labels_without_file, 3);
}

/* Root may read everything: no longer. */
static void become_ordinary(void) {
  struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct caps[2];

  assert_int_equal(syscall(SYS_capget, &head, caps), 0);
  caps[0].effective &= ~(1U << CAP_DAC_OVERRIDE | 1U << CAP_DAC_READ_SEARCH);
  assert_int_equal(syscall(SYS_capset, &head, caps), 0);
}

static int setup(void **state) {
  (void)state;
  if (!ingest_folders("test_ingest_rows")) return 1;
  snprintf(images, sizeof images, "%s/stage_2_train_images", in);
  become_ordinary();
  if (rank == 0) make_input();
  return pn_barrier(world, "input made") == PN_OK ? 0 : 1;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rows),
      cmocka_unit_test(test_require_labels),
  };
  if (pn_test_start(60) != PN_OK) return 1;
  if (ingest_skips()) return pn_test_leave(0);
  return pn_test_end(cmocka_run_group_tests(tests, setup, ingest_remove));
}
