/* test_options.c -- the option table and its values: ranges, defaults, origins, messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/option_value.h"
#include "data/ingest.h"
#include "data/synth.h"
#include "models/models.h"
#include "optim/optim.h"

#include <string.h>

enum { ALL_COMMANDS = 63 | PN_CMD_BENCH | PN_CMD_VERIFY | PN_CMD_RUN | PN_CMD_PREDICT };

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

static void expect_refused(pn_options *o, const char *key, const char *value) {
  char before[256];
  snprintf(before, sizeof before, "%s", pn_option_find(key) ? pn_options_text(o, key) : "");
  assert_int_equal(pn_options_set(o, key, value, "command line"), PN_ERR_ARG);
  if (pn_option_find(key)) assert_string_equal(pn_options_text(o, key), before);
}

/* ---- the table ---- */

static void test_every_default_is_valid(void **state) {
  int n;
  const pn_option *row = pn_option_table(&n);
  (void)state;

  assert_true(n > 40);
  for (int i = 0; i < n; i++) {
    pn_option_value v;
    if (pn_option_parse(&row[i], row[i].dflt, "", &v) != PN_OK) fail_msg("%s", pn_last_error());
    assert_true(row[i].lo <= row[i].hi);
    assert_true(strlen(row[i].help) > 2 && row[i].commands && row[i].commands <= ALL_COMMANDS);
    assert_true((row[i].type == PN_T_CHOICE) == (row[i].choices != NULL));
    for (int j = 0; j < i; j++) assert_string_not_equal(row[i].key, row[j].key);
  }
}

/* Numbers just outside each row's range are refused, its bounds are taken. */
static void test_every_range_holds(void **state) {
  int n;
  const pn_option *row = pn_option_table(&n);
  (void)state;

  for (int i = 0; i < n; i++) {
    char lo[64], hi[64], below[64], above[64];
    pn_option_value v;
    if (row[i].type != PN_T_INT && row[i].type != PN_T_FLOAT) continue;
    snprintf(lo, sizeof lo, row[i].type == PN_T_INT ? "%.0f" : "%.17g", row[i].lo);
    snprintf(hi, sizeof hi, row[i].type == PN_T_INT ? "%.0f" : "%.17g", row[i].hi);
    snprintf(below, sizeof below, row[i].type == PN_T_INT ? "%.0f" : "%.17g", row[i].lo - 1);
    snprintf(above, sizeof above, row[i].type == PN_T_INT ? "%.0f" : "%.17g", row[i].hi + 2);
    assert_int_equal(pn_option_parse(&row[i], lo, "", &v), PN_OK);
    assert_int_equal(pn_option_parse(&row[i], hi, "", &v), PN_OK);
    assert_int_equal(pn_option_parse(&row[i], below, "", &v), PN_ERR_ARG);
    assert_int_equal(pn_option_parse(&row[i], above, "", &v), PN_ERR_ARG);
    assert_int_equal(pn_option_parse(&row[i], "nan", "", &v), PN_ERR_ARG);
    assert_int_equal(pn_option_parse(&row[i], "", "", &v), PN_ERR_ARG);
    assert_int_equal(pn_option_parse(&row[i], "1 2", "", &v), PN_ERR_ARG);
  }
}

