/* test_ingest_ties.c -- classes that can be told without their pixels are found; others are not,
 * and a trait that every image has for itself tells nothing. */
#include "data/ingest_ties.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

enum { N = 300 };
static pn_ingest_record record[N];
static pn_ingest x;
static pn_tie tie[PN_MAX_CLASSES];

/* Three classes in turn, images of 100 x 100. */
static void start(int classes) {
  x = (pn_ingest){.records = {record, N, N, sizeof *record}};
  x.source.labels.n_classes = classes;
  for (int c = 0; c < classes; c++)
    snprintf(x.source.labels.class_name[c], PN_CLASS_BYTES, "class%d", c);
  for (int i = 0; i < N; i++)
    record[i] = (pn_ingest_record){.label = i % classes, .height = 100, .width = 100, .age = -1};
}

static void find(void) {
  assert_int_equal(pn_ingest_find_ties(&x, tie), PN_OK);
}

static void test_nothing(void **state) {
  (void)state;
  start(3);
  find();
  for (int c = 0; c < 3; c++) assert_null(tie[c].by);
  for (int i = 0; i < N; i++) record[i].width = 100 + i; /* each its own: tells nothing */
  find();
  for (int c = 0; c < 3; c++) assert_null(tie[c].by);
  for (int i = 0; i < N; i++) record[i].width = 100 + 10 * (i % 7); /* the same mix in all */
  find();
  for (int c = 0; c < 3; c++) assert_null(tie[c].by);
}

/* Class 1 has images of its own size; 4 of its 100 are like the others: (0.96 + 1) / 2. */
static void test_size(void **state) {
  (void)state;
  start(3);
  for (int i = 1; i < N; i += 3) record[i].width = i < 12 ? 100 : 120;
  find();
  assert_null(tie[0].by);
  assert_null(tie[2].by);
  assert_string_equal(tie[1].by, "size of the source image");
  assert_true(tie[1].accuracy > 0.97999 && tie[1].accuracy < 0.98001);
  for (int i = 1; i < 60; i += 3) record[i].width = 100; /* 20 of 100: 0.9 is not enough */
  find();
  assert_null(tie[1].by);
}

/* Many sizes, all of them wide: no size tells, the shape does. */
static void test_shape(void **state) {
  (void)state;
  start(3);
  for (int i = 2; i < N; i += 3) record[i].width = 101 + i;
  find();
  assert_string_equal(tie[2].by, "shape of the source image");
  assert_true(tie[2].accuracy == 1);
}

static void test_what_counts(void **state) {
  (void)state;
  start(3);
  for (int i = 0; i < N; i++) record[i].split = i % 3 == 0 && i >= 27 ? -1 : PN_TRAIN;
  for (int i = 0; i < N; i += 3) memcpy(record[i].view, "AP", 3);
  find();
  assert_null(tie[0].by); /* nine images of class 0 are too few to say */
  record[27].split = PN_TEST;
  find();
  assert_string_equal(tie[0].by, "view");
}

/* Of two classes one line says it. */
static void test_json(void **state) {
  json_t *list;
  (void)state;
  start(2);
  for (int i = 0; i < N; i += 2) record[i].sex = 'F';
  list = pn_ingest_ties_json(&x);
  assert_int_equal(json_array_size(list), 1);
  assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "class")),
                      "class0");
  assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "by")), "sex");
  json_decref(list);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_nothing),     cmocka_unit_test(test_size), cmocka_unit_test(test_shape),
      cmocka_unit_test(test_what_counts), cmocka_unit_test(test_json),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
