/* replica.c -- full copies of parameters, gradients and optimizer state in three flat arenas. */
#include "parallel/replica.h"

#include <math.h>
#include <stdlib.h>

static pn_status init_params(pn_strategy *s) {
  const pn_graph *g = s->spec.graph;
  const pn_param_map *map = s->spec.map;
  pn_status st = PN_OK;
  float *logical = NULL;

  for (int i = 0; i < map->n; i++) {
    int64_t n = pn_shape_count(pn_graph_param(g, i)->shape);
    free(logical);
    if (!(logical = malloc((size_t)n * sizeof *logical))) {
      st = PN_FAIL(PN_ERR_NOMEM, "initial values of %s: out of memory", pn_graph_param(g, i)->name);
      goto done;
    }
    PN_TRY(pn_strategy_initial_value(s, i, logical));
    PN_TRY(pn_layout_pack(&map->slot[i].layout, logical, s->params + map->slot[i].offset));
  }
done:
  free(logical);
  return st;
}

static pn_status alloc_own(pn_strategy *s, size_t bytes, size_t trained, int states) {
  pn_device *d = s->spec.device;
  void *p = NULL;
  pn_status st = PN_OK;

  PN_TRY(d->ops->alloc(d, bytes, &p));
  s->params = p;
  for (int i = 0; i < states; i++) {
    PN_TRY(d->ops->alloc(d, trained, &p));
    s->state[i] = p;
  }
  if (s->spec.ema > 0) {
    PN_TRY(d->ops->alloc(d, bytes, &p));
    s->ema = p;
  }
  PN_TRY(init_params(s));
done:
  return st;
}

/* Gradients lie where the other ranks can read them. */
pn_status pn_replica_alloc(pn_strategy *s) {
  size_t bytes = (size_t)s->spec.map->total * sizeof(float);
  size_t trained = (size_t)s->spec.map->trainable * sizeof(float);
  int states = pn_optim_n_states(s->spec.optim);
  void *p = NULL;
  pn_status st = PN_OK;

  PN_TRY(pn_agree(s->spec.data, alloc_own(s, bytes, trained, states)));
  PN_TRY(pn_comm_alloc(s->spec.data, trained, &p));
  s->grads = p;
  s->bytes_params = bytes;
  s->bytes_grads = trained;
  s->bytes_state = trained * (size_t)states + (s->ema ? bytes : 0);
done:
  return st;
}

void pn_replica_free(pn_strategy *s) {
  pn_device *d = s->spec.device;
  float **arena[] = {&s->params, &s->state[0], &s->state[1], &s->ema};

  for (size_t i = 0; i < sizeof arena / sizeof *arena; i++) {
    if (*arena[i]) d->ops->free(d, *arena[i]);
    *arena[i] = NULL;
  }
  pn_comm_free(s->spec.data, s->grads);
  s->grads = NULL;
}

static pn_group group_of(const pn_strategy *s, int param) {
  bool weight = pn_graph_param(s->spec.graph, param)->decay;
  if (s->spec.groups) return s->spec.groups[param];
  return (pn_group){.lr = 1, .decay = weight ? 1 : 0, .adapt = weight};
}

/* Elements [first, last) of parameter i as the optimizer sees them; empty if it has none there, or
 * no gradient. */
static pn_optim_range range_of(const pn_strategy *s, int i, int64_t first, int64_t last) {
  const struct pn_slot *slot = &s->spec.map->slot[i];
  int64_t end = slot->offset + slot->count;
  int64_t lo = slot->offset > first ? slot->offset : first, hi = end < last ? end : last;
  if (!slot->trainable) lo = hi = 0;
  pn_optim_range r = {.param = s->params + lo,
                      .grad = s->grads + lo,
                      .count = hi > lo ? hi - lo : 0,
                      .decay = group_of(s, i).decay,
                      .grad_scale = 1};

  for (int k = 0; k < 2; k++) r.state[k] = s->state[k] ? s->state[k] + lo : NULL;
  return r;
}

