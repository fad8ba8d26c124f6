/* gpu.c -- the GPU behind the device cuda: which one, memory, transfers, launches.
 *
 * The CUDA runtime is linked statically and opens the driver when it is first used; cuDNN and
 * cuBLASLt are opened here.  So the program starts on machines that have none of them. */
#include "gpu.h"
#include "../cuda_device.h"
#include "launch.h"

#include "base/log.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The runtime keeps the code of a call that failed; the next launch must not be told it. */
pn_status cu_check(cudaError_t rc, const char *what) {
  if (rc == cudaSuccess) return PN_OK;
  (void)cudaGetLastError();
  return PN_FAIL(rc == cudaErrorMemoryAllocation ? PN_ERR_NOMEM : PN_ERR_DEVICE,
                 "CUDA: %s: %s (%s)", what, cudaGetErrorString(rc), cudaGetErrorName(rc));
}

void *cu_library(const char *const *names) {
  void *library = NULL;
  for (; *names && !library; names++) library = dlopen(*names, RTLD_NOW | RTLD_LOCAL);
  return library;
}

pn_status cu_symbols(void *library, const cu_symbol *symbols, int n) {
  for (int i = 0; i < n; i++) {
    void *f = dlsym(library, symbols[i].name);
    if (!f) return PN_FAIL(PN_ERR_DEVICE, "library without %s: too old?", symbols[i].name);
    memcpy(symbols[i].to, &f, sizeof f);
  }
  return PN_OK;
}

/* UNSUPPORTED where there is no GPU to use: `auto` then takes the CPU. */
static pn_status count_gpus(int *count) {
  cudaError_t rc = cudaGetDeviceCount(count);
  const char *visible = getenv("CUDA_VISIBLE_DEVICES");
  int runtime = 0, driver = 0;

  if (rc == cudaSuccess && *count > 0) return PN_OK;
  (void)cudaGetLastError();
  (void)cudaRuntimeGetVersion(&runtime);
  (void)cudaDriverGetVersion(&driver);
  if (rc == cudaErrorInsufficientDriver && driver == 0)
    return PN_FAIL(PN_ERR_UNSUPPORTED,
                   "device cuda: no NVIDIA driver (libcuda.so.1) on this machine; install one for "
                   "CUDA %d.%d or use train.device=cpu",
                   runtime / 1000, runtime % 1000 / 10);
  if (rc == cudaErrorInsufficientDriver)
    return PN_FAIL(PN_ERR_UNSUPPORTED,
                   "device cuda: the NVIDIA driver supports CUDA %d.%d, this build needs %d.%d: "
                   "update the driver, or use train.device=cpu",
                   driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
  if (visible)
    return PN_FAIL(PN_ERR_UNSUPPORTED,
                   "device cuda: no GPU is visible: CUDA_VISIBLE_DEVICES is '%s' (%s)", visible,
                   cudaGetErrorString(rc));
  return PN_FAIL(PN_ERR_UNSUPPORTED,
                 "device cuda: no GPU on this machine (%s); use train.device=cpu",
                 cudaGetErrorString(rc));
}

pn_status pn_cuda_gpus(pn_gpu_list *out) {
  int count = 0;
  pn_status st = PN_OK;

  *out = (pn_gpu_list){.n = 0};
  if (cudaGetDeviceCount(&count) != cudaSuccess) count = 0;
  (void)cudaGetLastError();
  out->n = count < PN_MAX_GPUS ? count : PN_MAX_GPUS;
  for (int i = 0; i < out->n && st == PN_OK; i++)
    st = cu_check(cudaDeviceGetPCIBusId(out->bus[i], PN_BUS_BYTES, i), "address of a GPU");
  return st;
}

static pn_status choose(cu_gpu_state *g, const pn_device_spec *spec) {
  struct cudaDeviceProp p;
  int count = 0;
  pn_status st;

  PN_TRY(count_gpus(&count));
  if (spec->gpu < 0 || spec->gpu >= count) {
    st = PN_FAIL(PN_ERR_ARG, "device cuda: GPU %d, there are %d", spec->gpu, count);
    goto done;
  }
  g->index = spec->gpu;
  PN_TRY(cu_check(cudaSetDevice(g->index), "cudaSetDevice"));
  PN_TRY(cu_check(cudaGetDeviceProperties(&p, g->index), "cudaGetDeviceProperties"));
  if (p.major < 8) {
    st = PN_FAIL(PN_ERR_UNSUPPORTED, "device cuda: %s has compute capability %d.%d, needed: 8.0",
                 p.name, p.major, p.minor);
    goto done;
  }
  PN_TRY(cu_check(cudaDeviceGetPCIBusId(g->bus, PN_BUS_BYTES, g->index), "address of a GPU"));
  snprintf(g->name, sizeof g->name, "%.64s, sm_%d%d", p.name, p.major, p.minor);
done:
  return st;
}

static void gpu_destroy(void *impl) {
  cu_gpu_state *g = impl;
  if (!g) return;
  cu_dnn_destroy(g->dnn);
  cu_blas_destroy(g->blas);
  cu_copies_destroy(g->copies);
  if (g->stream) cudaStreamDestroy(g->stream);
  free(g);
}

static pn_status gpu_create(const pn_device_spec *spec, void **impl) {
  cu_gpu_state *g = calloc(1, sizeof *g);
  pn_status st = PN_OK;

  *impl = NULL;
  if (!g) return PN_FAIL(PN_ERR_NOMEM, "cuda: device");
  g->tf32 = spec->tf32;
  g->loose = spec->loose;
  PN_TRY(choose(g, spec));
  PN_TRY(cu_check(cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking), "stream"));
  PN_TRY(cu_copies_create(&g->copies));
  PN_TRY(cu_dnn_create(g, &g->dnn));
  PN_TRY(cu_blas_create(g, &g->blas));
  pn_info("%-12s GPU %d: %s; cuDNN %s, cuBLASLt %s", "device", g->index, g->name,
          g->dnn ? "found" : "not found: slow kernels of our own",
          g->blas ? "found" : "not found: slow kernels of our own");
  *impl = g;
  g = NULL;
done:
  gpu_destroy(g);
  return st;
}

