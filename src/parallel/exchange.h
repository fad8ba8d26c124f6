/* exchange.h -- sums and exchanges of parts of the arenas, wherever these lie: in host memory, on
 * devices that the communicator reaches, or on others, by way of their host twins. */
#ifndef PN_PARALLEL_EXCHANGE_H
#define PN_PARALLEL_EXCHANGE_H

#include "parallel/strategy.h"

typedef struct {
  pn_transfer_kind kind;
  const char *what;
  float *in, *out; /* in host arenas; see pn_iallreduce_sum and its neighbours */
  int64_t count;   /* of the whole buffer */
} pn_exchange_job;

typedef struct {
  pn_request *request; /* NULL: nothing is left to wait for */
  float *back;         /* host: what arrives there goes to its twin; NULL: nothing */
  int64_t count;       /* of it */
} pn_exchange;

pn_status pn_exchange_start(pn_strategy *s, const pn_exchange_job *j, pn_exchange *out);
pn_status pn_exchange_test(const pn_exchange *x, bool *done);
pn_status pn_exchange_wait(pn_strategy *s, pn_exchange *x);

#endif
