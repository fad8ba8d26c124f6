/* test_study_compare.c -- a study on made-up rows: base, speedups, which rows carry which fit, and
 * the files that are written. */
#include "base/file.h"
#include "report/study.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define assert_near(a, b, tolerance) assert_true(fabs((a) - (b)) <= (tolerance))

static void set_row(pn_study_row *r, const char *name, int ranks, bool weak, double ms) {
  int64_t batch = weak ? 32 * ranks : 32;
  *r = (pn_study_row){
      .ranks = ranks,
      .weak = weak,
      .ok = true,
      .same_weights = true,
      .threads = 1,
      .cores = ranks,
      .n_repeats = 2,
      .step = {.median = ms, .p95 = ms * 1.1, .ci95 = {ms * 0.98, ms * 1.02}, .n = 40},
      .comm_share = 0.1,
      .images_per_s = 1e3 * (double)batch / ms,
      .global_batch = batch,
      .seconds = 1,
      .loss = 0.6,
      .val_loss = NAN,
      .accuracy = NAN,
      .precision = NAN,
      .recall = NAN};
  snprintf(r->name, sizeof r->name, "%s", name);
  snprintf(r->status, sizeof r->status, "ok");
  snprintf(r->device, sizeof r->device, "cpu");
  snprintf(r->train.strategy, sizeof r->train.strategy, "%s", ranks == 1 ? "single" : "ddp");
  snprintf(r->train.precision, sizeof r->train.precision, "f32");
  snprintf(r->weights_sha256, sizeof r->weights_sha256, "%064d", ranks);
  r->train.batch_global = !weak;
  r->repeat[0] = (pn_study_repeat){ms * 0.999, 0.01, 0.1};
  r->repeat[1] = (pn_study_repeat){ms * 1.001, 0.01, 0.1};
}

/* Serial fraction 0.1 strong, 0.05 weak; 8 ranks were too many for the machine. */
static pn_study *make(void) {
  pn_study *s = NULL;
  assert_int_equal(pn_study_create(8, &s), PN_OK);
  s->repeats = 2;
  s->seed = 3;
  set_row(&s->rows[0], "slow", 1, false, 150);
  set_row(&s->rows[1], "serial", 1, false, 100);
  set_row(&s->rows[2], "ddp-2", 2, false, 100 / pn_amdahl(0.1, 2));
  set_row(&s->rows[3], "ddp-4", 4, false, 100 / pn_amdahl(0.1, 4));
  set_row(&s->rows[4], "ddp-8", 8, false, 90);
  s->rows[4].oversubscribed = true;
  set_row(&s->rows[5], "weak-2", 2, true, 100 * 2 / pn_gustafson(0.05, 2));
  set_row(&s->rows[6], "weak-4", 4, true, 100 * 4 / pn_gustafson(0.05, 4));
  set_row(&s->rows[7], "ddp-16", 16, false, 1);
  s->rows[7].ok = false;
  snprintf(s->rows[7].status, sizeof s->rows[7].status, "not run: needs 16 ranks, launched 8");
  return s;
}

static void rows_are_compared_with_the_best_single_rank(void **state) {
  pn_study *s = make();
  (void)state;
  assert_int_equal(pn_study_compare(s), PN_OK);
  assert_int_equal(s->base, 1);
  assert_near(s->rows[0].speedup, 100. / 150, 1e-9);
  assert_near(s->rows[1].speedup, 1, 1e-12);
  assert_near(s->rows[3].speedup, pn_amdahl(0.1, 4), 1e-9);
  assert_near(s->rows[3].efficiency, pn_amdahl(0.1, 4) / 4, 1e-9);
  assert_near(s->rows[3].karp_flatt, 0.1, 1e-9);
  assert_near(s->rows[3].over_one_rank, pn_amdahl(0.1, 4), 1e-9);
  assert_near(s->rows[6].speedup, pn_gustafson(0.05, 4), 1e-9);
  assert_near(s->rows[6].over_one_rank, pn_gustafson(0.05, 4), 1e-9);
  assert_true(isnan(s->rows[7].over_one_rank));
  assert_true(isnan(s->rows[6].karp_flatt)); /* a figure of strong scaling */
  assert_true(isnan(s->rows[7].speedup));
  pn_study_destroy(s);
}

/* Ranks of two threads are compared with a rank of two threads, not with the base. */
static void one_rank_has_as_many_threads(void **state) {
  pn_study *s = make();
  (void)state;
  s->rows[0].threads = s->rows[2].threads = 2;
  assert_int_equal(pn_study_compare(s), PN_OK);
  assert_near(s->rows[2].over_one_rank, 1.5 * s->rows[2].speedup, 1e-9);
  assert_near(s->rows[3].over_one_rank, s->rows[3].speedup, 1e-9);
  s->rows[3].threads = 3; /* no single-rank row has */
  assert_int_equal(pn_study_compare(s), PN_OK);
  assert_true(isnan(s->rows[3].over_one_rank));
  pn_study_destroy(s);
}

