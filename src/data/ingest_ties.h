/* ingest_ties.h -- classes that can be told without looking at the pixels.  Private to ingest_*.c.
 */
#ifndef PN_DATA_INGEST_TIES_H
#define PN_DATA_INGEST_TIES_H

#include "data/ingest_internal.h"

#include <jansson.h>

#define PN_TIE_LEAST 0.95 /* balanced accuracy from which on a class is reported */

typedef struct {
  const char *by;  /* what tells the class; NULL: nothing does.  Static text */
  double accuracy; /* balanced, of class against all others, each image by the others */
} pn_tie;

/* tie[n_classes]: the trait that tells each class best.  Images without a split do not count.
 * Errors: NOMEM. */
pn_status pn_ingest_find_ties(const pn_ingest *x, pn_tie *tie);
/* [{"class", "by", "balanced_accuracy"}], for the index; new reference, NULL: out of memory. */
json_t *pn_ingest_ties_json(const pn_ingest *x);
void pn_ingest_warn_ties(const json_t *index);

#endif
