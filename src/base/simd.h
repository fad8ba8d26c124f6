/* simd.h -- loops compiled for several vector widths; the CPU chooses when the program starts. */
#ifndef PN_BASE_SIMD_H
#define PN_BASE_SIMD_H

/* For static functions with elementwise loops.  (The resolver that this needs runs before the
 * sanitizers are ready.) */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PN_ANY_SIMD __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define PN_ANY_SIMD
#endif

#endif
