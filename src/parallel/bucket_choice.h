/* bucket_choice.h -- how large the buckets of gradients are, and why. */
#ifndef PN_PARALLEL_BUCKET_CHOICE_H
#define PN_PARALLEL_BUCKET_CHOICE_H

#include "comm/comm.h"

enum { PN_MAX_BUCKET_SIZES = 8 };

typedef struct {
  int64_t bytes;      /* 0: the strategy has no buckets */
  const char *origin; /* "option", "sweep", "default"; static */
  char why[160];
  int n_tried;
  struct {
    int64_t bytes;
    double seconds; /* of one sum of the gradients in such buckets */
  } tried[PN_MAX_BUCKET_SIZES];
} pn_bucket_choice;

/* What decides: all ranks give the same. */
typedef struct {
  int64_t wanted;    /* bytes; > 0: chosen by the user */
  int64_t gradient;  /* bytes of all gradients */
  const char *fixed; /* NULL, or why a measurement must not decide */
  bool unused;       /* nothing is sent in buckets, says `fixed` */
} pn_bucket_question;

/* Without an answer of the user: sums of a buffer as large as the gradients (at most 32 MiB), cut
 * into buckets of 1 to 32 MiB, are timed for at most about a second.  The smallest size counts that
 * is within a tenth of the fastest: small buckets start earlier, and their updates overlap with
 * more of the others.  The same answer on all ranks.
 *
 * The size never decides about bits: where the order of summation would depend on it
 * (pn_comm_order_fixed), or `fixed` says so, nothing is measured and the size is a constant.
 * Collective, agreed. */
pn_status pn_buckets_choose(pn_comm *c, const pn_bucket_question *q, pn_bucket_choice *out);

#endif
