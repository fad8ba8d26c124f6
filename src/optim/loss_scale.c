/* loss_scale.c -- see loss_scale.h. */
#include "optim/loss_scale.h"

/* Below it diffs are made smaller than they are: what overflows then does so by itself. */
static const double least = 0x1p-10, most = 0x1p100;

pn_status pn_loss_scale_step(pn_loss_scale *s, bool overflow) {
  if (overflow) {
    s->skipped++;
    s->good = 0;
    s->scale *= 0.5;
    if (s->scale >= least) return PN_OK;
    return PN_FAIL(
        PN_ERR_NUMERIC,
        "gradients are not finite in fp16, whatever the loss is multiplied with (%g now, "
        "%lld steps were skipped): take train.precision=bf16, or a smaller optim.lr",
        s->scale, (long long)s->skipped);
  }
  if (++s->good < s->interval) return PN_OK;
  s->good = 0;
  if (2 * s->scale <= most) s->scale *= 2;
  return PN_OK;
}
