/* test_recipe.c -- what the options of a recipe do to a whole run, at any number of ranks. */
#include "base/log.h"
#include "mpi/tiny_data.h"
#include "train/checkpoint.h"
#include "train/run.h"
#include "train/trainer.h"

#include <math.h>

static char root[256], shards[300];
static pn_dataset *data;

static pn_train_config config(void) {
  pn_train_config c = {.model = "custom_cnn",
                       .device = "ref",
                       .precision = "f32",
                       .strategy = "ddp",
                       .epochs = 2,
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
  return c;
}

static void make_data(void **state) {
  (void)state;
  tiny_open(root, shards, &data);
}

static void train(const pn_train_config *c, pn_train_result *r) {
  ok(pn_train(c, world, data, r));
}

static void refused(const pn_train_config *c, const char *why) {
  pn_train_result r;

  assert_int_not_equal(pn_train(c, world, data, &r), PN_OK);
  if (!pn_test_contains(pn_last_error(), why)) fail_msg("said: %s", pn_last_error());
}

static void same_up_to_rounding(const pn_train_config *a, const pn_train_config *b) {
  pn_train_result x, y;

  train(a, &x);
  train(b, &y);
  assert_true(fabs(x.final_loss - y.final_loss) < 1e-5 * x.final_loss);
  assert_true(fabs(x.test.loss - y.test.loss) < 1e-4 * x.test.loss);
  pn_train_result_free(&x);
  pn_train_result_free(&y);
}

/* The same step in one piece or three, with images that do not divide; more parts than images. */
static void test_accumulate(void **state) {
  pn_train_config a = config(), b = config();

  (void)state;
  b.accumulate = 3;
  same_up_to_rounding(&a, &b);
  b.accumulate = 50;
  same_up_to_rounding(&a, &b);
  a.clip_norm = b.clip_norm = 0.1;
  b.accumulate = 2;
  same_up_to_rounding(&a, &b);
}

/* A limit above every norm changes no bit; a small one does; LARS and AdamW train. */
static void test_clip(void **state) {
  pn_train_config a = config(), b = config();
  pn_train_result x, y, z;

  (void)state;
  strcpy(a.optim.name, "sgd");
  b = a;
  b.clip_norm = 1e6;
  train(&a, &x);
  train(&b, &y);
  assert_string_equal(x.weights_sha256, y.weights_sha256);
  b.clip_norm = 1e-3;
  train(&b, &z);
  assert_string_not_equal(x.weights_sha256, z.weights_sha256);
  assert_true(fabs(z.final_loss - log(2)) < 0.1); /* hardly moves */
  pn_train_result_free(&x);
  pn_train_result_free(&y);
  pn_train_result_free(&z);
}

static void test_rules_learn(void **state) {
  static const struct {
    const char *name;
    double lr, momentum, trust;
  } rules[] = {{"adamw", 0.01, 0, 0}, {"lars", 1, 0.9, 0.02}, {"sgd", 0.1, 0.9, 0}};

  (void)state;
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
    pn_train_config c = config();
    pn_train_result r;
    strcpy(c.optim.name, rules[i].name);
    c.optim.lr = rules[i].lr;
    c.optim.momentum = rules[i].momentum;
    c.optim.weight_decay = 1e-3;
    c.optim.trust = rules[i].trust;
    c.epochs = 4;
    strcpy(c.schedule.name, "cosine");
    train(&c, &r);
    if (!(r.test.accuracy > 0.85)) fail_msg("%s: accuracy %g", rules[i].name, r.test.accuracy);
    pn_train_result_free(&r);
  }
}

/* Frozen tensors keep their bits; the others move. */
static void test_freeze(void **state) {
  pn_train_config c = config();
  pn_run *r = NULL;
  float first, other;

  (void)state;
  strcpy(c.groups.freeze, "conv1.*");
  ok(pn_run_create(&c, world, data, &r));
  assert_true(r->plans.map.trainable < r->plans.map.total); /* no gradient at all */
  first = r->strategy->params[r->plans.map.slot[0].offset];
  other = r->strategy->params[r->plans.map.slot[2].offset];
  ok(pn_run_order(r, 1));
  pn_feed_start(r->feed, 1, r->order, 0, 3);
  for (int k = 0; k < 3; k++) ok(pn_run_step(r, k));
  assert_true(first == r->strategy->params[r->plans.map.slot[0].offset]);
  assert_true(other != r->strategy->params[r->plans.map.slot[2].offset]);
  pn_run_destroy(r);
}

/* optim.scale: the rate of the first step. */
static void test_scale(void **state) {
  pn_train_config c = config();
  pn_run *r = NULL;

  (void)state;
  strcpy(c.lr_scale, "linear");
  c.lr_batch = 4;
  ok(pn_run_create(&c, world, data, &r));
  assert_true(pn_run_step_lr(r) == 0.04);
  pn_run_destroy(r);
}

