/* test_oracle.c -- logits, losses, all gradients and ten optimizer steps of the networks against
 * PyTorch's (computed in double), on every device of the build. */
#include "oracle_case.h"
#include "test_device.h"

static const char *only; /* this device alone; NULL: each of the build that needs no GPU */

/* One device working on one case. */
typedef struct {
  oracle o;
  pn_device *device;
  pn_plan *plan;
  const pn_param_map *map;
  pn_optim *optim;
  float *params, *grads, *state[2], *start; /* arenas */
} job;

static void job_make(job *j, const char *name, pn_device *d) {
  size_t bytes;

  memset(j, 0, sizeof *j);
  oracle_open(&j->o, name);
  j->device = d;
  pn_plan_spec spec = {.graph = j->o.graph, .device = d, .batch = j->o.batch, .training = true};
  if (pn_plan_create(&spec, &j->plan) != PN_OK) fail_msg("%s", pn_last_error());
  j->map = pn_plan_param_map(j->plan);
  j->optim = oracle_optim(&j->o);
  bytes = (size_t)j->map->total * sizeof(float);
  float **arena[] = {&j->params, &j->grads, &j->state[0], &j->state[1], &j->start};
  for (int i = 0; i < 5; i++) assert_int_equal(d->ops->alloc(d, bytes, (void **)arena[i]), PN_OK);
  for (int i = 0; i < j->map->n; i++) {
    int64_t n = pn_shape_count(pn_graph_param(j->o.graph, i)->shape);
    float *w = malloc((size_t)n * sizeof *w);
    oracle_values(&j->o, i, w);
    assert_int_equal(pn_layout_pack(&j->map->slot[i].layout, w, j->params + j->map->slot[i].offset),
                     PN_OK);
    free(w);
  }
  memcpy(j->start, j->params, bytes);
  pn_plan_bind(j->plan, j->params, j->grads);
  oracle_batch(&j->o, j->plan);
}

static void job_free(job *j) {
  float *arena[] = {j->params, j->grads, j->state[0], j->state[1], j->start};
  pn_plan_destroy(j->plan);
  for (int i = 0; i < 5; i++) j->device->ops->free(j->device, arena[i]);
  pn_optim_destroy(j->optim);
  oracle_close(&j->o);
}

static double mean_loss(const job *j) {
  double sum = 0;
  for (int64_t i = 0; i < j->o.batch; i++) sum += (double)pn_plan_losses(j->plan)[i];
  return sum / (double)j->o.batch;
}

static void compute(job *j) {
  pn_step_ctx ctx = {.seed = j->o.seed, .sample_scale = j->o.scale};
  assert_int_equal(pn_plan_forward(j->plan, &ctx, NULL), PN_OK);
  assert_int_equal(pn_plan_backward(j->plan, &ctx, NULL), PN_OK);
}

static void update(job *j, int64_t t) {
  for (int i = 0; i < j->map->n; i++) {
    int64_t at = j->map->slot[i].offset;
    if (!j->map->slot[i].trainable) continue;
    pn_optim_range r = {.param = j->params + at,
                        .state = {j->state[0] + at, j->state[1] + at},
                        .grad = j->grads + at,
                        .count = j->map->slot[i].count,
                        .decay = pn_graph_param(j->o.graph, i)->decay ? 1 : 0,
                        .grad_scale = 1};
    pn_optim_update(j->optim, t, number(j->o.json, "lr"), &r, j->device->threads);
  }
}

static void check_row(const job *j, const char *key, const float *got) {
  const json_t *row = field(j->o.json, key);
  assert_true(json_array_size(row) > 0);
  for (size_t i = 0; i < json_array_size(row); i++) {
    double want = json_number_value(json_array_get(row, i));
    if (!(fabs((double)got[i] - want) < (j->o.spread ? 1e-4 * (1 + fabs(want)) : 2e-6)))
      fail_msg("%s, %s[%zu]: %.8g, PyTorch says %.8g", j->device->ops->name, key, i, (double)got[i],
               want);
  }
}

/* Tolerances: `entry` of one number relative to the tensor's largest, `sum` of sums relative to the
 * sum of absolute values.  noise: least "largest" of a tensor; biases before a norm have no
 * gradient but rounding. */
struct tolerance {
  double entry, sum, noise, absolute; /* absolute: rounding of parameters in ten steps */
};

static void check_entry(const job *j, int param, int64_t at, double got, double want, double tol) {
  if (fabs(got - want) <= tol) return;
  fail_msg("%s, %s[%lld]: %.8g, PyTorch says %.8g (tolerance %g)", j->device->ops->name,
           pn_graph_param(j->o.graph, param)->name, (long long)at, got, want, tol);
}

