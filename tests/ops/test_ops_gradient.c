/* test_ops_gradient.c -- backward of `ref` against central differences of its forward, the
 * dropout mask, and losses at extreme logits. */
#include "device/dropout.h"
#include "op_run.h"

static pn_device *ref;

static bool is_loss(const pn_op_desc *op) {
  return op->kind == PN_OP_BCE || op->kind == PN_OP_SOFTMAX_CE;
}

static void pass(const pn_op_desc *op, pn_pass p, op_data *d) {
  pn_task t = op_task(op, 1, p, NULL, false);
  bool ran;
  assert_int_equal(op_pass(ref, &t, d, &ran, NULL), PN_OK);
}

/* The scalar whose gradient backward gives: <ddst, dst>, or the weighted loss. */
static double objective(const pn_op_desc *op, op_data *d) {
  const float *weight = is_loss(op) ? d->ctx.sample_scale : d->plain[PN_DDST];
  double sum = 0;

  pass(op, PN_FORWARD, d);
  for (int64_t i = 0, n = pn_shape_count(op->out); i < n; i++)
    sum += (double)weight[i] * (double)d->plain[PN_DST][i];
  return sum;
}

/* Five-point rule: exact for linear ops, error h^4 f''''' / 30 for the losses. */
static double slope(const pn_op_desc *op, op_data *d, float *x) {
  const float h = op->weight.n_dims ? 1.0f : 0x1p-6f;
  const float keep = *x;
  double f[4];

  for (int i = 0; i < 4; i++) {
    static const float at[] = {-2, -1, 1, 2};
    *x = keep + at[i] * h;
    f[i] = objective(op, d);
  }
  *x = keep;
  return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * (double)h);
}

static void check_role(const op_case *c, const pn_op_desc *op, op_data *d, pn_role x, pn_role dx) {
  int64_t n = pn_shape_count(role_shape(op, 1, (int)x)), stride = n > 48 ? n / 48 : 1;
  float *analytic = malloc((size_t)n * sizeof *analytic);
  double top = 1;

  memcpy(analytic, d->plain[dx], (size_t)n * sizeof *analytic);
  for (int64_t i = 0; i < n; i++)
    if (fabs((double)analytic[i]) > top) top = fabs((double)analytic[i]);
  for (int64_t i = 0; i < n; i += stride) {
    double numeric = slope(op, d, &d->plain[x][i]);
    if (!(fabs(numeric - (double)analytic[i]) < 5e-5 * top))
      fail_msg("%s: diff %d [%lld] is %g, central differences say %g", c->name, (int)dx,
               (long long)i, (double)analytic[i], numeric);
  }
  free(analytic);
}

static void test_gradients(void **state) {
  (void)state;
  for (int i = 0; i < N_OP_CASES; i++) {
    const op_case *c = &op_cases[i];
    pn_op_desc op[CASE_CHAIN];
    op_data d;
    if (c->n_ops > 1 || c->ties || c->terms || c->op[0] == PN_OP_ADD) continue;
    /* a tie has no derivative, an add no kernel */
    case_ops(c, op);
    op_data_make(c, op, &d);
    pass(op, PN_FORWARD, &d);
    if (op->kind == PN_OP_NORM) pass(op, PN_BACKWARD_WEIGHT, &d);
    pass(op, PN_BACKWARD_DATA, &d);
    for (int k = 0; k <= op->n_more; k++)
      check_role(c, op, &d, k ? PN_SRC1 + (pn_role)k - 1 : PN_SRC,
                 k ? PN_DSRC1 + (pn_role)k - 1 : PN_DSRC);
    if (op->kind == PN_OP_NORM) {
      check_role(c, op, &d, PN_GAMMA, PN_DGAMMA);
      check_role(c, op, &d, PN_BETA, PN_DBETA);
    }
    if (op->weight.n_dims) {
      pass(op, PN_BACKWARD_WEIGHT, &d);
      check_role(c, op, &d, PN_WEIGHT, PN_DWEIGHT);
      check_role(c, op, &d, PN_BIAS, PN_DBIAS);
    }
    op_data_free(&d);
  }
}

/* One output of a convolution straight from its definition. */
static double conv_at(const pn_op_desc *op, const op_data *d, const int64_t at[4]) {
  const pn_window *w = &op->window;
  int64_t ci = op->in.dim[1], h = op->in.dim[2], width = op->in.dim[3];
  double sum = (double)d->plain[PN_BIAS][at[1]];

  for (int64_t i = 0; i < ci * w->kernel[0] * w->kernel[1]; i++) {
    int64_t c = i / (w->kernel[0] * w->kernel[1]), kh = i / w->kernel[1] % w->kernel[0];
    int64_t y = at[2] * w->stride[0] + kh - w->pad_before[0];
    int64_t x = at[3] * w->stride[1] + i % w->kernel[1] - w->pad_before[1];
    int64_t weight = at[1] * ci * w->kernel[0] * w->kernel[1] + i;
    if (y < 0 || y >= h || x < 0 || x >= width) continue;
    sum += (double)d->plain[PN_WEIGHT][weight] *
           (double)d->plain[PN_SRC][((at[0] * ci + c) * h + y) * width + x];
  }
  return sum;
}

