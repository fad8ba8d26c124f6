/* fsdp.c -- fully sharded: parameters, gradients and optimizer state lie in slices over the ranks.
 *
 * The plans see whole arenas of address space.  A unit's parameters are gathered one unit ahead of
 * the computation; its gradients are there from its backward pass until every rank has its slice
 * of their sum.  Between that the pages may go (fsdp_pages.c).
 *
 * On one host the ranks' slices lie side by side in one arena that all of them read: there is
 * nothing to gather.  Before a rank writes its slices in the update all must have ended their
 * backward passes, and before the next forward pass all must have written: `meet`. */
#include "parallel/fsdp.h"
#include "base/clock.h"
#include "parallel/piece.h"
#include "parallel/resident.h"
#include "parallel/table.h"

#include <stdlib.h>

enum { MEASURED_STEPS = 3 }; /* how much is resident is looked up in the first ones */

static void opened(struct pn_fsdp *f, double t0) {
  if (f->flying++ == 0) f->t_open = t0;
}

static void closed(pn_strategy *s, struct pn_fsdp *f) {
  if (--f->flying == 0) s->comm_total_s += pn_now() - f->t_open;
}

static pn_status start_gather(pn_strategy *s, struct pn_fsdp *f, int u) {
  const pn_block *b = &f->shards.block[u];
  double t0 = pn_now();
  pn_status st = PN_OK;

  if (pn_fsdp_empty(f, u) || f->unit[u].params == COMING || f->unit[u].params == PRESENT)
    return PN_OK;
  if (pn_fsdp_still_there(f, u)) {
    f->unit[u].params = PRESENT;
    f->unit[u].busy[PN_UNIT_PARAMS] = true;
    return PN_OK;
  }
  PN_TRY(pn_fsdp_take(s, f, PN_UNIT_PARAMS, u));
  PN_TRY(pn_exchange_start(s,
                           &(pn_exchange_job){PN_ALLGATHER, "parameters of a unit",
                                              f->params + b->at, s->params + b->first, b->count},
                           &f->unit[u].gather));
  f->held[f->unit[u].window] = u;
  f->unit[u].params = COMING;
  f->unit[u].gathering = true;
  opened(f, t0);
done:
  s->comm_exposed_s += pn_now() - t0;
  return st;
}

static pn_status wait_gather(pn_strategy *s, struct pn_fsdp *f, int u) {
  struct pn_unit *x = &f->unit[u];
  double t0 = pn_now();
  pn_status st = PN_OK;

  if (pn_fsdp_empty(f, u) || x->params != COMING) return PN_OK;
  if ((st = pn_exchange_wait(s, &x->gather)) != PN_OK) return st;
  x->params = PRESENT;
  s->comm_exposed_s += pn_now() - t0;
  if (x->gathering) closed(s, f);
  x->gathering = false;
  return PN_OK;
}

static void drop_params(struct pn_fsdp *f, int u) {
  if (f->unit[u].params != PRESENT) return;
  f->unit[u].params = KEPT;
  f->unit[u].busy[PN_UNIT_PARAMS] = false;
}

/* The rank's slices are about to change: what was gathered is old. */
static void outdate_params(struct pn_fsdp *f) {
  for (int u = 0; u < f->n; u++) {
    drop_params(f, u);
    if (f->unit[u].params == KEPT) f->unit[u].params = ABSENT;
  }
}

/* Unit u now, its neighbour in the direction of the pass while it computes. */
static pn_status need(pn_strategy *s, struct pn_fsdp *f, int u, int next) {
  pn_status st = PN_OK;

  if (f->params) {
    PN_TRY(start_gather(s, f, u));
    PN_TRY(wait_gather(s, f, u));
    PN_TRY(start_gather(s, f, next));
  }
  if (f->steps < MEASURED_STEPS) pn_fsdp_measure(s, f);
done:
  return st;
}

static pn_status fsdp_before_forward(void *ctx, int u) {
  pn_strategy *s = ctx;
  struct pn_fsdp *f = s->impl;
  f->backward = false;
  return need(s, f, u, pn_fsdp_neighbour(f, u, 1));
}

