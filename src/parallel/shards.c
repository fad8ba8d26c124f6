/* shards.c -- storage of slices, and the way back to whole tensors for checkpoints and hashes. */
#include "parallel/shards.h"

#include "base/pages.h"
#include "parallel/piece.h"

#include <stdlib.h>
#include <string.h>

pn_status pn_shards_make(int n, pn_shards *out) {
  *out = (pn_shards){.n = 0};
  out->block = calloc((size_t)n + 1, sizeof *out->block);
  return out->block ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "%d shards: out of memory", n);
}

void pn_shards_add(const pn_strategy *s, int64_t first, int64_t count, pn_shards *out) {
  const pn_comm *c = s->spec.data;
  pn_slice own = pn_comm_slice(count, pn_comm_rank(c), pn_comm_size(c));

  out->block[out->n++] = (pn_block){.first = first, .count = count, .own = own, .at = out->own};
  out->own += (own.count + 15) / 16 * 16;
}

pn_status pn_shards_alloc(pn_strategy *s, pn_shards *h) {
  pn_device *d = s->spec.device;
  int64_t slices = h->own + 16, rest = s->spec.map->total - s->spec.map->trainable;
  size_t bytes = (size_t)slices * sizeof(float);
  void *p = NULL;
  pn_status st = PN_OK;

  for (int i = 0; i < pn_optim_n_states(s->spec.optim); i++) {
    PN_TRY(pn_device_alloc(d, bytes, &p));
    s->state[i] = p;
  }
  if (s->spec.ema > 0) {
    PN_TRY(pn_device_alloc(d, bytes + (size_t)rest * sizeof(float), &p));
    s->ema = p;
    s->ema_rest = s->ema + slices;
  }
  h->whole_bytes = (size_t)s->spec.map->total * sizeof(float);
  h->drop_bytes = (size_t)s->spec.map->trainable * sizeof(float);
  if (s->spec.ema > 0 && !(h->kept = malloc((size_t)rest * sizeof(float) + 1)))
    PN_TRY(PN_FAIL(PN_ERR_NOMEM, "running statistics: out of memory"));
  PN_TRY(pn_pages_reserve(h->whole_bytes, &p));
  h->whole = p;
done:
  return st;
}

void pn_shards_free(pn_strategy *s, pn_shards *h) {
  pn_device *d = s->spec.device;
  float **arena[] = {&s->state[0], &s->state[1], &s->ema};

  for (size_t i = 0; i < sizeof arena / sizeof *arena; i++) {
    if (*arena[i]) d->ops->free(d, *arena[i]);
    *arena[i] = NULL;
  }
  pn_pages_release(h->whole, h->whole_bytes);
  free(h->kept);
  free(h->block);
  *h = (pn_shards){.n = 0};
}

/* fsdp's running statistics in use lie where the average's are about to be shown. */
static void keep_rest(pn_shards *h) {
  if (!h->away) memcpy(h->kept, (char *)h->whole + h->drop_bytes, h->whole_bytes - h->drop_bytes);
  h->away = true;
}

pn_status pn_shards_gather(pn_strategy *s, pn_shards *h, const float *own) {
  const pn_param_map *map = s->spec.map;
  pn_status st = PN_OK;

  for (int i = 0; i < h->n; i++) {
    const pn_block *b = &h->block[i];
    pn_request *q = NULL;
    PN_TRY(pn_iallgather_slices(s->spec.data, "gather of the shards", own + b->at,
                                h->whole + b->first, b->count, &q));
    PN_TRY(pn_request_wait(q));
  }
  if (own == s->ema && s->params == h->whole) keep_rest(h);
  if (own == s->ema || s->params != h->whole)
    memcpy(h->whole + map->trainable, own == s->ema ? s->ema_rest : s->params + map->trainable,
           h->whole_bytes - h->drop_bytes);
done:
  return st;
}

void pn_shards_release(pn_shards *h) {
  if (h->away) memcpy((char *)h->whole + h->drop_bytes, h->kept, h->whole_bytes - h->drop_bytes);
  h->away = false;
  pn_pages_drop(h->whole, h->drop_bytes, false);
}

/* Optimizer state exists for trainable parameters only. */
static pn_status visit(pn_strategy *s, int kind, float *arena, int step, pn_visit_fn fn,
                       void *ctx) {
  const pn_param_map *map = s->spec.map;
  pn_status st = PN_OK;

  for (int i = step > 1 ? pn_comm_rank(s->spec.data) : 0; i < map->n && st == PN_OK; i += step) {
    const struct pn_slot *slot = &map->slot[i];
    pn_owned range = {.param = i,
                      .what = pn_kind_name(s, kind),
                      .layout = &slot->layout,
                      .data = arena + slot->offset,
                      .count = slot->count};
    if (slot->trainable || kind == 0 || kind > pn_optim_n_states(s->spec.optim))
      st = fn(ctx, &range);
  }
  return st;
}

pn_status pn_shards_visit_all(pn_strategy *s, int kind, float *arena, pn_visit_fn fn, void *ctx) {
  return visit(s, kind, arena, 1, fn, ctx);
}

/* A rank that cannot write goes on with the gathering: the others count on it. */
pn_status pn_shards_visit_owned(pn_strategy *s, pn_shards *h, const float *own_params,
                                pn_visit_fn fn, void *ctx) {
  int size = pn_comm_size(s->spec.data);
  const float *const own[] = {own_params, s->state[0], s->state[1]};
  pn_status visited = PN_OK, st = PN_OK;

  if (!own_params) visited = visit(s, 0, s->params, size, fn, ctx);
  for (int kind = own_params ? 0 : 1; kind < pn_n_kinds(s); kind++) {
    PN_TRY(pn_shards_gather(s, h, kind <= pn_optim_n_states(s->spec.optim) ? own[kind] : s->ema));
    if (visited == PN_OK) visited = visit(s, kind, h->whole, size, fn, ctx);
    pn_shards_release(h);
  }
done:
  return st != PN_OK ? st : visited;
}
