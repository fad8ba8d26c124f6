/* loss_scale.h -- dynamic loss scaling for gradients in fp16, by PyTorch's GradScaler's rules: the
 * loss is multiplied so that small diffs do not vanish; a step whose gradients overflow is left out
 * and the factor halved; after many good steps it is doubled. */
#ifndef PN_OPTIM_LOSS_SCALE_H
#define PN_OPTIM_LOSS_SCALE_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
  double scale;     /* of the next step's loss; 0: there is no scaling */
  int64_t interval; /* good steps until it is doubled */
  int64_t good;     /* steps since it last changed */
  int64_t skipped;  /* of the run */
} pn_loss_scale;

/* After a step.  Errors: NUMERIC (it has been halved so often that scaling cannot be the cause). */
pn_status pn_loss_scale_step(pn_loss_scale *s, bool overflow);

#endif
