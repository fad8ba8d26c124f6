/* test_kinds.c -- tiny inputs of every kind but rsna (test_ingest.c), made by the test, ingested by
 * all ranks: the account, the splits, the reasons; digest and bytes are those of one rank. */
#include "unit/picture_bytes.h"

#include "mpi/ingest_test.h"

enum { SIDE = 12 };
static pn_ingest_config cfg;
static pn_ingest_result result;

/* Rank 0 writes, the others wait in run(). */
static void add_file(const char *name, const void *data, size_t n) {
  char path[PATH_MAX], *slash;

  snprintf(path, sizeof path, "%s/%s", in, name);
  slash = strrchr(path, '/');
  *slash = 0;
  ok(pn_make_dirs(path));
  *slash = '/';
  assert_true(dicom_save(path, data, n));
}

static void add_text(const char *name, const char *text) {
  add_file(name, text, strlen(text));
}

/* A picture that only this seed gives; channels 1 or 3. */
static void put_png(const char *name, int seed, int channels) {
  static picture_bytes b;
  uint8_t p[SIDE * SIDE * 3];

  for (int i = 0; i < SIDE * SIDE * channels; i++)
    p[i] = (uint8_t)(channels == 3 ? i % 3 * 80 + seed : (i * 7 + seed * 31) % 251);
  picture_png8(&b, p, SIDE, SIDE, channels);
  add_file(name, b.data, b.n);
}

static void put_jpeg(const char *name, int seed, int orientation) {
  static picture_bytes b;
  uint8_t p[SIDE * SIDE];

  for (int i = 0; i < SIDE * SIDE; i++) p[i] = (uint8_t)(seed * 13 % 200 + i % SIDE * 4);
  picture_jpeg(&b, p, SIDE, SIDE, 1, orientation);
  add_file(name, b.data, b.n);
}

/* Fresh folders, the same on all ranks. */
static void start(const char *name) {
  snprintf(in, sizeof in, "%s/%s", root, name);
  snprintf(out, sizeof out, "%s/%s.out", root, name);
  snprintf(alone, sizeof alone, "%s/%s.alone", root, name);
  pn_ingest_config_init(&cfg);
  cfg.in = in;
  cfg.out = out;
  cfg.height = cfg.width = 8;
  if (rank == 0) ok(pn_make_dirs(in));
}

static pn_status run(void) {
  ok(pn_barrier(world, "input made"));
  return pn_ingest_run(&cfg, world, &result);
}

static void run_and_compare(void) {
  ok(run());
  if (rank == 0) {
    char command[600];
    pn_ingest_result one;
    pn_comm *self = NULL;
    cfg.out = alone;
    ok(pn_comm_self(&self));
    ok(pn_ingest_run(&cfg, self, &one));
    pn_comm_destroy(self);
    assert_string_equal(one.digest, result.digest);
    snprintf(command, sizeof command, "diff -r '%s' '%s'", out, alone);
    assert_int_equal(system(command), 0);
    cfg.out = out;
  }
  ok(pn_barrier(world, "compared"));
}

static void account(int64_t written, int64_t rejected, int64_t duplicates, int64_t skipped) {
  if (result.written != written || result.rejected != rejected || result.duplicates != duplicates ||
      result.skipped != skipped || result.listed != written + rejected + duplicates + skipped)
    fail_msg("listed %lld = written %lld + rejected %lld + duplicates %lld + skipped %lld",
             (long long)result.listed, (long long)result.written, (long long)result.rejected,
             (long long)result.duplicates, (long long)result.skipped);
}

static void splits(int64_t train, int64_t val, int64_t test) {
  const int64_t *n = result.split_count;
  if (n[PN_TRAIN] != train || n[PN_VAL] != val || n[PN_TEST] != test)
    fail_msg("train %lld, val %lld, test %lld", (long long)n[PN_TRAIN], (long long)n[PN_VAL],
             (long long)n[PN_TEST]);
}

/* rejects.csv has this line (its begin). */
static void listed(const char *line) {
  char path[PATH_MAX], *text = NULL;
  size_t n = 0;

  if (rank != 0) return;
  snprintf(path, sizeof path, "%s/rejects.csv", out);
  ok(pn_file_read(path, &text, &n));
  if (!strstr(text, line)) fail_msg("no '%s' in\n%s", line, text);
  free(text);
}

static void fails(const char *message) {
  assert_true(run() != PN_OK);
  if (!strstr(pn_last_error(), message)) fail_msg("no '%s' in '%s'", message, pn_last_error());
}

