/* resident.c -- see resident.h. */
#include "parallel/resident.h"

#include <stdlib.h>

/* Far arenas, as the host's of the same names. */
struct pn_resident {
  pn_piece host, far;
};

enum { ARENAS = 4 }; /* parameters, states, average */

static void arenas_of(pn_piece *p, float *arena[ARENAS]) {
  arena[0] = p->param;
  arena[1] = p->state[0];
  arena[2] = p->state[1];
  arena[3] = p->ema;
}

/* Running statistics of the average are the host's business (pn_strategy_sync_buffers). */
static size_t bytes_of(const pn_strategy *s, int arena) {
  int64_t n = arena == 0 ? s->spec.map->total : s->spec.map->trainable;
  return (size_t)n * sizeof(float);
}

static pn_status allocate(pn_strategy *s, pn_piece *far, const pn_piece *host) {
  static const char *const what[ARENAS] = {"parameters", "optimizer state", "optimizer state",
                                           "average of the weights"};
  pn_device *d = s->spec.device;
  float **to[ARENAS] = {&far->param, &far->state[0], &far->state[1], &far->ema};
  float *like[ARENAS];
  void *p = NULL;
  pn_status st = PN_OK;

  arenas_of((pn_piece[]){*host}, like);
  for (int i = 0; i < ARENAS; i++) {
    if (!like[i]) continue;
    PN_TRY(d->ops->far->alloc(d, what[i], bytes_of(s, i), &p));
    *to[i] = p;
  }
  PN_TRY(d->ops->far->alloc(d, "gradients", s->bytes_grads, &p));
  far->grad = p;
done:
  return st;
}

pn_status pn_resident_make(pn_strategy *s) {
  struct pn_resident *r;
  pn_status st = PN_OK;

  if (!s->spec.device->ops->far || s->spec.micro_batches > 1 || s->spec.leaves > 0) return PN_OK;
  if (!(r = calloc(1, sizeof *r))) return PN_FAIL(PN_ERR_NOMEM, "strategy: out of memory");
  s->resident = r;
  r->host = s->own.piece[0];
  r->far = (pn_piece){.count = r->host.count};
  PN_TRY(allocate(s, &r->far, &r->host));
  PN_TRY(pn_resident_push(s));
  pn_resident_point(s, false);
  s->far_params = r->far.param;
  s->far_grads = r->far.grad;
done:
  return st;
}

void pn_resident_free(pn_strategy *s) {
  struct pn_resident *r = s->resident;
  pn_device *d = s->spec.device;
  float *arena[ARENAS];

  if (!r) return;
  arenas_of(&r->far, arena);
  for (int i = 0; i < ARENAS; i++) d->ops->far->free(d, arena[i]);
  d->ops->far->free(d, r->far.grad);
  free(r);
  s->resident = NULL;
}

void pn_resident_point(pn_strategy *s, bool host) {
  s->own.piece[0] = host ? s->resident->host : s->resident->far;
}

pn_status pn_resident_fetch(pn_strategy *s) {
  pn_device *d = s->spec.device;
  float *far[ARENAS], *host[ARENAS];
  pn_status st = PN_OK;

  arenas_of(&s->resident->far, far);
  arenas_of(&s->resident->host, host);
  for (int i = 0; i < ARENAS && st == PN_OK; i++)
    if (far[i]) st = d->ops->far->download(d, host[i], far[i], bytes_of(s, i));
  return st;
}

pn_status pn_resident_push(pn_strategy *s) {
  pn_device *d = s->spec.device;
  float *far[ARENAS], *host[ARENAS];
  pn_status st = PN_OK;

  arenas_of(&s->resident->far, far);
  arenas_of(&s->resident->host, host);
  for (int i = 0; i < ARENAS && st == PN_OK; i++)
    if (far[i]) st = d->ops->far->upload(d, far[i], host[i], bytes_of(s, i));
  return st;
}

pn_status pn_range_update(pn_strategy *s, int64_t t, double lr, const pn_optim_range *r) {
  pn_device *d = s->spec.device;
  pn_flat_update u;

  if (!s->resident) {
    pn_optim_update(s->spec.optim, t, lr, r, d->threads);
    return PN_OK;
  }
  u = pn_optim_describe(s->spec.optim, t, lr, r);
  return d->ops->far->update(d, &u);
}

pn_status pn_range_average(pn_strategy *s, int64_t t, const pn_ema_range *r) {
  pn_device *d = s->spec.device;
  pn_flat_update u;

  if (!s->resident) {
    pn_ema_update(r, t, d->threads);
    return PN_OK;
  }
  u = pn_ema_describe(r, t);
  return d->ops->far->update(d, &u);
}

pn_status pn_range_squares(pn_strategy *s, const pn_optim_range *r, pn_optim_squares *out) {
  pn_device *d = s->spec.device;
  pn_flat_update u = {.param = r->param, .grad = r->grad, .count = r->count};
  double sum[2];
  pn_status st;

  if (!s->resident) {
    *out = pn_optim_sum_squares(s->spec.optim, r, d->threads);
    return PN_OK;
  }
  u.scale = (float)r->grad_scale;
  u.decay = (float)pn_optim_weight_decay(s->spec.optim, r);
  st = d->ops->far->squares(d, &u, sum);
  *out = (pn_optim_squares){.param = sum[0], .grad = sum[1]};
  return st;
}
