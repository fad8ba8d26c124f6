/* test_mixed_loss.c -- losses of mixed targets: two labels with a share, in forward and backward.
 */
#include "op_run.h"

enum { N = 5, K = 3 };
static const float mix[N] = {1.0f, 0.75f, 0.5f, 0.0f, 0.3f};

static pn_device *ref;

static void run(const pn_op_desc *op, pn_pass p, op_data *d) {
  pn_task t = op_task(op, 1, p, NULL, false);
  bool ran;
  assert_int_equal(op_pass(ref, &t, d, &ran, NULL), PN_OK);
  assert_true(ran);
}

/* Values and diffs of one kind with labels `a`, then `b`, then mixed: linear in the target. */
static void check(pn_op_kind kind, int classes, int outputs) {
  op_case c = {.name = "loss", .op = {kind}, .n_ops = 1, .in = pn_shape2(N, outputs)};
  int32_t a[N], b[N];
  float loss[3][N], diff[3][N * K];
  pn_op_desc op[CASE_CHAIN];
  op_data d;

  case_ops(&c, op);
  op_data_make(&c, op, &d);
  for (int i = 0; i < N; i++) a[i] = (i * 2 + 1) % classes;
  for (int i = 0; i < N; i++) b[i] = i == 4 ? a[i] : (a[i] + 1) % classes; /* 4: the same twice */
  for (int k = 0; k < 3; k++) {
    memcpy(d.label, k == 1 ? b : a, sizeof a);
    d.ctx.label2 = k == 2 ? b : NULL;
    d.ctx.mix = k == 2 ? mix : NULL;
    run(op, PN_FORWARD, &d);
    run(op, PN_BACKWARD_DATA, &d);
    memcpy(loss[k], d.plain[PN_DST], sizeof loss[k]);
    memcpy(diff[k], d.plain[PN_DSRC], sizeof(float) * (size_t)(N * outputs));
  }
  assert_true(fabsf(loss[0][1] - loss[1][1]) > 1e-3f); /* nothing is trivially equal */
  for (int i = 0; i < N; i++) {
    assert_float_equal(loss[2][i], mix[i] * loss[0][i] + (1 - mix[i]) * loss[1][i], 1e-5);
    for (int k = i * outputs; k < (i + 1) * outputs; k++)
      assert_float_equal(diff[2][k], mix[i] * diff[0][k] + (1 - mix[i]) * diff[1][k], 1e-6);
  }
  assert_memory_equal(loss[2], loss[0], sizeof(float)); /* share 1: the same bits as no mixing */
  op_data_free(&d);
}

static void test_linear(void **state) {
  (void)state;
  check(PN_OP_BCE, 2, 1);
  check(PN_OP_SOFTMAX_CE, K, K);
}

/* A second label out of range is found like a first one. */
static void test_bad_second_label(void **state) {
  op_case c = {.name = "loss", .op = {PN_OP_SOFTMAX_CE}, .n_ops = 1, .in = pn_shape2(N, K)};
  const int32_t b[N] = {0, K, 0, 0, 0};
  pn_op_desc op[CASE_CHAIN];
  pn_kernel k = {0};
  pn_task t;
  op_data d;

  (void)state;
  case_ops(&c, op);
  op_data_make(&c, op, &d);
  t = op_task(op, 1, PN_FORWARD, NULL, false);
  assert_int_equal(ref->ops->prepare(ref, &t, &k), PN_OK);
  void *ptr[PN_ROLE_COUNT] = {
      [PN_SRC] = d.plain[PN_SRC], [PN_DST] = d.plain[PN_DST], [PN_LABEL] = d.label};
  pn_step_ctx ctx = {.label2 = b, .mix = mix};
  assert_int_equal(k.run(k.state, ptr, &ctx), PN_ERR_ARG);
  assert_non_null(strstr(pn_last_error(), "label 3 of image 1"));
  k.destroy(k.state);
  op_data_free(&d);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_linear),
                                     cmocka_unit_test(test_bad_second_label)};
  if (pn_device_create("ref", 1, &ref) != PN_OK) return 1;
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  pn_device_destroy(ref);
  return failed;
}
