/* test_cudnn.c -- convolutions as graphs of cuDNN, on a machine without a GPU: the library itself
 * checks the descriptors, lists its engines for GPUs that are described to it, and makes plans of
 * them.  Builds with CUDA only; skipped where libcudnn is not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../cuda/gpu/dnn.h"

#include "models/models.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* What the library asks of a GPU. */
static const char gpu_json[] =
    "{\"cudaDeviceId\": 0, \"deviceVer\": %d, \"driverVer\": 13000, \"maxGridSize\": [2147483647, "
    "65535, 65535], \"maxBlockSize\": [1024, 1024, 64], \"regsPerBlock\": 65536, "
    "\"multiProcessorCount\": %d, \"warpSize\": 32, \"maxSharedMemoryPerBlock\": 49152, "
    "\"maxSharedMemoryPerBlockOptin\": %d, \"reservedSharedMemoryPerBlock\": 1024, "
    "\"maxRegistersPerSM\": 65536, \"maxCtasPerSM\": 32, \"maxThreadsPerBlock\": 1024, "
    "\"maxThreadsPerSM\": 2048, \"pciDeviceId\": %d, \"totalGlobalMem\": 85000000000, "
    "\"isTccDriver\": 0, \"supportCoopLaunch\": 1, \"smClockRateKHz\": %d, "
    "\"memClockRateKHz\": %d, \"l2CacheSize\": %d, \"deviceName\": \"%s\"}";

static const struct gpu {
  const char *name;
  int version, processors, shared, id, clock, memory_clock, cache;
  bool sums; /* fp16: convolutions that sum what they write */
} gpus[] = {{"NVIDIA A100", 800, 108, 166912, 0x20b2, 1410000, 1593000, 41943040, true},
            {"NVIDIA H100", 900, 132, 232448, 9008, 1980000, 2619000, 52428800, true},
            {"NVIDIA B200", 1000, 148, 232448, 0x2901, 1965000, 3996000, 132644864, false}};
enum { A100, H100, B200, N_GPUS };

enum { DESCRIBES = 90800, KNOWN = 919 }; /* the first version that takes a description; 9.19 */

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
  if (cu_dnn_choices_find(dnn, g.graph, job, &c) != PN_OK) fail_msg("%s", pn_last_error());
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
      assert_int_equal(cu_dnn_choices_find(dnn, g.graph, &job, &c), PN_OK);
      n[tf32][loose] = c.n;
      cu_dnn_choices_free(dnn, &c);
      cu_dnn_graph_free(&g);
    }
  dnn->tf32 = dnn->loose = false;
  assert_true(n[0][0] < n[1][0] && n[0][0] <= n[0][1] && n[1][0] <= n[1][1]);
  assert_true(n[1][0] < n[1][1]); /* there are such for weights */
}

static void describe(int which) {
  const struct gpu *g = &gpus[which];
  char json[2048];
  int n = snprintf(json, sizeof json, gpu_json, g->version, g->processors, g->shared, g->id,
                   g->clock, g->memory_clock, g->cache, g->name);

  if (dnn->described) dnn->call.drop(dnn->described);
  dnn->described = NULL;
  if (cu_dnn_make(dnn, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &dnn->described) != PN_OK ||
      cu_dnn_set(dnn, dnn->described, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                 n + 1, json) != PN_OK ||
      cu_dnn_finish(dnn, dnn->described, "description of a GPU") != PN_OK)
    fail_msg("%s", pn_last_error());
}

/* Convolutions of a network whose only reader is a norm, of 256 images; at most `room`, the same
 * shape once. */
static int before_norms(const char *model, int64_t size, int64_t channels, cu_conv_job *job,
                        int room) {
  pn_model_config c;
  pn_graph *g;
  int n = 0;

  pn_model_defaults(&c);
  c.size[0] = c.size[1] = size;
  c.channels = channels;
  if (pn_model_build(model, &c, &g) != PN_OK) fail_msg("%s", pn_last_error());
  for (int i = 0; i < pn_graph_n_nodes(g); i++) {
    const pn_node *norm = pn_graph_node(g, i);
    const pn_op_desc *op = norm->input[0] < 0 ? NULL : &pn_graph_node(g, norm->input[0])->op;
    cu_conv_job j = {.pass = PN_FORWARD, .stats = true};
    bool known = false;
    if (norm->op.kind != PN_OP_NORM || op->kind != PN_OP_CONV || op->bias) continue;
    j.shape = (cu_conv){.n = 256, .c = (uint32_t)op->in.dim[1], .o = (uint32_t)op->out.dim[1]};
    j.shape.h = (uint32_t)op->in.dim[2];
    j.shape.w = (uint32_t)op->in.dim[3];
    j.shape.oh = (uint32_t)op->out.dim[2];
    j.shape.ow = (uint32_t)op->out.dim[3];
    for (int k = 0; k < 2; k++) {
      j.shape.kernel[k] = (int32_t)op->window.kernel[k];
      j.shape.stride[k] = (int32_t)op->window.stride[k];
      j.shape.pad[k] = (int32_t)op->window.pad_before[k];
    }
    for (int k = 0; k < n; k++) known |= memcmp(&job[k], &j, sizeof j) == 0;
    if (!known && n < room) job[n++] = j;
  }
  pn_graph_destroy(g);
  return n;
}

