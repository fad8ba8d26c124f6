/* dropout.c -- see dropout.h. */
#include "device/dropout.h"

#include "base/rng.h"
#include "device/simd/simd.h"

enum { WIDE = 16, RUN = 4 * WIDE }; /* Philox blocks side by side, and their words */

/* One round of all blocks: words c[0..3], each [WIDE]. */
__attribute__((always_inline)) static inline void round_of(uint32_t c[4][WIDE], uint32_t k0,
                                                           uint32_t k1) {
  for (int i = 0; i < WIDE; i++) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c[0][i], p1 = (uint64_t)0xCD9E8D57u * c[2][i];
    uint32_t n0 = (uint32_t)(p1 >> 32) ^ c[1][i] ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c[3][i] ^ k1;
    c[1][i] = (uint32_t)p1;
    c[3][i] = (uint32_t)p0;
    c[0][i] = n0;
    c[2][i] = n2;
  }
}

__attribute__((always_inline)) static inline float factor_of(uint32_t word, float rate,
                                                             float keep) {
  return (float)(int32_t)(word >> 8) * 0x1p-24f >= rate ? keep : 0.0f;
}

/* Factors of the RUN elements from block `first` on: pn_philox, many blocks at a time. */
PN_CLONES static void run_of_factors(const pn_rng *r, uint32_t first, float rate, float *factor) {
  uint32_t c[4][WIDE], k0 = r->key[0], k1 = r->key[1];
  float keep = 1.0f / (1.0f - rate);

  for (int i = 0; i < WIDE; i++) {
    c[0][i] = first + (uint32_t)i;
    c[1][i] = r->counter[1];
    c[2][i] = r->counter[2];
    c[3][i] = r->counter[3];
  }
  for (int n = 0; n < 10; n++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) round_of(c, k0, k1);
  for (int w = 0; w < 4; w++)
    for (int i = 0; i < WIDE; i++) factor[4 * i + w] = factor_of(c[w][i], rate, keep);
}

pn_status pn_dropout_factors(const pn_op_desc *op, const pn_step_ctx *ctx, int64_t n, int64_t first,
                             int64_t count, float *factor) {
  uint32_t layer, word[4];
  float keep = 1.0f / (1.0f - op->rate);
  int64_t done = 0;
  pn_rng r;

  if (!ctx || !ctx->sample_id)
    return PN_FAIL(PN_ERR_ARG, "dropout needs the sample ids of the batch");
  layer = (ctx->epoch & 0xfffffu) << 8 | ((uint32_t)op->id & 0xffu);
  r = pn_rng_make(ctx->seed, PN_RNG_DROPOUT, ctx->sample_id[n], layer);
  for (; first % 4 == 0 && count - done >= RUN; done += RUN)
    run_of_factors(&r, (uint32_t)((first + done) / 4), op->rate, factor + done);
  for (int64_t i = done; i < count; i++) {
    int64_t element = first + i;
    if (i == done || element % 4 == 0) {
      r.counter[0] = (uint32_t)(element / 4);
      pn_philox(r.counter, r.key, word);
    }
    factor[i] = factor_of(word[element % 4], op->rate, keep);
  }
  return PN_OK;
}
