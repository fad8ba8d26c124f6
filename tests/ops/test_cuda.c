/* test_cuda.c -- what the table of op cases does not reach in the device cuda, on its emulation:
 * long sums, optimizers, mixed targets, the file of algorithms, labels out of range.  With the name
 * of a device as argument, on that. */
#include "op_run.h"
#include "test_device.h"

#include "../../cuda/algorithms.h"
#include "nn/plan.h"
#include "optim/optim.h"

#include <unistd.h>

static pn_device *ref, *dev;

static void pass(pn_device *d, const op_case *c, const pn_op_desc *op, pn_pass p, op_data *data) {
  pn_task t = op_task(op, c->n_ops, p, "acdb", false);
  bool ran;
  assert_int_equal(op_pass(d, &t, data, &ran, NULL), PN_OK);
  assert_true(ran);
}

static void close_to(const float *got, const float *want, int64_t n, double most) {
  double top = 1e-30;

  for (int64_t i = 0; i < n; i++)
    if (fabs((double)want[i]) > top) top = fabs((double)want[i]);
  for (int64_t i = 0; i < n; i++)
    if (!(fabs((double)got[i] - (double)want[i]) < most * top))
      fail_msg("element %lld: %g, expected %g", (long long)i, (double)got[i], (double)want[i]);
}

/* Rows in many parts, and in several blocks side by side; means far from 0. */
static void check_rows(int64_t channels, int64_t height, int64_t width) {
  op_case c = {.name = "norm of many rows", .op = {PN_OP_NORM}, .n_ops = 1};
  pn_op_desc op[CASE_CHAIN];
  op_data got, want;

  c.in = pn_shape4(4, channels, height, width);
  c.norm = (pn_norm)TORCH_NORM;
  case_ops(&c, op);
  op_data_make(&c, op, &got);
  op_data_make(&c, op, &want);
  for (int64_t i = 0; i < pn_shape_count(c.in); i++)
    got.plain[PN_SRC][i] = want.plain[PN_SRC][i] += 20.0f;
  for (pn_pass p = PN_FORWARD; p < PN_PASS_COUNT; p++) {
    if (p == PN_BACKWARD_POST) continue;
    pass(ref, &c, op, p, &want);
    pass(dev, &c, op, p, &got);
  }
  close_to(got.plain[PN_DST], want.plain[PN_DST], pn_shape_count(c.in), 1e-5);
  close_to(got.plain[PN_DSRC], want.plain[PN_DSRC], pn_shape_count(c.in), 1e-5);
  close_to(got.plain[PN_VAR], want.plain[PN_VAR], channels, 1e-6);
  close_to(got.plain[PN_DGAMMA], want.plain[PN_DGAMMA], channels, 1e-5);
  op_data_free(&got);
  op_data_free(&want);
}

static void test_many_rows(void **state) {
  (void)state;
  check_rows(3, 130, 101);
  check_rows(8, 130, 101);
  check_rows(520, 9, 11);
}

enum { LONG = 100003, ARRAYS = 4 };

/* One array of the optimizer, on the host and far; `at`: elements in front, so that ranges start
 * at any place. */
struct optimized {
  float *host[ARRAYS], *far[ARRAYS]; /* parameter, gradient, two states */
};

static struct optimized make_arrays(void) {
  struct optimized a;

  for (int k = 0; k < ARRAYS; k++) {
    a.host[k] = malloc(LONG * sizeof(float));
    fill_normal(a.host[k], LONG, 40 + (uint64_t)k, 0.5f);
    for (int i = 0; i < LONG && k >= 2; i++) a.host[k][i] = fabsf(a.host[k][i]);
    a.far[k] = operand(dev, LONG * sizeof(float), a.host[k]);
  }
  return a;
}

static void free_arrays(struct optimized *a) {
  for (int k = 0; k < ARRAYS; k++) {
    free(a->host[k]);
    release(dev, a->far[k]);
  }
}

static pn_optim_range range_of(float *const array[ARRAYS], int64_t at, int64_t n, double decay) {
  return (pn_optim_range){.param = array[0] + at,
                          .grad = array[1] + at,
                          .state = {array[2] + at, array[3] + at},
                          .count = n,
                          .decay = decay,
                          .grad_scale = 1};
}

/* Ranges of every length and place, wide and not, two rows of coefficients. */
static const struct {
  int64_t at, count;
  int row;
} cuts[] = {{0, 1, 0},     {3, 9, 1},        {16, 4096, 0},           {4112, 3, 1},
            {4115, 10, 0}, {4128, 70001, 1}, {74144, LONG - 74144, 0}};
