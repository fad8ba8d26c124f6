/* rng.h -- Philox4x32-10 counter generator (Salmon et al., SC 2011, "Parallel random numbers: as
 * easy as 1, 2, 3").  No state: the same key and counter give the same numbers on any rank. */
#ifndef PN_BASE_RNG_H
#define PN_BASE_RNG_H

#include <stdint.h>

/* What a stream of numbers is for: distinct uses never share numbers. */
typedef enum {
  PN_RNG_INIT = 1,  /* a = parameter index */
  PN_RNG_SHUFFLE,   /* a = epoch */
  PN_RNG_DROPOUT,   /* a = sample id, b = epoch and layer */
  PN_RNG_AUGMENT,   /* a = sample id, b = epoch */
  PN_RNG_SPLIT,     /* train/val/test assignment */
  PN_RNG_SYNTH,     /* a = image index */
  PN_RNG_BOOTSTRAP, /* confidence intervals */
  PN_RNG_TEST
} pn_rng_use;

/* A cursor over one stream; cheap to make, copy by value. */
typedef struct {
  uint32_t key[2], counter[4], block[4];
  int used; /* words of block already given out */
} pn_rng;

/* Philox4x32-10: one block of four words. */
void pn_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Stream of (seed, use, a, b). b < 2^28 */
pn_rng pn_rng_make(uint64_t seed, pn_rng_use use, uint64_t a, uint32_t b);
uint32_t pn_rng_u32(pn_rng *r);
uint32_t pn_rng_below(pn_rng *r, uint32_t n);         /* unbiased, [0, n), n >= 1 */
float pn_rng_uniform(pn_rng *r);                      /* [0, 1), 24 bits */
double pn_rng_range(pn_rng *r, double lo, double hi); /* [lo, hi) */
double pn_rng_normal(pn_rng *r);                      /* mean 0, sd 1 (Box-Muller) */

#endif
