/* shards.h -- blocks of the arena, each cut into one slice per rank; a rank's slices lie one after
 * the other in storage of its own (zero1, fsdp). */
#ifndef PN_PARALLEL_SHARDS_H
#define PN_PARALLEL_SHARDS_H

#include "parallel/strategy.h"

typedef struct {
  int64_t first, count; /* elements of the arena */
  pn_slice own;         /* of the block */
  int64_t at;           /* of the own slice in the rank's storage */
} pn_block;

typedef struct {
  int n;
  pn_block *block; /* [n], owned */
  int64_t own;     /* elements of the rank's storage */
  float *whole;    /* address space for one arena; owned; NULL until pn_shards_alloc */
  size_t whole_bytes, drop_bytes; /* running statistics at its end stay */
  float *kept; /* room for those in use while the average's are there; owned; NULL: no need */
  bool away;   /* they are in `kept` */
} pn_shards;

pn_status pn_shards_make(int n, pn_shards *out); /* room for n blocks */
/* Cut the next block. */
void pn_shards_add(const pn_strategy *s, int64_t first, int64_t count, pn_shards *out);
/* Optimizer state and average of the own slices, and `whole`.  Not collective. */
pn_status pn_shards_alloc(pn_strategy *s, pn_shards *h);
void pn_shards_free(pn_strategy *s, pn_shards *h);

/* One kind of data (pn_kind_name), put together from all ranks in h->whole, until
 * pn_shards_release.  own: the rank's storage of it.  Collective. */
pn_status pn_shards_gather(pn_strategy *s, pn_shards *h, const float *own);
void pn_shards_release(pn_shards *h);

/* Every tensor of an arena of whole ones. */
pn_status pn_shards_visit_all(pn_strategy *s, int kind, float *arena, pn_visit_fn fn, void *ctx);
/* visit_owned: gathers one kind after the other; a rank saves every size-th tensor.  own_params:
 * the rank's storage, NULL where every rank has all parameters in s->params.  Collective. */
pn_status pn_shards_visit_owned(pn_strategy *s, pn_shards *h, const float *own_params,
                                pn_visit_fn fn, void *ctx);

#endif