/* chest_xray/{train,test}/{NORMAL,PNEUMONIA}, as Kermany's zip unpacks, with its troubles. */
static void make_kermany(void) {
  static const char zip[] = "PK\3\4 not one of the pictures";
  static picture_bytes cut;
  char name[128];

  for (int i = 0; i < 20; i++) {
    snprintf(name, sizeof name, "chest_xray/train/%s/IM-%04d-0001.jpeg",
             i % 4 == 3 ? "normal" : "NORMAL", i);
    put_jpeg(name, i, 0);
    snprintf(name, sizeof name, "chest_xray/train/PNEUMONIA/person%d_virus_1.jpeg", i / 2 + 1);
    if (i % 2)
      snprintf(name, sizeof name, "chest_xray/train/PNEUMONIA/person%d_bacteria_2.jpeg", i / 2 + 1);
    put_png(name, 30 + i, 1); /* a PNG by its content */
  }
  for (int i = 0; i < 3; i++) {
    snprintf(name, sizeof name, "chest_xray/test/NORMAL/IM-9%03d-0001.jpeg", i);
    put_jpeg(name, 60 + i, 6);
    snprintf(name, sizeof name, "chest_xray/test/PNEUMONIA/person%d_virus_9.jpeg", 100 + i);
    put_png(name, 70 + i, 1);
  }
  put_png("chest_xray/test/PNEUMONIA/person3_virus_8.jpeg", 80, 1); /* of person3 of train */
  put_png("chest_xray/test/NORMAL/copy.png", 30, 1); /* same pixels as one of train PNEUMONIA */
  put_png("chest_xray/train/loose.png", 81, 1);
  put_png("chest_xray/train/NORMAL/masks/IM-0001-0001.png", 82, 1);
  add_file("__MACOSX/chest_xray/train/NORMAL/._IM-0001-0001.jpeg", "\0\5\x16\7", 4);
  add_file("chest_xray/train/NORMAL/AppleDouble.jpeg", "\0\5\x16\7....", 8);
  add_file("chest_xray/train/NORMAL/more.zip", zip, sizeof zip);
  add_file("chest_xray/train/NORMAL/packed.jpeg", zip, sizeof zip);
  add_file("chest_xray/train/NORMAL/empty.jpeg", "", 0);
  picture_png8(&cut, (const uint8_t *)root, 2, 2, 1);
  add_file("chest_xray/train/NORMAL/cut.png", cut.data, cut.n - 14);
}

static void test_folders(void **state) {
  (void)state;

  start("kermany");
  cfg.test_share = 0; /* test is given; val is dealt out of train */
  if (rank == 0) make_kermany();
  run_and_compare();
  assert_string_equal(result.kind, "folders");
  account(47, 5, 1, 3);
  assert_true(result.n_classes == 2 && result.channels == 1);
  assert_string_equal(result.class_name[0], "NORMAL"); /* and normal */
  assert_string_equal(result.class_name[1], "PNEUMONIA");
  assert_true(result.class_count[0] == 24 && result.class_count[1] == 23);
  assert_int_equal(result.split_count[PN_TEST], 8);
  assert_in_range(result.split_count[PN_VAL], 6, 7); /* 15 % of 39, by patient and class */
  assert_int_equal(result.leaks, 3);                 /* two images of person3, one copy */
  listed("\"chest_xray/train/PNEUMONIA/person1_virus_1.jpeg\",leak_pixels,\"\",\"same as test "
         "chest_xray/test/NORMAL/copy.png\"");
  listed("\"chest_xray/train/PNEUMONIA/person3_virus_1.jpeg\",leak_patient,\"\",\"given as train; "
         "the same patient is in test\"");
  listed("\"chest_xray/train/loose.png\",no_class_folder");
  listed("\"chest_xray/train/NORMAL/masks/IM-0001-0001.png\",mask");
  listed("\"__MACOSX/chest_xray/train/NORMAL/._IM-0001-0001.jpeg\",junk_file");
  listed("\"chest_xray/train/NORMAL/more.zip\",archive,\"\",\"unpack it with unzip\"");
  listed("\"chest_xray/train/NORMAL/packed.jpeg\",archive,\"\",\"zip: unpack it with unzip\"");
  listed("\"chest_xray/train/NORMAL/AppleDouble.jpeg\",junk_file");
  listed("\"chest_xray/train/NORMAL/empty.jpeg\",empty_file");
  listed("\"chest_xray/train/NORMAL/cut.png\",png_truncated");
}