static void test_conv_definition(void **state) {
  (void)state;
  for (int i = 0; i < N_OP_CASES; i++) {
    pn_op_desc op[CASE_CHAIN];
    op_data d;
    if (op_cases[i].n_ops > 1 || op_cases[i].op[0] != PN_OP_CONV) continue;
    case_ops(&op_cases[i], op);
    op_data_make(&op_cases[i], op, &d);
    pass(op, PN_FORWARD, &d);
    for (int64_t k = 0, n = pn_shape_count(op->out); k < n; k++) {
      int64_t ow = op->out.dim[3], oh = op->out.dim[2], co = op->out.dim[1];
      const int64_t at[4] = {k / ow / oh / co, k / ow / oh % co, k / ow % oh, k % ow};
      double want = conv_at(op, &d, at);
      assert_true(fabs((double)d.plain[PN_DST][k] - want) < 1e-6 * (1 + fabs(want)));
    }
    op_data_free(&d);
  }
}

/* The mask is the stream of (seed, sample, epoch and node), whatever piece is asked for. */
static void test_dropout_mask(void **state) {
  enum { N = 5000 };
  static float whole[N], part[N];
  uint64_t id[2] = {41, 42};
  pn_op_desc op = {.kind = PN_OP_DROPOUT, .id = 6, .rate = 0.3f};
  pn_step_ctx ctx = {.seed = 5, .epoch = 2, .sample_id = id}, other = ctx;
  pn_rng r = pn_rng_make(5, PN_RNG_DROPOUT, 42, 2u << 8 | 6u);
  int kept = 0, same = 0;
  (void)state;

  assert_int_equal(pn_dropout_factors(&op, &ctx, 1, 0, N, whole), PN_OK);
  for (int i = 0; i < N; i++) {
    float expected = pn_rng_uniform(&r) >= 0.3f ? 1.0f / 0.7f : 0.0f;
    assert_true(fabsf(whole[i] - expected) < 1e-6f);
    kept += whole[i] != 0;
  }
  assert_true(abs(kept - 3500) < 5 * 33); /* five standard deviations */
  for (int at = 1; at < N - 10; at += 7) {
    assert_int_equal(pn_dropout_factors(&op, &ctx, 1, at, 10, part), PN_OK);
    assert_memory_equal(part, whole + at, 10 * sizeof *part);
  }
  other.epoch = 3;
  assert_int_equal(pn_dropout_factors(&op, &other, 1, 0, N, part), PN_OK);
  for (int i = 0; i < N; i++) same += part[i] == whole[i];
  assert_true(same < N * 65 / 100); /* 0.58 expected of independent masks */
  ctx.sample_id = NULL;
  assert_int_equal(pn_dropout_factors(&op, &ctx, 1, 0, N, part), PN_ERR_ARG);
}

/* No overflow, and a sample of scale 0 has no diff even where its logit is NaN. */
static void test_loss_extremes(void **state) {
  op_case c = {.name = "bce", .op = {PN_OP_BCE}, .n_ops = 1, .in = ROWS(5, 1)};
  static const float logit[] = {1000, -1000, NAN, 88, -104};
  static const int32_t label[] = {0, 1, 1, 1, 1};
  static const double expected[] = {1000, 1000, 0, 0, 104};
  pn_op_desc op[CASE_CHAIN];
  op_data d;
  (void)state;

  case_ops(&c, op);
  op_data_make(&c, op, &d);
  memcpy(d.plain[PN_SRC], logit, sizeof logit);
  memcpy(d.label, label, sizeof label);
  pass(op, PN_FORWARD, &d);
  pass(op, PN_BACKWARD_DATA, &d);
  for (int i = 0; i < 5; i++) {
    if (i != 2) assert_true(fabs((double)d.plain[PN_DST][i] - expected[i]) < 1e-4);
    assert_true(isfinite(d.plain[PN_DSRC][i]));
  }
  assert_true(isnan(d.plain[PN_DST][2]) && d.plain[PN_DSRC][2] == 0.0f);
  assert_true(fabsf(d.plain[PN_DSRC][0] - d.ctx.sample_scale[0]) < 1e-6f);
  op_data_free(&d);
}

static int setup(void **state) {
  (void)state;
  return pn_device_create("ref", 1, &ref) != PN_OK;
}

static int teardown(void **state) {
  (void)state;
  pn_device_destroy(ref);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_gradients),
      cmocka_unit_test(test_conv_definition),
      cmocka_unit_test(test_dropout_mask),
      cmocka_unit_test(test_loss_extremes),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
