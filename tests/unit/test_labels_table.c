/* test_labels_table.c -- any labels CSV: columns by their names or named, folds, splits, rows that
 * contradict each other, texts that must be refused with file, line and column (specs/ingest.md
 * 2.3, rows 48 to 52), classes and their order, patients in file names. */
#include "data/dataset.h"
#include "data/kind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static pn_labels labels;
static char text[4096];
static pn_table_rules rules = {"", "", ""};

static pn_status parse(const char *csv) {
  pn_csv_text t = {"my.csv", text, strlen(csv)};

  snprintf(text, sizeof text, "%s", csv);
  pn_labels_free(&labels);
  return pn_labels_table(t, &rules, &labels);
}

static void parses(const char *csv) {
  if (parse(csv) != PN_OK) fail_msg("%s", pn_last_error());
}

static void refused(const char *csv, const char *message) {
  assert_true(parse(csv) != PN_OK);
  if (!strstr(pn_last_error(), message)) fail_msg("no '%s' in '%s'", message, pn_last_error());
}

static const pn_label *find(const char *id) {
  const pn_label *l = pn_labels_find(&labels, id);
  if (!l) fail_msg("no label '%s'", id);
  return l;
}

static void test_columns(void **state) {
  (void)state;

  parses("file,class,patient,sex,age,view,comment\n"
         "a/x.png,covid,p1,F,051Y,pa,Jane Doe\n./b\\y.png,Normal,p2,m,148,AP Supine,\n"
         "z.png,normal,,,95,side,\n");
  assert_int_equal(labels.n, 3);
  assert_int_equal(labels.n_classes, 2);
  assert_string_equal(find("a/x.png")->group, "p1");
  assert_true(find("a/x.png")->sex == 'F' && find("a/x.png")->age == 51);
  assert_string_equal(find("a/x.png")->view, "PA");
  assert_true(find("b/y.png")->sex == 'M' && find("b/y.png")->age == -1);
  assert_string_equal(find("b/y.png")->view, "AP");
  assert_true(!find("z.png")->group && find("z.png")->age == 90);
  assert_string_equal(find("z.png")->view, "");
  assert_int_equal(find("z.png")->target, find("b/y.png")->target);
  assert_int_equal(find("z.png")->split, -1);
}

static void test_named_columns(void **state) {
  (void)state;

  rules.columns = "path=where,label=what";
  parses("what,where\nx,1.dcm\ny,2.dcm\n");
  assert_int_equal(find("2.dcm")->line, 3);
  refused("what,file\nx,1.dcm\n", "my.csv:1: the header has no column 'where'");
  rules.columns = "colour=a";
  refused("label,path\nx,1\n", "expected ROLE=COLUMN");
  rules.columns = "";
  refused("what,where\nx,1.dcm\n", "my.csv:1: no column says the class: name it with "
                                   "ingest.columns=label=COLUMN");
  refused("label,where\nx,1.dcm\n", "no column says which image a row is about");
  parses("PatientID,Diagnosis\np1,sick\np2,well\n"); /* images named by their patient */
  assert_non_null(find("p1"));
}

static void test_51_forms(void **state) {
  static const char *const forms[] = {"\xEF\xBB\xBFpath,label\na,x\nb,y\n",
                                      "path,label\r\na,x\r\nb,y\r\n\r\n",
                                      "\"path\",\"label\"\n\"a\",\"x\"\n\"b\",y",
                                      "path;label\na;x\nb;y\n", "LABEL,PATH\n\nx , a\n  \ny,b\n\n"};
  (void)state;

  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    parses(forms[i]);
    assert_int_equal(labels.n, 2);
    assert_string_equal(labels.class_name[find("b")->target], "y");
  }
}

static void test_52_refused(void **state) {
  (void)state;

  refused("", "the file is empty");
  refused("path,label\na,x\nb\n", "my.csv:3: column 2: the row has 1 columns, the header 2");
  refused("path,label\na,x,1\n", "my.csv:2: column 3");
  refused("path,label\n,x\n", "my.csv:2: column 1 (path): must not be empty");
  refused("path,label,split\na,x,later\n", "my.csv:2: column 3 (split): 'later'");
}

