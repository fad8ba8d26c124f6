/* fake_driver.c -- a libcuda.so.1 for tests: the functions of the driver that src/comm takes from
 * it, by those of the fake runtime of the program that loads it (fake_cudart.h). */
#include "fake_cudart.h"

#include <cuda.h>

/* The same numbers; what the driver answers is nothing to the runtime. */
static CUresult answer(cudaError_t rc) {
  if (rc != cudaSuccess) (void)cudaGetLastError();
  return (CUresult)rc;
}

CUresult cuCtxGetCurrent(CUcontext *out) {
  static int context;
  *out = (CUcontext)(void *)&context;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *out) {
  return answer(cudaGetDevice(out));
}

CUresult cuDeviceGetPCIBusId(char *out, int bytes, CUdevice d) {
  return answer(cudaDeviceGetPCIBusId(out, bytes, d));
}

CUresult cuGetErrorString(CUresult rc, const char **text) {
  *text = rc == CUDA_SUCCESS ? "no error" : "refused by the fake";
  return CUDA_SUCCESS;
}

CUresult cuStreamCreate(CUstream *out, unsigned flags) {
  return answer(cudaStreamCreateWithFlags(out, flags));
}

CUresult cuStreamDestroy(CUstream s) {
  return answer(cudaStreamDestroy(s));
}

CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned flags) {
  return answer(cudaStreamWaitEvent(s, e, flags));
}

CUresult cuEventCreate(CUevent *out, unsigned flags) {
  return answer(cudaEventCreateWithFlags(out, flags));
}

CUresult cuEventDestroy(CUevent e) {
  return answer(cudaEventDestroy(e));
}

CUresult cuEventRecord(CUevent e, CUstream s) {
  return answer(cudaEventRecord(e, s));
}

CUresult cuEventQuery(CUevent e) {
  return answer(cudaEventQuery(e));
}

CUresult cuMemAlloc(CUdeviceptr *out, size_t bytes) {
  return answer(cudaMalloc((void **)(void *)out, bytes));
}

CUresult cuMemFree(CUdeviceptr p) {
  return answer(cudaFree((void *)(uintptr_t)p));
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream s) {
  return answer(cudaMemcpyAsync((void *)(uintptr_t)to, from, bytes, cudaMemcpyHostToDevice, s));
}

CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream s) {
  return answer(
      cudaMemcpyAsync(to, (const void *)(uintptr_t)from, bytes, cudaMemcpyDeviceToHost, s));
}

/* Of memory that CUDA does not know there is no answer. */
CUresult cuPointerGetAttribute(void *out, CUpointer_attribute what, CUdeviceptr p) {
  unsigned type = CU_MEMORYTYPE_DEVICE;

  if (what != CU_POINTER_ATTRIBUTE_MEMORY_TYPE) return CUDA_ERROR_NOT_SUPPORTED;
  if (!fake_memory_on_device((const void *)(uintptr_t)p)) {
    if (!fake_memory_is_pinned((const void *)(uintptr_t)p, 1)) return CUDA_ERROR_INVALID_VALUE;
    type = CU_MEMORYTYPE_HOST;
  }
  *(unsigned *)out = type;
  return CUDA_SUCCESS;
}
