/* test_statistics.c -- running statistics after a sync: the mean over the ranks weighted by their
 * steps, the same bits everywhere; weights and gradients are left alone. */
#include "mpi/mpi_test.h"
#include "nn/plan.h"
#include "parallel/strategy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHANNELS = 5 };

static pn_graph *make_graph(void) {
  const pn_norm norm = {.eps = 1e-5f, .update = 0.1f};
  pn_graph *g = NULL;
  int n;

  ok(pn_graph_create("statistics", &g));
  ok(pn_graph_input(g, CHANNELS, 4, 4, &n));
  ok(pn_graph_norm(g, "norm", n, norm, &n));
  ok(pn_graph_dense(g, "fc", n, 1, &n));
  ok(pn_graph_loss(g, "loss", n, PN_OP_BCE, &n));
  return g;
}

/* Statistic i of rank r, and the steps it comes from: rank 0 had no images. */
static float value(int r, int64_t i) {
  return (float)(1 + r) + 0.37f * (float)i;
}

static double expected(int ranks, int64_t i) {
  double sum = 0, fed = 0;
  for (int r = 1; r < ranks; r++) {
    sum += r * (double)value(r, i);
    fed += r;
  }
  return fed > 0 ? sum / fed : (double)value(0, i);
}

static void check_sync(pn_comm *c, pn_strategy *s, const pn_param_map *map) {
  int64_t n = map->total - map->trainable;
  int ranks = pn_comm_size(c);
  float *mine = s->params + map->trainable, weight = s->params[0];
  char hex[65];

  for (int64_t i = 0; i < n; i++) {
    mine[i] = value(rank, i);
    if (s->ema) s->ema_rest[i] = mine[i] + 5;
  }
  s->fed = rank;
  ok(pn_strategy_sync_buffers(s));
  for (int64_t i = 0; i < n; i++) {
    assert_true(fabs((double)mine[i] - expected(ranks, i)) < 1e-6);
    assert_true(!s->ema || fabs((double)s->ema_rest[i] - expected(ranks, i) - 5) < 2e-6);
  }
  assert_true(s->params[0] == weight);
  ok(pn_strategy_weights_sha256(s, hex)); /* fails where the ranks differ */
}

static void test_sync(pn_comm *c, double ema) {
  pn_graph *g = make_graph();
  pn_device *d = NULL;
  pn_plan *p = NULL;
  pn_optim *o = NULL;
  pn_strategy *s = NULL;
  pn_optim_config oc;

  pn_optim_defaults(&oc);
  ok(pn_device_create("ref", 1, &d));
  ok(pn_plan_create(&(pn_plan_spec){.graph = g, .device = d, .batch = 3, .training = true}, &p));
  ok(pn_optim_create(&oc, &o));
  const pn_param_map *map = pn_plan_param_map(p);
  assert_true(map->trainable < map->total);
  ok(pn_strategy_create(
      "ddp",
      &(pn_strategy_spec){
          .graph = g, .map = map, .optim = o, .data = c, .device = d, .seed = 3, .ema = ema},
      &s));
  check_sync(c, s, map);
  pn_strategy_destroy(s);
  pn_optim_destroy(o);
  pn_plan_destroy(p);
  pn_device_destroy(d);
  pn_graph_destroy(g);
}

static void test_plain(void **state) {
  (void)state;
  test_sync(world, 0);
}

static void test_with_average(void **state) {
  (void)state;
  test_sync(world, 0.9);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain),
                                     cmocka_unit_test(test_with_average)};
  if (pn_test_start(60) != PN_OK) return 3;
  return pn_test_end(cmocka_run_group_tests(tests, NULL, NULL));
}