static void test_contradictions(void **state) {
  (void)state;

  parses("path,label,patient,split\na,x,p,train\na,y,p,train\nb,x,p,train\nb,x,q,train\n"
         "c,x,p,train\nc,x,p,test\nd,,p,train\ne,y,p,train\ne,y,p,train\n");
  assert_int_equal(labels.n, 5);
  assert_string_equal(find("a")->conflict, "target_conflict");
  assert_int_equal(find("a")->conflict_line, 3);
  assert_string_equal(find("b")->conflict, "patient_conflict");
  assert_string_equal(find("c")->conflict, "split_conflict");
  assert_string_equal(find("d")->conflict, "empty_label");
  assert_null(find("e")->conflict);
}

static void test_splits_and_folds(void **state) {
  (void)state;

  parses("path,label,split\na,x,TRAIN\nb,y,Validation\nc,x,test\nd,y,\n");
  assert_int_equal(find("a")->split, PN_TRAIN);
  assert_int_equal(find("b")->split, PN_VAL);
  assert_int_equal(find("c")->split, PN_TEST);
  assert_int_equal(find("d")->split, -1);
  parses("path,label,fold\na,x,0\nb,y,1\nc,x,2\n");
  assert_int_equal(find("a")->split, -1); /* a fold is no split until one is asked for */
  rules.test_fold = "1";
  parses("path,label,fold\na,x,0\nb,y,1\nc,x,2\n");
  assert_true(find("a")->split == PN_TRAIN && find("b")->split == PN_TEST);
  rules.val_fold = "2";
  parses("path,label,fold\na,x,0\nb,y,1\nc,x,2\n");
  assert_int_equal(find("c")->split, PN_VAL);
  rules.test_fold = "7";
  refused("path,label,fold\na,x,0\nb,y,1\nc,x,2\n", "no row has fold '7' (ingest.test_fold)");
  refused("path,label\na,x\n", "no fold column");
  rules.test_fold = rules.val_fold = "";
}

static void test_class_order(void **state) {
  (void)state;

  parses("path,label\na,pneumonia\nb,NORMAL\nc,Normal\nd,covid\n");
  assert_int_equal(pn_labels_order(&labels, ""), PN_OK);
  assert_string_equal(labels.class_name[0], "covid");
  assert_string_equal(labels.class_name[1], "NORMAL");
  assert_int_equal(find("a")->target, 2);
  assert_true(find("b")->target == 1 && find("c")->target == 1);
  assert_int_equal(pn_labels_order(&labels, "normal, covid"), PN_OK);
  assert_int_equal(labels.n_classes, 2);
  assert_true(find("b")->target == 0 && find("d")->target == 1 && find("a")->target == -1);
  assert_int_equal(pn_labels_order(&labels, "normal,flu"), PN_ERR_ARG);
  assert_non_null(strstr(pn_last_error(), "no class 'flu'"));
  parses("path,label\na,COVID\nb,Normal\n"); /* the positive class is number 1 */
  assert_int_equal(pn_labels_order(&labels, ""), PN_OK);
  assert_string_equal(labels.class_name[1], "COVID");
  assert_int_equal(find("a")->target, 1);
}

static void test_too_many_classes(void **state) {
  size_t n = (size_t)snprintf(text, sizeof text, "path,label\n");
  char csv[4096];
  (void)state;

  for (int i = 0; i <= PN_MAX_CLASSES; i++)
    n += (size_t)snprintf(text + n, sizeof text - n, "f%d,c%d\n", i, i);
  memcpy(csv, text, n + 1);
  refused(csv, "my.csv:130: column 2 (label): 'c128' would be class number 129");
}

static void test_is_table(void **state) {
  static const char good[] = "file,class\nx,y\n", bad[] = "a,b\n1,2\n";
  (void)state;

  assert_true(pn_labels_is_table(good, strlen(good), ""));
  assert_false(pn_labels_is_table(bad, strlen(bad), ""));
  assert_true(pn_labels_is_table(bad, strlen(bad), "path=a,label=b"));
  assert_false(pn_labels_is_table("", 0, ""));
}

