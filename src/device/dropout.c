/* dropout.c -- see dropout.h. */
#include "device/dropout.h"

#include "base/rng.h"

pn_status pn_dropout_factors(const pn_op_desc *op, const pn_step_ctx *ctx, int64_t n, int64_t first,
                             int64_t count, float *factor) {
  uint32_t layer, word[4];
  float keep = 1.0f / (1.0f - op->rate);
  pn_rng r;

  if (!ctx || !ctx->sample_id)
    return PN_FAIL(PN_ERR_ARG, "dropout needs the sample ids of the batch");
  layer = (ctx->epoch & 0xfffffu) << 8 | ((uint32_t)op->id & 0xffu);
  r = pn_rng_make(ctx->seed, PN_RNG_DROPOUT, ctx->sample_id[n], layer);
  for (int64_t i = 0; i < count; i++) {
    int64_t element = first + i;
    if (i == 0 || element % 4 == 0) {
      r.counter[0] = (uint32_t)(element / 4);
      pn_philox(r.counter, r.key, word);
    }
    factor[i] = (float)(word[element % 4] >> 8) * 0x1p-24f >= op->rate ? keep : 0.0f;
  }
  return PN_OK;
}