enum { CUTS = sizeof cuts / sizeof *cuts, ROWS = 2, T = 2 };
static const double decays[ROWS] = {1, 0}, rates[ROWS] = {0.01, 0.02};

/* The far list over them, with room for sums. */
struct listed {
  pn_flat_list l;
  pn_flat_range range[CUTS];
  void *far[6];
};

static struct listed make_list(const struct optimized *a, const pn_optim *o, const float *average,
                               int64_t t) {
  struct listed x = {.l = {.n = CUTS, .eta = pn_optim_trust(o), .clip_norm = 0.5}};
  pn_flat_row row[ROWS];
  int k = 0;

  for (int i = 0; i < CUTS; i++) {
    pn_optim_range r = range_of(a->far, cuts[i].at, cuts[i].count, 1);
    x.range[i] = (pn_flat_range){.param = r.param,
                                 .state = {pn_optim_n_states(o) > 0 ? r.state[0] : NULL,
                                           pn_optim_n_states(o) > 1 ? r.state[1] : NULL},
                                 .average = average ? (float *)average + cuts[i].at : NULL,
                                 .grad = r.grad,
                                 .count = r.count,
                                 .first = x.l.groups,
                                 .part = x.l.parts,
                                 .row = cuts[i].row,
                                 .wide = cuts[i].at % 4 == 0};
    x.l.groups += (r.count + PN_FLAT_LANES - 1) / PN_FLAT_LANES;
    x.l.parts += 1 + (int)(r.count / 700);
  }
  for (int i = 0; i < ROWS; i++) {
    pn_optim_range like = {.decay = decays[i], .grad_scale = 1};
    row[i] = (pn_flat_row){.number = pn_optim_describe(o, t, rates[i], &like),
                           .rate = rates[i],
                           .decay = pn_optim_weight_decay(o, &like),
                           .adapts = i == 0};
    row[i].fresh = pn_ema_factor(0.9, t);
  }
  x.l.rule = row[0].number.rule;
  x.l.range = x.far[k++] = operand(dev, sizeof x.range, x.range);
  x.l.row = x.far[k++] = operand(dev, sizeof row, row);
  x.l.partial = x.far[k++] = operand(dev, (size_t)x.l.parts * 2 * sizeof(double), NULL);
  x.l.sums = x.far[k++] = operand(dev, CUTS * 2 * sizeof(double), NULL);
  x.l.trust = x.far[k++] = operand(dev, CUTS * sizeof(double), NULL);
  x.l.result = x.far[k++] = operand(dev, PN_FLAT_RESULTS * sizeof(double), NULL);
  return x;
}

static void free_list(struct listed *x) {
  for (int k = 0; k < 6; k++) release(dev, x->far[k]);
}

/* What the host makes of the same ranges, with the norms that it finds itself. */
static void host_step(struct optimized *a, const pn_optim *o, float *average, bool clip,
                      double *norm) {
  bool balance = pn_optim_wants_norms(o);
  double sum = 0, factor = 1;

  for (int i = 0; i < CUTS; i++) {
    pn_optim_range r = range_of(a->host, cuts[i].at, cuts[i].count, 0);
    sum += pn_optim_sum_squares(o, &r, 1).grad;
  }
  *norm = sqrt(sum);
  if (clip) factor = 0.5 / (*norm + 1e-6);
  for (int i = 0; i < CUTS; i++) {
    pn_optim_range r = range_of(a->host, cuts[i].at, cuts[i].count, decays[cuts[i].row]);
    pn_ema_range e = {.average = average + cuts[i].at, .param = r.param, .count = r.count};
    double lr = rates[cuts[i].row];
    r.grad_scale = factor;
    e.decay = 0.9;
    if (balance && cuts[i].row == 0) lr *= pn_optim_trust_ratio(o, pn_optim_sum_squares(o, &r, 1));
    pn_optim_update(o, T, lr, &r, 1);
    pn_ema_update(&e, T, 1);
  }
}

