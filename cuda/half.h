/* half.h -- bf16 and fp16 as their bits: a GPU's instructions, or the same rounding in software. */
#ifndef PN_CUDA_HALF_H
#define PN_CUDA_HALF_H

#include "kernels.h"

#include "base/bf16.h"
#include "base/fp16.h"

#include <string.h>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

CU_HD float cu_float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

CU_HD float cu_of_half(int type, uint16_t h) {
#ifdef __CUDA_ARCH__
  return type == CU_BF16 ? __bfloat162float(__ushort_as_bfloat16(h))
                         : __half2float(__ushort_as_half(h));
#else
  return type == CU_BF16 ? pn_bf16_to_f32(h) : pn_fp16_to_f32(h);
#endif
}

/* To nearest, ties to even; over 65504 + 16 fp16 is infinite. */
CU_HD uint16_t cu_to_half(int type, float x) {
#ifdef __CUDA_ARCH__
  return type == CU_BF16 ? __bfloat16_as_ushort(__float2bfloat16_rn(x))
                         : __half_as_ushort(__float2half_rn(x));
#else
  return type == CU_BF16 ? pn_bf16_of(x) : pn_fp16_of(x);
#endif
}

#endif
