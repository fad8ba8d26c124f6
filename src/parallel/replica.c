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

static pn_status alloc_own(pn_strategy *s, size_t bytes, int states) {
  pn_device *d = s->spec.device;
  void *p = NULL;
  pn_status st = PN_OK;

  PN_TRY(d->ops->alloc(d, bytes, &p));
  s->params = p;
  for (int i = 0; i < states; i++) {
    PN_TRY(d->ops->alloc(d, bytes, &p));
    s->state[i] = p;
  }
  PN_TRY(init_params(s));
done:
  return st;
}

/* Gradients lie where the other ranks can read them. */
pn_status pn_replica_alloc(pn_strategy *s) {
  size_t bytes = (size_t)s->spec.map->total * sizeof(float);
  int states = pn_optim_n_states(s->spec.optim);
  void *p = NULL;
  pn_status st = PN_OK;

  PN_TRY(pn_agree(s->spec.data, alloc_own(s, bytes, states)));
  PN_TRY(pn_comm_alloc(s->spec.data, bytes, &p));
  s->grads = p;
  s->bytes_params = s->bytes_grads = bytes;
  s->bytes_state = bytes * (size_t)states;
done:
  return st;
}

void pn_replica_free(pn_strategy *s) {
  pn_device *d = s->spec.device;
  float **arena[] = {&s->params, &s->state[0], &s->state[1]};

  for (size_t i = 0; i < sizeof arena / sizeof *arena; i++) {
    if (*arena[i]) d->ops->free(d, *arena[i]);
    *arena[i] = NULL;
  }
  pn_comm_free(s->spec.data, s->grads);
  s->grads = NULL;
}

void pn_replica_update(pn_strategy *s, int64_t first, int64_t count, int64_t t, double lr) {
  const pn_param_map *map = s->spec.map;

  for (int i = 0; i < map->n; i++) {
    const struct pn_slot *slot = &map->slot[i];
    int64_t lo = slot->offset > first ? slot->offset : first;
    int64_t end = slot->offset + slot->count, hi = end < first + count ? end : first + count;
    pn_optim_range r = {.param = s->params + lo, .grad = s->grads + lo, .count = hi - lo};

    if (hi <= lo) continue;
    for (int k = 0; k < 2; k++) r.state[k] = s->state[k] ? s->state[k] + lo : NULL;
    r.decay = pn_graph_param(s->spec.graph, i)->decay;
    pn_optim_update(s->spec.optim, t, lr, &r, s->spec.device->threads);
  }
}

double pn_replica_grad_norm(const pn_strategy *s) {
  double sum = 0;
  for (int64_t i = 0; i < s->spec.map->total; i++) sum += (double)s->grads[i] * (double)s->grads[i];
  return sqrt(sum);
}

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
    st = fn(ctx, &range);
  }
  return st;
}

pn_status pn_replica_visit_held(pn_strategy *s, pn_visit_fn fn, void *ctx) {
  pn_status st = PN_OK;

  PN_TRY(visit_arena(s, "param", s->params, fn, ctx));
  for (int i = 0; i < pn_optim_n_states(s->spec.optim); i++)
    PN_TRY(visit_arena(s, pn_optim_state_name(s->spec.optim, i), s->state[i], fn, ctx));
done:
  return st;
}

pn_status pn_replica_visit_owned(pn_strategy *s, pn_visit_fn fn, void *ctx) {
  return pn_comm_rank(s->spec.data) == 0 ? pn_replica_visit_held(s, fn, ctx) : PN_OK;
}
