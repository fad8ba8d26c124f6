/* test_cudnn_search.c -- how the device cuda chooses among cuDNN's engines (cuda/gpu/cudnn.c,
 * dnn_search.c) on a machine without a GPU: functions in the place of cuDNN's list engines of which
 * each run takes a time that is foretold, and those of the CUDA runtime work on host memory and
 * that clock (the linker's --wrap).  Builds with CUDA only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../cuda/gpu/dnn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COMPILED = 3, BYTES = 96 };

/* What the engines of a graph take; 0: it has none. */
static struct {
  float clock, conv, sums_in_one, compiled, own_sums;
  bool no_memory;
  int runs, launches, blocks, descriptors;
} gpu;

/* A descriptor: what the functions below ask of it. */
typedef struct {
  cudnnBackendDescriptorType_t type;
  int engine;
  bool sums;
  void *at[6];
  int64_t id[6], n;
} desc;

static cudnnStatus_t fake_make(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out) {
  desc *d = calloc(1, sizeof *d);
  assert_non_null(d);
  d->type = type;
  gpu.descriptors++;
  *out = d;
  return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t fake_drop(cudnnBackendDescriptor_t x) {
  assert_non_null(x);
  gpu.descriptors--;
  free(x);
  return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t fake_finalize(cudnnBackendDescriptor_t x) {
  assert_non_null(x);
  return CUDNN_STATUS_SUCCESS;
}

/* Whether there are sums goes from the operation to the graph, its heuristics and engines. */
static cudnnStatus_t fake_set(cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t name,
                              cudnnBackendAttributeType_t type, int64_t n, const void *value) {
  desc *d = to, *const *from = value;

  if (name == CUDNN_ATTR_ENGINEHEUR_MODE)
    d->engine = *(const cudnnBackendHeurMode_t *)value == CUDNN_HEUR_MODE_FALLBACK ? -1 : 0;
  if (name == CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS)
    memcpy(d->id, value, (size_t)(d->n = n) * sizeof *d->id);
  if (name == CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS)
    memcpy(d->at, value, (size_t)n * sizeof *d->at);
  if (type != CUDNN_TYPE_BACKEND_DESCRIPTOR) return CUDNN_STATUS_SUCCESS;
  for (int64_t i = 0; i < n; i++) {
    d->sums |= from[i]->sums || from[i]->type == CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR;
    if (from[i]->type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR) d->engine = from[i]->engine;
  }
  return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t give_engines(const desc *heuristics, int64_t room, int64_t *n, desc **out) {
  int engine[2] = {heuristics->sums ? 2 : 10, heuristics->sums ? COMPILED : 11};
  float time[2] = {heuristics->sums ? gpu.sums_in_one : gpu.conv,
                   heuristics->sums ? gpu.compiled : 2 * gpu.conv};

  *n = 0;
  assert_true(room >= 2);
  for (int i = 0; i < 2 && heuristics->engine == 0; i++) {
    if (!(time[i] > 0)) continue;
    out[*n]->engine = engine[i];
    out[(*n)++]->sums = heuristics->sums;
  }
  return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t fake_get(cudnnBackendDescriptor_t const from, cudnnBackendAttributeName_t name,
                              cudnnBackendAttributeType_t type, int64_t room, int64_t *n,
                              void *value) {
  const desc *d = from;
  (void)type;

  *n = 1;
  switch (name) {
  case CUDNN_ATTR_ENGINEHEUR_RESULTS:
    return give_engines(d, room, n, value);
  case CUDNN_ATTR_ENGINECFG_ENGINE:
    (*(desc **)value)->engine = d->engine;
    break;
  case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
    *(int64_t *)value = d->engine;
    break;
  case CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE:
    *(cudnnBackendBehaviorNote_t *)value = CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
    *n = d->engine == COMPILED;
    break;
  case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
    *(int64_t *)value = BYTES + d->engine;
    break;
  default:
    *n = 0;
  }
  return CUDNN_STATUS_SUCCESS;
}

/* The sums are zero before, and are added to. */
static void check_sums(const desc *pack) {
  static const int64_t id[] = {CU_UID_X, CU_UID_W, CU_UID_Y, CU_UID_SUM, CU_UID_SQUARES};
  float *sum = pack->at[3], *squares = pack->at[4];

  assert_int_equal(pack->n, 5);
  assert_memory_equal(pack->id, id, sizeof id);
  assert_ptr_equal(squares, sum + 64);
  for (int i = 0; i < 128; i++) {
    assert_true(sum[i] == 0.0f);
    sum[i] = 7;
  }
}

static cudnnStatus_t fake_execute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack) {
  const desc *p = plan;
  (void)handle;

  if (p->engine == 2 || p->engine == COMPILED)
    check_sums(pack);
  else
    assert_int_equal(((const desc *)pack)->n, 3);
  gpu.clock += p->engine == 2          ? gpu.sums_in_one
               : p->engine == COMPILED ? gpu.compiled
                                       : gpu.conv * (float)(p->engine - 9);
  gpu.runs++;
  return CUDNN_STATUS_SUCCESS;
}

static const char *fake_error(cudnnStatus_t rc) {
  (void)rc;
  return "error";
}

static void fake_detail(char *text, size_t n) {
  snprintf(text, n, "none");
}

static size_t fake_version(void) {
  return 91900;
}

/* The CUDA runtime, as far as it is called. */
cudaError_t __wrap_cudaMalloc(void **p, size_t bytes);
cudaError_t __wrap_cudaFree(void *p);
cudaError_t __wrap_cudaMemset(void *p, int value, size_t bytes);
cudaError_t __wrap_cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s);
cudaError_t __wrap_cudaEventCreate(cudaEvent_t *e);
cudaError_t __wrap_cudaEventDestroy(cudaEvent_t e);
cudaError_t __wrap_cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t __wrap_cudaEventSynchronize(cudaEvent_t e);
cudaError_t __wrap_cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to);
cudaError_t __wrap_cudaGetLastError(void);
cudaError_t __wrap_cu_start(cu_kernel k, int form, const void *args, uint32_t n, cudaStream_t s);

cudaError_t __wrap_cudaMalloc(void **p, size_t bytes) {
  *p = NULL;
  if (gpu.no_memory) return cudaErrorMemoryAllocation;
  assert_non_null(*p = malloc(bytes));
  gpu.blocks++;
  return cudaSuccess;
}

cudaError_t __wrap_cudaFree(void *p) {
  gpu.blocks--;
  free(p);
  return cudaSuccess;
}

cudaError_t __wrap_cudaMemset(void *p, int value, size_t bytes) {
  memset(p, value, bytes);
  return cudaSuccess;
}

cudaError_t __wrap_cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s) {
  (void)s;
  return __wrap_cudaMemset(p, value, bytes);
}

