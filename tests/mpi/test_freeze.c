/* test_freeze.c -- train.freeze in a network with batch norms: what matches keeps its bits, running
 * statistics too; what does not match learns; at any number of ranks. */
#include "base/log.h"
#include "mpi/tiny_data.h"
#include "train/run.h"
#include "train/trainer.h"

static char root[256], shards[300];
static pn_dataset *data;

static pn_train_config config(const char *freeze) {
  pn_train_config c = {.model = "resnet18",
                       .device = "auto",
                       .precision = "f32",
                       .strategy = "ddp",
                       .epochs = 1,
                       .batch = 16,
                       .batch_global = true,
                       .threads = 1,
                       .seed = 5};
  pn_model_defaults(&c.model_config);
  pn_optim_defaults(&c.optim);
  c.model_config.width = 8;
  c.optim.lr = 0.01;
  snprintf(c.groups.freeze, sizeof c.groups.freeze, "%s", freeze);
  return c;
}

static void make_data(void **state) {
  (void)state;
  tiny_open(root, shards, &data);
}

static const float *value(const pn_run *r, const char *name) {
  for (int i = 0; i < pn_graph_n_params(r->graph); i++)
    if (strcmp(pn_graph_param(r->graph, i)->name, name) == 0)
      return r->strategy->params + r->plans.map.slot[i].offset;
  fail_msg("no %s", name);
  return NULL;
}

/* Steps of a run that freezes; which of the named values changed goes to moved. */
static void three_steps(const char *freeze, const char *const *name, bool *moved, int n) {
  pn_train_config c = config(freeze);
  float before[8];
  pn_run *r = NULL;

  ok(pn_run_create(&c, world, data, &r));
  for (int i = 0; i < n; i++) before[i] = *value(r, name[i]);
  ok(pn_run_order(r, 1));
  pn_feed_start(r->feed, 1, r->order, 0, 3);
  for (int k = 0; k < 3; k++) ok(pn_run_step(r, k));
  ok(pn_strategy_sync_buffers(r->strategy)); /* as before a checkpoint: the ranks' mean */
  for (int i = 0; i < n; i++) moved[i] = before[i] != *value(r, name[i]);
  pn_run_destroy(r);
}

static const char *const names[] = {"bn1.weight",          "bn1.running_mean",
                                    "bn1.running_var",     "layer2.0.bn1.running_mean",
                                    "layer2.0.bn1.weight", "fc.weight"};

/* Whole layers: as eval() and requires_grad=False in PyTorch, trainable=False in Keras. */
static void test_layers(void **state) {
  bool moved[6];

  (void)state;
  three_steps("conv1.*,bn1.*,layer1.*", names, moved, 6);
  assert_true(!moved[0] && !moved[1] && !moved[2]);
  assert_true(moved[3] && moved[4] && moved[5]);
}

/* Weights alone: as requires_grad=False, the statistics follow the data. */
static void test_weights_alone(void **state) {
  bool moved[6];

  (void)state;
  three_steps("bn1.weight,bn1.bias", names, moved, 6);
  assert_true(!moved[0] && moved[1] && moved[2]);
  three_steps("*.running_*", names, moved, 6);
  assert_true(moved[0] && !moved[1] && !moved[2] && !moved[3] && moved[4]);
}

/* All but the head: 20 norms and everything below the dense layer. */
static void test_all_but_head(void **state) {
  pn_train_config c = config("conv1.*,bn1.*,layer*");
  pn_run *r = NULL;

  (void)state;
  ok(pn_run_create(&c, world, data, &r));
  assert_int_equal(pn_graph_frozen_norms(r->graph), 20);
  assert_int_equal(pn_graph_trainable_count(r->graph), 8 * 8 + 1);
  pn_run_destroy(r);
}

static void remove_data(void **state) {
  (void)state;
  pn_dataset_close(data);
  tiny_remove(root);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(make_data),          cmocka_unit_test(test_layers),
      cmocka_unit_test(test_weights_alone), cmocka_unit_test(test_all_but_head),
      cmocka_unit_test(remove_data),
  };
  if (pn_test_start(60) != PN_OK) return 3;
  pn_log_init(rank, true);
  return pn_test_end(cmocka_run_group_tests(tests, NULL, NULL));
}
