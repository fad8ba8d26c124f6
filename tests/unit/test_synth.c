/* test_synth.c -- phantoms: exact counts, same bytes, boxes that fit, files that can be read. */
#include "base/file.h"
#include "data/dicom.h"
#include "data/synth.h"

#include <dirent.h>
#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIDE = PN_SYNTH_SIDE, BYTES = SIDE * SIDE };

static void test_exact_counts(void **state) {
  static const double shares[] = {0, 0.1, 0.37, 0.4, 0.5, 1};
  (void)state;
  for (size_t k = 0; k < sizeof shares / sizeof *shares; k++)
    for (int64_t n = 1; n <= 50; n += 7) {
      pn_synth_config cfg = pn_synth_defaults();
      int64_t count[3] = {0, 0, 0}, positives = (int64_t)floor(shares[k] * (double)n + 0.5);
      cfg.images = n;
      cfg.positives = shares[k];
      cfg.normals = 0.25;
      for (int64_t i = 0; i < n; i++) {
        pn_synth_case c;
        assert_int_equal(pn_synth_describe(&cfg, i, &c), PN_OK);
        count[c.cls]++;
      }
      assert_int_equal(count[PN_SYNTH_OPACITY], positives);
      assert_int_equal(count[PN_SYNTH_NORMAL],
                       (int64_t)floor(0.25 * (double)(n - positives) + 0.5));
    }
}

static void check_box(const pn_synth_box *b) {
  assert_true(b->x >= 0 && b->y >= 0);
  assert_true(b->x + b->width <= SIDE && b->y + b->height <= SIDE);
  assert_in_range((int)b->width, 30, 450);
  assert_in_range((int)b->height, 30, 450);
}

static void check_id(const char *id) {
  assert_int_equal(strlen(id), 36);
  assert_int_equal(strspn(id, "0123456789abcdef-"), 36);
  assert_true(id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-');
  assert_int_equal(id[14], '4');
  assert_non_null(strchr("89ab", id[19]));
}

static void test_cases(void **state) {
  enum { N = 300 };
  static pn_synth_case c[N];
  pn_synth_config cfg = pn_synth_defaults();
  int boxes[PN_SYNTH_MAX_BOXES + 1] = {0}, women = 0, ap = 0;
  (void)state;
  cfg.images = N;
  for (int i = 0; i < N; i++) {
    assert_int_equal(pn_synth_describe(&cfg, i, &c[i]), PN_OK);
    check_id(c[i].id);
    for (int k = 0; k < i; k++) assert_string_not_equal(c[i].id, c[k].id);
    assert_int_equal(c[i].n_boxes > 0, c[i].cls == PN_SYNTH_OPACITY);
    for (int k = 0; k < c[i].n_boxes; k++) check_box(&c[i].box[k]);
    assert_in_range(c[i].age, 18, 90);
    boxes[c[i].n_boxes]++;
    women += c[i].sex == 'F';
    ap += c[i].ap;
  }
  for (int k = 0; k <= PN_SYNTH_MAX_BOXES; k++) assert_true(boxes[k] > 0);
  assert_in_range(women, N / 4, 3 * N / 4);
  assert_in_range(ap, N / 4, 3 * N / 4);
}

static uint8_t *draw(const pn_synth_config *cfg, int64_t i) {
  uint8_t *p = malloc(BYTES);
  assert_non_null(p);
  assert_int_equal(pn_synth_draw(cfg, i, p), PN_OK);
  return p;
}

/* Image i is the same whatever else is drawn; another seed or index is another picture. */
static void test_same_bytes(void **state) {
  pn_synth_config cfg = pn_synth_defaults(), larger = cfg, other = cfg;
  uint8_t *a = draw(&cfg, 3), *b = draw(&cfg, 4), *again, *seed;
  (void)state;
  larger.images = 4000;
  larger.out = "elsewhere";
  other.seed = 2;
  again = draw(&larger, 3);
  seed = draw(&other, 3);
  assert_memory_equal(a, again, BYTES);
  assert_memory_not_equal(a, b, BYTES);
  assert_memory_not_equal(a, seed, BYTES);
  free(a);
  free(b);
  free(again);
  free(seed);
}

static bool in_boxes(const pn_synth_case *c, int x, int y) {
  for (int k = 0; k < c->n_boxes; k++) {
    const pn_synth_box *b = &c->box[k];
    if ((float)x >= b->x && (float)x < b->x + b->width && (float)y >= b->y &&
        (float)y < b->y + b->height)
      return true;
  }
  return false;
}

/* What a stronger contrast adds to a picture lies in the boxes, and nowhere else than in lungs. */
static void test_boxes_fit(void **state) {
  pn_synth_config weak = pn_synth_defaults(), strong = weak;
  (void)state;
  weak.contrast = 0.1;
  strong.contrast = 1;
  for (int64_t i = 0; i < 12; i++) {
    pn_synth_case c;
    uint8_t *a = draw(&weak, i), *b = draw(&strong, i);
    double inside = 0, all = 0;
    assert_int_equal(pn_synth_describe(&strong, i, &c), PN_OK);
    for (int k = 0; k < BYTES; k++) {
      double more = b[k] - a[k];
      all += more;
      if (in_boxes(&c, k % SIDE, k / SIDE)) inside += more;
    }
    if (c.cls == PN_SYNTH_OPACITY) {
      assert_true(all > 20000); /* 1 grey level over 2 % of the picture at least */
      assert_true(inside > 0.8 * all);
    } else {
      assert_true(all == 0);
    }
    free(a);
    free(b);
  }
}

/* No flat, black or burnt-out pictures. */
static void test_exposure(void **state) {
  pn_synth_config cfg = pn_synth_defaults();
  (void)state;
  for (int64_t i = 0; i < 12; i++) {
    uint8_t *p = draw(&cfg, i);
    double sum = 0, sum2 = 0;
    int white = 0;
    for (int k = 0; k < BYTES; k++) {
      sum += p[k];
      sum2 += (double)p[k] * p[k];
      white += p[k] > 253;
    }
    assert_true(sum / BYTES > 50 && sum / BYTES < 190);
    assert_true(sqrt(sum2 / BYTES - sum / BYTES * (sum / BYTES)) > 20);
    assert_true(white < BYTES / 20);
    free(p);
  }
}

static void test_bad_config(void **state) {
  static const struct {
    double positives, contrast;
    int64_t images;
    int quality;
  } bad[] = {{-0.1, 1, 1, 84}, {1.1, 1, 1, 84}, {(double)NAN, 1, 1, 84}, {0.4, 0, 1, 84},
             {0.4, 5, 1, 84},  {0.4, 1, 0, 84}, {0.4, 1, 1, 0},          {0.4, 1, 1, 101}};
  pn_synth_case c;
  (void)state;
  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
    pn_synth_config cfg = pn_synth_defaults();
    cfg.positives = bad[k].positives;
    cfg.contrast = bad[k].contrast;
    cfg.images = bad[k].images;
    cfg.quality = bad[k].quality;
    assert_int_equal(pn_synth_describe(&cfg, 0, &c), PN_ERR_ARG);
  }
  pn_synth_config cfg = pn_synth_defaults();
  assert_int_equal(pn_synth_describe(&cfg, cfg.images, &c), PN_ERR_ARG);
  assert_int_equal(pn_synth_describe(&cfg, -1, &c), PN_ERR_ARG);
}

