/* test_labels.c -- CSV forms that must be read, texts that must be refused with file, line and
 * column, and contradictions between rows (specs/ingest.md 2.3, rows 49 to 52). */
#include "data/labels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEADER "patientId,x,y,width,height,Target\n"
static pn_labels labels;
static char texts[2][2048];

static pn_status parse(const char *rows, const char *classes) {
  pn_csv_text a = {"labels.csv", texts[0], strlen(rows)};
  pn_csv_text b = {"classes.csv", classes ? texts[1] : NULL, classes ? strlen(classes) : 0};

  snprintf(texts[0], sizeof texts[0], "%s", rows);
  snprintf(texts[1], sizeof texts[1], "%s", classes ? classes : "");
  pn_labels_free(&labels);
  return pn_labels_parse(a, b, &labels);
}

static void parses(const char *rows, const char *classes) {
  if (parse(rows, classes) != PN_OK) fail_msg("%s", pn_last_error());
}

static void test_rows(void **state) {
  const pn_label *l;
  (void)state;
  parses(HEADER "b,,,,,0\na,10.5,20,30,40,1\na,1,2,3,4,1\n",
         "patientId,class\nb,Normal\na,Lung Opacity\na,Lung Opacity\n");
  assert_int_equal(labels.n, 2);
  l = pn_labels_find(&labels, "a");
  assert_non_null(l);
  assert_int_equal(l->target, PN_RSNA_OPACITY);
  assert_int_equal(l->n_boxes, 2);
  assert_int_equal(l->line, 3);
  assert_true(labels.box[l->first_box].x == 10.5);
  assert_true(labels.box[l->first_box].height == 40);
  assert_int_equal(labels.box[l->first_box + 1].line, 4);
  assert_null(l->conflict);
  l = pn_labels_find(&labels, "b");
  assert_int_equal(l->target, PN_RSNA_NORMAL);
  assert_int_equal(l->n_boxes, 0);
  assert_null(pn_labels_find(&labels, "c"));
}

static void test_51_forms(void **state) {
  static const char *const forms[] = {
      "\xEF\xBB\xBF" HEADER "a,1,2,3,4,1\nb,,,,,0\n",
      "patientId,x,y,width,height,Target\r\na,1,2,3,4,1\r\nb,,,,,0\r\n\r\n\r\n",
      "\"patientId\",\"x\",y,width,height,Target\n\"a\",\"1\",2,3,\"4\",1\n\"b\",,,,,0",
      "patientId;x;y;width;height;Target\na;1;2;3;4;1\nb;;;;;0\n",
      "PATIENTID,X,Y,WIDTH,HEIGHT,TARGET\n\n a , 1,2,3 ,4,1\n  \nb,,,,,0",
      "Target,patientId,height,width,y,x,note\n1,a,4,3,2,1,\"more, \"\"text\"\"\nof two lines\"\n"
      "0,b,,,,,\n",
  };
  (void)state;
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    const pn_label *l;
    parses(forms[i], NULL);
    assert_int_equal(labels.n, 2);
    l = pn_labels_find(&labels, "a");
    assert_non_null(l);
    assert_int_equal(l->n_boxes, 1);
    assert_true(labels.box[l->first_box].x == 1 && labels.box[l->first_box].y == 2 &&
                labels.box[l->first_box].width == 3 && labels.box[l->first_box].height == 4);
    assert_int_equal(pn_labels_find(&labels, "b")->target, 0);
  }
}

