/* test_ingest.c -- a small RSNA folder with every kind of trouble, ingested by all ranks: the
 * account is right, and the bytes are those of one rank. */
#include "base/digest.h"
#include "mpi/ingest_test.h"

#include <dirent.h>

enum { GOOD = 40 };

static void put_file(const char *name, const void *data, size_t n) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/stage_2_train_images/%s", in, name);
  assert_true(dicom_save(path, data, n));
}

static void put_image(const char *name, const char *id, const char *uid, int seed) {
  const dicom_bytes *b = ingest_dicom(id, uid, seed);
  put_file(name, b->data, b->n);
}

static void put_csv(const char *name, const char *text) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", in, name);
  assert_true(dicom_save(path, text, strlen(text)));
}

static void add(char *text, size_t bytes, const char *line) {
  size_t n = strlen(text);
  assert_true(n + strlen(line) < bytes);
  snprintf(text + n, bytes - n, "%s", line);
}

static void make_good(char *labels, size_t bytes) {
  for (int i = 0; i < GOOD; i++) {
    ingest_name n = ingest_good(i);
    char line[96];
    put_image(n.file, n.id, n.uid, i);
    snprintf(line, sizeof line, i % 2 ? "%s,2,4,8,6,1\n" : "%s,,,,,0\n", n.id);
    add(labels, bytes, line);
  }
}

/* listed 40 + 12: written 42, rejected 5, duplicates 2, skipped 3 */
static void make_input(void) {
  static char labels[8192] = "patientId,x,y,width,height,Target\n";
  char path[PATH_MAX];

  snprintf(path, sizeof path, "%s/stage_2_train_images", in);
  assert_int_equal(pn_make_dirs(path), PN_OK);
  make_good(labels, sizeof labels);
  put_image("other name.dcm", "good name", "1.2.4.1", 100); /* written: the tag counts */
  put_image("mixed.dcm", "mixed", "1.2.4.2", 101);          /* written with one box of two */
  put_image("zz-uid.dcm", "zz-uid", "1.2.3.1", 102);        /* duplicate UID */
  put_image("zz-pixels.dcm", "zz-pixels", "1.2.4.3", 3);    /* duplicate pixels */
  put_image("nobox.dcm", "nobox", "1.2.4.4", 103);          /* rejected: box outside */
  put_image("conflict.dcm", "conflict", "1.2.4.5", 104);    /* rejected: Target 0 and 1 */
  put_image("class.dcm", "class", "1.2.4.6", 105);          /* rejected: class file says other */
  put_image("unknown.dcm", "unknown", "1.2.4.7", 106);      /* skipped: no label */
  put_file("empty.dcm", "", 0);                             /* rejected */
  put_file("text.dcm", "this is no DICOM file, it is text", 33); /* rejected */
  put_file(".DS_Store", "x", 1);                                 /* skipped */
  put_file("notes.txt", "x", 1);                                 /* skipped */
  add(labels, sizeof labels,
      "good name,,,,,0\nmixed,1,1,4,4,1\nmixed,10,1,9,4,1\nzz-uid,,,,,0\nzz-pixels,,,,,0\n"
      "nobox,0,0,17,4,1\nconflict,,,,,0\nconflict,1,1,2,2,1\nclass,,,,,0\nno-file,,,,,0\n");
  put_csv("stage_2_train_labels.csv", labels);
  put_csv("stage_2_detailed_class_info.csv", "patientId,class\nclass,Lung Opacity\n");
}

static void config(pn_ingest_config *cfg, const char *to) {
  pn_ingest_config_init(cfg);
  cfg->in = in;
  cfg->out = to;
  cfg->height = cfg->width = 8;
}

static void check_account(const pn_ingest_result *r) {
  assert_int_equal(r->listed, GOOD + 12);
  assert_int_equal(r->written, GOOD + 2);
  assert_int_equal(r->rejected, 5);
  assert_int_equal(r->duplicates, 2);
  assert_int_equal(r->skipped, 3);
  assert_int_equal(r->bad_label_rows, 2); /* of mixed and of nobox */
  assert_int_equal(r->labels_without_file, 1);
  assert_int_equal(r->class_count[0], GOOD / 2 + 1);
  assert_int_equal(r->class_count[1], GOOD / 2 + 1);
  assert_int_equal(r->split_count[PN_TRAIN] + r->split_count[PN_VAL] + r->split_count[PN_TEST],
                   r->written);
  assert_in_range(r->split_count[PN_VAL], 6, 7); /* 15 % of 42, by class */
  assert_in_range(r->split_count[PN_TEST], 6, 7);
}

/* A file of the output, which holds these texts; to be freed. */
static char *read_with(const char *name, const char *const *texts, size_t n) {
  char path[PATH_MAX], *text = NULL;
  size_t bytes = 0;

  snprintf(path, sizeof path, "%s/%s", out, name);
  ok(pn_file_read(path, &text, &bytes));
  for (size_t i = 0; i < n; i++)
    if (!strstr(text, texts[i])) fail_msg("no '%s' in\n%s", texts[i], text);
  return text;
}

