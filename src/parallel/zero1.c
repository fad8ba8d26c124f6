/* zero1.c -- ZeRO-1: every rank has all parameters and gradients, but the optimizer's state of one
 * slice of every block.  Gradients are reduced to their slice during backward; it is updated, and
 * the new parameters are gathered, block by block.
 *
 * Ranks of a host that can have one copy of the parameters do.  Each writes its slices there, so
 * nothing is to be gathered within the host; but a rank that is still in its backward pass reads
 * what the others are about to write.  Therefore the last block's gradients are started after the
 * backward pass and nothing is written before that transfer is complete: then all ranks of the
 * host have started it, and read no parameters until the gathers at the end of the step are
 * complete, for which all must have written.
 *
 * Where all ranks are on one host there is one block and no sum of its own: after the backward
 * pass of the last rank each one reads the others' gradients in place, while it updates.
 *
 * ddp on one host is the same but for this: its sums go by buckets, during the backward pass. */
#include "parallel/bucket.h"
#include "parallel/flight.h"
#include "parallel/piece.h"
#include "parallel/resident.h"
#include "parallel/shards.h"
#include "parallel/table.h"

#include <stdlib.h>

struct zero1 {
  pn_bucket_plan plan; /* empty where all ranks are on one host */
  pn_shards shards;    /* block i: bucket i, or all */
  pn_flight flight;    /* request i: gradients of block i; shards.n + i: its parameters */
  bool common;         /* one copy of the parameters on each host */
};

static bool sums_late(const pn_strategy *s) {
  return s->ops->sums_late && pn_one_host(s);
}

static pn_status cut(pn_strategy *s, struct zero1 *z) {
  pn_status st = PN_OK;

  if (sums_late(s)) {
    PN_TRY(pn_shards_make(1, &z->shards));
    pn_shards_add(s, 0, s->spec.map->trainable, &z->shards);
    return PN_OK;
  }
  PN_TRY(pn_buckets_of(&s->spec, &z->plan));
  PN_TRY(pn_shards_make(z->plan.n, &z->shards));
  for (int i = 0; i < z->plan.n; i++)
    pn_shards_add(s, z->plan.bucket[i].first, z->plan.bucket[i].count, &z->shards);
done:
  return st;
}

static size_t trained(const pn_strategy *s) {
  return (size_t)s->spec.map->trainable * sizeof(float);
}

static size_t rest(const pn_strategy *s) {
  return (size_t)s->spec.map->total * sizeof(float) - trained(s);
}

static pn_status zero1_plan(pn_strategy *s) {
  struct zero1 *z = s->impl = calloc(1, sizeof *z);
  size_t sharers = (size_t)pn_comm_sharers(s->spec.data);
  pn_status st = PN_OK;

  if (!z) return PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", s->ops->name);
  z->common = sharers > 1;
  PN_TRY(cut(s, z));
  PN_TRY(pn_flight_make(2 * z->shards.n, &z->flight));
  s->bytes_params = (trained(s) + sharers - 1) / sharers + rest(s);
  s->bytes_grads = trained(s);
  s->bytes_state = (size_t)z->shards.own * sizeof(float) * (size_t)(pn_n_kinds(s) - 1);
done:
  return st;
}

/* One rank writes what a host has once. */
static pn_status init_whole(pn_strategy *s) {
  pn_status st;

  s->own.n = pn_comm_sharer(s->spec.data) == 0 ? 1 : 0;
  s->own.piece[0] = (pn_piece){.count = s->spec.map->trainable, .param = s->params};
  st = pn_pieces_init(s);
  s->own.n = ((struct zero1 *)s->impl)->shards.n;
  return st;
}

static void place_pieces(pn_strategy *s, const pn_shards *h) {
  for (int i = 0; i < h->n; i++) {
    const pn_block *b = &h->block[i];
    int64_t first = b->first + b->own.first;
    pn_piece *p = &s->own.piece[i];
    *p = (pn_piece){.first = first,
                    .count = b->own.count,
                    .param = s->params + first,
                    .grad = s->grads + first,
                    .ema = s->ema ? s->ema + b->at : NULL,
                    .shared = sums_late(s)};
    for (int k = 0; k < 2; k++) p->state[k] = s->state[k] ? s->state[k] + b->at : NULL;
  }
}