cudaError_t __wrap_cudaEventCreate(cudaEvent_t *e) {
  gpu.blocks++;
  *e = calloc(1, sizeof(float));
  return cudaSuccess;
}

cudaError_t __wrap_cudaEventDestroy(cudaEvent_t e) {
  return __wrap_cudaFree(e);
}

cudaError_t __wrap_cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  (void)s;
  *(float *)(void *)e = gpu.clock;
  return cudaSuccess;
}

cudaError_t __wrap_cudaEventSynchronize(cudaEvent_t e) {
  (void)e;
  return cudaSuccess;
}

cudaError_t __wrap_cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to) {
  *ms = *(float *)(void *)to - *(float *)(void *)from;
  return cudaSuccess;
}

cudaError_t __wrap_cudaGetLastError(void) {
  return cudaSuccess;
}

cudaError_t __wrap_cu_start(cu_kernel k, int form, const void *args, uint32_t n, cudaStream_t s) {
  const cu_norm *a = args;
  (void)s;

  assert_int_equal(k, CU_K_norm_statistics);
  assert_int_equal(form, CU_FP16 | CU_WIDE);
  assert_int_equal(a->rows, 4 * 14 * 14);
  assert_true(a->x && a->aux && a->partial && n > 0);
  gpu.clock += gpu.own_sums;
  gpu.launches++;
  return cudaSuccess;
}

static struct cu_dnn dnn = {.call = {.error = fake_error,
                                     .detail = fake_detail,
                                     .version = fake_version,
                                     .make = fake_make,
                                     .drop = fake_drop,
                                     .finalize = fake_finalize,
                                     .set = fake_set,
                                     .get = fake_get,
                                     .execute = fake_execute}};
static cu_gpu_state device = {.name = "made-up", .dnn = &dnn};
static char cache[] = "/tmp/pn_search_XXXXXX";