static void check_summary(const job *j, int param, const float *got, const json_t *want,
                          struct tolerance tol) {
  const json_t *index = field(want, "index"), *value = field(want, "value");
  int64_t n = pn_shape_count(pn_graph_param(j->o.graph, param)->shape);
  double sum = 0, absolute = 0;

  for (int64_t i = 0; i < n; i++) {
    sum += (double)got[i];
    absolute += fabs((double)got[i]);
  }
  double size = fmax(number(want, "abs"), tol.noise * (double)n);
  check_entry(j, param, -1, sum, number(want, "sum"), tol.sum * size + tol.absolute * (double)n);
  check_entry(j, param, -2, absolute, number(want, "abs"),
              tol.sum * size + tol.absolute * (double)n);
  assert_true(json_array_size(index) > 0);
  for (size_t i = 0; i < json_array_size(index); i++) {
    int64_t at = json_integer_value(json_array_get(index, i));
    check_entry(j, param, at, (double)got[at], json_number_value(json_array_get(value, i)),
                tol.entry * fmax(number(want, "max"), tol.noise) + tol.absolute);
  }
}

/* Largest entry of all tensors. */
static double largest(const json_t *params, const char *key) {
  double top = 0;
  for (size_t i = 0; i < json_array_size(params); i++)
    top = fmax(top, number(field(json_array_get(params, i), key), "max"));
  return top;
}

static void same_name(const job *j, int param, const json_t *row) {
  char name[PN_TENSOR_NAME_BYTES];
  pn_tensor_plain_name(pn_graph_param(j->o.graph, param)->name, name);
  assert_string_equal(json_string_value(field(row, "name")), name);
}

/* An arena (minus another) against "grad" or "delta"; whole: all entries of the .bin, if any. */
static void check_arena(const job *j, const char *key, const float *arena, const float *minus,
                        const float *whole, struct tolerance tol) {
  const json_t *params = field(j->o.json, "params");
  size_t at = 0;

  if (j->o.spread) tol.noise = 0.01 * largest(params, key);
  for (int i = 0; i < j->map->n; i++) {
    const struct pn_slot *s = &j->map->slot[i];
    if (!s->trainable) continue;
    int64_t n = pn_shape_count(s->layout.shape);
    float *x = malloc((size_t)n * sizeof *x), *y = calloc((size_t)n, sizeof *y);
    const json_t *p = json_array_get(params, at++);
    same_name(j, i, p);
    assert_int_equal(pn_layout_unpack(&s->layout, arena + s->offset, x), PN_OK);
    if (minus) assert_int_equal(pn_layout_unpack(&s->layout, minus + s->offset, y), PN_OK);
    for (int64_t k = 0; k < n; k++) x[k] -= y[k];
    check_summary(j, i, x, field(p, key), tol);
    for (int64_t k = 0; whole && k < n; k++)
      check_entry(j, i, k, (double)x[k], (double)whole[k],
                  tol.entry * number(field(p, key), "max") + tol.absolute);
    whole = whole ? whole + n : NULL;
    free(x);
    free(y);
  }
  assert_int_equal(json_array_size(params), at);
}

/* ResNet18 has its norms behind convolutions: none of them, no sum and no ReLU is a step of its
 * own in evaluation. */
static void check_folded(const job *j, const pn_plan *eval) {
  int n = pn_plan_n_steps(eval);

  if (strcmp(j->device->ops->name, "onednn") != 0 || strcmp(pn_graph_name(j->o.graph), "resnet18"))
    return;
  for (int i = 0; i < n; i++) {
    pn_step_info s;
    pn_plan_step_info(eval, i, &s);
    bool more = strstr(s.name, "bn") || strstr(s.name, "downsample.1") || strstr(s.name, "add") ||
                strstr(s.name, "relu");
    if (more && !strstr(s.name, "conv") && !strstr(s.name, "downsample.0"))
      fail_msg("%s is a step of its own in evaluation", s.name);
  }
}