static pn_status zero1_setup(pn_strategy *s) {
  struct zero1 *z = s->impl;
  void *p = NULL;
  pn_status st = pn_pieces_make(s, z->shards.n, true);

  if (st == PN_OK) st = pn_shards_alloc(s, &z->shards);
  PN_TRY(pn_agree(s->spec.data, st));
  PN_TRY(pn_comm_alloc_common(s->spec.data, trained(s), rest(s), &p));
  s->params = p;
  PN_TRY(pn_comm_alloc(s->spec.data, s->bytes_grads, &p));
  s->grads = p;
  PN_TRY(pn_agree(s->spec.data, init_whole(s)));
  place_pieces(s, &z->shards);
  PN_TRY(pn_agree(s->spec.data, pn_resident_make(s, z->shards.own)));
done:
  return st;
}

static pn_status reduce(pn_strategy *s, struct zero1 *z) {
  const pn_block *b = &z->shards.block[z->flight.started];
  float *grads = s->grads + b->first;
  pn_exchange_job sum = {PN_REDUCE_SCATTER, "slices of gradients", grads, grads + b->own.first,
                         b->count};
  pn_status st = pn_strategy_add_kept(s, b->first, b->count);

  if (st != PN_OK) return st;
  if (sums_late(s)) return pn_flight_share(s, &z->flight, "gradients", grads, b->count);
  return pn_flight_start(s, &z->flight, &sum);
}

static pn_status gather(pn_strategy *s, struct zero1 *z) {
  const pn_block *b = &z->shards.block[z->flight.started - z->shards.n];
  float *params = s->params + b->first;

  return pn_flight_start(s, &z->flight,
                         &(pn_exchange_job){PN_ALLGATHER, "updated parameters",
                                            params + b->own.first, params, b->count});
}

/* Blocks that are started in the backward pass. */
static int early(const struct zero1 *z) {
  return z->common ? z->shards.n - 1 : z->shards.n;
}

static pn_status zero1_grad_ready(void *ctx, int param) {
  pn_strategy *s = ctx;
  struct zero1 *z = s->impl;
  pn_status st = PN_OK;

  while (st == PN_OK && z->flight.started < early(z) &&
         z->plan.bucket[z->flight.started].trigger >= param)
    st = reduce(s, z);
  return st;
}

static pn_status zero1_tick(void *ctx) {
  pn_strategy *s = ctx;
  return pn_flight_tick(s, &((struct zero1 *)s->impl)->flight);
}

/* Block i is on its way to the others while block i + 1 is updated, and maybe still arrives. */
static pn_status update_block(pn_strategy *s, struct zero1 *z, int i, int64_t t, double lr) {
  const pn_block *b = &z->shards.block[i];
  pn_status st = PN_OK;

  PN_TRY(pn_pieces_update(s, b->first, b->first + b->count, t, lr));
  PN_TRY(gather(s, z));
  PN_TRY(zero1_tick(s));
done:
  return st;
}

static pn_status update(pn_strategy *s, struct zero1 *z, int64_t t, double lr, double *grad_norm) {
  bool norms = grad_norm || pn_pieces_need_all(s);
  pn_status st = PN_OK;

  for (int i = 0; i < z->shards.n; i++) {
    PN_TRY(pn_flight_wait(s, &z->flight));
    if (!norms && !z->common) PN_TRY(update_block(s, z, i, t, lr));
  }
  if (norms) pn_pieces_sum(s);
  if (norms) PN_TRY(pn_pieces_update_all(s, t, lr, grad_norm));
  for (int i = 0; norms && i < z->shards.n; i++) PN_TRY(gather(s, z));
  for (int i = 0; !norms && z->common && i < z->shards.n; i++) PN_TRY(update_block(s, z, i, t, lr));
done:
  return st;
}

static pn_status zero1_step(pn_strategy *s, int64_t t, double lr, double *grad_norm) {
  struct zero1 *z = s->impl;
  pn_status st = PN_OK;

  if (z->flight.started != early(z))
    return PN_FAIL(PN_ERR_ARG, "%s: step with %d of %d blocks started", s->ops->name,
                   z->flight.started, early(z));
  if (z->common) PN_TRY(reduce(s, z));
  PN_TRY(update(s, z, t, lr, grad_norm));
  while (z->flight.waited < z->flight.started) PN_TRY(pn_flight_wait(s, &z->flight));
  pn_flight_reset(&z->flight);
done:
  return st;
}

