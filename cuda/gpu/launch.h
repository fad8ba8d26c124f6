/* launch.h -- what kernels.cu gives to the C files. */
#ifndef PN_CUDA_GPU_LAUNCH_H
#define PN_CUDA_GPU_LAUNCH_H

#include "../kernels.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C"
#endif
    /* Queue n threads; args: the kernel's struct.  1 <= n <= INT32_MAX. */
    cudaError_t
    cu_start(cu_kernel k, int form, const void *args, uint32_t n, cudaStream_t s);

#endif