static void test_defaults_are_those_of_the_rooms(void **state) {
  pn_options *o = options_of(ALL_COMMANDS);
  pn_model_config m;
  pn_optim_config p;
  pn_synth_config s = pn_synth_defaults();
  pn_ingest_config g;
  int64_t hw[2];
  (void)state;

  pn_model_defaults(&m);
  assert_int_equal(pn_options_int(o, "model.filters1"), m.filters[0]);
  assert_int_equal(pn_options_int(o, "model.filters2"), m.filters[1]);
  assert_int_equal(pn_options_int(o, "model.kernel"), m.kernel);
  assert_int_equal(pn_options_int(o, "model.hidden"), m.hidden);
  assert_true((strcmp(pn_options_text(o, "model.padding"), "same") == 0) == m.padding);
  assert_true((float)pn_options_float(o, "model.dropout") == m.dropout);
  pn_optim_defaults(&p);
  assert_string_equal(pn_options_text(o, "optim.name"), p.name);
  assert_true(pn_options_float(o, "optim.lr") == p.lr);
  assert_true(pn_options_float(o, "optim.beta1") == p.beta1);
  assert_true(pn_options_float(o, "optim.beta2") == p.beta2);
  assert_true(pn_options_float(o, "optim.eps") == p.eps);
  assert_int_equal(pn_options_int(o, "synth.images"), s.images);
  assert_int_equal(pn_options_int(o, "synth.quality"), s.quality);
  assert_true(pn_options_float(o, "synth.positives") == s.positives);
  assert_true(pn_options_float(o, "synth.normals") == s.normals);
  pn_ingest_config_init(&g);
  pn_options_size(o, "ingest.size", hw);
  assert_true(hw[0] == g.height && hw[1] == g.width);
  assert_true(pn_options_float(o, "ingest.val") == g.val_share);
  assert_true(pn_options_float(o, "ingest.test") == g.test_share);
  assert_int_equal(pn_options_int(o, "ingest.shard_mb"), g.shard_mb);
  assert_int_equal(pn_options_int(o, "ingest.max_rejects"), g.max_rejects);
  assert_string_equal(pn_options_text(o, "ingest.salt"), g.salt);
  pn_options_destroy(o);
}

/* ---- setting ---- */

static void test_set_and_origin(void **state) {
  pn_options *o = options_of(PN_CMD_TRAIN), *copy = NULL;
  (void)state;

  assert_false(pn_options_given(o, "train.batch"));
  assert_int_equal(pn_options_set(o, "train.batch", "64", "x.yaml:4"), PN_OK);
  assert_int_equal(pn_options_set(o, "optim.lr", "3e-4", "command line"), PN_OK);
  assert_int_equal(pn_options_set(o, "train.validate", "off", "command line"), PN_OK);
  assert_int_equal(pn_options_int(o, "train.batch"), 64);
  assert_true(pn_options_float(o, "optim.lr") == 3e-4);
  assert_false(pn_options_bool(o, "train.validate"));
  assert_string_equal(pn_options_origin(o, "train.batch"), "x.yaml:4");
  assert_int_equal(pn_options_copy(o, &copy), PN_OK);
  assert_int_equal(pn_options_set(o, "train.batch", "8", "command line"), PN_OK);
  assert_int_equal(pn_options_int(copy, "train.batch"), 64);
  assert_string_equal(pn_options_origin(copy, "train.batch"), "x.yaml:4");
  assert_true(pn_options_given(copy, "optim.lr"));
  pn_options_destroy(copy);
  pn_options_destroy(o);
}

static void test_wrong_values_say_what_is_expected(void **state) {
  pn_options *o = options_of(PN_CMD_TRAIN | PN_CMD_INGEST);
  (void)state;

  expect_refused(o, "train.batch", "0");
  expect_words("train.batch=0", "[1, 1048576]", "images per step");
  expect_refused(o, "train.batch", "3.5");
  expect_refused(o, "train.batch", "auto");
  expect_refused(o, "train.batch", "99999999999999999999");
  expect_refused(o, "optim.lr", "0x1");
  expect_refused(o, "train.validate", "maybe");
  expect_words("true or false", NULL, NULL);
  expect_refused(o, "optim.name", "adm");
  expect_words("adam, ", "did you mean 'adam'?", NULL);
  expect_refused(o, "ingest.size", "128x");
  expect_refused(o, "ingest.size", "2");
  expect_refused(o, "data.path", "\xff\xfe");
  expect_words("UTF-8", NULL, NULL);
  pn_options_destroy(o);
}