/* All ranges by one launch, with norms found on the device. */
static void check_step(const pn_optim_config *config, bool clip) {
  struct optimized a = make_arrays();
  float *average = calloc(LONG, sizeof *average), *got = malloc(LONG * sizeof *got);
  float *far_average = operand(dev, LONG * sizeof(float), average);
  double norm, result[PN_FLAT_RESULTS];
  pn_optim *o = NULL;
  struct listed x;
  pn_flat_list l;

  assert_int_equal(pn_optim_create(config, &o), PN_OK);
  x = make_list(&a, o, far_average, T);
  l = x.l;
  host_step(&a, o, average, clip, &norm);
  if (!clip) l.result = NULL;
  if (!pn_optim_wants_norms(o)) l.trust = NULL;
  if (clip) assert_int_equal(dev->ops->far->norms(dev, &l), PN_OK);
  l.scaled = l.balance = true;
  if (l.trust) assert_int_equal(dev->ops->far->norms(dev, &l), PN_OK);
  assert_int_equal(dev->ops->far->update(dev, &l), PN_OK);
  fetch(dev, result, x.l.result, sizeof result);
  if (clip) assert_true(fabs(result[PN_FLAT_NORM] / norm - 1) < 1e-12);
  for (int k = 0; k < ARRAYS; k++) {
    fetch(dev, got, a.far[k], LONG * sizeof *got); /* between the ranges too: untouched */
    close_to(got, a.host[k], LONG, 1e-6);
  }
  fetch(dev, got, far_average, LONG * sizeof *got);
  close_to(got, average, LONG, 1e-6);
  free_list(&x);
  release(dev, far_average);
  pn_optim_destroy(o);
  free(average);
  free(got);
  free_arrays(&a);
}

static void test_optimizers(void **state) {
  static const char *const names[] = {"sgd", "adam", "adamw", "lars"};
  (void)state;

  for (int k = 0; k < 4; k++)
    for (int variant = 0; variant < 4; variant++) {
      pn_optim_config c;
      pn_optim_defaults(&c);
      snprintf(c.name, sizeof c.name, "%s", names[k]);
      c.weight_decay = 0.1;
      c.momentum = k == 3 || variant ? 0.9 : 0;
      c.nesterov = variant == 3;
      check_step(&c, variant & 1);
    }
}

/* A part of the list: other ranges stay as they are. */
static void test_part_of_a_list(void **state) {
  struct optimized a = make_arrays();
  float *got = malloc(LONG * sizeof *got);
  pn_optim_config c;
  pn_optim *o = NULL;
  struct listed x;
  pn_flat_list l;

  (void)state;
  pn_optim_defaults(&c);
  assert_int_equal(pn_optim_create(&c, &o), PN_OK);
  x = make_list(&a, o, NULL, T);
  l = x.l;
  l.range += 2;
  l.n = 3;
  l.first = x.range[2].first;
  l.groups = x.range[5].first - l.first;
  l.trust = l.result = NULL;
  for (int i = 2; i < 5; i++) {
    pn_optim_range r = range_of(a.host, cuts[i].at, cuts[i].count, decays[cuts[i].row]);
    pn_optim_update(o, T, rates[cuts[i].row], &r, 1);
  }
  assert_int_equal(dev->ops->far->update(dev, &l), PN_OK);
  for (int k = 0; k < ARRAYS; k++) {
    fetch(dev, got, a.far[k], LONG * sizeof *got);
    close_to(got, a.host[k], LONG, 1e-6);
  }
  free_list(&x);
  pn_optim_destroy(o);
  free(got);
  free_arrays(&a);
}

enum { N = 5, K = 3 };

/* A loss with two labels and smoothed targets, forward or backward. */
static void mixed(pn_device *d, pn_pass p, const op_case *c, op_data *data) {
  static const float mix[MAX_BATCH] = {1.0f, 0.75f, 0.5f, 0.0f, 0.3f};
  static const int32_t label2[MAX_BATCH] = {1, 0, 1, 0, 1};
  void *far_mix = operand(d, sizeof mix, mix), *far_label = operand(d, sizeof label2, label2);
  pn_op_desc op[CASE_CHAIN];

  case_ops(c, op);
  data->ctx.mix = far_mix;
  data->ctx.label2 = far_label;
  data->ctx.smoothing = 0.2f;
  pass(d, c, op, p, data);
  release(d, far_mix);
  release(d, far_label);
}

static void test_mixed_targets(void **state) {
  (void)state;
  for (int k = 0; k < 2; k++) {
    op_case c = {.op = {k ? PN_OP_SOFTMAX_CE : PN_OP_BCE}, .n_ops = 1};
    pn_op_desc op[CASE_CHAIN];
    op_data got, want;

    c.in = pn_shape2(N, k ? K : 1);
    case_ops(&c, op);
    op_data_make(&c, op, &got);
    op_data_make(&c, op, &want);
    for (int backward = 0; backward < 2; backward++) {
      mixed(ref, backward ? PN_BACKWARD_DATA : PN_FORWARD, &c, &want);
      mixed(dev, backward ? PN_BACKWARD_DATA : PN_FORWARD, &c, &got);
    }
    close_to(got.plain[PN_DST], want.plain[PN_DST], N, 1e-6);
    close_to(got.plain[PN_DSRC], want.plain[PN_DSRC], pn_shape_count(c.in), 1e-6);
    op_data_free(&got);
    op_data_free(&want);
  }
}

