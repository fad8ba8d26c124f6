/* test_yaml.c -- YAML files: types, lines, errors; options read from them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/options.h"
#include "cli/yaml.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pn_options *options_of(unsigned command) {
  pn_options *o = NULL;
  assert_int_equal(pn_options_create(command, &o), PN_OK);
  return o;
}

/* The last error holds every one of the words. */
static void expect_words(const char *a, const char *b, const char *c) {
  const char *words[] = {a, b, c};
  for (int i = 0; i < 3; i++)
    if (words[i] && !strstr(pn_last_error(), words[i]))
      fail_msg("'%s' does not name '%s'", pn_last_error(), words[i]);
}

static const char *yaml_file(const char *text) {
  static char path[] = "/tmp/pn_test_options.XXXXXX.yaml";
  static char name[sizeof path];
  int fd;

  memcpy(name, "/tmp/pn_test_options.XXXXXX.yaml", sizeof path);
  fd = mkstemps(name, 5);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
  close(fd);
  return name;
}

static pn_status load_text(pn_options *o, const char *text) {
  const char *path = yaml_file(text);
  pn_status st = pn_options_load_yaml(o, path);
  unlink(path);
  return st;
}

static void test_yaml_values_and_lines(void **state) {
  pn_options *o = options_of(PN_CMD_TRAIN | PN_CMD_INGEST);
  int64_t hw[2];
  (void)state;

  assert_int_equal(load_text(o, "# a comment\n"
                                "train:\n"
                                "  batch: 64\n"
                                "  validate: no\n"
                                "optim: {lr: 1e-3, name: sgd}\n"
                                "ingest.size: 96x64\n"
                                "data:\n"
                                "  path: \"007\"\n"),
                   PN_OK);
  assert_int_equal(pn_options_int(o, "train.batch"), 64);
  assert_false(pn_options_bool(o, "train.validate"));
  assert_true(pn_options_float(o, "optim.lr") == 1e-3);
  assert_string_equal(pn_options_text(o, "optim.name"), "sgd");
  assert_string_equal(pn_options_text(o, "data.path"), "007");
  pn_options_size(o, "ingest.size", hw);
  assert_true(hw[0] == 96 && hw[1] == 64);
  assert_non_null(strstr(pn_options_origin(o, "train.batch"), ".yaml:3"));
  assert_non_null(strstr(pn_options_origin(o, "optim.name"), ".yaml:5"));
  assert_non_null(strstr(pn_options_origin(o, "data.path"), ".yaml:8"));
  pn_options_destroy(o);
}

static void test_yaml_errors_name_the_line(void **state) {
  static const struct {
    const char *text, *word, *also;
  } wrong[] = {
      {"train:\n  batch: 0\n", ".yaml:2: train.batch=0", "[1, "},
      {"train:\n  bacth: 1\n", ".yaml:2: unknown option", "train.batch"},
      {"train:\n  batch: 1\n  batch: 2\n", ".yaml:3: ", "given twice"},
      {"train:\n  batch: 1\ntrain.batch: 2\n", ".yaml:3: ", "given twice"},
      {"train:\n  batch: [1, 2]\n", ".yaml:2: ", "one value"},
      {"train:\n  batch:\n", ".yaml:2: ", "nothing"},
      {"train: {batch: 1\n", "not valid YAML", NULL},
      {"train:\n\tbatch: 1\n", "not valid YAML", NULL},
      {"- 1\n- 2\n", "sections", NULL},
      {"train: {batch: 1}\n---\ntrain: {batch: 2}\n", "second YAML document", NULL},
      {"a: &x [*x]\n", NULL, NULL},
      {"? [1, 2]\n: 3\n", "plain word", NULL},
      {"synth: {images: 4}\n", "no effect", ".yaml:1"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    pn_options *o = options_of(PN_CMD_TRAIN);
    if (load_text(o, wrong[i].text) != PN_ERR_ARG) fail_msg("accepted: %s", wrong[i].text);
    expect_words(wrong[i].word, wrong[i].also, NULL);
    pn_options_destroy(o);
  }
}

static void test_yaml_missing_file(void **state) {
  pn_options *o = options_of(PN_CMD_TRAIN);
  (void)state;
  assert_int_equal(pn_options_load_yaml(o, "/no/such.yaml"), PN_ERR_ARG);
  expect_words("/no/such.yaml", "No such file", NULL);
  pn_options_destroy(o);
}

static void test_yaml_empty_and_study(void **state) {
  pn_options *o = options_of(PN_CMD_TRAIN | PN_CMD_STUDY);
  (void)state;
  assert_int_equal(load_text(o, ""), PN_OK);
  assert_int_equal(load_text(o, "# nothing\n"), PN_OK);
  assert_int_equal(load_text(o, "train: {batch: 8}\nstudy:\n  rows:\n    - {name: a, ranks: 2}\n"),
                   PN_OK);
  assert_int_equal(pn_options_int(o, "train.batch"), 8);
  assert_int_equal(load_text(o, "study: {rosw: 3}\n"), PN_ERR_ARG);
  pn_options_destroy(o);
}

static void test_yaml_types(void **state) {
  const char *path = yaml_file("i: 12\nneg: -3\noct: 012\nf: 1.5\ne: 1e3\nb: true\nno: no\n"
                               "n: null\nq: '5'\nlist: [1, {k: v}]\nv: 1.2.3\n");
  json_t *doc = NULL, *lines = NULL;
  (void)state;

  assert_int_equal(pn_yaml_load_lines(path, &doc, &lines), PN_OK);
  unlink(path);
  assert_int_equal(json_integer_value(json_object_get(doc, "i")), 12);
  assert_int_equal(json_integer_value(json_object_get(doc, "neg")), -3);
  assert_true(json_is_string(json_object_get(doc, "oct")));
  assert_true(json_real_value(json_object_get(doc, "f")) == 1.5);
  assert_true(json_real_value(json_object_get(doc, "e")) == 1000.0);
  assert_true(json_is_true(json_object_get(doc, "b")));
  assert_true(json_is_string(json_object_get(doc, "no")));
  assert_true(json_is_null(json_object_get(doc, "n")));
  assert_true(json_is_string(json_object_get(doc, "q")));
  assert_true(json_is_string(json_object_get(doc, "v")));
  assert_int_equal(json_array_size(json_object_get(doc, "list")), 2);
  assert_int_equal(json_integer_value(json_object_get(lines, "list[1].k")), 10);
  json_decref(doc);
  json_decref(lines);
}

/* Nine levels of ten aliases each: refused long before memory runs out. */
static void test_yaml_alias_bomb(void **state) {
  char text[2048] = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  json_t *doc = NULL;
  const char *path;
  (void)state;

  for (int i = 1; i < 9; i++)
    for (int j = 0; j < 10; j++) {
      size_t n = strlen(text);
      if (j == 0) n += (size_t)snprintf(text + n, sizeof text - n, "a%d: &a%d [", i, i);
      snprintf(text + n, sizeof text - n, "*a%d%s", i - 1, j < 9 ? ", " : "]\n");
    }
  path = yaml_file(text);
  assert_int_equal(pn_yaml_load(path, &doc), PN_ERR_ARG);
  unlink(path);
  expect_words("too many", NULL, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_yaml_values_and_lines),
      cmocka_unit_test(test_yaml_errors_name_the_line),
      cmocka_unit_test(test_yaml_missing_file),
      cmocka_unit_test(test_yaml_empty_and_study),
      cmocka_unit_test(test_yaml_types),
      cmocka_unit_test(test_yaml_alias_bomb),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