static void test_auto_is_zero(void **state) {
  pn_options *o = options_of(PN_CMD_TRAIN);
  (void)state;

  assert_int_equal(pn_options_int(o, "train.threads"), 0);
  assert_int_equal(pn_options_set(o, "train.threads", "3", "command line"), PN_OK);
  assert_int_equal(pn_options_int(o, "train.threads"), 3);
  assert_int_equal(pn_options_set(o, "train.threads", "auto", "command line"), PN_OK);
  assert_int_equal(pn_options_int(o, "train.threads"), 0);
  pn_options_destroy(o);
}

static void test_sizes(void **state) {
  pn_options *o = options_of(PN_CMD_INGEST);
  int64_t hw[2];
  (void)state;

  assert_int_equal(pn_options_set(o, "ingest.size", "96x64", "command line"), PN_OK);
  pn_options_size(o, "ingest.size", hw);
  assert_true(hw[0] == 96 && hw[1] == 64);
  assert_int_equal(pn_options_set(o, "ingest.size", "224", "command line"), PN_OK);
  pn_options_size(o, "ingest.size", hw);
  assert_true(hw[0] == 224 && hw[1] == 224);
  pn_options_destroy(o);
}

static void test_typo_names_the_nearest_key(void **state) {
  pn_options *o = options_of(PN_CMD_TRAIN);
  (void)state;

  expect_refused(o, "train.bacth", "1");
  expect_words("unknown option 'train.bacth'", "did you mean 'train.batch'?", NULL);
  expect_refused(o, "epochs", "1");
  expect_words("did you mean 'train.epochs'?", NULL, NULL);
  expect_refused(o, "optim.epochs", "3");
  expect_words("did you mean 'train.epochs'?", NULL, NULL);
  expect_refused(o, "out", "x");
  expect_words("did you mean 'out.path'?", NULL, NULL);
  expect_refused(o, "completely.different", "1");
  assert_null(strstr(pn_last_error(), "did you mean"));
  expect_refused(o, "synth.images", "10");
  expect_words("synth.images", "no effect on this command", NULL);
  pn_options_destroy(o);
}

/* ---- JSON of the effective options ---- */

static void test_options_json(void **state) {
  pn_options *o = options_of(PN_CMD_TRAIN);
  json_t *all, *batch, *threads;
  (void)state;

  assert_int_equal(pn_options_set(o, "train.batch", "64", "command line"), PN_OK);
  all = pn_options_json(o);
  batch = json_object_get(all, "train.batch");
  threads = json_object_get(all, "train.threads");
  assert_int_equal(json_integer_value(json_object_get(batch, "value")), 64);
  assert_string_equal(json_string_value(json_object_get(batch, "origin")), "command line");
  assert_string_equal(json_string_value(json_object_get(threads, "value")), "auto");
  assert_string_equal(json_string_value(json_object_get(threads, "origin")), "default");
  assert_null(json_object_get(all, "synth.images"));
  json_decref(all);
  pn_options_destroy(o);
}

static void test_options_from_json(void **state) {
  pn_options *o = options_of(PN_CMD_TRAIN);
  json_t *doc = json_pack("{s:{s:i, s:f}, s:s}", "train", "batch", 12, "bucket_mb", 0.1,
                          "train.device", "ref");
  (void)state;

  assert_int_equal(pn_options_load_json(o, doc, "row 2"), PN_OK);
  assert_int_equal(pn_options_int(o, "train.batch"), 12);
  assert_string_equal(pn_options_text(o, "train.bucket_mb"), "0.1");
  assert_string_equal(pn_options_origin(o, "train.device"), "row 2");
  json_decref(doc);
  pn_options_destroy(o);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_default_is_valid),
      cmocka_unit_test(test_every_range_holds),
      cmocka_unit_test(test_defaults_are_those_of_the_rooms),
      cmocka_unit_test(test_set_and_origin),
      cmocka_unit_test(test_wrong_values_say_what_is_expected),
      cmocka_unit_test(test_auto_is_zero),
      cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_typo_names_the_nearest_key),
      cmocka_unit_test(test_options_json),
      cmocka_unit_test(test_options_from_json),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