/* Running statistics after all steps, and what the network then says in evaluation. */
static void check_evaluation(const job *j) {
  const struct tolerance tol = {1e-4, 1e-4, 0, 0};
  const json_t *buffers = field(j->o.json, "buffers"), *want = field(j->o.json, "eval_logits");
  pn_plan_spec spec = {
      .graph = j->o.graph, .device = j->device, .batch = j->o.batch, .params = j->map};
  pn_plan *eval;
  size_t at = 0;

  for (int i = 0; i < j->map->n; i++) {
    const json_t *b = json_array_get(buffers, at);
    if (j->map->slot[i].trainable) continue;
    same_name(j, i, b);
    check_summary(j, i, j->params + j->map->slot[i].offset, b, tol);
    at++;
  }
  assert_int_equal(json_array_size(buffers), at);
  assert_int_equal(pn_plan_create(&spec, &eval), PN_OK);
  check_folded(j, eval);
  pn_plan_bind(eval, j->params, NULL);
  oracle_batch(&j->o, eval);
  assert_int_equal(pn_plan_forward(eval, NULL, NULL), PN_OK);
  for (size_t i = 0; i < json_array_size(want); i++) {
    double got = (double)pn_plan_logits(eval)[i], y = json_number_value(json_array_get(want, i));
    if (!(fabs(got - y) < 1e-4 * (1 + fabs(y))))
      fail_msg("%s: evaluation logit %zu is %.8g, PyTorch says %.8g", j->device->ops->name, i, got,
               y);
  }
  pn_plan_destroy(eval);
}

/* Adam turns a gradient near 0 into a full step: updates, of 1e-3 to 1e-2, differ by up to 2e-6;
 * the largest parameters of the tensors are 0.004 to 0.3. */
static void check_case(const char *name, pn_device *d, int steps) {
  struct tolerance grad = {2e-5, 2e-5, 0, 0}, delta = {1e-4, 1e-4, 0, 2e-6};
  double loss = 1e-6;
  job j;

  job_make(&j, name, d);
  if (strcmp(d->ops->name, "cuda") == 0) { /* libraries there sum in orders of their own */
    grad.entry = grad.sum = 1e-4;
    loss = 1e-5;
  }
  if (j.o.spread) {
    grad = delta = (struct tolerance){1e-4, 1e-4, 0, 0};
    delta.absolute = 6e-7;
    loss = 1e-4;
  }
  for (int t = 1; t <= (steps ? steps : 1); t++) {
    double want = json_number_value(json_array_get(field(j.o.json, "step_loss"), (size_t)t - 1));
    compute(&j);
    if (!(fabs(mean_loss(&j) - want) < loss))
      fail_msg("%s on %s, step %d: loss %.8g, PyTorch says %.8g", name, d->ops->name, t,
               mean_loss(&j), want);
    if (t == 1) {
      check_row(&j, "logits", pn_plan_logits(j.plan));
      check_row(&j, "losses", pn_plan_losses(j.plan));
      check_arena(&j, "grad", j.grads, NULL, j.o.grad, grad);
    }
    if (steps) update(&j, t);
  }
  if (steps) check_arena(&j, "delta", j.params, j.start, j.o.delta, delta);
  if (steps && j.o.spread) check_evaluation(&j);
  job_free(&j);
}

static void on_device(const char *name, const char *device, int threads, int steps) {
  pn_device *d;
  pn_status st = pn_device_create(device, threads, &d);

  if (st == PN_ERR_UNSUPPORTED) return; /* not in this build */
  assert_int_equal(st, PN_OK);
  check_case(name, d, steps);
  pn_device_destroy(d);
}

static void on_each_device(const char *name, int steps_ref) {
  static const char *const devices[] = {"ref", "onednn", "emulated"};

  if (only) {
    on_device(name, only, 2, strcmp(only, "emulated") == 0 ? steps_ref : 10);
    return;
  }
  for (int i = 0; i < 3; i++)
    for (int threads = i == 2 ? 2 : 1; threads <= (i ? 2 : 1); threads++)
      on_device(name, devices[i], threads, i == 1 ? 10 : steps_ref);
}

static void test_bce(void **state) {
  (void)state;
  on_each_device("cnn_bce", 10);
}

static void test_softmax(void **state) {
  (void)state;
  on_each_device("cnn_softmax", 10);
}

/* 8,407,681 parameters; on `ref` one step, it is slow. */
static void test_full(void **state) {
  (void)state;
  on_each_device("cnn_full", 0);
}

/* small_cnns.md 1, resnet.md parts 1 and 2: batch norm of PyTorch's and of Keras's rules. */
static void test_cifar_cnn(void **state) {
  (void)state;
  on_each_device("cifar_cnn", 10);
}

static void test_resnet18(void **state) {
  (void)state;
  on_each_device("resnet18", 10);
}

static void test_resnet50v2(void **state) {
  (void)state;
  on_each_device("resnet50v2", 10);
}

/* test_oracle cuda: on a GPU; see test_device.h. */
int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bce),      cmocka_unit_test(test_softmax),
      cmocka_unit_test(test_full),     cmocka_unit_test(test_cifar_cnn),
      cmocka_unit_test(test_resnet18), cmocka_unit_test(test_resnet50v2),
  };
  pn_device *d = NULL;

  only = test_device_name(argc, argv);
  if (only && !(d = test_device_open(only, 1))) return TEST_SKIPPED;
  pn_device_destroy(d);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
