/* replica.c -- full copies of parameters, gradients and optimizer state in flat arenas. */
#include "parallel/replica.h"

#include "parallel/piece.h"
#include "parallel/resident.h"

pn_status pn_replica_plan(pn_strategy *s) {
  size_t all = (size_t)s->spec.map->total * sizeof(float);
  size_t trained = (size_t)s->spec.map->trainable * sizeof(float);

  s->bytes_params = all;
  s->bytes_grads = trained;
  s->bytes_state = trained * (size_t)pn_optim_n_states(s->spec.optim) + (s->spec.ema > 0 ? all : 0);
  return PN_OK;
}

static pn_status alloc_own(pn_strategy *s) {
  pn_device *d = s->spec.device;
  void *p = NULL;
  pn_status st = PN_OK;

  PN_TRY(pn_pieces_make(s, 1, false));
  PN_TRY(pn_device_alloc(d, s->bytes_params, &p));
  s->params = p;
  for (int i = 0; i < pn_optim_n_states(s->spec.optim); i++) {
    PN_TRY(pn_device_alloc(d, s->bytes_grads, &p));
    s->state[i] = p;
  }
  if (s->spec.ema > 0) {
    PN_TRY(pn_device_alloc(d, s->bytes_params, &p));
    s->ema = p;
    s->ema_rest = s->ema + s->spec.map->trainable;
  }
done:
  return st;
}

/* Gradients lie where the other ranks can read them. */
pn_status pn_replica_alloc(pn_strategy *s) {
  void *p = NULL;
  pn_status st = PN_OK;

  PN_TRY(pn_agree(s->spec.data, alloc_own(s)));
  PN_TRY(pn_comm_alloc(s->spec.data, s->bytes_grads, &p));
  s->grads = p;
  s->own.piece[0] = (pn_piece){.count = s->spec.map->trainable,
                               .param = s->params,
                               .grad = s->grads,
                               .state = {s->state[0], s->state[1]},
                               .ema = s->ema};
  PN_TRY(pn_agree(s->spec.data, pn_pieces_init(s)));
  PN_TRY(pn_agree(s->spec.data, pn_resident_make(s, s->spec.map->trainable)));
done:
  return st;
}

void pn_replica_free(pn_strategy *s) {
  pn_device *d = s->spec.device;
  float **arena[] = {&s->params, &s->state[0], &s->state[1], &s->ema};

  pn_resident_free(s);
  for (size_t i = 0; i < sizeof arena / sizeof *arena; i++) {
    if (*arena[i]) d->ops->free(d, *arena[i]);
    *arena[i] = NULL;
  }
  pn_comm_free(s->spec.data, s->grads);
  s->grads = NULL;
  pn_pieces_free(s);
}

static pn_status visit(pn_strategy *s, pn_visit_fn fn, void *ctx) {
  pn_status st = PN_OK;

  for (int kind = 0; kind < pn_n_kinds(s) && st == PN_OK; kind++)
    st = pn_pieces_visit(s, kind, fn, ctx);
  PN_TRY(st);
  PN_TRY(pn_rest_visit(s, "param", s->params + s->spec.map->trainable, fn, ctx));
  if (s->ema) PN_TRY(pn_rest_visit(s, "ema", s->ema_rest, fn, ctx));
done:
  return st;
}

pn_status pn_replica_visit_owned(pn_strategy *s, pn_visit_fn fn, void *ctx) {
  pn_status st = pn_resident_look(s), back;

  if (st == PN_OK && pn_comm_rank(s->spec.data) == 0) st = visit(s, fn, ctx);
  back = pn_resident_return(s, false);
  return st != PN_OK ? st : back;
}

pn_status pn_replica_visit_held(pn_strategy *s, pn_visit_fn fn, void *ctx) {
  pn_status st = pn_resident_look(s), back;

  if (st == PN_OK) st = visit(s, fn, ctx);
  back = pn_resident_return(s, true);
  return st != PN_OK ? st : back;
}

pn_status pn_replica_gather(pn_strategy *s, bool average, float **out) {
  *out = average && s->ema ? s->ema : s->params;
  return pn_agree(s->spec.data, pn_resident_fetch(s));
}
