/* test_cudnn.c -- convolutions as graphs of cuDNN, on a machine without a GPU: the library itself
 * checks the descriptors, lists its engines for an H100 that is described to it, and compiles the
 * first.  Builds with CUDA only; skipped where libcudnn is not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../cuda/gpu/dnn.h"

#include <stdio.h>
#include <string.h>

static const char h100[] =
    "{\"cudaDeviceId\": 0, \"deviceVer\": 900, \"driverVer\": 13000, \"maxGridSize\": [2147483647, "
    "65535, 65535], \"maxBlockSize\": [1024, 1024, 64], \"regsPerBlock\": 65536, "
    "\"multiProcessorCount\": 132, \"warpSize\": 32, \"maxSharedMemoryPerBlock\": 49152, "
    "\"maxSharedMemoryPerBlockOptin\": 232448, \"reservedSharedMemoryPerBlock\": 1024, "
    "\"maxRegistersPerSM\": 65536, \"maxCtasPerSM\": 32, \"maxThreadsPerBlock\": 1024, "
    "\"maxThreadsPerSM\": 2048, \"pciDeviceId\": 9008, \"totalGlobalMem\": 85000000000, "
    "\"isTccDriver\": 0, \"supportCoopLaunch\": 1, \"smClockRateKHz\": 1980000, "
    "\"memClockRateKHz\": 2619000, \"l2CacheSize\": 52428800, \"deviceName\": \"NVIDIA H100\"}";

enum { DESCRIBES = 90800 }; /* the first version that takes a description */

static struct cu_dnn *dnn;

/* A layer of ResNet18, and the first one of the custom CNN. */
static cu_conv_job job_of(pn_pass pass, pn_dtype type, int64_t channels) {
  cu_conv_job job = {.pass = pass, .type = type};
  uint32_t size = channels == 1 ? 128 : 56;

  job.shape = (cu_conv){.n = 256, .c = (uint32_t)channels, .h = size, .w = size, .o = 64};
  job.shape.oh = job.shape.ow = size;
  for (int i = 0; i < 2; i++) {
    job.shape.kernel[i] = 3;
    job.shape.stride[i] = job.shape.pad[i] = 1;
  }
  return job;
}

static void make(const cu_conv_job *job, cu_dnn_graph *g, int n_ops) {
  if (cu_dnn_graph_make(dnn, job, g) != PN_OK) fail_msg("%s", pn_last_error());
  assert_int_equal(g->n_ops, n_ops);
}

static void test_graphs(void **state) {
  (void)state;
  for (pn_dtype type = PN_F32; type <= PN_FP16; type++)
    for (int post = 0; post < 4; post++) {
      cu_conv_job job = job_of(PN_FORWARD, type, 64);
      cu_dnn_graph g;
      job.bias = post & 1;
      job.relu = post >> 1;
      make(&job, &g, 1 + job.bias + job.relu);
      cu_dnn_graph_free(&g);
      job.pass = post & 1 ? PN_BACKWARD_WEIGHT : PN_BACKWARD_DATA;
      make(&job, &g, 1);
      cu_dnn_graph_free(&g);
    }
}

/* The library looks at what it is told. */
static void test_wrong_shape(void **state) {
  cu_conv_job job = job_of(PN_FORWARD, PN_BF16, 64);
  cu_dnn_graph g;
  (void)state;

  job.shape.oh = 57;
  assert_int_not_equal(cu_dnn_graph_make(dnn, &job, &g), PN_OK);
  assert_non_null(strstr(pn_last_error(), "cuDNN: "));
  cu_dnn_graph_free(&g);
}

/* Engines for the H100; the first one's plan. */
static void check_engines(const cu_conv_job *job) {
  cu_dnn_choices c = {.n = 0};
  cu_dnn_graph g;
  cu_desc plan = NULL;
  size_t bytes = SIZE_MAX;

  make(job, &g, 1 + job->bias + job->relu);
  if (cu_dnn_choices_find(dnn, g.graph, job->type, &c) != PN_OK) fail_msg("%s", pn_last_error());
  for (int i = 0; i < c.n && !plan; i++) (void)cu_dnn_plan(dnn, c.config[i], &plan, &bytes);
  if (!plan) fail_msg("no plan: %s", pn_last_error());
  print_message("%s, pass %d, %u channels%s%s: %d engines, the first is %d with %zu bytes\n",
                pn_dtype_name(job->type), (int)job->pass, job->shape.c, job->bias ? " + bias" : "",
                job->relu ? " + ReLU" : "", c.n, c.engine[0], bytes);
  dnn->call.drop(plan);
  cu_dnn_choices_free(dnn, &c);
  cu_dnn_graph_free(&g);
}

static void test_engines(void **state) {
  static const int64_t channels[] = {1, 64};
  (void)state;

  if (!dnn->described) skip();
  for (int k = 0; k < 2; k++)
    for (pn_dtype type = PN_F32; type <= PN_FP16; type++) {
      cu_conv_job job = job_of(PN_FORWARD, type, channels[k]);
      job.bias = job.relu = true;
      check_engines(&job);
      job = job_of(PN_BACKWARD_WEIGHT, type, channels[k]);
      check_engines(&job);
      if (k) job = job_of(PN_BACKWARD_DATA, type, channels[k]);
      if (k) check_engines(&job);
    }
}

/* TF32 is a choice; engines that differ from time to time are one. */
static void test_numerics(void **state) {
  cu_conv_job job = job_of(PN_BACKWARD_WEIGHT, PN_F32, 64);
  int n[2][2];
  (void)state;

  if (!dnn->described) skip();
  for (int tf32 = 0; tf32 < 2; tf32++)
    for (int loose = 0; loose < 2; loose++) {
      cu_dnn_choices c;
      cu_dnn_graph g;
      dnn->tf32 = tf32;
      dnn->loose = loose;
      make(&job, &g, 1);
      assert_int_equal(cu_dnn_choices_find(dnn, g.graph, job.type, &c), PN_OK);
      n[tf32][loose] = c.n;
      cu_dnn_choices_free(dnn, &c);
      cu_dnn_graph_free(&g);
    }
  dnn->tf32 = dnn->loose = false;
  assert_true(n[0][0] < n[1][0] && n[0][0] <= n[0][1] && n[1][0] <= n[1][1]);
  assert_true(n[1][0] < n[1][1]); /* there are such for weights */
}

static pn_status describe(void) {
  pn_status st;

  PN_TRY(cu_dnn_make(dnn, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &dnn->described));
  PN_TRY(cu_dnn_set(dnn, dnn->described, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                    (int64_t)sizeof h100, h100));
  PN_TRY(cu_dnn_finish(dnn, dnn->described, "description of a GPU"));
done:
  return st;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_graphs), cmocka_unit_test(test_wrong_shape),
      cmocka_unit_test(test_numerics), cmocka_unit_test(test_engines)};
  int failed;

  if (cu_dnn_load(&dnn) != PN_OK || !dnn) {
    printf("SKIPPED: no libcudnn.so.9 here\n");
    return 77;
  }
  if (dnn->call.version() < DESCRIBES)
    print_message("cuDNN %zu takes no description of a GPU: engines are not looked at\n",
                  dnn->call.version());
  else if (describe() != PN_OK) {
    print_message("%s\n", pn_last_error());
    return 1;
  }
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  cu_dnn_destroy(dnn);
  return failed;
}
