/* test_groups.c -- parameters by patterns of their names; the balanced order of an epoch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "data/dataset.h"
#include "models/models.h"
#include "optim/groups.h"

#include <string.h>

static pn_graph *graph;

static int make_graph(void **state) {
  pn_model_config m;
  (void)state;
  pn_model_defaults(&m);
  return pn_model_build("custom_cnn", &m, &graph) != PN_OK;
}

static int drop_graph(void **state) {
  (void)state;
  pn_graph_destroy(graph);
  return 0;
}

static int find(const char *name) {
  for (int i = 0; i < pn_graph_n_params(graph); i++)
    if (strcmp(pn_graph_param(graph, i)->name, name) == 0) return i;
  fail_msg("no %s", name);
  return -1;
}

static void test_patterns(void **state) {
  pn_group_config c = {.freeze = "conv1.*, *2.bias", .groups = "fc2.*:lr=10:decay=0.5,fc*:lr=2"};
  pn_group g[64];

  (void)state;
  assert_int_equal(pn_groups_make(graph, &c, g), PN_OK);
  assert_true(g[find("conv1.weight")].frozen && g[find("conv1.bias")].frozen);
  assert_true(g[find("conv2.bias")].frozen && !g[find("conv2.weight")].frozen);
  assert_true(g[find("fc2.weight")].lr == 10 && g[find("fc2.weight")].decay == 0.5);
  assert_true(g[find("fc1.weight")].lr == 2 && g[find("fc1.weight")].decay == 1);
  assert_true(g[find("fc1.bias")].decay == 0 && !g[find("fc1.bias")].adapt);
  assert_true(g[find("conv2.weight")].lr == 1 && g[find("conv2.weight")].adapt);
  c = (pn_group_config){.decay_all = true};
  assert_int_equal(pn_groups_make(graph, &c, g), PN_OK);
  assert_true(g[find("fc1.bias")].decay == 1 && !g[find("fc1.bias")].frozen);
}

static void refused(const char *freeze, const char *groups, const char *part) {
  pn_group_config c = {.decay_all = false};
  pn_group g[64];

  strcpy(c.freeze, freeze);
  strcpy(c.groups, groups);
  assert_int_equal(pn_groups_make(graph, &c, g), PN_ERR_ARG);
  if (!strstr(pn_last_error(), part)) fail_msg("%s", pn_last_error());
}

static void test_bad_patterns(void **state) {
  (void)state;
  refused("layer1.*", "", "'layer1.*' matches no parameter of custom_cnn; there are conv1.weight");
  refused("", "fc*:rate=3", "expected lr=FACTOR or decay=FACTOR");
  refused("", "fc*:lr=x", "'lr=x'");
  refused("", "fc9:lr=1", "matches no parameter");
  refused("*", "", "nothing to train");
}

/* 90, 9, 0 and 1 of 100: each class that is there gets a third; a permutation of the rest. */
static void test_balanced(void **state) {
  uint8_t label[100];
  int64_t a[100], b[100], count[4] = {0}, seen[100] = {0};
  pn_label_list l = {label, 100, 4};

  (void)state;
  for (int i = 0; i < 100; i++) label[i] = i < 90 ? 0 : i < 99 ? 1 : 3;
  assert_int_equal(pn_sampler_balanced(&l, 5, 1, a), PN_OK);
  for (int i = 0; i < 100; i++) {
    assert_in_range(a[i], 0, 99);
    count[label[a[i]]]++;
    seen[a[i]]++;
  }
  for (int c = 0; c < 4; c++)
    if (c != 2) assert_in_range(count[c], 33, 34);
  assert_int_equal(count[2], 0);
  for (int i = 0; i < 90; i++) assert_in_range(seen[i], 0, 1);
  for (int i = 90; i < 99; i++) assert_in_range(seen[i], 3, 4);
  assert_int_equal(pn_sampler_balanced(&l, 5, 1, b), PN_OK);
  assert_memory_equal(a, b, sizeof a);
  assert_int_equal(pn_sampler_balanced(&l, 5, 2, b), PN_OK);
  assert_memory_not_equal(a, b, sizeof a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_patterns),
      cmocka_unit_test(test_bad_patterns),
      cmocka_unit_test(test_balanced),
  };
  return cmocka_run_group_tests(tests, make_graph, drop_graph);
}