/* Weights of the batch's images sum to 1 in the loss, whatever the ranks. */
static void test_image_scales(void **state) {
  pn_train_config c = config();
  pn_run *r = NULL;
  int64_t count[2] = {0};
  double sum = 0;

  (void)state;
  strcpy(c.balance, "weights");
  ok(pn_run_create(&c, world, data, &r));
  for (int64_t i = 0; i < r->batches.n; i++) count[r->label[i]]++;
  for (int64_t i = 0; i < r->batches.n; i++) {
    double want = (double)r->batches.n / (2.0 * (double)count[r->label[i]]);
    assert_true(fabs((double)r->weight[i] - want) < 1e-6);
  }
  ok(pn_run_order(r, 1));
  pn_feed_start(r->feed, 1, r->order, 0, 1);
  if (pn_batches_parts(&r->batches, 0) > 0) {
    pn_share part = pn_batches_part(&r->batches, 0, 0);
    ok(pn_feed_load(r->feed, 0, 0, pn_plan_set_get(&r->plans, part.count)));
    for (int64_t i = 0; i < part.count; i++)
      sum += (double)pn_feed_context(r->feed).sample_scale[i];
  }
  ok(pn_allreduce(world, "scales", &sum, 1, PN_F64, PN_SUM));
  assert_true(fabs(sum - 1) < 1e-6);
  pn_run_destroy(r);
}

/* Mixed images: each share of a loss counts as the class of its label, 1 or 3. */
static void test_mixed_weights(void **state) {
  pn_train_config c = config();
  pn_augment *a;
  pn_run *r = NULL;
  int64_t n;
  double sum = 0;

  (void)state;
  strcpy(c.balance, "weights");
  c.augment.range[PN_AUG_MIXUP] = 2;
  ok(pn_run_create(&c, world, data, &r));
  ok(pn_augment_create(&c.augment, &(pn_image_format){1, TINY_SIDE, TINY_SIDE, 8, 0, 1}, &a));
  for (int k = 0; k < 2; k++) r->class_weight[k] = (float)(1 + 2 * k);
  for (int64_t i = 0; i < r->batches.n; i++) r->weight[i] = r->class_weight[r->label[i]];
  ok(pn_run_order(r, 1));
  n = pn_batches_images(&r->batches, 0);
  for (int64_t i = 0; i < n; i++) sum += (double)r->weight[r->order[i]];
  pn_feed_start(r->feed, 1, r->order, 0, 1);
  if (pn_batches_parts(&r->batches, 0) > 0) {
    pn_share part = pn_batches_part(&r->batches, 0, 0);
    pn_step_ctx x;
    ok(pn_feed_load(r->feed, 0, 0, pn_plan_set_get(&r->plans, part.count)));
    x = pn_feed_context(r->feed);
    for (int64_t i = 0; i < part.count; i++) {
      pn_draw d = pn_augment_draw(a, 1, x.sample_id[i], r->batches.n);
      double own = d.mix * (double)r->weight[r->order[part.first + i]] / sum;
      double other = (1 - d.mix) * (double)r->weight[d.partner] / sum;
      assert_true(fabs((double)x.sample_scale[i] - (own + other)) < 1e-6);
      assert_true(fabs((double)(x.sample_scale[i] * x.mix[i]) - own) < 1e-6);
    }
  }
  pn_augment_destroy(a);
  pn_run_destroy(r);
}

static void test_weights(void **state) {
  pn_train_config c = config(), plain = config();
  pn_train_result a, b;

  (void)state;
  strcpy(c.balance, "sampler");
  train(&c, &a);
  strcpy(c.balance, "weights");
  train(&c, &b);
  assert_true(isfinite(a.final_loss) && a.test.accuracy > 0.6);
  assert_true(isfinite(b.final_loss) && b.test.accuracy > 0.6);
  pn_train_result_free(&a);
  pn_train_result_free(&b);
  plain.label_smoothing = 0.2;
  train(&plain, &a);
  assert_true(a.final_loss > 0.325); /* the least that targets of 0.9 and 0.1 allow */
  pn_train_result_free(&a);
}

/* An average with decay 0 is the weights themselves; a real one differs, and is what is evaluated
 * by the run and by `eval`. */
static void test_ema(void **state) {
  char run[512];
  pn_train_config c = config();
  pn_train_result plain, ema;
  pn_metrics again;
  pn_eval_job job = {.run_path = run, .data_path = shards, .split = PN_TEST, .threads = 1};

  (void)state;
  train(&c, &plain);
  snprintf(run, sizeof run, "%s/ema", root);
  c.ema = 0.9;
  c.out_path = run;
  train(&c, &ema);
  assert_string_equal(plain.weights_sha256, ema.weights_sha256);
  assert_true(plain.test.loss != ema.test.loss);
  ok(pn_eval_run(&job, world, &again));
  assert_true(fabs(again.loss - ema.test.loss) < 1e-5 * ema.test.loss);
  pn_metrics_free(&again);
  pn_train_result_free(&plain);
  pn_train_result_free(&ema);
}

