/* simd.c -- the vector units of this CPU, in words. */
#include "comm/place.h"

#ifdef __x86_64__
#include <cpuid.h>

enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 }; /* CPUID leaf 7, EDX */

static bool has_amx(void) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  unsigned both = AMX_BF16 | AMX_TILE;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & both) == both;
}

const char *pn_simd_level(void) {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) {
    if (!__builtin_cpu_supports("avx512bf16")) return "AVX-512";
    return has_amx() ? "AVX-512 + bf16 + AMX" : "AVX-512 + bf16";
  }
  if (__builtin_cpu_supports("avx2")) return __builtin_cpu_supports("fma") ? "AVX2 + FMA" : "AVX2";
  if (__builtin_cpu_supports("avx")) return "AVX";
  return __builtin_cpu_supports("sse4.2") ? "SSE4.2" : "SSE2";
}
#elif defined __aarch64__
const char *pn_simd_level(void) {
  return "NEON";
}
#else
const char *pn_simd_level(void) {
  return "unknown";
}
#endif
