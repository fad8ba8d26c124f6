/* test_train.c -- whole training runs on a tiny data set, at any number of ranks. */
#include "base/log.h"
#include "mpi/tiny_data.h"
#include "train/checkpoint.h"
#include "train/run.h"
#include "train/trainer.h"

#include <math.h>

static char root[256], shards[300], other[300];

static char *under(char out[512], const char *name) {
  snprintf(out, 512, "%s/%s", root, name);
  return out;
}

static pn_dataset *open_data(const char *path) {
  pn_dataset *d = NULL;
  ok(pn_agree(world, pn_dataset_open(path, &d)));
  return d;
}

static pn_train_config config(const char *strategy) {
  pn_train_config c = {.model = "custom_cnn",
                       .device = "ref",
                       .precision = "f32",
                       .epochs = 3,
                       .batch = 16,
                       .batch_global = true,
                       .threads = 1,
                       .seed = 5,
                       .validate = true};
  pn_model_defaults(&c.model_config);
  pn_optim_defaults(&c.optim);
  c.model_config.filters[0] = 4;
  c.model_config.filters[1] = 6;
  c.model_config.hidden = 16;
  c.optim.lr = 0.01;
  snprintf(c.strategy, sizeof c.strategy, "%s", strategy);
  return c;
}

static pn_status evaluate(const char *run, const char *data, pn_split split, pn_comm *c,
                          pn_metrics *out) {
  pn_eval_job job = {.run_path = run, .data_path = data, .split = split, .threads = 1};
  return pn_eval_run(&job, c, out);
}

static void make_data(void **state) {
  (void)state;
  tiny_folder(root);
  snprintf(shards, sizeof shards, "%s/shards", root);
  snprintf(other, sizeof other, "%s/other", root);
  if (rank == 0) tiny_write(shards, 1);
  if (rank == 0) tiny_write(other, 2);
  ok(pn_barrier(world, "data written"));
}

static int64_t count_lines(const char *path) {
  char *text = NULL;
  int64_t n = 0;

  ok(pn_file_read(path, &text, NULL));
  for (const char *p = text; *p; p++) n += *p == '\n';
  free(text);
  return n;
}

static void check_files(const char *run, const pn_train_result *r) {
  char path[600];
  char *text = NULL;
  json_t *j;

  snprintf(path, sizeof path, "%s/steps.csv", run);
  assert_int_equal(count_lines(path), 1 + 21);
  snprintf(path, sizeof path, "%s/epochs.csv", run);
  assert_int_equal(count_lines(path), 1 + 3);
  snprintf(path, sizeof path, "%s/checkpoints/step_21/manifest.json", run);
  assert_true(pn_file_exists(path));
  snprintf(path, sizeof path, "%s/run.json", run);
  ok(pn_file_read(path, &text, NULL));
  j = json_loads(text, 0, NULL);
  assert_true(json_equal(j, r->record));
  json_decref(j);
  free(text);
}

static void check_record(const pn_train_result *r) {
  static const char *const keys[] = {"model",   "parameters", "strategy",  "ranks",
                                     "threads", "device",     "precision", "global_batch",
                                     "epochs",  "step_ms",    "phases_ms", "peak_bytes",
                                     "test",    "options",    "versions",  "weights_sha256"};
  json_t *epochs = json_object_get(r->record, "epochs");

  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    assert_non_null(json_object_get(r->record, keys[i]));
  assert_int_equal(json_array_size(epochs), 3);
  assert_int_equal(json_integer_value(json_object_get(r->record, "ranks")), size);
  assert_int_equal(strlen(r->weights_sha256), 64);
}

/* ddp on all ranks learns, writes its files, and ends where one rank ends. */
static void test_train(void **state) {
  char run[512];
  pn_train_config many = config("ddp"), one = config("single");
  pn_train_result a, b;
  pn_dataset *d = open_data(shards);
  pn_comm *self = NULL;

  (void)state;
  many.out_path = under(run, "run");
  ok(pn_train(&many, world, d, &a));
  ok(pn_comm_self(&self));
  ok(pn_train(&one, self, d, &b));
  assert_int_equal(a.steps, 21);
  assert_int_equal(a.val.n, TINY_VAL);
  assert_int_equal(a.test.n, TINY_TEST);
  assert_int_equal(a.step_ms.n, 21 - 3 - 3); /* less warm-up, less the short last steps */
  assert_true(a.test.accuracy > 0.9 && a.final_loss < 0.6);
  assert_true(fabs(a.final_loss - b.final_loss) < 1e-4 * b.final_loss);
  assert_true(fabs(a.test.loss - b.test.loss) < 1e-3 * b.test.loss);
  assert_true(a.images_per_s > 0 && a.step_ms.median > 0 && a.peak_rss > a.bytes_parameters);
  check_record(&a);
  if (rank == 0) check_files(run, &a);
  ok(pn_barrier(world, "files checked"));
  pn_train_result_free(&a);
  pn_train_result_free(&b);
  pn_comm_destroy(self);
  pn_dataset_close(d);
}

