/* vector.c -- which code this processor may run. */
#include "device/simd/vector.h"

const pn_vector_code *pn_vector_find(int64_t lanes, pn_dtype type) {
#ifdef __x86_64__
  if (lanes == 16 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    if (type == PN_F32) return &pn_vector_avx512;
    return __builtin_cpu_supports("avx512bf16") ? &pn_vector_bf16 : NULL;
  }
  if (lanes == 8 && type == PN_F32 && __builtin_cpu_supports("avx2") &&
      __builtin_cpu_supports("fma"))
    return &pn_vector_avx2;
#endif
  (void)lanes;
  (void)type;
  return NULL;
}