static void check_rejects(void) {
  static const char *const rows[] = {
      "\"stage_2_train_images/zz-uid.dcm\",duplicate_sop_uid,\"(0008,0018)\"",
      "\"stage_2_train_images/zz-pixels.dcm\",duplicate_other_class,\"\"",
      "\"stage_2_train_images/nobox.dcm\",no_valid_box,\"line 47\"",
      "\"stage_2_train_labels.csv\",bad_box,\"line 44\"",
      "\"stage_2_train_images/conflict.dcm\",target_conflict,\"line 49\"",
      "\"stage_2_train_images/class.dcm\",class_conflict,\"line 2\"",
      "\"stage_2_train_images/unknown.dcm\",no_label",
      "\"stage_2_train_images/empty.dcm\",empty_file",
      "\"stage_2_train_images/text.dcm\",not_dicom",
      "\"stage_2_train_images/.DS_Store\",junk_file",
      "\"stage_2_train_images/notes.txt\",other_file"};
  char *text = read_with("rejects.csv", rows, sizeof rows / sizeof *rows);

  assert_null(strstr(text, "Doe")); /* the PatientName of every file */
  free(text);
}

/* The page says the same as the result. */
static void check_report(void) {
  static const char *const rows[] = {
      "| listed | 52 | = written + rejected + duplicates + skipped |",
      "| written | 42 |",
      "| rejected | 5 |",
      "| duplicates | 2 |",
      "| skipped | 3 |",
      "| labels without a file | 1 |",
      "| label rows left out | 2 |",
      "| boxes stored | 21 |",
      "| split | normal | opacity | all |",
      "| 50-59 | 21 | 21 | 42 |",
      "| PA | 21 | 21 | 42 |",
      "| rejected | `empty_file` | 1 |",
      "| duplicate | `duplicate_sop_uid` | 1 |",
      "| `name_mismatch` | 1 |"};
  char *text;

  free(read_with("report.md", rows, sizeof rows / sizeof *rows));
  text = read_with("preview.png", NULL, 0);
  assert_memory_equal(text + 12, "IHDR\0\0\x04\xB0", 8); /* 1200 wide */
  free(text);
}

static void same_file(const char *name) {
  char a[PATH_MAX], b[PATH_MAX], *x = NULL, *y = NULL;
  size_t n = 0, m = 0;

  snprintf(a, sizeof a, "%s/%s", out, name);
  snprintf(b, sizeof b, "%s/%s", alone, name);
  ok(pn_file_read(a, &x, &n));
  ok(pn_file_read(b, &y, &m));
  if (n != m || memcmp(x, y, n) != 0) fail_msg("%s differs from that of one rank", name);
  free(x);
  free(y);
}

static int count_and_compare(void) {
  DIR *dir = opendir(out);
  struct dirent *e;
  int n = 0;

  assert_non_null(dir);
  while ((e = readdir(dir)) != NULL) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    same_file(e->d_name);
    n++;
  }
  closedir(dir);
  return n;
}

static void test_account_and_bytes(void **state) {
  pn_ingest_config cfg;
  pn_ingest_result r, one;
  pn_comm *self = NULL;
  (void)state;

  config(&cfg, out);
  ok(pn_ingest_run(&cfg, world, &r));
  check_account(&r);
  assert_false(r.already_complete);
  if (rank == 0) {
    check_rejects();
    check_report();
    config(&cfg, alone);
    ok(pn_comm_self(&self));
    ok(pn_ingest_run(&cfg, self, &one));
    pn_comm_destroy(self);
    assert_string_equal(one.digest, r.digest);
    assert_int_equal(count_and_compare(), r.shards + 4); /* index, rejects, report, preview */
  }
  ok(pn_barrier(world, "compared"));
}

static void test_again_and_refused(void **state) {
  pn_ingest_config cfg;
  pn_ingest_result r;
  (void)state;

  config(&cfg, out);
  ok(pn_ingest_run(&cfg, world, &r));
  assert_true(r.already_complete);
  check_account(&r);
  cfg.seed = 2;
  assert_int_equal(pn_ingest_run(&cfg, world, &r) == PN_OK, 0);
  assert_non_null(strstr(pn_last_error(), "made from other files or options"));
}

static void test_limits(void **state) {
  pn_ingest_config cfg;
  pn_ingest_result r;
  char other[200];
  (void)state;

  snprintf(other, sizeof other, "%s/limits", root);
  config(&cfg, other);
  cfg.max_rejects = 4;
  assert_true(pn_ingest_run(&cfg, world, &r) != PN_OK);
  assert_non_null(strstr(pn_last_error(), "5 files were rejected"));
  cfg.max_rejects = 5;
  cfg.require_labels = true;
  assert_true(pn_ingest_run(&cfg, world, &r) != PN_OK);
  assert_non_null(strstr(pn_last_error(), "unknown.dcm has no label"));
  cfg.require_labels = false; /* what the failed tries left is no hindrance */
  ok(pn_ingest_run(&cfg, world, &r));
  check_account(&r);
  config(&cfg, other);
  cfg.in = "/nonexistent";
  assert_true(pn_ingest_run(&cfg, world, &r) != PN_OK);
  assert_non_null(strstr(pn_last_error(), "/nonexistent is not a folder"));
}

static int setup(void **state) {
  (void)state;
  if (!ingest_folders("test_ingest")) return 1;
  if (rank == 0) make_input();
  return pn_barrier(world, "input made") == PN_OK ? 0 : 1;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_account_and_bytes),
      cmocka_unit_test(test_again_and_refused),
      cmocka_unit_test(test_limits),
  };
  if (pn_test_start(60) != PN_OK) return 1;
  if (ingest_skips()) return pn_test_leave(0);
  return pn_test_end(cmocka_run_group_tests(tests, setup, ingest_remove));
}