static pn_status zero1_apply(pn_strategy *s, int64_t t, double lr, double *grad_norm) {
  struct zero1 *z = s->impl;
  pn_flight *f = &z->flight;
  pn_status st = PN_OK;

  if (z->common) PN_TRY(pn_barrier(s->spec.data, "end of the last leaf"));
  PN_TRY(pn_pieces_update_all(s, t, lr, grad_norm));
  f->started = f->tested = f->waited = f->capacity / 2;
  while (f->started < f->capacity) PN_TRY(gather(s, z));
  while (f->waited < f->started) PN_TRY(pn_flight_wait(s, f));
  pn_flight_reset(f);
done:
  return st;
}

static pn_status zero1_visit_owned(pn_strategy *s, pn_visit_fn fn, void *ctx) {
  pn_status st = pn_agree(s->spec.data, pn_resident_fetch(s));
  return st == PN_OK ? pn_shards_visit_owned(s, &((struct zero1 *)s->impl)->shards, NULL, fn, ctx)
                     : st;
}

/* One rank fills what a host has once. */
static pn_status zero1_visit_held(pn_strategy *s, pn_visit_fn fn, void *ctx) {
  pn_status st = pn_resident_look(s), back;

  if (st == PN_OK)
    st = pn_comm_sharer(s->spec.data) == 0
             ? pn_shards_visit_all(s, 0, s->params, fn, ctx)
             : pn_rest_visit(s, "param", s->params + s->spec.map->trainable, fn, ctx);
  if (st == PN_OK && s->ema) st = pn_rest_visit(s, "ema", s->ema_rest, fn, ctx);
  for (int kind = 1; kind < pn_n_kinds(s) && st == PN_OK; kind++)
    st = pn_pieces_visit(s, kind, fn, ctx);
  back = pn_resident_return(s, true);
  return st != PN_OK ? st : back;
}

static pn_status zero1_gather(pn_strategy *s, bool average, float **out) {
  struct zero1 *z = s->impl;

  pn_status st = pn_agree(s->spec.data, pn_resident_fetch(s));

  *out = average && s->ema ? z->shards.whole : s->params;
  if (st != PN_OK) return st;
  return *out == s->params ? PN_OK : pn_shards_gather(s, &z->shards, s->ema);
}

static void zero1_release(pn_strategy *s) {
  pn_shards_release(&((struct zero1 *)s->impl)->shards);
}

/* As in ddp_destroy: what is in flight keeps its buffers. */
static void zero1_destroy(pn_strategy *s) {
  struct zero1 *z = s->impl;

  pn_resident_free(s);
  if (z && z->flight.waited < z->flight.started) s->params = s->grads = NULL;
  pn_comm_free(s->spec.data, s->params);
  pn_comm_free(s->spec.data, s->grads);
  s->params = s->grads = NULL;
  pn_pieces_free(s);
  if (!z) return;
  pn_shards_free(s, &z->shards);
  pn_buckets_free(&z->plan);
  pn_flight_free(&z->flight);
  free(z);
  s->impl = NULL;
}

const pn_strategy_ops pn_strategy_zero1_ops = {
    .name = "zero1",
    .help = "as ddp, but each rank updates its slice and has the optimizer state of that only",
    .by_buckets = true,
    .sums_late = true,
    .plan = zero1_plan,
    .setup = zero1_setup,
    .hooks = {.grad_ready = zero1_grad_ready, .tick = zero1_tick},
    .step = zero1_step,
    .apply = zero1_apply,
    .visit_owned = zero1_visit_owned,
    .visit_held = zero1_visit_held,
    .gather = zero1_gather,
    .release = zero1_release,
    .destroy = zero1_destroy,
};

const pn_strategy_ops pn_strategy_ddp_one_host_ops = {
    .name = "ddp",
    .help = "one replica for the ranks of a host, which share its update",
    .by_buckets = true,
    .plan = zero1_plan,
    .setup = zero1_setup,
    .hooks = {.grad_ready = zero1_grad_ready, .tick = zero1_tick},
    .step = zero1_step,
    .apply = zero1_apply,
    .visit_owned = zero1_visit_owned,
    .visit_held = zero1_visit_held,
    .gather = zero1_gather,
    .release = zero1_release,
    .destroy = zero1_destroy,
};