/* Kernels cannot report a label: the plan looks at them first. */
static void test_bad_label(void **state) {
  float params[64] = {0}, scale[2] = {1, 1};
  uint64_t id[2] = {1, 2};
  pn_step_ctx ctx = {.sample_id = id, .sample_scale = scale};
  pn_plan_spec spec = {.device = dev, .batch = 2};
  pn_graph *g = NULL;
  pn_plan *plan = NULL;
  int node;

  (void)state;
  assert_int_equal(pn_graph_create("labels", &g), PN_OK);
  assert_int_equal(pn_graph_input(g, 1, 2, 2, &node), PN_OK);
  assert_int_equal(pn_graph_dense(g, "fc", node, K, &node), PN_OK);
  assert_int_equal(pn_graph_loss(g, "loss", node, PN_OP_SOFTMAX_CE, &node), PN_OK);
  spec.graph = g;
  assert_int_equal(pn_plan_create(&spec, &plan), PN_OK);
  assert_true(pn_plan_param_map(plan)->total <= 64);
  pn_plan_bind(plan, params, NULL);
  pn_plan_labels(plan)[1] = K;
  assert_int_equal(pn_plan_forward(plan, &ctx, NULL), PN_ERR_ARG);
  assert_non_null(strstr(pn_last_error(), "label 3 of image 1 of the batch: the loss has 3"));
  pn_plan_labels(plan)[1] = K - 1;
  assert_int_equal(pn_plan_forward(plan, &ctx, NULL), PN_OK);
  for (int i = 0; i < 2; i++) assert_float_equal(pn_plan_losses(plan)[i], logf(3.0f), 1e-6);
  pn_plan_destroy(plan);
  pn_graph_destroy(g);
}

static struct {
  pn_device_ops device;
  pn_far_ops far;
  size_t bytes; /* of the parameters */
  int n;        /* copies to the device that are as large */
} counted;

static pn_status count_upload(pn_device *d, void *far, const void *host, size_t bytes) {
  counted.n += bytes == counted.bytes;
  return pn_device_emulated_ops.far->upload(d, far, host, bytes);
}

static float loss_of(pn_plan *plan) {
  if (pn_plan_forward(plan, NULL, NULL) != PN_OK) fail_msg("%s", pn_last_error());
  return pn_plan_losses(plan)[0];
}

static void expect_loss(pn_plan *plan, float logit) {
  assert_float_equal(loss_of(plan), logf(1.0f + (K - 1) * expf(-logit)), 1e-6);
}

/* Parameters of an evaluation go to the device once, when they are new; lent ones never do.  One
 * bias that is not 0 gives the logit of class 0. */
static void check_weights(pn_plan *plan) {
  const pn_param_map *map = pn_plan_param_map(plan);
  float *params = calloc((size_t)map->total, sizeof *params), *place[2] = {NULL};
  pn_far_places lent = {.param = place};
  void *far = NULL;

  assert_int_equal(map->n, 2);
  counted.bytes = (size_t)map->total * sizeof *params;
  counted.n = 0;
  for (int i = 0; i < 4; i++) pn_plan_input(plan)[i] = 1;
  pn_plan_bind(plan, params, NULL);
  for (int round = 1; round <= 3; round++) { /* one by one, recorded, replayed */
    params[map->slot[1].offset] = 2.0f;      /* nobody says so: it is not seen */
    if (round == 1) params[map->slot[1].offset] = 1.0f;
    expect_loss(plan, 1.0f);
    assert_int_equal(counted.n, 1);
  }
  pn_plan_bind(plan, params, NULL);
  for (int round = 0; round < 3; round++) expect_loss(plan, 2.0f);
  assert_int_equal(counted.n, 2);
  params[map->slot[1].offset] = 3.0f;
  assert_int_equal(dev->ops->far->alloc(dev, "test", counted.bytes, &far), PN_OK);
  assert_int_equal(dev->ops->far->upload(dev, far, params, counted.bytes), PN_OK);
  for (int i = 0; i < 2; i++) place[i] = (float *)far + map->slot[i].offset;
  pn_plan_bind_far(plan, &lent);
  for (int round = 0; round < 3; round++) expect_loss(plan, 3.0f);
  assert_int_equal(counted.n, 3);
  pn_plan_bind(plan, params, NULL);
  pn_plan_bind_far(plan, NULL);
  params[map->slot[1].offset] = 4.0f;
  for (int round = 0; round < 3; round++) expect_loss(plan, 4.0f);
  assert_int_equal(counted.n, 4);
  dev->ops->far->free(dev, far);
  free(params);
}