static void test_leaks_rejected(void **state) {
  char other[200];
  (void)state;

  snprintf(in, sizeof in, "%s/kermany", root);
  snprintf(other, sizeof other, "%s/leaks", root);
  cfg.in = in;
  cfg.out = other;
  cfg.test_share = 0;
  cfg.reject_leaks = true;
  ok(run());
  account(45, 7, 1, 3);
  cfg.out = out;
  cfg.reject_leaks = false;
  snprintf(other, sizeof other, "%s/new", root);
  cfg.out = other;
  cfg.new_splits = true; /* given splits are forgotten: no leaks, and val and test by shares */
  cfg.test_share = 0.15;
  ok(run());
  assert_int_equal(result.leaks, 0);
  assert_in_range(result.split_count[PN_TEST], 6, 8);
}

static void test_one_class(void **state) {
  (void)state;

  start("one");
  if (rank == 0) put_png("only/a.png", 1, 1);
  if (rank == 0) put_png("only/b.png", 2, 1);
  cfg.kind = "folders";
  fails("only one class folder, 'only'");
  cfg.kind = "auto";
  fails("pictures need labels");
  if (rank == 0) put_png("other/c.png", 3, 1);
  ok(run());
  account(3, 0, 0, 0);
}

static void test_archives(void **state) {
  char packed[200];
  (void)state;

  start("packed");
  if (rank == 0) add_file("data.tar.gz", "\x1F\x8B\x08", 3);
  fails("holds no images, but an archive: unpack it first with tar -xf");
  snprintf(packed, sizeof packed, "%s/data.tar.gz", in);
  cfg.in = packed;
  fails("not a folder but an archive (gzip): unpack it with `tar -xf");
}

static void make_folds(void) {
  static char csv[4096];
  size_t n = (size_t)snprintf(csv, sizeof csv, "file;class;patient;fold;name\r\n");

  for (int i = 0; i < 30; i++) {
    char name[64];
    snprintf(name, sizeof name, "%s/%02d.png", i % 3 ? "img" : "pic", i);
    put_png(name, i, 1);
    n += (size_t)snprintf(csv + n, sizeof csv - n, "%s;%s;p%d;%d;Jane Doe\r\n", name,
                          i % 3 == 0   ? "covid"
                          : i % 3 == 1 ? "normal"
                                       : "other",
                          i / 3, i / 3 % 5);
  }
  snprintf(csv + n, sizeof csv - n, "img/gone.png;covid;p1;0;\r\nimg/29.png;;p9;4;");
  add_text("labels.csv", csv);
  put_png("img/stranger.png", 90, 1);
}

static void test_csv_folds(void **state) {
  (void)state;

  start("folds");
  if (rank == 0) make_folds();
  cfg.test_fold = "3";
  run_and_compare();
  assert_string_equal(result.kind, "csv");
  account(29, 1, 0, 2); /* 29.png has an empty label too; stranger and labels.csv are skipped */
  assert_int_equal(result.n_classes, 3);
  assert_int_equal(result.split_count[PN_TEST], 6);
  assert_int_equal(result.labels_without_file, 1);
  listed("\"img/stranger.png\",no_label");
  listed("\"img/29.png\",empty_label,\"line 33\"");
  start("folds");
  snprintf(out, sizeof out, "%s/folds2.out", root);
  cfg.test_fold = "3";
  cfg.val_fold = "4";
  cfg.only = "normal,covid";
  ok(run());
  account(20, 1, 0, 11);
  splits(12, 4, 4);
  assert_string_equal(result.class_name[1], "covid");
  listed("\"img/02.png\",class_not_wanted");
}

static void test_colours(void **state) {
  (void)state;

  start("colours");
  for (int i = 0; rank == 0 && i < 5; i++) {
    char name[32];
    snprintf(name, sizeof name, "%s/%d.png", i % 2 ? "a" : "b", i);
    put_png(name, i, i < 3 ? 3 : 1);
  }
  run_and_compare();
  assert_int_equal(result.channels, 3); /* most have colours */
  snprintf(out, sizeof out, "%s/grey.out", root);
  cfg.channels = 1;
  ok(run());
  assert_int_equal(result.channels, 1);
  account(5, 0, 0, 0);
}

enum { RECORD = 3073 };
static void put_batch(const char *name, int n, int seed, int bad) {
  uint8_t *b = calloc((size_t)n, RECORD);

  assert_non_null(b);
  for (int i = 0; i < n; i++) {
    b[i * RECORD] = (uint8_t)(i == bad ? 10 : i % 10);
    for (int k = 1; k < RECORD; k++) b[i * RECORD + k] = (uint8_t)(k * (i + 1) + seed);
  }
  add_file(name, b, (size_t)n * RECORD);
  free(b);
}

