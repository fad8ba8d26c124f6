/* bf16.h -- bfloat16 as its bits: the upper half of an f32.  Plain integer code, which compilers
 * turn into vectors. */
#ifndef PN_BASE_BF16_H
#define PN_BASE_BF16_H

#include <stdint.h>
#include <string.h>

typedef uint16_t pn_bf16;

static inline float pn_bf16_to_f32(pn_bf16 h) {
  uint32_t bits = (uint32_t)h << 16;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* To nearest, ties to even; a NaN stays one. */
static inline pn_bf16 pn_bf16_of(float x) {
  uint32_t bits, rounded;
  memcpy(&bits, &x, sizeof bits);
  rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  return (pn_bf16)((bits & 0x7fffffffu) > 0x7f800000u ? bits >> 16 | 0x40u : rounded);
}

#endif