/* The last one is needed again at once. */
static pn_status fsdp_after_forward(void *ctx, int u) {
  pn_strategy *s = ctx;
  struct pn_fsdp *f = s->impl;
  if (!s->spec.keep_whole && pn_fsdp_neighbour(f, u, 1) < f->n) drop_params(f, u);
  return PN_OK;
}

static pn_status fsdp_tick(void *ctx);

/* Where the slice of a unit's sum goes: of a step's first pass to the rank's gradients; later ones
 * stay in the unit until they are added. */
static float *sum_of(pn_strategy *s, struct pn_fsdp *f, int u) {
  const pn_block *b = &f->shards.block[u];
  return f->pass == 0 ? f->grads + f->unit[u].grads_at : s->grads + b->first + b->own.first;
}

static pn_status add_sum(pn_strategy *s, struct pn_fsdp *f, int u) {
  const pn_block *b = &f->shards.block[u];
  const float *sum = sum_of(s, f, u);
  float *own = f->grads + f->unit[u].grads_at;

  if (sum == own || b->own.count == 0) return PN_OK;
  if (f->far)
    return s->spec.device->ops->far->add(s->spec.device, pn_resident_far(s, own),
                                         pn_resident_far(s, sum), b->own.count);
  for (int64_t i = 0; i < b->own.count; i++) own[i] += sum[i];
  return PN_OK;
}

static pn_status wait_reduce(pn_strategy *s, struct pn_fsdp *f, int u) {
  struct pn_unit *x = &f->unit[u];
  double t0 = pn_now();
  pn_status st;

  if (!x->reduces) return PN_OK;
  if ((st = pn_exchange_wait(s, &x->reduce)) != PN_OK) return st;
  s->comm_exposed_s += pn_now() - t0;
  if (x->reducing) closed(s, f);
  if ((st = add_sum(s, f, u)) != PN_OK) return st;
  x->reducing = x->busy[PN_UNIT_GRADS] = false;
  x->reduces = false;
  return PN_OK;
}

/* Room for its gradients: those of the units above the next one may have to go first. */
static pn_status fsdp_before_backward(void *ctx, int u) {
  pn_strategy *s = ctx;
  struct pn_fsdp *f = s->impl;
  pn_status st = PN_OK;

  f->backward = true;
  for (int above = u + 1; above < f->n; above++) drop_params(f, above);
  PN_TRY(fsdp_tick(s));
  for (int above = f->n - 1; above > u && !pn_fsdp_fits(f, PN_UNIT_GRADS, u); above--)
    PN_TRY(wait_reduce(s, f, above));
  for (int above = f->n - 1; f->far && above > pn_fsdp_neighbour(f, u, 1); above--)
    PN_TRY(wait_reduce(s, f, above)); /* two windows: fsdp_plan.c */
  if (!pn_fsdp_empty(f, u)) PN_TRY(pn_fsdp_take(s, f, PN_UNIT_GRADS, u));
  PN_TRY(need(s, f, u, pn_fsdp_neighbour(f, u, -1)));
done:
  return st;
}

static pn_status fsdp_grad_ready(void *ctx, int param) {
  pn_strategy *s = ctx;
  struct pn_fsdp *f = s->impl;
  int u = pn_graph_param(s->spec.graph, param)->unit;
  const pn_block *b = &f->shards.block[u];
  double t0 = pn_now();
  pn_status st = PN_OK;

  if (param != f->unit[u].first_param) return PN_OK;
  if (f->steps < MEASURED_STEPS) pn_fsdp_measure(s, f);
  f->reduced++;
  if (f->unit[u].late) return PN_OK;
  PN_TRY(pn_exchange_start(s,
                           &(pn_exchange_job){PN_REDUCE_SCATTER, "gradients of a unit",
                                              s->grads + b->first, sum_of(s, f, u), b->count},
                           &f->unit[u].reduce));
  f->unit[u].reducing = f->unit[u].reduces = true;
  opened(f, t0);
done:
  s->comm_exposed_s += pn_now() - t0;
  return st;
}

