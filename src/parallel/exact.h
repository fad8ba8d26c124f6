/* exact.h -- the sum of a step's gradients with the same bits at any number of ranks: over leaves,
 * fixed parts of the global batch, along a tree (tree.h).  Running statistics go the same way. */
#ifndef PN_PARALLEL_EXACT_H
#define PN_PARALLEL_EXACT_H

#include "base/exact_sum.h"
#include "parallel/tree.h"

#include "parallel/strategy.h"

/* After the strategy's setup; spec.leaves > 0.  Fills s->exact.  Collective, agreed. */
pn_status pn_exact_create(pn_strategy *s);
void pn_exact_destroy(pn_strategy *s);

/* Gradients where the optimizer finds them (s->own), new running statistics in s->params on all
 * ranks.  Collective. */
pn_status pn_exact_sum_step(pn_strategy *s);

/* Sums of squares of every tensor, without rounding, over all ranks where the pieces are cut:
 * [2 * parameters], of the parameter and of the gradient.  They start at 0. */
pn_exact_sum *pn_exact_squares(pn_strategy *s);
pn_status pn_exact_squares_share(pn_strategy *s);

#endif