/* Engines for a convolution with sums; -1: there are, and no plan. */
static int sum_engines(const cu_conv_job *job) {
  cu_dnn_choices c = {.n = 0};
  cu_dnn_graph g;
  cu_desc plan = NULL;
  size_t bytes;
  int n;

  make(job, &g, 2);
  (void)cu_dnn_choices_find(dnn, g.graph, job, &c);
  n = c.n;
  for (int i = 0; i < c.n && !plan; i++) (void)cu_dnn_plan(dnn, c.config[i], &plan, &bytes);
  if (plan) dnn->call.drop(plan);
  cu_dnn_choices_free(dnn, &c);
  cu_dnn_graph_free(&g);
  return n && !plan ? -1 : n;
}

enum { SHAPES = 64 };

static int count_with_sums(cu_conv_job *job, int n, const struct gpu *gpu, pn_dtype type) {
  int with = 0;

  for (int i = 0; i < n; i++) {
    const cu_conv *s = &job[i].shape;
    int engines;
    job[i].type = type;
    engines = sum_engines(&job[i]);
    assert_true(engines >= 0);
    with += engines > 0;
    if (gpu->sums && type == PN_FP16 && s->c % 8 == 0 && engines == 0)
      fail_msg("%s: none for %u channels of %ux%u to %u", gpu->name, s->c, s->h, s->w, s->o);
  }
  return with;
}

/* The same bits every time: fp16 on Ampere and Hopper, from 8 channels on. */
static void test_sums(void **state) {
  static const struct {
    const char *name;
    int64_t size, channels;
    bool has;
  } models[] = {{"custom_cnn", 128, 1, false},
                {"cifar_cnn", 32, 3, false},
                {"resnet18", 224, 3, true},
                {"resnet50v2", 224, 3, true}};
  cu_conv_job job[SHAPES];
  (void)state;

  if (!dnn->described) skip();
  for (int m = 0; m < 4; m++) {
    int n = before_norms(models[m].name, models[m].size, models[m].channels, job, SHAPES);
    assert_int_equal(n > 0, models[m].has);
    assert_true(n < SHAPES);
    for (int k = 0; k < N_GPUS && n; k++) {
      describe(k);
      for (pn_dtype type = PN_BF16; type <= PN_FP16; type++)
        print_message("%s, %s, %s: engines with sums for %d of %d shapes\n", models[m].name,
                      gpus[k].name, pn_dtype_name(type), count_with_sums(job, n, &gpus[k], type),
                      n);
    }
  }
  describe(H100);
}

/* Kernels that the library compiles here and now add up atomically: left out, unless that is
 * allowed.  It looks for them where there is a driver (tests/fake/fake_cuda.c). */
static void test_loose_sums(void **state) {
  cu_conv_job job = job_of(PN_FORWARD, PN_BF16, 64);
  void *driver = dlopen("libcuda.so.1", RTLD_NOW);
  bool compiles = driver && dnn->call.version() / 100 == KNOWN;
  (void)state;

  if (driver) dlclose(driver);

  if (!dnn->described) skip();
  job.stats = true;
  for (int k = 0; k < N_GPUS; k++) {
    int n[2];
    describe(k);
    for (int loose = 0; loose < 2; loose++) {
      dnn->loose = loose;
      n[loose] = sum_engines(&job);
    }
    dnn->loose = false;
    print_message("%s, bf16 with sums: %d engines, %d with those that add atomically\n",
                  gpus[k].name, n[0], n[1]);
    assert_true(n[0] >= 0 && n[1] >= n[0]);
    if (compiles) assert_true(n[1] > n[0]);
  }
  describe(H100);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_graphs),   cmocka_unit_test(test_wrong_shape),
      cmocka_unit_test(test_numerics), cmocka_unit_test(test_engines),
      cmocka_unit_test(test_sums),     cmocka_unit_test(test_loose_sums)};
  int failed;

  if (cu_dnn_load(&dnn) != PN_OK || !dnn) {
    printf("SKIPPED: no libcudnn.so.9 here\n");
    return 77;
  }
  if (dnn->call.version() < DESCRIBES)
    print_message("cuDNN %zu takes no description of a GPU: engines are not looked at\n",
                  dnn->call.version());
  else
    describe(H100);
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  cu_dnn_destroy(dnn);
  return failed;
}