static pn_status test(pn_strategy *s, struct pn_fsdp *f, const pn_exchange *x, bool *flying) {
  bool done = false;
  pn_status st = PN_OK;

  if (!*flying) return PN_OK;
  if ((st = pn_exchange_test(x, &done)) != PN_OK || !done) return st;
  *flying = false;
  closed(s, f);
  return PN_OK;
}

static pn_status fsdp_tick(void *ctx) {
  pn_strategy *s = ctx;
  struct pn_fsdp *f = s->impl;
  double t0 = pn_now();
  pn_status st = PN_OK;

  if (f->flying == 0) return PN_OK;
  for (int u = f->n - 1; u >= 0; u--) {
    bool was = f->unit[u].reducing;
    PN_TRY(test(s, f, &f->unit[u].gather, &f->unit[u].gathering));
    PN_TRY(test(s, f, &f->unit[u].reduce, &f->unit[u].reducing));
    if (was && !f->unit[u].reducing && f->pass == 0) f->unit[u].busy[PN_UNIT_GRADS] = false;
  }
done:
  s->comm_exposed_s += pn_now() - t0;
  return st;
}

static int full_units(const struct pn_fsdp *f) {
  int n = 0;
  for (int u = 0; u < f->n; u++) n += !pn_fsdp_empty(f, u);
  return n;
}

static pn_status check_units(const struct pn_fsdp *f) {
  if (f->reduced == full_units(f)) return PN_OK;
  return PN_FAIL(PN_ERR_ARG, "fsdp: the end of a backward pass with gradients of %d of %d units",
                 f->reduced, full_units(f));
}

/* The rank has its slices of what this pass gave; the next one may write its gradients. */
static pn_status fsdp_next_pass(pn_strategy *s) {
  struct pn_fsdp *f = s->impl;
  pn_status st = check_units(f);

  for (int u = f->n - 1; u >= 0 && st == PN_OK; u--) st = wait_reduce(s, f, u);
  f->reduced = 0;
  f->pass++;
  return st;
}

/* Units that a pass before left are gathered anew. */
static void fsdp_begin_pass(pn_strategy *s, int pass) {
  struct pn_fsdp *f = s->impl;

  outdate_params(f);
  f->pass = pass;
  f->reduced = 0;
}

/* One host's ranks wait for each other; others have nothing in common.  x: what is shared. */
static pn_status meet(pn_strategy *s, struct pn_fsdp *f, const char *what, float *x) {
  int64_t count = x == s->grads ? s->spec.map->trainable : 0;
  pn_request *q = NULL;
  double t0 = pn_now();
  pn_status st = PN_OK;

  if (f->params) return PN_OK;
  opened(f, t0);
  PN_TRY(pn_ishare(s->spec.data, what, x, count, &q));
  PN_TRY(pn_request_wait(q));
  s->comm_exposed_s += pn_now() - t0;
  closed(s, f);
done:
  return st;
}

static pn_status fsdp_step(pn_strategy *s, int64_t t, double lr, double *grad_norm) {
  struct pn_fsdp *f = s->impl;
  bool all = grad_norm || pn_pieces_need_all(s);
  pn_status st = check_units(f);

  if (st != PN_OK) return st;
  outdate_params(f);
  PN_TRY(meet(s, f, "gradients", s->grads));
  for (int u = f->n - 1; u >= 0; u--) {
    const pn_block *b = &f->shards.block[u];
    if (pn_fsdp_empty(f, u)) continue;
    PN_TRY(wait_reduce(s, f, u));
    if (!all) PN_TRY(pn_pieces_update(s, b->first, b->first + b->count, t, lr));
    PN_TRY(fsdp_tick(s));
  }
  if (all) pn_pieces_sum(s);
  if (all) PN_TRY(pn_pieces_update_all(s, t, lr, grad_norm));
  PN_TRY(meet(s, f, "updated parameters", s->params));
  for (int u = 0; u < f->n; u++) f->unit[u].busy[PN_UNIT_GRADS] = false;
  f->reduced = f->pass = 0;
  f->steps++;
done:
  return st;
}