static int64_t gpu_available(void *impl) {
  size_t left = 0, all = 0;
  (void)impl;
  return cudaMemGetInfo(&left, &all) == cudaSuccess ? (int64_t)left : -1;
}

static pn_status gpu_alloc(void *impl, size_t bytes, void **out) {
  cu_gpu_state *g = impl;
  pn_status st;

  if (bytes == 0) bytes = 256;
  *out = NULL;
  PN_TRY(cu_check(cudaSetDevice(g->index), "cudaSetDevice"));
  PN_TRY(cu_check(cudaMalloc(out, bytes), "cudaMalloc"));
  PN_TRY(cu_check(cudaMemsetAsync(*out, 0, bytes, g->stream), "cudaMemset"));
done:
  return st;
}

static void gpu_free(void *impl, void *p) {
  cu_gpu_state *g = impl;
  cudaStreamSynchronize(g->stream);
  cudaFree(p);
}

/* Pinned, for transfers at full speed. */
static pn_status gpu_host_alloc(void *impl, size_t bytes, void **out) {
  cu_gpu_state *g = impl;
  pn_status st;

  if (bytes == 0) bytes = 64;
  *out = NULL;
  PN_TRY(cu_check(cudaSetDevice(g->index), "cudaSetDevice"));
  PN_TRY(cu_check(cudaMallocHost(out, bytes), "cudaMallocHost"));
  memset(*out, 0, bytes);
done:
  return st;
}

static void gpu_host_free(void *impl, void *p) {
  cu_gpu_state *g = impl;
  cudaStreamSynchronize(g->stream);
  cudaFreeHost(p);
}

static pn_status copy(cu_gpu_state *g, void *to, const void *from, size_t bytes,
                      enum cudaMemcpyKind kind) {
  pn_status st;

  PN_TRY(cu_check(cudaMemcpyAsync(to, from, bytes, kind, g->stream), "cudaMemcpyAsync"));
  PN_TRY(cu_check(cudaStreamSynchronize(g->stream), "the kernels before a transfer"));
done:
  return st;
}

static pn_status gpu_upload(void *impl, void *far, const void *host, size_t bytes) {
  return copy(impl, far, host, bytes, cudaMemcpyHostToDevice);
}

static pn_status gpu_download(void *impl, void *host, const void *far, size_t bytes) {
  return copy(impl, host, far, bytes, cudaMemcpyDeviceToHost);
}

static pn_status queue_copy(cu_gpu_state *g, void *to, const void *from, size_t bytes,
                            enum cudaMemcpyKind kind) {
  return cu_check(cudaMemcpyAsync(to, from, bytes, kind, g->stream), "cudaMemcpyAsync");
}

static pn_status gpu_send(void *impl, void *far, const void *host, size_t bytes) {
  return queue_copy(impl, far, host, bytes, cudaMemcpyHostToDevice);
}

static pn_status gpu_fetch(void *impl, void *host, const void *far, size_t bytes) {
  return queue_copy(impl, host, far, bytes, cudaMemcpyDeviceToHost);
}

static pn_status gpu_copy(void *impl, void *to, const void *from, size_t bytes) {
  return queue_copy(impl, to, from, bytes, cudaMemcpyDeviceToDevice);
}

static pn_status gpu_mark_create(void *impl, void **mark) {
  cudaEvent_t event = NULL;
  pn_status st;
  (void)impl;

  st = cu_check(cudaEventCreate(&event), "cudaEventCreate");
  *mark = event;
  return st;
}

static void gpu_mark_destroy(void *impl, void *mark) {
  (void)impl;
  cudaEventDestroy(mark);
}

static pn_status gpu_mark_set(void *impl, void *mark) {
  cu_gpu_state *g = impl;
  return cu_check(cudaEventRecord(mark, g->stream), "cudaEventRecord");
}

