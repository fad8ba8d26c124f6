// kernels.cu -- one __global__ function per body of ../kernels.h: thread i computes element group
// i, or the threads of a block their sums.
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
  static void name##_start(const void *args, uint32_t n, int form, cudaStream_t s) {               \
    const type *a = (const type *)args;                                                            \
    uint32_t blocks = (n + CU_BLOCK - 1) / CU_BLOCK;                                               \
    if (has_wide && form == CU_WIDE)                                                               \
      name##_kernel<has_wide ? CU_LANES : 1><<<blocks, CU_BLOCK, 0, s>>>(*a, n);                   \
    else                                                                                           \
      name##_kernel<1><<<blocks, CU_BLOCK, 0, s>>>(*a, n);                                         \
  }
CU_KERNELS(GLOBAL)

/* By form: f32, bf16, fp16, each by one element and by 16 bytes. */
#define TYPED(name, body, type, has_wide)                                                          \
  template <int lanes, int of>                                                                     \
  static __global__ void __launch_bounds__(CU_BLOCK) name##_kernel(const type a, uint32_t n) {     \
    uint32_t i = blockIdx.x * (uint32_t)CU_BLOCK + threadIdx.x;                                    \
    if (i < n) body(&a, i, lanes, of);                                                             \
  }                                                                                                \
  static void name##_start(const void *args, uint32_t n, int form, cudaStream_t s) {               \
    static void (*const kernel[CU_FORMS])(const type, uint32_t) = {                                \
        name##_kernel<1, CU_F32>,  name##_kernel < has_wide ? CU_LANES : 1,      CU_F32 >,         \
        name##_kernel<1, CU_BF16>, name##_kernel < has_wide ? CU_HALF_LANES : 1, CU_BF16 >,        \
        name##_kernel<1, CU_FP16>, name##_kernel < has_wide ? CU_HALF_LANES : 1, CU_FP16 > };      \
    uint32_t blocks = (n + CU_BLOCK - 1) / CU_BLOCK;                                               \
    kernel[form]<<<blocks, CU_BLOCK, 0, s>>>(*(const type *)args, n);                              \
  }
CU_TYPED_KERNELS(TYPED)

/* Each thread's sums, then those of the block; three blocks find room on a multiprocessor. */
#define SUM(name, body, join, type, number, has_wide)                                              \
  template <int lanes, int of>                                                                     \
  static __global__ void __launch_bounds__(CU_BLOCK, 3) name##_kernel(const type a) {              \
    __shared__ number all[2 * lanes * CU_BLOCK];                                                   \
    number sum[2][CU_HALF_LANES];                                                                  \
    body(&a, blockIdx.x, threadIdx.x, lanes, of, sum);                                             \
    for (int k = 0; k < 2 * lanes; k++)                                                            \
      all[k * CU_BLOCK + (int)threadIdx.x] = sum[k / lanes][k % lanes];                            \
    __syncthreads();                                                                               \
    join(&a, blockIdx.x, threadIdx.x, lanes, all);                                                 \
  }                                                                                                \
  static void name##_start(const void *args, uint32_t n, int form, cudaStream_t s) {               \
    static void (*const kernel[CU_FORMS])(const type) = {                                          \
        name##_kernel<1, CU_F32>,                                                                  \
        name##_kernel < has_wide ? CU_LANES : 1,                                                   \
        CU_F32 >,                                                                                  \
        name##_kernel < 1,                                                                         \
        has_wide ? CU_BF16 : CU_F32 >,                                                             \
        name##_kernel < has_wide ? CU_HALF_LANES : 1,                                              \
        has_wide ? CU_BF16 : CU_F32 >,                                                             \
        name##_kernel < 1,                                                                         \
        has_wide ? CU_FP16 : CU_F32 >                                                              \
        , name##_kernel < has_wide ? CU_HALF_LANES : 1, has_wide ? CU_FP16 : CU_F32 > };           \
    kernel[form]<<<n / CU_BLOCK, CU_BLOCK, 0, s>>>(*(const type *)args);                           \
  }
CU_SUM_KERNELS(SUM)

static void (*const starts[CU_KERNEL_COUNT])(const void *, uint32_t, int, cudaStream_t) = {
#define ENTRY(name, body, type, has_wide)                   name##_start,
#define SUM_ENTRY(name, body, join, type, number, has_wide) name##_start,
    CU_TYPED_KERNELS(ENTRY) CU_SUM_KERNELS(SUM_ENTRY) CU_KERNELS(ENTRY)};

cudaError_t cu_start(cu_kernel k, int form, const void *args, uint32_t n, cudaStream_t s) {
  starts[k](args, n, form, s);
  return cudaGetLastError();
}
