/* test_ops.c -- every op on every device of the build against `ref`, forward and backward, with
 * the operands offered in several layouts; chains against the same ops one by one on `ref`. */
#include "op_check.h"
#include "test_device.h"

static void test_ref_layouts(void **state) {
  (void)state;
  check_device(ref);
}

static void test_onednn(void **state) {
  pn_device *d;
  (void)state;

  for (int threads = 1; threads <= 2; threads++) {
    if (pn_device_create("onednn", threads, &d) == PN_ERR_UNSUPPORTED) {
      print_message("no onednn in this build\n");
      skip();
    }
    assert_non_null(d);
    n_compared = 0;
    check_device(d);
    assert_true(n_compared > N_OP_CASES);
    pn_device_destroy(d);
  }
}

/* The device cuda's own code, kernels on the CPU: it must take every case. */
static void test_emulated(void **state) {
  pn_device *d;
  (void)state;

  assert_int_equal(pn_device_create("emulated", 2, &d), PN_OK);
  n_compared = 0;
  check_device(d);
  assert_true(n_compared > N_OP_CASES);
  pn_device_destroy(d);
}

/* Against `ref` in f32, on operands that the type holds exactly. */
static void check_halves(pn_device *d) {
  for (pn_dtype type = PN_BF16; type <= PN_FP16; type++) {
    n_compared = 0;
    op_precision = type;
    check_device(d);
    op_precision = PN_F32;
    print_message("%s, %s: %d kernels agree with ref\n", d->ops->name, pn_dtype_name(type),
                  n_compared);
    assert_true(n_compared > N_OP_CASES);
  }
}

static void test_emulated_halves(void **state) {
  pn_device *d;
  (void)state;

  assert_int_equal(pn_device_create("emulated", 2, &d), PN_OK);
  check_halves(d);
  pn_device_destroy(d);
}

static void test_onednn_bf16(void **state) {
  pn_device *d;
  (void)state;

  if (pn_device_create("onednn", 2, &d) != PN_OK) skip();
  if (pn_device_check_precision(d, PN_BF16) != PN_OK) {
    print_message("%s\n", pn_last_error());
    pn_device_destroy(d);
    skip();
  }
  n_compared = 0;
  op_precision = PN_BF16;
  check_device(d);
  op_precision = PN_F32;
  assert_true(n_compared > N_OP_CASES);
  pn_device_destroy(d);
}

static void check_reorder(pn_device *d, pn_shape s, const char *from, const char *to) {
  int64_t n = pn_shape_count(s);
  pn_layout a = pn_layout_any(s), b = pn_layout_any(s);
  float *x = malloc((size_t)n * sizeof *x), *y = calloc((size_t)n, sizeof *y);
  void *ptr[PN_ROLE_COUNT] = {NULL};
  pn_kernel k = {0};
  pn_status st;

  strcpy(a.tag, from);
  strcpy(b.tag, to);
  fill_normal(x, n, 5, 1.0f);
  st = d->ops->reorder(d, &a, &b, &k);
  if (st != PN_ERR_UNSUPPORTED) {
    assert_int_equal(st, PN_OK);
    ptr[PN_SRC] = packed(d, &a, x);
    ptr[PN_DST] = packed(d, &b, NULL);
    assert_int_equal(k.run(k.state, ptr, NULL), PN_OK);
    unpacked(d, &b, ptr[PN_DST], y);
    assert_memory_equal(x, y, (size_t)n * sizeof *x);
    release(d, ptr[PN_SRC]);
    release(d, ptr[PN_DST]);
    k.destroy(k.state);
  } else
    assert_ptr_not_equal(d, ref);
  free(x);
  free(y);
}

static void test_reorder(void **state) {
  static const char *const names[] = {"ref", "onednn", "emulated"};
  static const char *const weights[] = {"abcd", "ABcd16b16a", "ABcd8b8a", "Acdb16a"};
  (void)state;

  for (int k = 0; k < 3; k++) {
    pn_device *d = ref;
    if (k && pn_device_create(names[k], 2, &d) != PN_OK) continue;
    for (int i = 0; i < N_TAGS * N_TAGS; i++) {
      check_reorder(d, pn_shape4(2, 19, 5, 4), tags[i / N_TAGS], tags[i % N_TAGS]);
      check_reorder(d, pn_shape4(3, 1, 6, 5), tags[i / N_TAGS], tags[i % N_TAGS]);
      check_reorder(d, pn_shape4(20, 17, 3, 3), weights[i / N_TAGS], weights[i % N_TAGS]);
    }
    if (k) pn_device_destroy(d);
  }
}

