// kernels.cu -- one __global__ function per body of ../kernels.h: thread i computes element group
// i.
#include "launch.h"

#include "../body_augment.h"
#include "../body_conv.h"
#include "../body_loss.h"
#include "../body_map.h"
#include "../body_norm.h"
#include "../body_update.h"
#include "../body_window.h"

#define GLOBAL(name, body, type, has_wide)                                                         \
  template <int lanes>                                                                             \
  static __global__ void __launch_bounds__(CU_BLOCK) name##_kernel(const type a, uint32_t n) {     \
    uint32_t i = blockIdx.x * (uint32_t)CU_BLOCK + threadIdx.x;                                    \
    if (i < n) body(&a, i, lanes);                                                                 \
  }                                                                                                \
  static void name##_start(const void *args, uint32_t n, bool wide, cudaStream_t s) {              \
    const type *a = (const type *)args;                                                            \
    uint32_t blocks = (n + CU_BLOCK - 1) / CU_BLOCK;                                               \
    if (has_wide && wide)                                                                          \
      name##_kernel<has_wide ? CU_LANES : 1><<<blocks, CU_BLOCK, 0, s>>>(*a, n);                   \
    else                                                                                           \
      name##_kernel<1><<<blocks, CU_BLOCK, 0, s>>>(*a, n);                                         \
  }
CU_KERNELS(GLOBAL)

static void (*const starts[CU_KERNEL_COUNT])(const void *, uint32_t, bool, cudaStream_t) = {
#define ENTRY(name, body, type, has_wide) name##_start,
    CU_KERNELS(ENTRY)};

cudaError_t cu_start(cu_kernel k, bool wide, const void *args, uint32_t n, cudaStream_t s) {
  starts[k](args, n, wide, s);
  return cudaGetLastError();
}
