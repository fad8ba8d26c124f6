/* fake_launch.c -- GPUs and kernels of the fake CUDA runtime: what nvcc's host code registers and
 * launches is looked up by its mangled name, and run by the device emulated. */
#include "fake_cudart.h"

#include "../../cuda/backend.h"
#include "../../cuda/gpu/launch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KERNELS = 512, BYTES = 256 };

struct CUkern_st {
  const void *host; /* its stub */
  cu_kernel kernel;
  int form;
};

static struct CUkern_st known[MAX_KERNELS];
static int n_known;
static struct {
  dim3 grid, block;
  size_t shared;
  void *stream;
} pushed;

static int gpus(void) {
  const char *text = getenv("FAKE_CUDA_GPUS");
  return text ? atoi(text) : 1;
}

cudaError_t cudaGetDeviceCount(int *n) {
  *n = gpus();
  return fake_cuda_answer(*n > 0 ? cudaSuccess : cudaErrorNoDevice);
}

static int current;

cudaError_t cudaGetDevice(int *i) {
  *i = current;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int i) {
  if (i >= 0 && i < gpus()) current = i;
  return fake_cuda_answer(i >= 0 && i < gpus() ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaDeviceGetPCIBusId(char *out, int bytes, int i) {
  snprintf(out, (size_t)bytes, "0000:%02X:00.0", i + 1);
  return fake_cuda_answer(i >= 0 && i < gpus() ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int i) {
  memset(out, 0, sizeof *out);
  snprintf(out->name, sizeof out->name, "fake GPU");
  out->major = 9;
  return fake_cuda_answer(i >= 0 && i < gpus() ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaRuntimeGetVersion(int *v) {
  *v = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *v) {
  return cudaRuntimeGetVersion(v);
}

void **__cudaRegisterFatBinary(void *image);
void __cudaRegisterFatBinaryEnd(void **handle);
void __cudaUnregisterFatBinary(void **handle);
void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name,
                            int limit, void *tid, void *bid, dim3 *block, dim3 *grid, int *warp);
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream);
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream);
cudaError_t __cudaGetKernel(cudaKernel_t *out, const void *host);
cudaError_t __cudaLaunchKernel(cudaKernel_t k, dim3 grid, dim3 block, void **args, size_t shared,
                               cudaStream_t s);

void **__cudaRegisterFatBinary(void *image) {
  static void *handle;
  handle = image;
  return &handle;
}

void __cudaRegisterFatBinaryEnd(void **handle) {
  (void)handle;
}

void __cudaUnregisterFatBinary(void **handle) {
  (void)handle;
}

/* _Z18map_forward_kernelILi8ELi2EEv6cu_mapj: 8 elements of type 2. */
static bool parse(const char *mangled, struct CUkern_st *out) {
  static const char *const name[CU_KERNEL_COUNT] = {
#define NAME(kernel, body, type, has_wide)                   #kernel "_kernelILi",
#define SUM_NAME(kernel, body, join, type, number, has_wide) #kernel "_kernelILi",
      CU_TYPED_KERNELS(NAME) CU_SUM_KERNELS(SUM_NAME) CU_KERNELS(NAME)};
  int lanes, type = CU_F32;

  for (int k = 0; k < CU_KERNEL_COUNT; k++) {
    const char *at = strstr(mangled, name[k]);
    if (!at || at == mangled || at[-1] < '0' || at[-1] > '9') continue;
    if (sscanf(at + strlen(name[k]), "%dELi%dE", &lanes, &type) < 1) return false;
    out->kernel = (cu_kernel)k;
    out->form = type | (lanes > 1 ? CU_WIDE : 0);
    return lanes == 1 || lanes == (type == CU_F32 ? CU_LANES : CU_HALF_LANES);
  }
  return false;
}

void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name,
                            int limit, void *tid, void *bid, dim3 *block, dim3 *grid, int *warp) {
  (void)handle, (void)device, (void)limit, (void)tid, (void)bid, (void)block, (void)grid,
      (void)warp;
  if (n_known == MAX_KERNELS || !parse(name, &known[n_known]))
    fake_cuda_die("what is the kernel %s?", name);
  known[n_known++].host = host;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream) {
  pushed.grid = grid;
  pushed.block = block;
  pushed.shared = shared;
  pushed.stream = stream;
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
  *grid = pushed.grid;
  *block = pushed.block;
  *shared = pushed.shared;
  memcpy(stream, &pushed.stream, sizeof pushed.stream);
  return cudaSuccess;
}

typedef struct {
  const struct CUkern_st *kernel;
  uint32_t n;
  _Alignas(16) char args[BYTES];
} launch;

static void run(void *args) {
  static void *emulated;
  const launch *l = args;

  if (!emulated && cu_emulated.create(&(pn_device_spec){.threads = 2}, &emulated) != PN_OK)
    fake_cuda_die("no device emulated");
  if (cu_emulated.launch(emulated, l->kernel->kernel, l->kernel->form, l->args, l->n) != PN_OK)
    fake_cuda_die("a kernel of the device emulated");
}

/* The kernels of CU_SUM_KERNELS have whole blocks; the others are told how many threads count. */
static uint32_t threads_of(cu_kernel k, dim3 grid, void **args) {
  static const bool sums[CU_KERNEL_COUNT] = {
#define SUMS(kernel, body, join, type, number, has_wide) [CU_K_##kernel] = true,
      CU_SUM_KERNELS(SUMS)};
  uint32_t n;

  if (sums[k]) return grid.x * CU_BLOCK;
  memcpy(&n, args[1], sizeof n);
  return n;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t k, dim3 grid, dim3 block, void **args, size_t shared,
                               cudaStream_t s) {
  static const size_t bytes[CU_KERNEL_COUNT] = {
#define SIZE(kernel, body, type, has_wide)                   sizeof(type),
#define SUM_SIZE(kernel, body, join, type, number, has_wide) sizeof(type),
      CU_TYPED_KERNELS(SIZE) CU_SUM_KERNELS(SUM_SIZE) CU_KERNELS(SIZE)};
  launch l = {.kernel = k, .n = threads_of(k->kernel, grid, args)};

  if (bytes[k->kernel] > BYTES) fake_cuda_die("arguments of %zu bytes", bytes[k->kernel]);
  memcpy(l.args, args[0], bytes[k->kernel]);
  if (block.x != CU_BLOCK || block.y * block.z * grid.y * grid.z != 1 || shared || l.n == 0 ||
      grid.x != (l.n + CU_BLOCK - 1) / CU_BLOCK)
    fake_cuda_die("%u blocks of %u threads for %u", grid.x, block.x, l.n);
  return fake_cuda_queue(s, run, &l, sizeof l);
}

cudaError_t __cudaGetKernel(cudaKernel_t *out, const void *host) {
  for (int i = 0; i < n_known; i++) {
    if (known[i].host != host) continue;
    *out = &known[i];
    return cudaSuccess;
  }
  fake_cuda_die("a kernel that is not registered");
}

/* Up to CUDA 12. */
#undef cudaLaunchKernel
cudaError_t cudaLaunchKernel(const void *host, dim3 grid, dim3 block, void **args, size_t shared,
                             cudaStream_t s) {
  cudaKernel_t k = NULL;
  __cudaGetKernel(&k, host);
  return __cudaLaunchKernel(k, grid, block, args, shared, s);
}