static bool same_bits(const pn_metrics *a, const pn_metrics *b) {
  const double x[] = {a->loss, a->accuracy, a->precision, a->recall, a->f1, a->auc};
  const double y[] = {b->loss, b->accuracy, b->precision, b->recall, b->f1, b->auc};

  return a->n == b->n && memcmp(x, y, sizeof x) == 0 &&
         memcmp(a->confusion, b->confusion, 4 * sizeof *a->confusion) == 0 &&
         memcmp(a->per_class, b->per_class, 2 * sizeof *a->per_class) == 0;
}

/* The checkpoint of test_train: the same numbers from 1, 2, ... ranks, to the last bit. */
static void test_eval_any_ranks(void **state) {
  char run[512];
  pn_metrics one;
  pn_comm *self = NULL;

  (void)state;
  under(run, "run");
  ok(pn_comm_self(&self));
  ok(evaluate(run, shards, PN_TEST, self, &one));
  assert_int_equal(one.n, TINY_TEST);
  assert_true(one.accuracy > 0.9);
  for (int n = 1; n <= size; n++) {
    pn_comm *some = NULL;
    pn_metrics m;
    ok(pn_comm_split(world, rank < n ? 0 : -1, rank, &some));
    if (!some) continue;
    ok(evaluate(run, shards, PN_TEST, some, &m));
    assert_true(same_bits(&one, &m));
    pn_metrics_free(&m);
    pn_comm_destroy(some);
  }
  pn_metrics_free(&one);
  pn_comm_destroy(self);
}

/* Saved twice: the older one goes, a .tmp is no checkpoint, and what is read is what was written.
 */
static void test_checkpoint(void **state) {
  char run[512], path[600];
  pn_train_config c = config("ddp");
  pn_dataset *d = open_data(shards);
  pn_run *r = NULL;
  pn_saved_run saved;
  float *back;

  (void)state;
  c.out_path = under(run, "twice");
  ok(pn_run_create(&c, world, d, &r));
  pn_checkpoint k = {.cfg = &c,
                     .model = &r->model,
                     .data = d,
                     .graph = r->graph,
                     .strategy = r->strategy,
                     .comm = world,
                     .step = 1,
                     .best = -1};
  ok(pn_checkpoint_save(&k));
  r->strategy->params[0] = 0.123f;
  k.step = 10;
  ok(pn_checkpoint_save(&k));
  snprintf(path, sizeof path, "%s/checkpoints/step_99.tmp", run);
  if (rank == 0) ok(pn_make_dirs(path));
  ok(pn_barrier(world, "saved"));
  snprintf(path, sizeof path, "%s/checkpoints/step_1", run);
  assert_false(pn_file_exists(path));
  ok(pn_saved_run_open(run, "last", &saved));
  assert_true(pn_test_contains(saved.folder, "step_10"));
  assert_string_equal(saved.model, "custom_cnn");
  back = calloc((size_t)r->plans.map.total, sizeof *back);
  ok(pn_saved_run_load(&saved, r->graph, &r->plans.map, back));
  assert_memory_equal(back, r->strategy->params, r->strategy->bytes_params);
  free(back);
  pn_saved_run_close(&saved);
  pn_run_destroy(r);
  pn_dataset_close(d);
}

/* Fewer images than ranks in a step, odd batches, a rule per rank, a stop within an epoch. */
static void test_uneven(void **state) {
  static const struct {
    int64_t batch, steps;
    bool global;
    int64_t expected;
  } rows[] = {
      {1, 5, true, 5}, {2, 4, true, 4}, {7, 0, true, 15}, {1000, 0, true, 1}, {3, 2, false, 2}};
  pn_dataset *d = open_data(shards);

  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    pn_train_config c = config("ddp");
    pn_train_result r;
    c.epochs = 1;
    c.batch = rows[i].batch;
    c.steps = rows[i].steps;
    c.batch_global = rows[i].global;
    c.validate = false;
    ok(pn_train(&c, world, d, &r));
    assert_int_equal(r.steps, rows[i].expected);
    assert_int_equal(r.global_batch, rows[i].batch * (rows[i].global ? 1 : size));
    assert_int_equal(r.test.n, 0);
    pn_train_result_free(&r);
  }
  pn_dataset_close(d);
}

