/* test_bf16_networks.c -- all networks in bf16 beside f32: ten steps of the same training, and what
 * a plan of bf16 converts between the two types. */
#include "base/rng.h"
#include "models/models.h"
#include "nn/plan.h"
#include "optim/optim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 8, STEPS = 10, MAX_CLASSES = 3 };

/* Tolerance: of a step's mean loss, relative to 1 + loss.  The nets with norms take their
 * statistics from few numbers here, which rounding moves more; the 50 layers of pre-activation
 * amplify it most: gradients of bf16 and f32 have a cosine of 0.4 in the first layers (0.34 in
 * PyTorch's autocast). */
static const struct network {
  const char *name;
  int64_t size, channels;
  double tolerance;
} networks[] = {{"custom_cnn", 64, 1, 0.02},
                {"cifar_cnn", 32, 3, 0.02},
                {"resnet18", 64, 3, 0.05},
                {"resnet50v2", 64, 3, 0.25}};

static pn_device *device;

typedef struct {
  pn_graph *graph;
  pn_plan *plan;
  const pn_param_map *map;
  pn_optim *optim;
  float *params, *grads, *state;
} job;

static float *arena(int64_t n) {
  void *p = NULL;
  assert_int_equal(pn_device_alloc(device, (size_t)n * sizeof(float), &p), PN_OK);
  return p;
}

static void init_params(job *j) {
  for (int i = 0; i < j->map->n; i++) {
    int64_t n = pn_shape_count(pn_graph_param(j->graph, i)->shape);
    float *w = malloc((size_t)n * sizeof *w);
    assert_non_null(w);
    pn_graph_init_param(j->graph, i, 5, w);
    assert_int_equal(pn_layout_pack(&j->map->slot[i].layout, w, j->params + j->map->slot[i].offset),
                     PN_OK);
    free(w);
  }
}

static void job_make(job *j, const struct network *net, pn_dtype type) {
  pn_optim_config o;
  pn_model_config c;
  pn_plan_spec spec = {.device = device, .batch = BATCH, .training = true, .precision = type};

  pn_model_defaults(&c);
  c.size[0] = c.size[1] = net->size;
  c.channels = net->channels;
  c.classes = MAX_CLASSES;
  c.softmax = true;
  assert_int_equal(pn_model_build(net->name, &c, &j->graph), PN_OK);
  spec.graph = j->graph;
  if (pn_plan_create(&spec, &j->plan) != PN_OK) fail_msg("%s", pn_last_error());
  j->map = pn_plan_param_map(j->plan);
  pn_optim_defaults(&o);
  strcpy(o.name, "sgd");
  o.momentum = 0.9;
  assert_int_equal(pn_optim_create(&o, &j->optim), PN_OK);
  j->params = arena(j->map->total);
  j->grads = arena(j->map->total);
  j->state = arena(j->map->total);
  init_params(j);
  pn_plan_bind(j->plan, j->params, j->grads);
}

static void job_free(job *j) {
  float *const owned[] = {j->params, j->grads, j->state};
  for (int i = 0; i < 3; i++) device->ops->free(device, owned[i]);
  pn_optim_destroy(j->optim);
  pn_plan_destroy(j->plan);
  pn_graph_destroy(j->graph);
}

/* One step on always the same images; the mean loss before it. */
static double train_step(job *j, int64_t step) {
  static const uint64_t id[BATCH] = {3, 1, 4, 15, 9, 2, 6, 5};
  float scale[BATCH];
  pn_step_ctx ctx = {.seed = 2, .epoch = 1, .sample_id = id, .sample_scale = scale};
  pn_optim_range range = {.param = j->params,
                          .grad = j->grads,
                          .state = {j->state, NULL},
                          .count = j->map->trainable,
                          .grad_scale = 1};
  int64_t pixels = pn_shape_count(pn_graph_node(j->graph, 0)->op.out);
  double loss = 0;

  for (int n = 0; n < BATCH; n++) {
    pn_rng r = pn_rng_make(8, PN_RNG_TEST, id[n], 0);
    for (int64_t i = 0; i < pixels; i++)
      pn_plan_input(j->plan)[n * pixels + i] = (float)pn_rng_normal(&r) + 0.3f * (float)(n % 3);
    pn_plan_labels(j->plan)[n] = n % MAX_CLASSES;
    scale[n] = 1.0f / BATCH;
  }
  assert_int_equal(pn_plan_forward(j->plan, &ctx, NULL), PN_OK);
  for (int n = 0; n < BATCH; n++) loss += (double)pn_plan_losses(j->plan)[n] / BATCH;
  assert_int_equal(pn_plan_backward(j->plan, &ctx, NULL), PN_OK);
  pn_optim_update(j->optim, step, 1e-3, &range, 1);
  return loss;
}

static void test_ten_steps(void **state) {
  const struct network *net = *state;
  double first = 0, last = 0;
  job full, half;

  if (!device) skip();
  job_make(&full, net, PN_F32);
  job_make(&half, net, PN_BF16);
  for (int64_t k = 1; k <= STEPS; k++) {
    double a = train_step(&full, k), b = train_step(&half, k);
    if (!(fabs(a - b) <= net->tolerance * (1 + fabs(a))))
      fail_msg("%s, step %d: loss %g in f32, %g in bf16", net->name, (int)k, a, b);
    if (k == 1) first = b;
    last = b;
  }
  assert_true(last < first); /* it learns */
  assert_true(memcmp(full.params, half.params, (size_t)full.map->trainable * 4) != 0);
  job_free(&full);
  job_free(&half);
}

/* Of activations only the images and the diff of the logits are converted, and nothing that is bf16
 * changes its layout; of parameters the weights, once for each way. */
static void test_conversions(void **state) {
  const struct network *net = *state;
  int convert = 0, weights = 0;
  job j;

  if (!device) skip();
  job_make(&j, net, PN_BF16);
  for (int i = 0; i < pn_plan_n_steps(j.plan); i++) {
    pn_step_info s;
    pn_plan_step_info(j.plan, i, &s);
    if (strcmp(s.name, "reorder") == 0) fail_msg("%s: step %d %s", net->name, i, s.layout);
    convert += strcmp(s.name, "convert") == 0;
    weights += strncmp(s.name, "convert ", 8) == 0;
  }
  assert_true(convert <= 2);
  assert_true(weights <= 2 * pn_graph_n_params(j.graph));
  job_free(&j);
}

static int setup(void **state) {
  (void)state;
  if (pn_device_create("onednn", 1, &device) != PN_OK) return 0;
  if (pn_device_check_precision(device, PN_BF16) == PN_OK) return 0;
  print_message("%s\n", pn_last_error());
  pn_device_destroy(device);
  device = NULL;
  return 0;
}

static int teardown(void **state) {
  (void)state;
  pn_device_destroy(device);
  return 0;
}

int main(void) {
  enum { N = sizeof networks / sizeof *networks };
  struct CMUnitTest tests[2 * N];

  for (int i = 0; i < N; i++) {
    void *net = (void *)(uintptr_t)&networks[i];
    tests[i] = (struct CMUnitTest){networks[i].name, test_ten_steps, NULL, NULL, net};
    tests[N + i] = (struct CMUnitTest){networks[i].name, test_conversions, NULL, NULL, net};
  }
  return cmocka_run_group_tests(tests, setup, teardown);
}
