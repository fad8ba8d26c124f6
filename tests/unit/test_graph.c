/* test_graph.c -- shape inference, parameter table, initial values, models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "models/models.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const pn_window k3 = {.kernel = {3, 3}, .stride = {1, 1}};

static void assert_shape(pn_shape s, const char *expected) {
  char text[64];
  pn_shape_text(s, text, sizeof text);
  assert_string_equal(text, expected);
}

static void test_shapes(void **state) {
  pn_window same7 = {.kernel = {7, 5}, .stride = {2, 1}, .pad_before = {3, 2}, .pad_after = {3, 2}};
  pn_window pool = {.kernel = {3, 2}, .stride = {2, 2}, .pad_before = {0, 0}, .pad_after = {1, 0}};
  pn_graph *g;
  int at;
  (void)state;

  assert_int_equal(pn_graph_create("g", &g), PN_OK);
  assert_int_equal(pn_graph_input(g, 3, 33, 20, &at), PN_OK);
  assert_int_equal(pn_graph_conv(g, "c1", at, 8, same7, &at), PN_OK);
  assert_shape(pn_graph_node(g, at)->op.out, "1x8x17x20");
  assert_shape(pn_graph_node(g, at)->op.weight, "8x3x7x5");
  assert_int_equal(pn_graph_maxpool(g, "p1", at, pool, &at), PN_OK);
  assert_shape(pn_graph_node(g, at)->op.out, "1x8x8x10");
  pn_graph_next_unit(g);
  assert_int_equal(pn_graph_dense(g, "d1", at, 10, &at), PN_OK);
  assert_shape(pn_graph_node(g, at)->op.out, "1x10");
  assert_shape(pn_graph_node(g, at)->op.weight, "10x640");
  assert_int_equal(pn_graph_loss(g, "l", at, PN_OP_SOFTMAX_CE, &at), PN_OK);
  assert_int_equal(pn_graph_n_nodes(g), 5);
  assert_int_equal(pn_graph_n_units(g), 2);
  assert_int_equal(pn_graph_n_params(g), 4);
  assert_string_equal(pn_graph_param(g, 2)->name, "d1.weight");
  assert_string_equal(pn_graph_param(g, 3)->name, "d1.bias");
  assert_int_equal(pn_graph_param(g, 1)->unit, 0);
  assert_int_equal(pn_graph_param(g, 3)->unit, 1);
  assert_true(pn_graph_param(g, 0)->decay);
  assert_false(pn_graph_param(g, 1)->decay);
  assert_int_equal(pn_graph_flop(g), 2 * (8 * 17 * 20 * 3 * 7 * 5 + 6400));
  pn_graph_destroy(g);
}

static void test_errors(void **state) {
  pn_window big = {.kernel = {9, 9}, .stride = {1, 1}};
  pn_graph *g;
  int in, d, at;
  (void)state;

  assert_int_equal(pn_graph_create("g", &g), PN_OK);
  assert_int_equal(pn_graph_input(g, 0, 8, 8, &in), PN_ERR_ARG);
  assert_int_equal(pn_graph_input(g, 1, 8, 8, &in), PN_OK);
  assert_int_equal(pn_graph_input(g, 1, 8, 8, &at), PN_ERR_ARG);
  assert_int_equal(pn_graph_conv(g, "big", in, 4, big, &at), PN_ERR_ARG);
  assert_non_null(strstr(pn_last_error(), "big: input 1x1x8x8"));
  assert_int_equal(pn_graph_conv(g, "none", in, 0, k3, &at), PN_ERR_ARG);
  assert_int_equal(pn_graph_conv(g, "lost", 7, 4, k3, &at), PN_ERR_ARG);
  assert_int_equal(pn_graph_dropout(g, "drop", in, 1.0f, &at), PN_ERR_ARG);
  assert_int_equal(pn_graph_dropout(g, "drop", in, NAN, &at), PN_ERR_ARG);
  assert_int_equal(pn_graph_dense(g, "d", in, 3, &d), PN_OK);
  assert_int_equal(pn_graph_dense(g, "d", in, 3, &at), PN_ERR_ARG);
  assert_non_null(strstr(pn_last_error(), "'d'"));
  assert_int_equal(pn_graph_maxpool(g, "p", d, k3, &at), PN_ERR_ARG);
  assert_int_equal(pn_graph_loss(g, "l", d, PN_OP_BCE, &at), PN_ERR_ARG);
  assert_int_equal(pn_graph_loss(g, "l", d, PN_OP_RELU, &at), PN_ERR_ARG);
  assert_int_equal(pn_graph_loss(g, "l", d, PN_OP_SOFTMAX_CE, &at), PN_OK);
  assert_int_equal(pn_graph_relu(g, "r", at, &at), PN_ERR_ARG);
  assert_int_equal(pn_graph_loss(g, "l2", d, PN_OP_SOFTMAX_CE, &at), PN_ERR_ARG);
  assert_int_equal(pn_graph_n_nodes(g), 3);
  pn_graph_destroy(g);
  pn_graph_destroy(NULL);
}

/* The table of small_cnns.md section 2. */
static void test_custom_cnn_counts(void **state) {
  static const struct {
    int64_t f0, f1, kernel;
    bool padding;
    int64_t count;
  } rows[] = {{8, 16, 3, true, 2098657},   {8, 16, 3, false, 1844705}, {16, 32, 3, true, 4199361},
              {16, 32, 3, false, 3691457}, {16, 32, 5, true, 4207809}, {32, 64, 3, true, 8407681},
              {32, 64, 3, false, 7391873}, {32, 64, 5, false, 6941825}};
  (void)state;

  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    pn_model_config c;
    pn_graph *g;
    pn_model_defaults(&c);
    c.filters[0] = rows[i].f0;
    c.filters[1] = rows[i].f1;
    c.kernel = rows[i].kernel;
    c.padding = rows[i].padding;
    assert_int_equal(pn_model_build("custom_cnn", &c, &g), PN_OK);
    assert_int_equal(pn_graph_param_count(g), rows[i].count);
    pn_graph_destroy(g);
  }
}

