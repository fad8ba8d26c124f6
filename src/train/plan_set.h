/* plan_set.h -- the training plans of the batch sizes that a rank meets, over one parameter map. */
#ifndef PN_TRAIN_PLAN_SET_H
#define PN_TRAIN_PLAN_SET_H

#include "nn/plan.h"

enum { PN_MAX_PLANS = 4 }; /* two sizes of micro-batches for a full step's share and the last's */

typedef struct {
  pn_param_map map; /* chosen by the first plan; owned */
  pn_plan *plan[PN_MAX_PLANS];
  int64_t batch[PN_MAX_PLANS];
  int n;
} pn_plan_set;

/* The parameter map is that of the training plan `like`, for its number of images: give the same on
 * all ranks, and all ranks of one kind of CPU have the same map.  sizes: batch sizes wanted; 0 = no
 * plan. Not collective.  The set must not be moved afterwards (plans borrow its map). */
pn_status pn_plan_set_create(const pn_plan_spec *like, const int64_t sizes[PN_MAX_PLANS],
                             pn_plan_set *out);
void pn_plan_set_free(pn_plan_set *s);
void pn_plan_set_bind(pn_plan_set *s, float *params, float *grads);
void pn_plan_set_bind_far(pn_plan_set *s, const pn_far_places *where); /* NULL: nothing */
pn_plan *pn_plan_set_get(const pn_plan_set *s, int64_t batch);         /* NULL for 0 */

#endif