static void fits_use_the_rows_that_qualify(void **state) {
  pn_study *s = make();
  (void)state;
  assert_int_equal(pn_study_compare(s), PN_OK);
  assert_string_equal(s->amdahl.info.refused, "");
  assert_near(s->amdahl.serial_fraction.value, 0.1, 1e-3);
  assert_int_equal(s->amdahl.info.points, 4); /* two runs of two rows; 8 ranks stay out */
  assert_int_equal(s->amdahl.info.sizes, 3);
  assert_non_null(strstr(s->strong.left_out, "ddp-8 (more threads than cores)"));
  assert_non_null(strstr(s->strong.left_out, "ddp-16 (not run)"));
  assert_null(strstr(s->strong.left_out, "weak"));
  assert_near(s->gustafson.serial_fraction.value, 0.05, 1e-3);
  assert_non_null(strstr(s->usl.info.refused, "needs 4"));
  assert_non_null(strstr(s->usl.info.refused, "ddp-8"));
  pn_study_destroy(s);
}

static void too_few_rows_refuse_and_say_what_is_missing(void **state) {
  pn_study *s = make();
  (void)state;
  s->rows[3].oversubscribed = true;
  snprintf(s->rows[6].train.strategy, sizeof s->rows[6].train.strategy, "zero1");
  assert_int_equal(pn_study_compare(s), PN_OK);
  assert_non_null(strstr(s->amdahl.info.refused, "2 can be used"));
  assert_non_null(strstr(s->amdahl.info.refused, "ddp-4 (more threads than cores)"));
  assert_non_null(strstr(s->gustafson.info.refused, "weak-4 (other strategy)"));
  pn_study_destroy(s);
}

static void another_batch_is_marked_and_not_fitted(void **state) {
  pn_study *s = make();
  (void)state;
  s->rows[3].global_batch = 64;
  assert_int_equal(pn_study_compare(s), PN_OK);
  assert_true(s->rows[3].other_batch);
  assert_false(s->rows[2].other_batch || s->rows[6].other_batch);
  assert_non_null(strstr(s->strong.left_out, "ddp-4 (other batch)"));
  assert_true(s->amdahl.info.refused[0] != '\0');
  pn_study_destroy(s);
}

/* What exact sums cost, against the row that differs in nothing else; no fit mixes them. */
static void exact_rows_have_a_cost(void **state) {
  pn_study *s = make();
  char *text = NULL;
  json_t *root;

  (void)state;
  s->rows[0].train.leaves = 8;
  s->rows[3].train.leaves = 8;
  s->rows[3].ranks = s->rows[3].cores = 2;
  assert_int_equal(pn_study_compare(s), PN_OK);
  assert_int_equal(s->rows[0].ordinary, 1);
  assert_near(s->rows[0].exact_cost, 1.5, 1e-9);
  assert_int_equal(s->rows[3].ordinary, 2);
  assert_near(s->rows[3].exact_cost, s->rows[3].step.median / s->rows[2].step.median, 1e-9);
  assert_int_equal(s->rows[1].ordinary, -1);
  assert_true(isnan(s->rows[2].exact_cost));
  assert_non_null(strstr(s->strong.left_out, "ddp-4 (other threads, device, precision or exact"));
  assert_int_equal(pn_study_text(s, &text), PN_OK);
  assert_non_null(strstr(
      text, "Exact sums: a step of slow takes 1.50 times that of serial (150 against 100 ms)."));
  free(text);
  root = pn_study_json(s);
  assert_near(json_real_value(
                  json_object_get(json_array_get(json_object_get(root, "rows"), 0), "exact_cost")),
              1.5, 1e-9);
  json_decref(root);
  pn_study_destroy(s);
}

/* A base with more threads than the rows of the fit: the fit has a base of its own. */
static void the_fit_has_a_base_of_its_family(void **state) {
  pn_study *s = make();
  (void)state;
  set_row(&s->rows[0], "threads-4", 1, false, 30);
  s->rows[0].threads = s->rows[0].cores = 4;
  assert_int_equal(pn_study_compare(s), PN_OK);
  assert_int_equal(s->base, 0);
  assert_int_equal(s->strong.base, 1);
  assert_near(s->amdahl.serial_fraction.value, 0.1, 1e-3);
  assert_near(s->rows[3].efficiency, s->rows[3].speedup, 1e-12); /* 4 cores against 4 */
  assert_near(s->rows[3].karp_flatt, 0.1, 1e-9); /* against one thread, as the fit */
  pn_study_destroy(s);
}

static void without_single_rank_row_there_is_no_speedup(void **state) {
  pn_study *s = make();
  char *text = NULL;
  (void)state;
  s->rows[0].ok = s->rows[1].ok = false;
  assert_int_equal(pn_study_compare(s), PN_OK);
  assert_int_equal(s->base, -1);
  assert_true(isnan(s->rows[2].speedup));
  assert_true(s->amdahl.info.refused[0] != '\0');
  assert_int_equal(pn_study_text(s, &text), PN_OK);
  assert_non_null(strstr(text, "No base"));
  free(text);
  pn_study_destroy(s);
}

