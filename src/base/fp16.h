/* fp16.h -- IEEE 754 half precision as its bits: 5 of exponent, 10 of mantissa, at most 65504. */
#ifndef PN_BASE_FP16_H
#define PN_BASE_FP16_H

#include <stdint.h>
#include <string.h>

typedef uint16_t pn_fp16;

static inline float pn_fp16_to_f32(pn_fp16 h) {
  uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7fffu, bits;
  float x;

  if (rest < 0x400u) { /* zero and subnormal */
    x = (float)rest * 0x1p-24f;
    return sign ? -x : x;
  }
  bits = sign | (rest >= 0x7c00u ? 0x7f800000u | (rest & 0x3ffu) << 13
                                 : (rest << 13) + (uint32_t)(127 - 15) * 0x800000u);
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* To nearest, ties to even; from 65520 on infinite, a NaN stays one. */
static inline pn_fp16 pn_fp16_of(float x) {
  uint32_t bits, sign;

  memcpy(&bits, &x, sizeof bits);
  sign = bits >> 16 & 0x8000u;
  bits &= 0x7fffffffu;
  if (bits > 0x7f800000u) return (pn_fp16)(sign | 0x7e00u);
  if (bits >= 0x477ff000u) return (pn_fp16)(sign | 0x7c00u);
  if (bits >= 0x38800000u)
    return (pn_fp16)(sign |
                     (bits - (uint32_t)(127 - 15) * 0x800000u + 0xfffu + (bits >> 13 & 1u)) >> 13);
  memcpy(&x, &bits, sizeof x); /* below 2^-14: the sum has units of 2^-24, and is rounded so */
  x += 0.5f;
  memcpy(&bits, &x, sizeof bits);
  return (pn_fp16)(sign | (bits - 0x3f000000u));
}

#endif