/* Whole gradients of the last leaf have been there all the time. */
static pn_status fsdp_apply(pn_strategy *s, int64_t t, double lr, double *grad_norm) {
  struct pn_fsdp *f = s->impl;
  pn_status st = PN_OK;

  outdate_params(f);
  PN_TRY(meet(s, f, "end of the last leaf", s->params));
  PN_TRY(pn_pieces_update_all(s, t, lr, grad_norm));
  PN_TRY(meet(s, f, "updated parameters", s->params));
  f->steps++;
done:
  return st;
}

static pn_status fsdp_visit_owned(pn_strategy *s, pn_visit_fn fn, void *ctx) {
  struct pn_fsdp *f = s->impl;
  pn_status st = pn_agree(s->spec.data, pn_resident_fetch(s));

  if (st == PN_OK) st = pn_shards_visit_owned(s, &f->shards, f->params, fn, ctx);
  pn_fsdp_forget_params(f);
  return st;
}

static pn_status fsdp_visit_held(pn_strategy *s, pn_visit_fn fn, void *ctx) {
  pn_status st = pn_resident_look(s), back;

  if (st == PN_OK) st = pn_rest_visit(s, "param", s->params + s->spec.map->trainable, fn, ctx);
  if (st == PN_OK && s->ema) st = pn_rest_visit(s, "ema", s->ema_rest, fn, ctx);
  outdate_params(s->impl);
  for (int kind = 0; kind < pn_n_kinds(s) && st == PN_OK; kind++)
    st = pn_pieces_visit(s, kind, fn, ctx);
  back = pn_resident_return(s, true);
  return st != PN_OK ? st : back;
}

static pn_status fsdp_gather(pn_strategy *s, bool average, float **out) {
  struct pn_fsdp *f = s->impl;
  const float *own = average && s->ema ? s->ema : f->params;

  pn_status st = pn_agree(s->spec.data, pn_resident_fetch(s));

  *out = own ? f->shards.whole : s->params;
  return st == PN_OK && own ? pn_shards_gather(s, &f->shards, own) : st;
}

static void fsdp_release(pn_strategy *s) {
  struct pn_fsdp *f = s->impl;
  pn_shards_release(&f->shards);
  pn_fsdp_forget_params(f);
}

/* What is in flight keeps its buffers: the end of the job is near. */
static void fsdp_destroy(pn_strategy *s) {
  struct pn_fsdp *f = s->impl;

  pn_resident_free(s);
  pn_pieces_free(s);
  if (!f) return;
  if (f->flying > 0) {
    f->params = f->grads = s->grads = s->params = f->shards.whole = NULL;
  }
  pn_comm_free(s->spec.data, s->params != f->shards.whole ? s->params : f->params);
  pn_comm_free(s->spec.data, s->grads);
  if (f->grads) s->spec.device->ops->free(s->spec.device, f->grads);
  pn_shards_free(s, &f->shards);
  free(f->unit);
  free(f->held);
  free(f);
  s->params = s->grads = NULL;
  s->impl = NULL;
}

const pn_strategy_ops pn_strategy_fsdp_ops = {
    .name = "fsdp",
    .help = "parameters, gradients and optimizer state in slices; units are gathered when needed",
    .by_units = true,
    .plan = pn_fsdp_plan,
    .setup = pn_fsdp_setup,
    .hooks = {.before_forward = fsdp_before_forward,
              .after_forward = fsdp_after_forward,
              .before_backward = fsdp_before_backward,
              .grad_ready = fsdp_grad_ready,
              .tick = fsdp_tick},
    .step = fsdp_step,
    .apply = fsdp_apply,
    .next_pass = fsdp_next_pass,
    .begin_pass = fsdp_begin_pass,
    .visit_owned = fsdp_visit_owned,
    .visit_held = fsdp_visit_held,
    .gather = fsdp_gather,
    .release = fsdp_release,
    .destroy = fsdp_destroy,
};
