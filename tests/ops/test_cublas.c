/* test_cublas.c -- dense layers by cuda/gpu/cublas.c on a library in the place of cuBLASLt
 * (tests/fake/fake_cublaslt.c): layouts, transpositions, epilogues and types of each pass give the
 * results of `ref`.  Builds with CUDA only; what the true library makes of them it cannot show. */
#include "linear_device.h"
#include "op_check.h"

#include "../../cuda/gpu/gpu.h"

static cu_gpu_state gpu;
static int taken, refused;

static pn_status blas_dense(void *impl, const cu_dense_job *job, cu_call *out) {
  pn_status st = cu_blas_dense(&gpu, job, out);
  bool sums = job->pass == PN_BACKWARD_WEIGHT;
  const char *mode = getenv("FAKE_CUBLASLT");
  (void)impl;

  taken += st == PN_OK;
  refused += st == PN_ERR_UNSUPPORTED;
  if (st == PN_OK && sums) assert_int_equal(out->complete, !mode);
  return st;
}

static void check_blas(const char *mode) {
  pn_device *d = linear_open();

  if (mode) setenv("FAKE_CUBLASLT", mode, 1);
  taken = refused = 0;
  for (pn_dtype type = PN_F32; type <= PN_FP16; type++) {
    op_precision = type;
    check_device(d);
    op_precision = PN_F32;
  }
  unsetenv("FAKE_CUBLASLT");
  pn_device_destroy(d);
}

static void test_dense(void **state) {
  (void)state;
  for (int tf32 = 0; tf32 < 2; tf32++) {
    gpu.tf32 = tf32;
    check_blas(NULL);
    assert_true(taken > 60);
    assert_int_equal(refused, 0);
  }
  gpu.tf32 = false;
}

/* The diff of the bias by a kernel of our own; then everything. */
static void test_refused(void **state) {
  (void)state;
  check_blas("no_sums");
  assert_true(taken > 60);
  assert_int_equal(refused, 0);
  check_blas("none");
  assert_int_equal(taken, 0);
  assert_true(refused > 60);
}

/* Logits in f32 of products in 16 bits: the bias is not rounded. */
static void test_logits(void **state) {
  cu_dense_job job = {.type = PN_BF16, .f32_out = true, .batch = 2, .in = 3, .out = 2};
  uint16_t x[6], w[6];
  float bias[2] = {1.0f + 0x1p-12f, -3}, y[4];
  _Alignas(256) char scratch[4096];
  cu_operands o = {.bias = bias, .x = x, .w = w, .y = y, .scratch = scratch};
  cu_call call;

  (void)state;
  job.bias = true;
  for (int i = 0; i < 6; i++) {
    x[i] = pn_bf16_of((float)(i + 1));
    w[i] = pn_bf16_of(i < 3 ? 1 : (float)(i - 3));
  }
  assert_int_equal(cu_blas_dense(&gpu, &job, &call), PN_OK);
  assert_true(call.complete && !call.half_bias && !call.half_weight);
  assert_int_equal(call.run(call.plan, &o), PN_OK);
  call.destroy(call.plan);
  assert_true(y[0] == 7.0f + 0x1p-12f && y[1] == 5.0f); /* 1 + 2 + 3 + bias; 2 + 2 * 3 - 3 */
  assert_true(y[2] == 16.0f + 0x1p-12f && y[3] == 14.0f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_dense), cmocka_unit_test(test_refused),
                                     cmocka_unit_test(test_logits)};
  int failed;

  if (!getenv("FAKE_LIBRARIES")) { /* the true library would want a GPU's memory */
    printf("SKIPPED: no library in the place of cuBLASLt: run it by ctest\n");
    return 77;
  }
  if (pn_device_create("ref", 1, &ref) != PN_OK || cu_blas_create(&gpu, &gpu.blas) != PN_OK ||
      !gpu.blas) {
    print_message("no library: %s\n", pn_last_error());
    return 1;
  }
  linear_backend = cu_emulated;
  linear_backend.dense = blas_dense;
  wanted = is_dense;
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  cu_blas_destroy(gpu.blas);
  pn_device_destroy(ref);
  return failed;
}
