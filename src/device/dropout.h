/* dropout.h -- the mask that every device applies: keyed by (seed, epoch, node, sample), so it
 * depends neither on the rank count nor on the device's layout. */
#ifndef PN_DEVICE_DROPOUT_H
#define PN_DEVICE_DROPOUT_H

#include "device/device.h"

/* Factors of `count` elements of image n of the batch, from element `first` in C H W (or F) order:
 * 0 where dropped (uniform < rate), 1/(1-rate) where kept.  Random access, one Philox block for
 * four elements.  Errors: ARG (ctx without sample_id). */
pn_status pn_dropout_factors(const pn_op_desc *op, const pn_step_ctx *ctx, int64_t n, int64_t first,
                             int64_t count, float *factor);

#endif
