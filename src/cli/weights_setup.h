/* weights_setup.h -- train.weights: a file whose tensors are the initial values. */
#ifndef PN_CLI_WEIGHTS_SETUP_H
#define PN_CLI_WEIGHTS_SETUP_H

#include "cli/options.h"
#include "interop/initial.h"
#include "train/trainer.h"

typedef struct {
  const char *path;       /* borrowed from the options */
  pn_initial_rules rules; /* its text is borrowed from the options */
  const pn_dataset *data; /* borrowed */
  pn_initial *initial;
  pn_train_weights source; /* what the trainer takes; its ctx is this struct */
} pn_weights_setup;

/* NULL when train.weights is not set; else w->source.  A head that is kept and learned other
 * classes than those of `d` is warned of.  Not collective.  Release with pn_weights_release. */
const pn_train_weights *pn_weights_prepare(const pn_options *o, const pn_dataset *d,
                                           pn_weights_setup *w);
void pn_weights_release(pn_weights_setup *w);

#endif