static void average(const pn_strategy *s, const pn_optim_range *r, int64_t t) {
  pn_ema_range e = {.param = r->param, .count = r->count, .decay = s->spec.ema};

  if (!s->ema) return;
  e.average = s->ema + (r->param - s->params);
  pn_ema_update(&e, t, s->spec.device->threads);
}

void pn_replica_update(pn_strategy *s, int64_t first, int64_t count, int64_t t, double lr) {
  for (int i = 0; i < s->spec.map->n; i++) {
    pn_optim_range r = range_of(s, i, first, first + count);
    pn_group g = group_of(s, i);
    if (r.count == 0) continue;
    if (!g.frozen) pn_optim_update(s->spec.optim, t, lr * g.lr, &r, s->spec.device->threads);
    average(s, &r, t);
  }
}

bool pn_replica_needs_all(const pn_strategy *s) {
  return s->spec.clip_norm > 0 || pn_optim_wants_norms(s->spec.optim);
}

static double grad_norm_of(const pn_strategy *s) {
  double sum = 0;

  for (int i = 0; i < s->spec.map->n; i++) {
    pn_optim_range r = range_of(s, i, 0, s->spec.map->total);
    r.decay = 0;
    if (!group_of(s, i).frozen)
      sum += pn_optim_sum_squares(s->spec.optim, &r, s->spec.device->threads).grad;
  }
  return sqrt(sum);
}

/* torch.nn.utils.clip_grad_norm_ */
static double clip_factor(const pn_strategy *s, double norm) {
  double f = s->spec.clip_norm > 0 ? s->spec.clip_norm / (norm + 1e-6) : 1;
  return f < 1 ? f : 1;
}

void pn_replica_update_all(pn_strategy *s, int64_t t, double lr, double *grad_norm) {
  const pn_optim *o = s->spec.optim;
  int threads = s->spec.device->threads;
  double norm = grad_norm || s->spec.clip_norm > 0 ? grad_norm_of(s) : 0;
  double clip = clip_factor(s, norm);

  if (grad_norm) *grad_norm = norm;
  for (int i = 0; i < s->spec.map->n; i++) {
    pn_optim_range r = range_of(s, i, 0, s->spec.map->total);
    pn_group g = group_of(s, i);
    double trust = 1;
    if (r.count == 0) continue;
    r.grad_scale = clip;
    if (!g.frozen) {
      if (g.adapt && pn_optim_wants_norms(o))
        trust = pn_optim_trust_ratio(o, pn_optim_sum_squares(o, &r, threads));
      pn_optim_update(o, t, lr * g.lr * trust, &r, threads);
    }
    average(s, &r, t);
  }
}

/* Optimizer state exists for trainable parameters only. */
static pn_status visit_arena(pn_strategy *s, const char *what, float *arena, pn_visit_fn fn,
                             void *ctx) {
  const pn_param_map *map = s->spec.map;
  pn_status st = PN_OK;

  for (int i = 0; i < map->n && st == PN_OK; i++) {
    const struct pn_slot *slot = &map->slot[i];
    pn_owned range = {.param = i,
                      .what = what,
                      .layout = &slot->layout,
                      .data = arena + slot->offset,
                      .first = 0,
                      .count = slot->count};
    if (slot->trainable || arena == s->params || arena == s->ema) st = fn(ctx, &range);
  }
  return st;
}

pn_status pn_replica_visit_held(pn_strategy *s, pn_visit_fn fn, void *ctx) {
  pn_status st = PN_OK;

  PN_TRY(visit_arena(s, "param", s->params, fn, ctx));
  for (int i = 0; i < pn_optim_n_states(s->spec.optim); i++)
    PN_TRY(visit_arena(s, pn_optim_state_name(s->spec.optim, i), s->state[i], fn, ctx));
  if (s->ema) PN_TRY(visit_arena(s, "ema", s->ema, fn, ctx));
done:
  return st;
}

pn_status pn_replica_visit_owned(pn_strategy *s, pn_visit_fn fn, void *ctx) {
  return pn_comm_rank(s->spec.data) == 0 ? pn_replica_visit_held(s, fn, ctx) : PN_OK;
}
