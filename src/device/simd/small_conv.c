/* small_conv.c -- which code this processor may run. */
#include "device/simd/small_conv.h"

const pn_small_conv_code *pn_small_conv_find(int lanes) {
#ifdef __x86_64__
  if (lanes == 16 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq"))
    return &pn_small_conv_avx512;
  if (lanes == 8 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return &pn_small_conv_avx2;
#endif
  (void)lanes;
  return NULL;
}