/* The run fails everywhere, agreed, with `part` in the message. */
static void expect(pn_status st, pn_status want, const char *part) {
  assert_true(st == want || st == PN_ERR_PEER);
  assert_true(pn_error_agreed());
  if (!pn_test_contains(pn_last_error(), part)) fail_msg("%s", pn_last_error());
}

static void test_refusals(void **state) {
  char run[512];
  pn_dataset *d = open_data(shards);
  pn_train_result r;
  pn_train_config c = config("ddp");

  (void)state;
  c.out_path = under(run, "run");
  expect(pn_train(&c, world, d, &r), PN_ERR_ARG, "holds another run");
  c = config("ddp");
  c.epochs = 0;
  expect(pn_train(&c, world, d, &r), PN_ERR_ARG, "nothing to do");
  c = config("ddp");
  strcpy(c.precision, "fp16");
  expect(pn_train(&c, world, d, &r), PN_ERR_UNSUPPORTED, "f32");
  c = config("ddp");
  strcpy(c.model, "custom_cn");
  expect(pn_train(&c, world, d, &r), PN_ERR_ARG, "custom_cnn");
  assert_null(r.record);
  pn_dataset_close(d);
}

/* A loss that explodes ends the run on all ranks and says at which step. */
static void test_not_finite(void **state) {
  pn_dataset *d = open_data(shards);
  pn_train_config c = config("ddp");
  pn_train_result r;

  (void)state;
  strcpy(c.optim.name, "sgd");
  c.optim.lr = 1e30;
  expect(pn_train(&c, world, d, &r), PN_ERR_NUMERIC, "is not finite");
  pn_dataset_close(d);
}

static void test_different_data(void **state) {
  pn_dataset *d = open_data(rank == size - 1 ? other : shards);
  pn_train_config c = config("ddp");
  pn_train_result r;

  (void)state;
  if (size > 1) expect(pn_train(&c, world, d, &r), PN_ERR_FORMAT, "different data sets");
  pn_dataset_close(d);
}

/* All bytes from 3000 on change, parameters among them: the file is named, nothing is evaluated. */
static void test_damaged_checkpoint(void **state) {
  char run[512], path[600];
  pn_metrics m;

  (void)state;
  snprintf(path, sizeof path, "%s/checkpoints/step_21/part_0000.h5", under(run, "run"));
  if (rank == 0) {
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long end = ftell(f);
    assert_int_equal(fseek(f, 3000, SEEK_SET), 0);
    for (long i = 3000; i < end; i++) fputc((int)(i % 251), f);
    assert_int_equal(fclose(f), 0);
  }
  ok(pn_barrier(world, "damaged"));
  assert_int_not_equal(evaluate(run, shards, PN_VAL, world, &m), PN_OK);
  assert_true(pn_error_agreed());
  if (!pn_test_contains(pn_last_error(), "part_0000.h5")) fail_msg("%s", pn_last_error());
  if (rank == 0) assert_int_equal(truncate(path, 100), 0);
  ok(pn_barrier(world, "cut short"));
  assert_int_not_equal(evaluate(run, shards, PN_VAL, world, &m), PN_OK);
  if (!pn_test_contains(pn_last_error(), "cut short; restore the file, or remove the folder "))
    fail_msg("%s", pn_last_error());
}

/* The last rank's shard is not there: every rank leaves with that message. */
static void test_missing_shard(void **state) {
  char run[512], path[600];
  pn_metrics m;
  pn_dataset *d = NULL;
  bool last = rank == size - 1;

  (void)state;
  under(run, "run");
  snprintf(path, sizeof path, "%s/shard-00001.h5", other);
  if (rank == 0) assert_int_equal(remove(path), 0);
  ok(pn_barrier(world, "shard removed"));
  expect(pn_agree(world, pn_dataset_open(last ? other : shards, &d)), PN_ERR_IO, "shard-00001.h5");
  pn_dataset_close(d);
  expect(evaluate(run, last ? other : shards, PN_VAL, world, &m), PN_ERR_IO, "shard-00001.h5");
  expect(evaluate(other, shards, PN_VAL, world, &m), PN_ERR_IO, "holds no checkpoint");
}

static void remove_data(void **state) {
  (void)state;
  tiny_remove(root);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(make_data),           cmocka_unit_test(test_train),
      cmocka_unit_test(test_eval_any_ranks), cmocka_unit_test(test_checkpoint),
      cmocka_unit_test(test_uneven),         cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_not_finite),     cmocka_unit_test(test_different_data),
      cmocka_unit_test(test_missing_shard),  cmocka_unit_test(test_damaged_checkpoint),
      cmocka_unit_test(remove_data),
  };
  if (pn_test_start(60) != PN_OK) return 3;
  pn_log_init(rank, true);
  return pn_test_end(cmocka_run_group_tests(tests, NULL, NULL));
}