static void few_steps_give_no_interval(void **state) {
  pn_study *s = make();
  char *text = NULL;
  (void)state;
  s->rows[2].step.n = 5;
  assert_int_equal(pn_study_compare(s), PN_OK);
  assert_int_equal(pn_study_text(s, &text), PN_OK);
  assert_non_null(strstr(text, "ddp-2: 5 timed steps are too few"));
  assert_null(strstr(text, "ddp-4: "));
  assert_null(strstr(text, "53.9-56.1"));
  free(text);
  pn_study_destroy(s);
}

static void text_shows_marks_and_fits_in_140_columns(void **state) {
  pn_study *s = make();
  char *text = NULL;
  (void)state;
  assert_int_equal(pn_study_compare(s), PN_OK);
  assert_int_equal(pn_study_text(s, &text), PN_OK);
  assert_non_null(strstr(text, "ddp-8 *"));
  assert_non_null(strstr(text, "serial fraction 0.10"));
  assert_non_null(strstr(text, "not run: needs 16 ranks"));
  assert_true(strcspn(text, "\n") <= 140);
  free(text);
  pn_study_destroy(s);
}

static void remove_folder(const char *dir) {
  static const char *const names[] = {"study.json",    "study.csv",      "study.md",
                                      "speedup.gp",    "speedup.svg",    "speedup.png",
                                      "efficiency.gp", "efficiency.svg", "efficiency.png"};
  char path[64];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    snprintf(path, sizeof path, "%s/%s", dir, names[i]);
    remove(path);
  }
  assert_int_equal(rmdir(dir), 0);
}

static void files_hold_what_was_measured(void **state) {
  char dir[] = "/tmp/pn_study_XXXXXX", path[64], *csv = NULL, *md = NULL;
  pn_study *s = make();
  json_t *o;
  const char *name;
  double speedup, fraction;
  int n_rows;
  (void)state;
  assert_non_null(mkdtemp(dir));
  assert_int_equal(pn_study_compare(s), PN_OK);
  assert_int_equal(pn_study_write(s, dir, true), PN_OK);
  snprintf(path, sizeof path, "%s/study.json", dir);
  assert_non_null(o = json_load_file(path, 0, NULL));
  assert_int_equal(json_array_size(json_object_get(o, "rows")), 8);
  assert_int_equal(json_unpack(json_array_get(json_object_get(o, "rows"), 3), "{s:s, s:F}", "name",
                               &name, "speedup", &speedup),
                   0);
  assert_string_equal(name, "ddp-4");
  assert_near(speedup, pn_amdahl(0.1, 4), 1e-9);
  assert_int_equal(json_unpack(o, "{s:{s:{s:F, s:[F, F], s:i}}}", "fits", "amdahl",
                               "serial_fraction", &fraction, "ci95", &speedup, &speedup, "points",
                               &n_rows),
                   0);
  assert_non_null(json_object_get(json_object_get(json_object_get(o, "fits"), "usl"), "refused"));
  json_decref(o);
  snprintf(path, sizeof path, "%s/study.csv", dir);
  assert_int_equal(pn_file_read(path, &csv, NULL), PN_OK);
  assert_non_null(strstr(csv, "name,status,strategy,scaling"));
  assert_non_null(strstr(csv, "\nddp-16,\"not run: needs 16 ranks, launched 8\",ddp,strong"));
  snprintf(path, sizeof path, "%s/study.md", dir);
  assert_int_equal(pn_file_read(path, &md, NULL), PN_OK);
  assert_int_equal(strstr(md, "speedup.svg") != NULL, s->plotted);
  snprintf(path, sizeof path, "%s/speedup.svg", dir);
  assert_int_equal(pn_file_exists(path), s->plotted);
  free(csv);
  free(md);
  pn_study_destroy(s);
  remove_folder(dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(rows_are_compared_with_the_best_single_rank),
                                     cmocka_unit_test(one_rank_has_as_many_threads),
                                     cmocka_unit_test(fits_use_the_rows_that_qualify),
                                     cmocka_unit_test(too_few_rows_refuse_and_say_what_is_missing),
                                     cmocka_unit_test(another_batch_is_marked_and_not_fitted),
                                     cmocka_unit_test(the_fit_has_a_base_of_its_family),
                                     cmocka_unit_test(without_single_rank_row_there_is_no_speedup),
                                     cmocka_unit_test(exact_rows_have_a_cost),
                                     cmocka_unit_test(few_steps_give_no_interval),
                                     cmocka_unit_test(text_shows_marks_and_fits_in_140_columns),
                                     cmocka_unit_test(files_hold_what_was_measured)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
