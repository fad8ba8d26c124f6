/* far_norms.h -- norms of tensors on a device, over all ranks; what far_update.c (the update) and
 * far_norms.c share. */
#ifndef PN_PARALLEL_FAR_NORMS_H
#define PN_PARALLEL_FAR_NORMS_H

#include "parallel/strategy.h"

struct pn_far_update {
  pn_flat_list list; /* of all ranges but the last, which is `rest`; far pointers */
  pn_flat_list rest; /* running statistics, of which there is only an average; n = 0: no */
  void *far;         /* where they lie; owned */
  int n_rows;
  int *first;           /* [pieces + 1]: its first range; owned */
  pn_flat_range *range; /* [ranges], as on the device; owned */
  pn_group *group;      /* [rows], owned */
  pn_flat_row *row[2];  /* [rows] and `unscale`, to be sent; one may be on its way; owned */
  double *host;         /* [ranges][2] and results, the device's way; owned */
  int turn;
  int64_t t; /* step of the coefficients on the device; 0: none */
  double lr, unscale;
};

/* The ranks' sums meet on the device, not on the host: then all of an update can be queued. */
bool pn_far_norms_stay(const pn_strategy *s);
/* Of the ranges of l, with what follows from them (pn_far_ops.norms), over all ranks. */
pn_status pn_far_norms(pn_strategy *s, const pn_flat_list *l);

#endif
