/* amx_tile.h -- tiles of 16 rows of 64 bytes and what fills them; for the amx_*.c files that set
 * the target before. */
#ifndef PN_DEVICE_SIMD_AMX_TILE_H
#define PN_DEVICE_SIMD_AMX_TILE_H

#include "base/bf16.h"

#include <immintrin.h>
#include <string.h>

enum { TILE_ROWS = 16, TILE = 512, ROWS = 32 }; /* bf16 of a tile; rows of a block of two tiles */

/* All eight tiles full; for the calling thread, until tiles_off. */
static inline void tiles_on(void) {
  struct {
    uint8_t palette, start, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } __attribute__((packed, aligned(64))) c;

  memset(&c, 0, sizeof c);
  c.palette = 1;
  for (int i = 0; i < 8; i++) {
    c.row_bytes[i] = 64;
    c.rows[i] = TILE_ROWS;
  }
  _tile_loadconfig(&c);
}

static inline void tiles_off(void) {
  _tile_release();
}

/* 16 x 16 words of four bytes. */
static inline void transpose16(__m512i r[16]) {
  __m512i t[16];

  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 16; i += 8)
    for (int j = 0; j < 4; j++) {
      t[i + j] = _mm512_shuffle_i32x4(r[i + j], r[i + 4 + j], 0x88);
      t[i + 4 + j] = _mm512_shuffle_i32x4(r[i + j], r[i + 4 + j], 0xdd);
    }
  for (int j = 0; j < 8; j++) {
    r[j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0x88);
    r[8 + j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0xdd);
  }
}

/* 16 words of each of two rows, in turn: a0 b0 a1 b1 ... */
static inline __m512i interleave(__m256i a, __m256i b) {
  __m512i low = _mm512_cvtepu16_epi32(a), high = _mm512_cvtepu16_epi32(b);
  return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

#endif
