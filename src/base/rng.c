/* rng.c -- Philox4x32-10 and the distributions used here. */
#include "base/rng.h"

#include <math.h>
#include <string.h>

void pn_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t c[4], k[2] = {key[0], key[1]};

  memcpy(c, counter, sizeof c);
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t n0 = (uint32_t)(p1 >> 32) ^ c[1] ^ k[0], n2 = (uint32_t)(p0 >> 32) ^ c[3] ^ k[1];
    c[1] = (uint32_t)p1;
    c[3] = (uint32_t)p0;
    c[0] = n0;
    c[2] = n2;
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  memcpy(out, c, sizeof c);
}

pn_rng pn_rng_make(uint64_t seed, pn_rng_use use, uint64_t a, uint32_t b) {
  pn_rng r = {.key = {(uint32_t)seed, (uint32_t)(seed >> 32)}, .used = 4};
  r.counter[1] = (uint32_t)use << 28 | (b & 0x0fffffffu);
  r.counter[2] = (uint32_t)a;
  r.counter[3] = (uint32_t)(a >> 32);
  return r;
}

uint32_t pn_rng_u32(pn_rng *r) {
  if (r->used == 4) {
    pn_philox(r->counter, r->key, r->block);
    r->counter[0]++; /* 2^34 words per stream */
    r->used = 0;
  }
  return r->block[r->used++];
}

uint32_t pn_rng_below(pn_rng *r, uint32_t n) {
  uint32_t reject = (uint32_t)(-n) % n, x; /* 2^32 mod n: values below it would be biased */
  do x = pn_rng_u32(r);
  while (x < reject);
  return x % n;
}

float pn_rng_uniform(pn_rng *r) {
  return (float)(pn_rng_u32(r) >> 8) * 0x1p-24f;
}

double pn_rng_range(pn_rng *r, double lo, double hi) {
  return lo + (hi - lo) * (double)pn_rng_uniform(r);
}

double pn_rng_normal(pn_rng *r) {
  double u = ((double)pn_rng_u32(r) + 1.0) * 0x1p-32, v = (double)pn_rng_u32(r) * 0x1p-32;
  return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}