static void test_52_refused(void **state) {
  static const struct {
    const char *rows, *classes, *says;
  } cases[] = {
      {"", NULL, "labels.csv: the file is empty"},
      {"id,x,y,width,height,Target\n", NULL, "labels.csv:1: the header has no column 'patientId'"},
      {HEADER "a,1,2,3,4\n", NULL, "labels.csv:2: column 6: the row has 5 columns"},
      {HEADER "a,1,2,3,4,1,9\n", NULL, "labels.csv:2: column 7: the row has 7 columns"},
      {HEADER "b,,,,,0\na,1,2,wide,4,1\n", NULL, "labels.csv:3: column 4 (width): 'wide'"},
      {HEADER "a,1,2,3,4,2\n", NULL, "labels.csv:2: column 6 (Target): '2'"},
      {HEADER "a,1,2,3,4,\n", NULL, "labels.csv:2: column 6 (Target)"},
      {HEADER ",1,2,3,4,1\n", NULL, "labels.csv:2: column 1 (patientId): must not be empty"},
      {HEADER "\"a,1,2,3,4,1\n", NULL, "labels.csv:2: column 1: a quote is not closed"},
      {HEADER "\"a\"b,1,2,3,4,1\n", NULL, "labels.csv:2: column 1: text after the closing quote"},
      {"x," HEADER "1,a,1,2,3,4,1\n", NULL, "column 'x' is there twice"},
      {HEADER "a,,,,,0\n", "patientId,class\na,Fine\n", "classes.csv:2: column 2 (class): 'Fine'"},
      {HEADER "a,,,,,0\n", "patientId\na\n", "classes.csv:1: the header has no column 'class'"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(parse(cases[i].rows, cases[i].classes), PN_ERR_FORMAT);
    if (!strstr(pn_last_error(), cases[i].says))
      fail_msg("case %zu says '%s', expected '%s'", i, pn_last_error(), cases[i].says);
    assert_int_equal(labels.n, 0);
  }
}

static void test_nul_byte(void **state) {
  pn_csv_text a = {"labels.csv", texts[0], 40};
  (void)state;
  memset(texts[0], 0, sizeof texts[0]);
  memcpy(texts[0], "patientId\0", 10);
  assert_int_equal(pn_labels_parse(a, (pn_csv_text){0}, &labels), PN_ERR_FORMAT);
  assert_non_null(strstr(pn_last_error(), "byte 9 is 0"));
}

static void test_50_conflicts(void **state) {
  static const struct {
    const char *rows, *classes, *conflict;
    int line;
    bool in_classes;
  } cases[] = {
      {"a,1,2,3,4,1\na,,,,,0\n", NULL, "target_conflict", 3, false},
      {"a,1,2,3,4,0\n", NULL, "box_without_target", 2, false},
      {"a,,,,,0\n", "patientId,class\na,Lung Opacity\n", "class_conflict", 2, true},
      {"a,1,2,3,4,1\n", "patientId,class\nz,Normal\na,Normal\n", "class_conflict", 3, true},
      {"a,,,,,0\n", "patientId,class\na,Normal\na,No Lung Opacity / Not Normal\n", "class_conflict",
       3, true},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char rows[256];
    const pn_label *l;
    snprintf(rows, sizeof rows, HEADER "%sb,,,,,0\n", cases[i].rows);
    parses(rows, cases[i].classes);
    l = pn_labels_find(&labels, "a");
    assert_non_null(l->conflict);
    assert_string_equal(l->conflict, cases[i].conflict);
    assert_int_equal(l->conflict_line, cases[i].line);
    assert_int_equal(l->conflict_in_classes, cases[i].in_classes);
    assert_null(pn_labels_find(&labels, "b")->conflict);
  }
}

/* 49: odd boxes are kept as they are; ingest checks them against the image. */
static void test_odd_boxes(void **state) {
  (void)state;
  parses(HEADER "a,nan,2,3,4,1\na,,,,,1\na,-5,2,3,4,1\n", NULL);
  assert_int_equal(labels.n_boxes, 3);
  assert_true(isnan(labels.box[0].x) && isnan(labels.box[1].width) && labels.box[2].x == -5);
}

static int teardown(void **state) {
  (void)state;
  pn_labels_free(&labels);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rows),         cmocka_unit_test(test_51_forms),
      cmocka_unit_test(test_52_refused),   cmocka_unit_test(test_nul_byte),
      cmocka_unit_test(test_50_conflicts), cmocka_unit_test(test_odd_boxes),
  };
  return cmocka_run_group_tests(tests, NULL, teardown);
}