static pn_status gpu_mark_passed(void *impl, void *mark, bool *passed) {
  cudaError_t rc = cudaEventQuery(mark);
  (void)impl;

  *passed = rc == cudaSuccess;
  if (rc != cudaErrorNotReady) return cu_check(rc, "the kernels of a step");
  (void)cudaGetLastError();
  return PN_OK;
}

static pn_status gpu_mark_between(void *impl, void *from, void *to, double *seconds) {
  float ms = 0;
  pn_status st = cu_check(cudaEventElapsedTime(&ms, from, to), "cudaEventElapsedTime");
  (void)impl;

  *seconds = 1e-3 * (double)ms;
  return st;
}

static void *gpu_queue(void *impl) {
  return ((cu_gpu_state *)impl)->stream;
}

static pn_status gpu_launch(void *impl, cu_kernel k, int form, const void *args, uint32_t n) {
  static const char *const name[CU_KERNEL_COUNT] = {
#define NAME(kernel, body, type, has_wide)                   #kernel,
#define SUM_NAME(kernel, body, join, type, number, has_wide) #kernel,
      CU_TYPED_KERNELS(NAME) CU_SUM_KERNELS(SUM_NAME) CU_KERNELS(NAME)};
  cu_gpu_state *g = impl;
  return cu_check(cu_start(k, form, args, n, g->stream), name[k]);
}

static pn_status gpu_capture_begin(void *impl) {
  cu_gpu_state *g = impl;
  return cu_check(cudaStreamBeginCapture(g->stream, cudaStreamCaptureModeThreadLocal),
                  "capture of a step");
}

static pn_status gpu_capture_end(void *impl, void **graph) {
  cu_gpu_state *g = impl;
  cudaGraph_t kept = NULL;
  cudaGraphExec_t ready = NULL;
  pn_status st;

  *graph = NULL;
  PN_TRY(cu_check(cudaStreamEndCapture(g->stream, &kept), "capture of a step"));
  PN_TRY(cu_check(cudaGraphInstantiate(&ready, kept, 0), "graph of a step"));
  *graph = ready;
done:
  if (kept) cudaGraphDestroy(kept);
  return st;
}

static pn_status gpu_replay(void *impl, void *graph) {
  cu_gpu_state *g = impl;
  return cu_check(cudaGraphLaunch(graph, g->stream), "graph of a step");
}

static void gpu_forget(void *impl, void *graph) {
  cu_gpu_state *g = impl;
  cudaStreamSynchronize(g->stream);
  cudaGraphExecDestroy(graph);
}

static const char *gpu_bus(void *impl) {
  return ((cu_gpu_state *)impl)->bus;
}

static const char *gpu_describe(void *impl) {
  return ((cu_gpu_state *)impl)->name;
}

static pn_status gpu_conv(void *impl, const cu_conv_job *job, cu_call *out) {
  return ((cu_gpu_state *)impl)->dnn ? cu_dnn_conv(impl, job, out) : PN_ERR_UNSUPPORTED;
}

static pn_status gpu_dense(void *impl, const cu_dense_job *job, cu_call *out) {
  return ((cu_gpu_state *)impl)->blas ? cu_blas_dense(impl, job, out) : PN_ERR_UNSUPPORTED;
}

const cu_backend cu_gpu = {
    .name = "cuda",
    .create = gpu_create,
    .destroy = gpu_destroy,
    .alloc = gpu_alloc,
    .free = gpu_free,
    .available = gpu_available,
    .host_alloc = gpu_host_alloc,
    .host_free = gpu_host_free,
    .upload = gpu_upload,
    .download = gpu_download,
    .send = gpu_send,
    .fetch = gpu_fetch,
    .copy = gpu_copy,
    .mark_create = gpu_mark_create,
    .mark_destroy = gpu_mark_destroy,
    .mark_set = gpu_mark_set,
    .mark_passed = gpu_mark_passed,
    .mark_between = gpu_mark_between,
    .queue = gpu_queue,
    .launch = gpu_launch,
    .copy_begin = cu_copy_begin,
    .copy_arrive = cu_copy_arrive,
    .copy_done = cu_copy_done,
    .copy_settle = cu_copy_settle,
    .capture_begin = gpu_capture_begin,
    .capture_end = gpu_capture_end,
    .replay = gpu_replay,
    .forget = gpu_forget,
    .conv = gpu_conv,
    .dense = gpu_dense,
    .bus = gpu_bus,
    .describe = gpu_describe,
};

static pn_status device_create(pn_device *d, const pn_device_spec *spec) {
  return cu_create(d, &cu_gpu, spec);
}

const pn_device_ops pn_device_cuda_ops = {
    .name = "cuda",
    .help = "NVIDIA GPUs from compute capability 8.0: own kernels, cuDNN, cuBLASLt",
    .create = device_create,
    CU_DEVICE_TABLE,
};