static void test_weights_go_up_once(void **state) {
  const pn_device_ops *before = dev->ops;
  pn_plan_spec spec = {.device = dev, .batch = 1};
  pn_graph *g = NULL;
  pn_plan *plan = NULL;
  int node;

  (void)state;
  if (before != &pn_device_emulated_ops) skip();
  counted.device = *before;
  counted.far = *before->far;
  counted.far.upload = count_upload;
  counted.device.far = &counted.far;
  dev->ops = &counted.device;
  assert_int_equal(pn_graph_create("weights", &g), PN_OK);
  assert_int_equal(pn_graph_input(g, 1, 2, 2, &node), PN_OK);
  assert_int_equal(pn_graph_dense(g, "fc", node, K, &node), PN_OK);
  assert_int_equal(pn_graph_loss(g, "loss", node, PN_OP_SOFTMAX_CE, &node), PN_OK);
  spec.graph = g;
  assert_int_equal(pn_plan_create(&spec, &plan), PN_OK);
  check_weights(plan);
  pn_plan_destroy(plan);
  pn_graph_destroy(g);
  dev->ops = before;
}

static void test_algorithms(void **state) {
  char folder[] = "/tmp/pn_algorithms_XXXXXX", path[64], key[2][CU_KEY_BYTES],
       with_sums[CU_KEY_BYTES];
  cu_conv_job job = {.pass = PN_FORWARD, .shape = {.n = 256, .c = 64, .h = 56, .w = 56, .o = 64}};
  cu_algorithm a = {.number = 0};

  (void)state;
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/below/list.txt", folder);
  setenv("PN_CUDA_CACHE", path, 1);
  cu_algorithm_key("NVIDIA H100 80GB HBM3, sm_90", 91900, false, &job, key[0]);
  job.pass = PN_BACKWARD_DATA;
  cu_algorithm_key("NVIDIA H100 80GB HBM3, sm_90", 91900, false, &job, key[1]);
  assert_false(cu_algorithm_find(key[0], &a));
  cu_algorithm_keep(key[0], &(cu_algorithm){1, 3, 4096});
  cu_algorithm_keep(key[1], &(cu_algorithm){5, 1, 0});
  cu_algorithm_keep(key[0], &(cu_algorithm){2, 1, (size_t)3 << 30}); /* a later search */
  job.pass = PN_FORWARD;
  job.stats = true;
  cu_algorithm_key("NVIDIA H100 80GB HBM3, sm_90", 91900, false, &job, with_sums);
  assert_false(cu_algorithm_find(with_sums, &a));
  cu_algorithm_keep(with_sums, &(cu_algorithm){.number = -1});
  assert_true(cu_algorithm_find(with_sums, &a) && a.number == -1);
  assert_true(cu_algorithm_find(key[0], &a));
  assert_true(a.number == 2 && a.math == 1 && a.bytes == (size_t)3 << 30);
  assert_true(cu_algorithm_find(key[1], &a) && a.number == 5);
  assert_int_equal(truncate(path, 40), 0); /* cut in the middle of a line: it is no entry */
  assert_false(cu_algorithm_find(key[0], &a));
  unsetenv("PN_CUDA_CACHE");
  unlink(path);
  snprintf(path, sizeof path, "%s/below", folder);
  rmdir(path);
  rmdir(folder);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_many_rows),      cmocka_unit_test(test_optimizers),
      cmocka_unit_test(test_part_of_a_list), cmocka_unit_test(test_mixed_targets),
      cmocka_unit_test(test_bad_label),      cmocka_unit_test(test_weights_go_up_once),
      cmocka_unit_test(test_algorithms)};
  const char *name = argc > 1 ? test_device_name(argc, argv) : "emulated";
  int failed;

  if (!(dev = test_device_open(name, 2))) return argc > 1 ? TEST_SKIPPED : 1;
  if (pn_device_create("ref", 1, &ref) != PN_OK) return 1;
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  pn_device_destroy(dev);
  pn_device_destroy(ref);
  return failed;
}
