/* fake_copy.c -- copies and fills of the fake CUDA runtime. */
#include "fake_cudart.h"

#include <stdlib.h>
#include <string.h>

/* from NULL: the bytes follow. */
typedef struct {
  void *to;
  const void *from;
  size_t bytes;
} copy_args;

void fake_cuda_copy(void *args) {
  const copy_args *a = args;
  memcpy(a->to, a->from ? a->from : (const char *)args + sizeof *a, a->bytes);
}

static cudaError_t copy_bytes(cudaStream_t s, void *to, const void *from, size_t bytes) {
  copy_args *a = malloc(sizeof *a + bytes);

  if (!a) fake_cuda_die("out of memory");
  *a = (copy_args){to, NULL, bytes};
  memcpy(a + 1, from, bytes);
  fake_cuda_queue(s, fake_cuda_copy, a, sizeof *a + bytes);
  free(a);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t s) {
  bool far_to = kind != cudaMemcpyDeviceToHost, far_from = kind != cudaMemcpyHostToDevice;
  const void *host = far_to ? from : to;

  if (far_to) fake_memory_check(to, bytes, "cudaMemcpyAsync");
  if (far_from) fake_memory_check(from, bytes, "cudaMemcpyAsync");
  if (!(far_to && far_from) && fake_memory_on_device(host)) fake_cuda_die("a copy of wrong kind");
  if ((far_to && far_from) || fake_memory_is_pinned(host, bytes))
    return fake_cuda_queue(s, fake_cuda_copy, &(copy_args){to, from, bytes}, sizeof(copy_args));
  if (fake_cuda_in_graph(s) && fake_cuda_capturing())
    return fake_cuda_answer(cudaErrorStreamCaptureUnsupported);
  if (far_to) return copy_bytes(s, to, from, bytes);
  fake_cuda_queue(s, fake_cuda_copy, &(copy_args){to, from, bytes}, sizeof(copy_args));
  return cudaStreamSynchronize(s);
}

typedef struct {
  void *to;
  int value;
  size_t bytes;
} set_args;

void fake_cuda_set(void *args) {
  const set_args *a = args;
  memset(a->to, a->value, a->bytes);
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t s) {
  fake_memory_check(to, bytes, "cudaMemsetAsync");
  return fake_cuda_queue(s, fake_cuda_set, &(set_args){to, value, bytes}, sizeof(set_args));
}

/* In the default stream, which no other one here waits for. */
cudaError_t cudaMemset(void *to, int value, size_t bytes) {
  fake_memory_check(to, bytes, "cudaMemset");
  fake_memory_open();
  memset(to, value, bytes);
  fake_memory_close();
  return cudaSuccess;
}
