/* test_effects.c -- options without effect beside the others are refused; files that serve several
 * models and optimizers stay usable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/train_setup.h"

#include <string.h>

enum { COMMANDS = PN_CMD_TRAIN | PN_CMD_RUN };

/* "key=value key=value" from one origin. */
static void give(pn_options *o, const char *text, const char *origin) {
  char copy[512], *rest, *word;

  snprintf(copy, sizeof copy, "%s", text);
  for (word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
    char *value = strchr(word, '=');
    assert_non_null(value);
    *value++ = '\0';
    if (pn_options_set(o, word, value, origin) != PN_OK) fail_msg("%s", pn_last_error());
  }
}

static pn_options *options_of(const char *file, const char *line) {
  pn_options *o = NULL;
  assert_int_equal(pn_options_create(COMMANDS, &o), PN_OK);
  give(o, file, "a.yaml:1");
  give(o, line, "command line");
  return o;
}

/* word: of the message; NULL: no objection. */
static void expect(const char *file, const char *line, const char *word) {
  pn_options *o = options_of(file, line);
  pn_status st = pn_effects_check(o, NULL);

  if ((st == PN_OK) != !word)
    fail_msg("'%s' + '%s': %s", file, line, st == PN_OK ? "accepted" : pn_last_error());
  if (word && !strstr(pn_last_error(), word)) fail_msg("'%s': no %s", pn_last_error(), word);
  pn_options_destroy(o);
}

static void test_models(void **state) {
  (void)state;
  expect("", "model.name=cifar_cnn model.filters1=7", "model.filters1");
  expect("", "model.name=cifar_cnn model.kernel=5", "model.kernel");
  expect("model.name=resnet18 model.padding=valid", "", "model.padding");
  expect("", "model.name=resnet18 model.hidden=9",
         "set model.name=custom_cnn|cifar_cnn|resnet50v2");
  expect("", "model.width=9", "model.width");
  expect("", "model.name=resnet50v2 model.hidden=9 model.width=8 model.dropout=0.1", NULL);
  expect("", "model.filters1=9 model.hidden=8 model.padding=valid", NULL);
}

static void test_strategies(void **state) {
  (void)state;
  expect("", "train.strategy=fsdp train.bucket_mb=8", "train.bucket_mb");
  expect("", "train.strategy=ddp train.reshard=false", "train.reshard");
  expect("", "train.bucket_mb=8", NULL);
  expect("train.reshard=false train.strategy=fsdp", "train.strategy=zero1", NULL);
}

/* A file for one model or rule, and another one on the command line. */
static void test_overridden_file(void **state) {
  (void)state;
  expect("model.name=custom_cnn model.filters1=9", "model.name=resnet18", NULL);
  expect("optim.name=sgd optim.momentum=0.9", "optim.name=adam", NULL);
  expect("model.name=custom_cnn", "model.name=resnet18 model.filters1=9", "model.filters1");
  expect("optim.momentum=0.9", "", "optim.momentum");
}

static void test_companions(void **state) {
  (void)state;
  expect("", "train.weights_skip=fc*", "train.weights");
  expect("", "train.weights_missing=any", "train.weights");
  expect("", "train.weights=x train.weights_missing=any train.weights_skip=fc*", NULL);
  expect("", "schedule.warmup_start=0.2", "schedule.warmup");
  expect("", "schedule.warmup_start=0.2 schedule.warmup=1", NULL);
  expect("", "optim.decay_all=true", "optim.weight_decay");
  expect("", "optim.decay_all=true optim.weight_decay=0.1", NULL);
  expect("", "train.loss_scale=1024", NULL); /* the same command for each precision */
}

/* Keys of two models for all rows; each row takes its own.  One that no row uses is refused. */
static void test_rows_of_a_study(void **state) {
  pn_options *all = options_of("model.filters1=9 model.width=8", ""), *row[2];
  pn_row_options rows = {all, row, 2};

  (void)state;
  for (int i = 0; i < 2; i++) assert_int_equal(pn_options_copy(all, &row[i]), PN_OK);
  assert_int_equal(pn_effects_check(row[0], &rows), PN_ERR_ARG); /* width is for neither */
  give(row[1], "model.name=resnet18", "a.yaml:9");
  for (int i = 0; i < 2; i++) assert_int_equal(pn_effects_check(row[i], &rows), PN_OK);
  give(row[1], "model.kernel=5", "a.yaml:9");
  assert_int_equal(pn_effects_check(row[1], &rows), PN_ERR_ARG);
  for (int i = 0; i < 2; i++) pn_options_destroy(row[i]);
  pn_options_destroy(all);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_models), cmocka_unit_test(test_strategies),
      cmocka_unit_test(test_overridden_file), cmocka_unit_test(test_companions),
      cmocka_unit_test(test_rows_of_a_study)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
