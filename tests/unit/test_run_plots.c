/* test_run_plots.c -- the confusion matrix that is drawn is that of the weights the run ended with.
 */
#include "report/run_plots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static json_t *epoch(int number, int right) {
  return json_pack("{s:i, s:f, s:f, s:{s:f, s:f, s:f, s:f, s:[{s:s}, {s:s}], s:[[i, i], [i, i]]}}",
                   "epoch", number, "loss", 0.5, "lr", 0.1 / number, "val", "loss", 0.6, "accuracy",
                   right / 20.0, "auc", 0.7, "recall", 0.6, "per_class", "name", "no", "name",
                   "yes", "confusion", right, 20 - right, 0, 0);
}

static void expect_title(json_t *record, const char *title) {
  char folder[] = "/tmp/test_run_plots.XXXXXX", path[64], text[4096] = "";
  const char *files[] = {"curves.gp",    "curves.svg",    "curves.png",
                         "confusion.gp", "confusion.svg", "confusion.png"};
  bool drawn;
  FILE *f;

  assert_non_null(mkdtemp(folder));
  if (pn_run_plots_write(folder, record, &drawn) != PN_OK) fail_msg("%s", pn_last_error());
  snprintf(path, sizeof path, "%s/confusion.gp", folder);
  assert_non_null(f = fopen(path, "r"));
  assert_true(fread(text, 1, sizeof text - 1, f) > 0);
  fclose(f);
  if (!strstr(text, title)) fail_msg("'%s' is not in:\n%s", title, text);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    snprintf(path, sizeof path, "%s/%s", folder, files[i]);
    unlink(path);
  }
  rmdir(folder);
}

static void test_last_or_restored(void **state) {
  json_t *record = json_pack("{s:[o, o, o]}", "epochs", epoch(1, 5), epoch(2, 18), epoch(3, 7));
  (void)state;

  assert_non_null(record);
  expect_title(record, "'validation, epoch 3:");
  json_object_set_new(record, "best", json_pack("{s:i, s:b}", "epoch", 2, "restored", 0));
  expect_title(record, "'validation, epoch 3:");
  json_object_set_new(record, "best", json_pack("{s:i, s:b}", "epoch", 2, "restored", 1));
  expect_title(record, "'validation, epoch 2:");
  json_decref(record);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_last_or_restored)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