/* Row numbers of the files, as kind csv finds them. */
static void test_match(void **state) {
  static const struct {
    const char *path;
    int64_t label;
  } cases[] = {{"in/a/1.png", 0}, {"in/b/1.png", 1},   {"x/only.png", 2}, {"deep/stem.jpeg", 3},
               {"none.png", -1},  {"c/twice.png", -2}, {"t1/f.png", -2},  {"t2/f.png", -2}};
  enum { N = sizeof cases / sizeof *cases };
  pn_ingest_file file[N];
  pn_ingest_source s = {.file = file, .n = N};
  (void)state;

  memset(file, 0, sizeof file);
  for (int i = 0; i < N; i++) file[i].path = cases[i].path;
  parses("path,label\na/1.png,x\nb/1.png,y\nelse/only.png,x\nstem,y\nd/twice.png,x\n"
         "e/twice.png,y\nf.png,x\n");
  s.labels = labels;
  assert_int_equal(pn_labels_match(&s), PN_OK);
  for (int i = 0; i < N; i++) {
    static const char *const ids[] = {"a/1.png", "b/1.png", "else/only.png", "stem"};
    int64_t want = cases[i].label;
    if (want >= 0) want = find(ids[want]) - labels.label;
    if (file[i].label != want)
      fail_msg("%s: row %lld, expected %lld", cases[i].path, (long long)file[i].label,
               (long long)want);
  }
}

static void test_patient_names(void **state) {
  static const char *const cases[][2] = {
      {"normal/00012345_003.png", "nih00012345"},
      {"PNEUMONIA/person12_bacteria_3.jpeg", "kermany person12"},
      {"person12_virus_99.jpeg", "kermany person12"},
      {"IM-0115-0001.jpeg", "kermany IM-0115"},
      {"NORMAL2-IM-0529-0001-0002.jpeg", "kermany NORMAL2-IM-0529"},
      {"BACTERIA-1008087-0001.jpeg", "kermany 1008087"},
      {"NORMAL-1008087-0002.jpeg", "kermany 1008087"}};
  static const char *const others[] = {"COVID-1.png",    "0000.jpg",    "person.png",
                                       "x/1234_567.png", "IM-0115.png", ""};
  char out[80];
  (void)state;

  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_true(pn_patient_of_name(cases[i][0], out, sizeof out));
    assert_string_equal(out, cases[i][1]);
  }
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    assert_false(pn_patient_of_name(others[i], out, sizeof out));
}

static void test_rsna_groups(void **state) {
  static const char rows[] = "patientId,x,y,width,height,Target\na,,,,,0\nb,,,,,0\nc,,,,,0\n";
  static char json[] = "[{\"subset_img_id\":\"a\",\"img_id\":\"00000007_001.png\"},"
                       "{\"subset_img_id\":\"c\",\"img_id\":\"00000007_002.png\"},"
                       "{\"subset_img_id\":\"zz\",\"img_id\":\"00000009_002.png\"}]";
  static char wrong[] = "[{\"subset_img_id\":\"a\",\"img_id\":\"7.png\"}]";
  pn_csv_text t = {"l.csv", text, strlen(rows)}, none = {0};
  int64_t mapped = 0;
  (void)state;

  snprintf(text, sizeof text, "%s", rows);
  pn_labels_free(&labels);
  assert_int_equal(pn_labels_parse(t, none, &labels), PN_OK);
  assert_int_equal(
      pn_labels_map_groups((pn_csv_text){"m.json", json, strlen(json)}, &labels, &mapped), PN_OK);
  assert_int_equal(mapped, 2);
  assert_string_equal(find("a")->group, find("c")->group);
  assert_null(find("b")->group);
  free(labels.groups);
  labels.groups = NULL;
  assert_int_equal(
      pn_labels_map_groups((pn_csv_text){"m.json", wrong, strlen(wrong)}, &labels, &mapped),
      PN_ERR_FORMAT);
  assert_non_null(strstr(pn_last_error(), "m.json: record 1"));
}

static int leave(void **state) {
  (void)state;
  pn_labels_free(&labels);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_columns),        cmocka_unit_test(test_named_columns),
      cmocka_unit_test(test_51_forms),       cmocka_unit_test(test_52_refused),
      cmocka_unit_test(test_contradictions), cmocka_unit_test(test_splits_and_folds),
      cmocka_unit_test(test_class_order),    cmocka_unit_test(test_too_many_classes),
      cmocka_unit_test(test_is_table),       cmocka_unit_test(test_match),
      cmocka_unit_test(test_patient_names),  cmocka_unit_test(test_rsna_groups),
  };
  return cmocka_run_group_tests(tests, NULL, leave);
}