static void test_cifar(void **state) {
  (void)state;

  start("cifar");
  if (rank == 0) {
    put_batch("cifar-10-batches-bin/data_batch_1.bin", 40, 1, 7);
    put_batch("cifar-10-batches-bin/test_batch.bin", 10, 1, -1); /* the first 10 of the other */
    add_file("cifar-10-batches-bin/data_batch_2.bin", "short", 5);
    add_text("cifar-10-batches-bin/readme.html", "x");
  }
  run_and_compare();
  assert_string_equal(result.kind, "cifar10");
  account(40, 2, 9, 1); /* 30 + 10 written; of the first ten of train one has a bad label */
  assert_true(result.channels == 3 && result.n_classes == 10 && result.leaks == 9);
  assert_int_equal(result.split_count[PN_TEST], 10);
  assert_int_equal(result.split_count[PN_TRAIN] + result.split_count[PN_VAL], 30);
  listed("\"cifar-10-batches-bin/data_batch_1.bin#7\",bad_label,\"\",\"class 10");
  listed("\"cifar-10-batches-bin/data_batch_1.bin#3\",leak_pixels,\"\",\"same as test "
         "cifar-10-batches-bin/test_batch.bin\"");
  listed("\"cifar-10-batches-bin/data_batch_2.bin\",bad_batch_size");
}

static void put_dicom(const char *name, const char *id, const char *uid, int seed) {
  const dicom_bytes *b = ingest_dicom(id, uid, seed);
  add_file(name, b->data, b->n);
}

static void test_dicom(void **state) {
  (void)state;

  start("dicom");
  if (rank == 0) {
    put_dicom("st1/se1/by-patient.dcm", "P1", "1.2.1", 1);
    put_dicom("st1/se2/by-patient.dcm", "P1", "1.2.2", 2);
    put_dicom("st2/by-uid", "P2", "1.2.3", 3);
    put_dicom("st3/by-path.dcm", "P3", "1.2.4", 4);
    put_dicom("st4/unknown.dcm", "P4", "1.2.5", 5);
    put_dicom("st5/same.dcm", "P1", "1.2.1", 6);
    put_png("st5/picture.dcm", 1, 1);
    add_text("what.csv", "key,finding\nP1,sick\n1.2.3,well\nby-path.dcm,sick\nP9,ill\n");
  }
  cfg.columns = "path=key";
  run_and_compare();
  assert_string_equal(result.kind, "dicom");
  account(4, 1, 1, 2); /* skipped: no label, what.csv */
  assert_true(result.n_classes == 3 && result.labels_without_file == 1);
  assert_int_equal(result.class_count[1], 3); /* ill, sick, well */
  listed("\"st4/unknown.dcm\",no_label");
  listed("\"st5/same.dcm\",duplicate_sop_uid");
  listed("\"st5/picture.dcm\",not_dicom,\"\",\"looks like PNG\"");
}

/* Row 55: names that people and other systems make. */
static void test_names(void **state) {
  static const char *const names[] = {"with space/a b.png", "with space/line\nbreak.png",
                                      "z/caf\xE9.png", "z/quote\"comma,.png", "z/- -.png"};
  char longest[270];
  (void)state;

  start("names");
  memset(longest, 'n', sizeof longest);
  memcpy(longest, "z/", 2);
  strcpy(longest + 2 + 251, ".png"); /* 255 bytes: the most a file system takes */
  for (int i = 0; rank == 0 && i < 5; i++) put_png(names[i], i, 1);
  if (rank == 0) put_png(longest, 9, 1);
  if (rank == 0) add_file("z/broken\n\xE9.png", "\x89PNG", 4);
  run_and_compare();
  account(6, 1, 0, 0);
  listed("\"z/broken\\x0a\\xe9.png\",not_a_picture");
}

static int setup(void **state) {
  (void)state;
  return ingest_folders("test_kinds") ? 0 : 1;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_folders),   cmocka_unit_test(test_leaks_rejected),
      cmocka_unit_test(test_one_class), cmocka_unit_test(test_archives),
      cmocka_unit_test(test_csv_folds), cmocka_unit_test(test_colours),
      cmocka_unit_test(test_cifar),     cmocka_unit_test(test_dicom),
      cmocka_unit_test(test_names),
  };
  if (pn_test_start(60) != PN_OK) return 1;
  if (ingest_skips()) return pn_test_leave(0);
  return pn_test_end(cmocka_run_group_tests(tests, setup, ingest_remove));
}