static void test_custom_cnn_options(void **state) {
  pn_model_config c;
  pn_graph *g;
  (void)state;

  pn_model_defaults(&c);
  c.size[0] = 30; /* not divisible by 4: floor */
  c.softmax = true;
  c.classes = 5;
  c.dropout = 0.5f;
  assert_int_equal(pn_model_build("custom_cnn", &c, &g), PN_OK);
  assert_int_equal(pn_graph_n_params(g), 8);
  assert_string_equal(pn_graph_param(g, 0)->name, "conv1.weight");
  assert_string_equal(pn_graph_param(g, 7)->name, "fc2.bias");
  assert_shape(pn_graph_param(g, 4)->shape, "128x14336"); /* 64 x 7 x 32 */
  assert_shape(pn_graph_param(g, 6)->shape, "5x128");
  assert_int_equal(pn_graph_node(g, pn_graph_n_nodes(g) - 1)->op.kind, PN_OP_SOFTMAX_CE);
  assert_int_equal(pn_graph_n_units(g), 3);
  pn_graph_destroy(g);
  c.softmax = false;
  c.kernel = 4; /* an even kernel: the odd column of padding comes after, as in Keras */
  c.classes = 2;
  assert_int_equal(pn_model_build("custom_cnn", &c, &g), PN_OK);
  assert_int_equal(pn_graph_node(g, 1)->op.window.pad_before[0], 1);
  assert_int_equal(pn_graph_node(g, 1)->op.window.pad_after[0], 2);
  assert_shape(pn_graph_node(g, 1)->op.out, "1x32x30x128");
  pn_graph_destroy(g);
  c.classes = 5;
  assert_int_equal(pn_model_build("custom_cnn", &c, &g), PN_ERR_ARG);
  assert_null(g);
}

/* specs/resnet.md 1.1 and 2.3, small_cnns.md 1.1: parameters, trainable ones, multiply-adds. */
static void test_published_counts(void **state) {
  static const struct {
    const char *model;
    int64_t size, channels, classes;
    bool softmax;
    int64_t count, trainable, macs;
  } rows[] = {{"cifar_cnn", 32, 3, 10, true, 1253290, 1252074, 20741120},
              {"resnet18", 224, 3, 1000, true, 11689512, 11689512, 1814073344},
              {"resnet18", 64, 3, 10, true, 11181642, 11181642, 0},
              {"resnet18", 64, 3, 2, false, 11177025, 11177025, 0},
              {"resnet50v2", 224, 3, 2, false, 23827201, 23827201 - 45440, 3480207360 + 262272},
              {"resnet50v2", 96, 1, 3, true, 23827201 - 2 * 3136 + 2 * 129, 0, 0}};
  (void)state;

  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    pn_model_config c;
    pn_graph *g;
    pn_model_defaults(&c);
    c.size[0] = c.size[1] = rows[i].size;
    c.channels = rows[i].channels;
    c.classes = rows[i].classes;
    c.softmax = rows[i].softmax;
    assert_int_equal(pn_model_build(rows[i].model, &c, &g), PN_OK);
    assert_int_equal(pn_graph_param_count(g), rows[i].count);
    if (rows[i].trainable) assert_int_equal(pn_graph_trainable_count(g), rows[i].trainable);
    if (rows[i].macs) assert_int_equal(pn_graph_flop(g), 2 * rows[i].macs);
    pn_graph_destroy(g);
  }
}