static int remove_entry(const char *path, const struct stat *s, int type, struct FTW *f) {
  (void)s;
  (void)type;
  (void)f;
  return remove(path);
}

static int count_lines(const char *dir, const char *name) {
  char path[512], *text;
  int n = 0;
  assert_int_equal(pn_path_join(path, sizeof path, dir, name), PN_OK);
  assert_int_equal(pn_file_read(path, &text, NULL), PN_OK);
  for (const char *p = text; *p; p++) n += *p == '\n';
  free(text);
  return n;
}

/* The program's own reader takes the file and finds the header that was described. */
static void check_file(pn_dicom_reader *r, const char *dir, const pn_synth_case *c) {
  char path[512];
  pn_dicom_info info;
  pn_gray pixels = {0};
  pn_reject why = {0};

  snprintf(path, sizeof path, "%s/stage_2_train_images/%s.dcm", dir, c->id);
  assert_int_equal(pn_dicom_read(r, path, &info, &pixels, &why), PN_OK);
  assert_string_equal(why.reason, "");
  assert_string_equal(info.patient_id, c->id);
  assert_string_equal(info.view, c->ap ? "AP" : "PA");
  assert_int_equal(info.sex, c->sex);
  assert_int_equal(info.age_years, c->age);
  assert_int_equal(info.rows, SIDE);
  assert_int_equal(info.columns, SIDE);
  assert_true(fabs((double)info.spacing_mm[0] - c->spacing_mm) < 1e-6);
  assert_int_equal(info.warnings, 0);
  pn_gray_free(&pixels);
}

static void test_run(void **state) {
  char dir[] = "/tmp/pn_synth_XXXXXX";
  pn_synth_config cfg = pn_synth_defaults();
  pn_synth_result result;
  pn_dicom_reader *reader = NULL;
  pn_comm *comm = NULL;
  pn_synth_case c;
  int64_t boxes = 0;
  (void)state;
  if (pn_dicom_reader_create(&reader) == PN_ERR_UNSUPPORTED) skip(); /* built without DCMTK */
  assert_non_null(mkdtemp(dir));
  assert_int_equal(pn_comm_self(&comm), PN_OK);
  cfg.out = dir;
  cfg.images = 7;
  assert_int_equal(pn_synth_run(&cfg, comm, &result), PN_OK);
  assert_int_equal(result.images, 7);
  assert_int_equal(result.positives, 3); /* 2.8, rounded */
  for (int64_t i = 0; i < 7; i++) {
    assert_int_equal(pn_synth_describe(&cfg, i, &c), PN_OK);
    check_file(reader, dir, &c);
    boxes += c.n_boxes;
  }
  assert_int_equal(result.boxes, boxes);
  assert_int_equal(count_lines(dir, "stage_2_train_labels.csv"), 1 + 4 + boxes);
  assert_int_equal(count_lines(dir, "stage_2_detailed_class_info.csv"), 1 + 4 + boxes);
  assert_true(result.bytes > 7 * 20000);

  assert_int_equal(pn_synth_run(&cfg, comm, &result), PN_ERR_ARG); /* nothing is overwritten */
  assert_non_null(strstr(pn_last_error(), "already holds files"));
  cfg.out = "";
  assert_int_equal(pn_synth_run(&cfg, comm, &result), PN_ERR_ARG);
  cfg.out = "/proc/nowhere/else";
  assert_int_equal(pn_synth_run(&cfg, comm, &result), PN_ERR_IO);
  pn_dicom_reader_destroy(reader);
  pn_comm_destroy(comm);
  nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_exact_counts), cmocka_unit_test(test_cases),
      cmocka_unit_test(test_same_bytes),   cmocka_unit_test(test_boxes_fit),
      cmocka_unit_test(test_exposure),     cmocka_unit_test(test_bad_config),
      cmocka_unit_test(test_run),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
