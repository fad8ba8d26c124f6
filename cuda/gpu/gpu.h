/* gpu.h -- inside the GPU backend: what gpu.c, cudnn.c and cublas.c share. */
#ifndef PN_CUDA_GPU_GPU_H
#define PN_CUDA_GPU_GPU_H

#include "../backend.h"

#include <cuda_runtime_api.h>

struct cu_dnn;    /* cudnn.c */
struct cu_blas;   /* cublas.c */
struct cu_copies; /* copies.c */

typedef struct {
  int index; /* of the CUDA runtime */
  cudaStream_t stream;
  bool tf32, loose; /* see pn_device_spec */
  char name[96], bus[PN_BUS_BYTES];
  struct cu_dnn *dnn; /* NULL: the library is not there; owned */
  struct cu_blas *blas;
  struct cu_copies *copies; /* owned */
} cu_gpu_state;

/* DEVICE, or NOMEM, with CUDA's reason. */
pn_status cu_check(cudaError_t rc, const char *what);

/* Opens the first of `names` (ended by NULL); *out NULL where none is there. */
void *cu_library(const char *const *names);
/* Fills n function pointers from their names; DEVICE names the first that is missing. */
typedef struct {
  const char *name;
  void *to; /* address of the function pointer */
} cu_symbol;
pn_status cu_symbols(void *library, const cu_symbol *symbols, int n);

/* *out NULL where the library is not there (the own kernels then do it). */
pn_status cu_dnn_create(cu_gpu_state *g, struct cu_dnn **out);
void cu_dnn_destroy(struct cu_dnn *d);
pn_status cu_dnn_conv(void *impl, const cu_conv_job *job, cu_call *out);
pn_status cu_blas_create(cu_gpu_state *g, struct cu_blas **out);
void cu_blas_destroy(struct cu_blas *b);
pn_status cu_blas_dense(void *impl, const cu_dense_job *job, cu_call *out);

/* Copies beside the kernels, see pn_image_ops. */
pn_status cu_copies_create(struct cu_copies **out);
void cu_copies_destroy(struct cu_copies *c);
pn_status cu_copy_begin(void *impl, int lane, void *far, const void *host, size_t bytes);
pn_status cu_copy_arrive(void *impl, int lane);
pn_status cu_copy_done(void *impl, int lane);
pn_status cu_copy_settle(void *impl, int lane);

#endif