/* The tables of resnet.md 1.4 and 2.4: order, names, shapes. */
static void test_published_names(void **state) {
  static const struct {
    const char *model;
    int index;
    const char *name, *shape;
  } rows[] = {{"resnet18", 0, "conv1.weight", "64x3x7x7"},
              {"resnet18", 1, "bn1.weight", "64"},
              {"resnet18", 4, "bn1.running_var", "64"},
              {"resnet18", 5, "layer1.0.conv1.weight", "64x64x3x3"},
              {"resnet18", 10, "layer1.0.conv2.weight", "64x64x3x3"},
              {"resnet18", 35, "layer2.0.downsample.0.weight", "128x64x1x1"},
              {"resnet18", 38, "layer2.0.downsample.1.running_mean", "128"},
              {"resnet18", 100, "fc.weight", "2x512"},
              {"resnet50v2", 0, "conv1_conv.kernel", "64x3x7x7"},
              {"resnet50v2", 2, "conv2_block1_preact_bn.gamma", "64"},
              {"resnet50v2", 16, "conv2_block1_0_conv.kernel", "256x64x1x1"},
              {"resnet50v2", 18, "conv2_block1_3_conv.kernel", "256x64x1x1"},
              {"resnet50v2", 265, "conv5_block3_3_conv.bias", "2048"},
              {"resnet50v2", 269, "post_bn.moving_variance", "2048"},
              {"cifar_cnn", 2, "bn1.gamma", "32"}};
  (void)state;

  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    pn_model_config c;
    pn_graph *g;
    pn_model_defaults(&c);
    c.channels = 3;
    c.softmax = true;
    assert_int_equal(pn_model_build(rows[i].model, &c, &g), PN_OK);
    assert_true(rows[i].index < pn_graph_n_params(g));
    assert_string_equal(pn_graph_param(g, rows[i].index)->name, rows[i].name);
    assert_shape(pn_graph_param(g, rows[i].index)->shape, rows[i].shape);
    pn_graph_destroy(g);
  }
}

static void test_model_names(void **state) {
  pn_model_config c;
  pn_graph *g;
  int n;
  (void)state;

  pn_model_defaults(&c);
  assert_int_equal(pn_model_build("custm_cnn", &c, &g), PN_ERR_ARG);
  assert_non_null(strstr(pn_last_error(), "custom_cnn"));
  assert_true(pn_model_table(&n) != NULL && n >= 1);
}

static void test_init(void **state) {
  pn_model_config c;
  pn_graph *g;
  float *w, *again;
  double sum = 0, square = 0, bound = 1.0 / sqrt(288.0);
  int64_t n;
  pn_rng r = pn_rng_make(7, PN_RNG_INIT, 2, 0);
  (void)state;

  pn_model_defaults(&c);
  assert_int_equal(pn_model_build("custom_cnn", &c, &g), PN_OK);
  n = pn_shape_count(pn_graph_param(g, 2)->shape);
  w = malloc((size_t)n * sizeof *w);
  again = malloc((size_t)n * sizeof *w);
  pn_graph_init_param(g, 2, 7, w);
  for (int64_t i = 0; i < n; i++) {
    assert_true(fabs((double)w[i]) <= bound);
    assert_true(w[i] == (float)pn_rng_range(&r, -bound, bound));
    sum += (double)w[i];
    square += (double)w[i] * (double)w[i];
  }
  /* U(-b, b): mean 0, variance b^2 / 3; five standard errors */
  assert_true(fabs(sum / (double)n) < 5 * bound / sqrt(3.0 * (double)n));
  assert_true(fabs(square / (double)n / (bound * bound / 3.0) - 1.0) < 0.05);
  pn_graph_init_param(g, 2, 8, again);
  assert_true(memcmp(w, again, (size_t)n * sizeof *w) != 0);
  pn_graph_init_param(g, 2, 7, again);
  assert_memory_equal(w, again, (size_t)n * sizeof *w);
  free(w);
  free(again);
  pn_graph_destroy(g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_shapes),
      cmocka_unit_test(test_errors),
      cmocka_unit_test(test_custom_cnn_counts),
      cmocka_unit_test(test_custom_cnn_options),
      cmocka_unit_test(test_published_counts),
      cmocka_unit_test(test_published_names),
      cmocka_unit_test(test_model_names),
      cmocka_unit_test(test_init),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