/* Ties: the first maximum of the window gets the whole diff (PyTorch). */
static void test_first_maximum(void **state) {
  op_case c = {.name = "ties", .op = {PN_OP_MAXPOOL}, .n_ops = 1, .in = {4, {1, 1, 2, 2}}};
  pn_op_desc op[CASE_CHAIN];
  op_data d;
  (void)state;

  c.pool = (pn_window)W(2, 2, 0, 0);
  case_ops(&c, op);
  op_data_make(&c, op, &d);
  for (int i = 0; i < 4; i++) d.plain[PN_SRC][i] = i == 0 ? 1.0f : 5.0f;
  d.plain[PN_DDST][0] = 3.0f;
  ref_pass(op, PN_FORWARD, &d);
  ref_pass(op, PN_BACKWARD_DATA, &d);
  assert_true(d.plain[PN_DST][0] == 5.0f);
  for (int i = 0; i < 4; i++) assert_true(d.plain[PN_DSRC][i] == (i == 1 ? 3.0f : 0.0f));
  op_data_free(&d);
}

static bool is_loss(const pn_op_desc *op) {
  return op->kind == PN_OP_BCE || op->kind == PN_OP_SOFTMAX_CE;
}

/* A label outside the classes is an error, not a read past the row. */
static void test_bad_label(void **state) {
  (void)state;
  for (int i = 0; i < N_OP_CASES; i++) {
    pn_op_desc op[CASE_CHAIN];
    op_data d;
    case_ops(&op_cases[i], op);
    if (!is_loss(op)) continue;
    op_data_make(&op_cases[i], op, &d);
    pn_task t = op_task(op, 1, PN_FORWARD, NULL, false);
    pn_kernel k;
    void *ptr[PN_ROLE_COUNT] = {
        [PN_SRC] = d.plain[PN_SRC], [PN_DST] = d.plain[PN_DST], [PN_LABEL] = d.label};
    d.label[1] = 75;
    assert_int_equal(ref->ops->prepare(ref, &t, &k), PN_OK);
    assert_int_equal(k.run(k.state, ptr, &d.ctx), PN_ERR_ARG);
    assert_non_null(strstr(pn_last_error(), "label 75 of image 1"));
    k.destroy(k.state);
    op_data_free(&d);
  }
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

static pn_device *gpu;

/* The same table on a GPU; sums there have another order. */
static void test_gpu(void **state) {
  (void)state;
  tolerance = 1e-4;
  n_compared = 0;
  check_device(gpu);
  print_message("%s: %d kernels agree with ref\n",
                gpu->ops->describe ? gpu->ops->describe(gpu) : gpu->ops->name, n_compared);
  assert_true(n_compared > N_OP_CASES);
}

static void test_gpu_halves(void **state) {
  (void)state;
  check_halves(gpu);
}

/* test_ops cuda: exit code 77 and the reason where there is no GPU. */
static int run_gpu(const char *name) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_gpu), cmocka_unit_test(test_gpu_halves)};
  int failed;

  if (!(gpu = test_device_open(name, 1))) return TEST_SKIPPED;
  failed = cmocka_run_group_tests(tests, setup, teardown);
  pn_device_destroy(gpu);
  return failed;
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_ref_layouts),   cmocka_unit_test(test_onednn),
      cmocka_unit_test(test_emulated),      cmocka_unit_test(test_reorder),
      cmocka_unit_test(test_first_maximum), cmocka_unit_test(test_bad_label),
      cmocka_unit_test(test_onednn_bf16),   cmocka_unit_test(test_emulated_halves),
  };
  if (argc > 1) return run_gpu(test_device_name(argc, argv));
  return cmocka_run_group_tests(tests, setup, teardown);
}