/* A rate that destroys: the first epoch stays the best, the run stops and gives it back. */
static void test_early_stop(void **state) {
  char run[512];
  pn_train_config c = config();
  pn_train_result r;
  pn_metrics best;
  pn_eval_job job = {
      .run_path = run, .data_path = shards, .checkpoint = "best", .split = PN_TEST, .threads = 1};

  (void)state;
  snprintf(run, sizeof run, "%s/stop", root);
  strcpy(c.optim.name, "sgd");
  c.optim.lr = 1e-30; /* nothing improves by more than min_delta */
  c.min_delta = 1e-6;
  strcpy(c.monitor, "val_loss");
  c.epochs = 20;
  c.patience = 2;
  c.restore_best = c.keep_best = true;
  c.out_path = run;
  train(&c, &r);
  assert_int_equal(r.steps, 3 * 7);
  assert_int_equal(json_array_size(json_object_get(r.record, "epochs")), 3);
  ok(pn_eval_run(&job, world, &best));
  assert_true(fabs(best.loss - r.test.loss) < 1e-6);
  pn_metrics_free(&best);
  pn_train_result_free(&r);
  c.resume = true;
  refused(&c, "larger train.patience than 2");
  c.patience = 4; /* as it says: two more epochs */
  train(&c, &r);
  assert_int_equal(r.steps, 5 * 7);
  pn_train_result_free(&r);
}

/* Inside the second epoch it ends, goes on, and ends like a run in one go: the plateau rule and
 * patience saw each epoch once. */
static void test_parted(void **state) {
  char run[512];
  pn_train_config c = config();
  pn_train_result whole, part;

  (void)state;
  strcpy(c.schedule.name, "plateau");
  c.schedule.factor = 0.01;
  c.schedule.threshold = 0.9; /* no epoch is that much better */
  c.schedule.patience = 1;
  c.patience = 4;
  c.min_delta = 1; /* nor that much */
  c.epochs = 9;
  c.steps = 40;
  train(&c, &whole);
  snprintf(run, sizeof run, "%s/parted", root);
  c.out_path = run;
  c.steps = 10;
  train(&c, &part);
  pn_train_result_free(&part);
  c.resume = true;
  refused(&c, "give more, e.g. train.steps=80");
  c.steps = 40;
  train(&c, &part);
  assert_int_equal(whole.steps, 5 * 7);
  assert_int_equal(part.steps, whole.steps);
  assert_string_equal(part.weights_sha256, whole.weights_sha256);
  pn_train_result_free(&whole);
  pn_train_result_free(&part);
}

static double of_first_epoch(const pn_train_result *r, const char *key) {
  const json_t *e = json_array_get(json_object_get(r->record, "epochs"), 0);
  const json_t *v = json_object_get(e, key);

  assert_non_null(v);
  return json_number_value(v);
}

/* The first steps of a run alone: its rates and losses, though nothing is validated. */
static void test_only_steps(void **state) {
  pn_train_config c = config();
  pn_train_result whole, part;

  (void)state;
  strcpy(c.schedule.name, "cosine");
  c.schedule.warmup = 1;
  c.epochs = 3;
  train(&c, &whole);
  c.only_steps = 7;
  c.validate = false;
  train(&c, &part);
  assert_int_equal(part.steps, 7);
  assert_true(of_first_epoch(&part, "lr") == of_first_epoch(&whole, "lr"));
  assert_true(of_first_epoch(&part, "loss") == of_first_epoch(&whole, "loss"));
  pn_train_result_free(&whole);
  pn_train_result_free(&part);
  strcpy(c.schedule.name, "plateau"); /* more than there are, of a rule that needs a validation */
  c.only_steps = 25;
  train(&c, &part);
  assert_int_equal(part.steps, 25);
  pn_train_result_free(&part);
}

/* What follows the validation is refused without one. */
static void test_needs_validation(void **state) {
  char run[512];
  pn_train_config c = config();

  (void)state;
  snprintf(run, sizeof run, "%s/no-val", root);
  c.validate = false;
  strcpy(c.schedule.name, "plateau");
  refused(&c, "schedule.name=plateau follows the loss of the validation");
  strcpy(c.schedule.name, "constant");
  strcpy(c.monitor, "val_f1");
  c.out_path = run;
  c.restore_best = true;
  refused(&c, "train.restore_best with train.monitor=val_f1 needs validation images");
  c.restore_best = false;
  c.patience = 1;
  refused(&c, "train.patience with train.monitor=val_f1 needs validation images");
}

static void remove_data(void **state) {
  (void)state;
  pn_dataset_close(data);
  tiny_remove(root);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(make_data),
      cmocka_unit_test(test_accumulate),
      cmocka_unit_test(test_clip),
      cmocka_unit_test(test_rules_learn),
      cmocka_unit_test(test_freeze),
      cmocka_unit_test(test_scale),
      cmocka_unit_test(test_image_scales),
      cmocka_unit_test(test_mixed_weights),
      cmocka_unit_test(test_weights),
      cmocka_unit_test(test_ema),
      cmocka_unit_test(test_early_stop),
      cmocka_unit_test(test_parted),
      cmocka_unit_test(test_needs_validation),
      cmocka_unit_test(test_only_steps),
      cmocka_unit_test(remove_data),
  };
  if (pn_test_start(60) != PN_OK) return 3;
  pn_log_init(rank, true);
  return pn_test_end(cmocka_run_group_tests(tests, NULL, NULL));
}