static cu_conv_job job_of(uint32_t filters) {
  cu_conv_job job = {.pass = PN_FORWARD, .type = PN_FP16, .stats = true};

  job.shape = (cu_conv){.n = 4, .c = 32, .h = 14, .w = 14, .o = filters, .oh = 14, .ow = 14};
  for (int i = 0; i < 2; i++) {
    job.shape.kernel[i] = 3;
    job.shape.stride[i] = job.shape.pad[i] = 1;
  }
  return job;
}

/* Prepares, runs once, and leaves nothing behind.  Runs and launches of the search are counted. */
static bool prepared(uint32_t filters, const char *impl) {
  cu_conv_job job = job_of(filters);
  float *stats = malloc(128 * sizeof *stats);
  cu_operands o = {.x = &gpu, .w = &gpu, .y = &gpu, .stats = stats};
  cu_call call;
  bool with;

  assert_non_null(stats);
  for (int i = 0; i < 128; i++) stats[i] = -5;
  gpu.runs = gpu.launches = 0;
  if (cu_dnn_conv(&device, &job, &call) != PN_OK) fail_msg("%s", pn_last_error());
  assert_string_equal(call.impl, impl);
  assert_int_equal(call.scratch_bytes, BYTES + atoi(impl + strlen("cudnn:")));
  with = call.stats;
  gpu.runs--;
  assert_int_equal(call.run(call.plan, &o), PN_OK);
  assert_int_equal(call.run(call.plan, &o), PN_OK);
  gpu.runs--;
  assert_true(stats[127] == (with ? 7.0f : -5.0f));
  call.destroy(call.plan);
  assert_int_equal(gpu.descriptors, 0);
  assert_int_equal(gpu.blocks, 0);
  free(stats);
  return with;
}

static void times(float conv, float sums_in_one, float own_sums) {
  gpu.conv = conv;
  gpu.sums_in_one = sums_in_one;
  gpu.compiled = sums_in_one / 2;
  gpu.own_sums = own_sums;
  assert_int_equal(truncate(cache, 0), 0);
}

/* Searched and compared once; the file then says it. */
static void test_faster(void **state) {
  (void)state;
  times(1.0f, 1.2f, 0.5f);
  assert_true(prepared(64, "cudnn:2+stats"));
  assert_true(gpu.runs > 0 && gpu.launches > 0);
  assert_true(prepared(64, "cudnn:2+stats"));
  assert_int_equal(gpu.runs, 0);
}

static void test_slower(void **state) {
  (void)state;
  times(1.0f, 1.2f, 0.1f);
  assert_false(prepared(64, "cudnn:10"));
  assert_true(gpu.runs > 0 && gpu.launches > 0);
  assert_false(prepared(64, "cudnn:10"));
  assert_int_equal(gpu.runs, 0);
  assert_int_equal(gpu.launches, 0);
}

static void test_no_engine(void **state) {
  (void)state;
  times(1.0f, 0.0f, 9.0f);
  assert_false(prepared(64, "cudnn:10"));
  assert_int_equal(gpu.launches, 0);
  times(1.0f, 0.5f, 9.0f);
  assert_false(prepared(62, "cudnn:10")); /* the squares would not lie at 16 bytes */
  assert_int_equal(gpu.launches, 0);
}

/* The faster engine adds by atomics. */
static void test_loose(void **state) {
  (void)state;
  times(1.0f, 1.2f, 0.5f);
  dnn.loose = true;
  assert_true(prepared(64, "cudnn:3+stats"));
  dnn.loose = false;
  assert_true(prepared(64, "cudnn:2+stats"));
}

/* Nothing can be timed, and nothing is kept. */
static void test_no_room(void **state) {
  (void)state;
  times(1.0f, 1.2f, 0.1f);
  gpu.no_memory = true;
  assert_true(prepared(64, "cudnn:2+stats"));
  assert_int_equal(gpu.runs, 0);
  gpu.no_memory = false;
  assert_false(prepared(64, "cudnn:10"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_faster), cmocka_unit_test(test_slower),
                                     cmocka_unit_test(test_no_engine), cmocka_unit_test(test_loose),
                                     cmocka_unit_test(test_no_room)};
  int file = mkstemp(cache), failed;

  if (file < 0) return 1;
  close(file);
  setenv("PN_CUDA_CACHE", cache, 1);
  dnn.gpu = &device;
  dnn.handle = (cudnnHandle_t)(void *)&device;
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  unlink(cache);
  return failed;
}
