/* test_args.c -- the command line taken apart; texts for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/args.h"
#include "cli/nearest.h"
#include "cli/report.h"
#include "cli/units.h"

#include <math.h>
#include <string.h>

/* The last error holds every one of the words. */
static void expect_words(const char *a, const char *b, const char *c) {
  const char *words[] = {a, b, c};
  for (int i = 0; i < 3; i++)
    if (words[i] && !strstr(pn_last_error(), words[i]))
      fail_msg("'%s' does not name '%s'", pn_last_error(), words[i]);
}

typedef struct {
  pn_args a;
  pn_status st;
} parsed;

static parsed parse(const char *line) {
  static char text[512];
  char *argv[32] = {"pneuma"}, *save = NULL;
  int argc = 1;
  parsed p;

  snprintf(text, sizeof text, "%s", line);
  for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) argv[argc++] = w;
  p.st = pn_args_parse(argc, argv, &p.a);
  return p;
}

static void test_args_in_any_order(void **state) {
  static const char *const lines[] = {
      "ingest IN OUT --size 96 --json ingest.seed=3",
      "--json ingest ingest.seed=3 --size=96 IN OUT",
      "ingest --size 96 IN --json ingest.seed=3 OUT",
      "ingest IN --ingest.size 96 OUT --ingest.seed=3 --json",
      "ingest ingest.size=96 --seed 3 --json -- IN OUT",
  };
  (void)state;
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    parsed p = parse(lines[i]);
    const char *size = NULL, *seed = NULL;
    assert_int_equal(p.st, PN_OK);
    assert_true(p.a.json && !p.a.quiet);
    assert_int_equal(p.a.n_args, 2);
    assert_string_equal(p.a.args[0], "IN");
    assert_string_equal(p.a.args[1], "OUT");
    assert_int_equal(p.a.n_sets, 2);
    for (int j = 0; j < 2; j++) {
      if (strcmp(p.a.set[j].key, "ingest.size") == 0) size = p.a.set[j].value;
      if (strcmp(p.a.set[j].key, "ingest.seed") == 0) seed = p.a.set[j].value;
    }
    assert_non_null(size);
    assert_non_null(seed);
    assert_string_equal(size, "96");
    assert_string_equal(seed, "3");
    pn_args_free(&p.a);
  }
}

static void test_args_short_names(void **state) {
  parsed p = parse("train --data D --model custom_cnn --weight-decay 0.1 --nesterov --out R");
  static const char *const keys[] = {"data.path", "model.name", "optim.weight_decay",
                                     "optim.nesterov", "out.path"};
  (void)state;

  assert_int_equal(p.st, PN_OK);
  assert_int_equal(p.a.n_sets, 5);
  for (int i = 0; i < 5; i++) assert_string_equal(p.a.set[i].key, keys[i]);
  assert_string_equal(p.a.set[3].value, "true");
  pn_args_free(&p.a);
}

static void test_args_errors(void **state) {
  static const struct {
    const char *line, *word;
  } wrong[] = {
      {"trian", "did you mean 'train'?"},
      {"frobnicate", "unknown command 'frobnicate'"},
      {"train --epcohs 3", "did you mean '--epochs'?"},
      {"train --jsno", "did you mean '--json'?"},
      {"train --path x", "data.path, out.path"},
      {"train --epochs", "needs a value"},
      {"train -x", "unknown option '-x'"},
      {"train a.yaml b.yaml", "unexpected argument 'b.yaml'"},
      {"ingest IN", "usage: pneuma ingest IN OUT"},
      {"synth --json", "missing argument"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    parsed p = parse(wrong[i].line);
    if (p.st != PN_ERR_ARG) fail_msg("accepted: %s", wrong[i].line);
    expect_words(wrong[i].word, NULL, NULL);
    assert_true(p.a.json == (strstr(wrong[i].line, "--json") != NULL));
    pn_args_free(&p.a);
  }
}

/* Every command whose help lists options takes each of them. */
static void test_commands_take_their_options(void **state) {
  int n, rows;
  const pn_command *c = pn_command_table(&n);
  const pn_option *row = pn_option_table(&rows);
  unsigned own = 0;
  (void)state;

  for (int i = 0; i < n; i++) {
    assert_int_equal(c[i].own & ~c[i].accepts, 0);
    assert_true(c[i].min_args <= c[i].max_args);
    assert_ptr_equal(pn_command_find(c[i].name), &c[i]);
    own |= c[i].own;
  }
  for (int i = 0; i < rows; i++) assert_true(row[i].commands & own);
}

static void test_units(void **state) {
  (void)state;
  assert_string_equal(pn_text_count(8407681).s, "8,407,681");
  assert_string_equal(pn_text_count(-1234).s, "-1,234");
  assert_string_equal(pn_text_count(-123).s, "-123");
  assert_string_equal(pn_text_count(7).s, "7");
  assert_string_equal(pn_text_bytes(512).s, "512 B");
  assert_string_equal(pn_text_bytes(1024).s, "1.00 KiB");
  assert_string_equal(pn_text_bytes(33630724).s, "32.1 MiB");
  assert_string_equal(pn_text_flop(1.5e9).s, "1.50 GFLOP");
  assert_string_equal(pn_text_flop(999999).s, "1.00 MFLOP");
  assert_string_equal(pn_text_ms(12.34).s, "12.3 ms");
  assert_string_equal(pn_text_seconds(125).s, "2 min 05 s");
  assert_string_equal(pn_text_share(NAN).s, "undefined");
}

static void test_message_text(void **state) {
  char place[32];
  (void)state;
  assert_string_equal(pn_message_text("options.c:12: wrong: x", place, sizeof place), "wrong: x");
  assert_string_equal(place, "options.c:12");
  assert_string_equal(pn_message_text("a.yaml:3: wrong", place, sizeof place), "a.yaml:3: wrong");
  assert_string_equal(place, "");
  assert_string_equal(pn_message_text(":", NULL, 0), ":");
  assert_string_equal(pn_message_text("", NULL, 0), "");
}

static void test_nearest(void **state) {
  (void)state;
  assert_int_equal(pn_edit_distance("", "abc"), 3);
  assert_int_equal(pn_edit_distance("kitten", "sitting"), 3);
  assert_int_equal(pn_edit_distance("batch", "bacth"), 1);
  assert_int_equal(pn_edit_distance("same", "same"), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_args_in_any_order),
      cmocka_unit_test(test_args_short_names),
      cmocka_unit_test(test_args_errors),
      cmocka_unit_test(test_commands_take_their_options),
      cmocka_unit_test(test_units),
      cmocka_unit_test(test_message_text),
      cmocka_unit_test(test_nearest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
