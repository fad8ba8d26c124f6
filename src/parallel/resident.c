/* resident.c -- see resident.h. */
#include "parallel/resident.h"

#include "base/clock.h"
#include "parallel/far_update.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

struct twin {
  float *host, *far;
  int64_t count;
  bool copied;
};

struct pn_resident {
  struct twin *twin; /* [n], owned */
  void **room;       /* [n_rooms]: far memory; owned */
  int n, twins, n_rooms, rooms;
  pn_piece *host, *far;          /* [pieces], owned */
  pn_far_places places, average; /* of the parameters and their average; owned */
  void *mark;                    /* owned */
};

enum {
  SPARE = 16
}; /* so that the end of a part, where an empty slice begins, is a far place too */

static const pn_far_ops *far_of(const pn_strategy *s) {
  return s->spec.device->ops->far;
}

static size_t bytes_of(int64_t count) {
  return (size_t)count * sizeof(float);
}

pn_status pn_resident_open(pn_strategy *s) {
  if (!far_of(s) || s->spec.leaves > 0) return PN_OK;
  s->resident = calloc(1, sizeof *s->resident);
  if (!s->resident) return PN_FAIL(PN_ERR_NOMEM, "strategy: out of memory");
  pn_comm_follow(s->spec.data, far_of(s)->queue(s->spec.device));
  return far_of(s)->mark_create(s->spec.device, &s->resident->mark);
}

/* One more of `bytes` each. */
static pn_status grow(void *array, int *room, int n, size_t bytes) {
  void *old, *bigger;
  int want = *room ? 2 * *room : 16;

  if (n < *room) return PN_OK;
  memcpy(&old, array, sizeof old);
  if (!(bigger = realloc(old, (size_t)want * bytes)))
    return PN_FAIL(PN_ERR_NOMEM, "strategy: out of memory");
  memcpy(array, &bigger, sizeof bigger);
  *room = want;
  return PN_OK;
}

pn_status pn_resident_room(pn_strategy *s, const char *what, int64_t count, float **far) {
  struct pn_resident *r = s->resident;
  void *p = NULL;
  pn_status st = PN_OK;

  *far = NULL;
  if (!r) return PN_OK;
  PN_TRY(grow(&r->room, &r->rooms, r->n_rooms, sizeof *r->room));
  PN_TRY(far_of(s)->alloc(s->spec.device, what, bytes_of(count + SPARE), &p));
  *far = r->room[r->n_rooms++] = p;
done:
  return st;
}

static pn_status add_twin(pn_strategy *s, const struct twin *t) {
  struct pn_resident *r = s->resident;
  pn_status st;

  if (!r || t->count == 0) return PN_OK;
  if ((st = grow(&r->twin, &r->twins, r->n, sizeof *r->twin)) != PN_OK) return st;
  r->twin[r->n++] = *t;
  return PN_OK;
}

pn_status pn_resident_add(pn_strategy *s, const char *what, float *host, int64_t count,
                          bool copied) {
  struct twin t = {.host = host, .count = count, .copied = copied};
  pn_status st;

  if (!host || count == 0) return PN_OK;
  if ((st = pn_resident_room(s, what, count, &t.far)) != PN_OK) return st;
  return add_twin(s, &t);
}

pn_status pn_resident_alias(pn_strategy *s, float *host, int64_t count, float *far) {
  return add_twin(s, &(struct twin){.host = host, .far = far, .count = count});
}

pn_status pn_resident_add_state(pn_strategy *s, int64_t count) {
  int64_t rest = s->spec.map->total - s->spec.map->trainable;
  pn_status st;

  PN_TRY(pn_resident_add(s, "optimizer state", s->state[0], count, true));
  PN_TRY(pn_resident_add(s, "optimizer state", s->state[1], count, true));
  PN_TRY(pn_resident_add(s, "average of the weights", s->ema, count, true));
  PN_TRY(pn_resident_add(s, "average of the running statistics", s->ema_rest, rest, true));
done:
  return st;
}

/* An empty slice may begin at the end of a part. */
static const struct twin *find(const struct pn_resident *r, const float *host) {
  const struct twin *ends = NULL;

  for (int i = 0; i < r->n; i++) {
    const struct twin *t = &r->twin[i];
    if (host >= t->host && host < t->host + t->count) return t;
    if (host == t->host + t->count) ends = t;
  }
  return ends;
}

float *pn_resident_far(const pn_strategy *s, const float *host) {
  const struct twin *t;

  if (!s->resident) return (float *)host;
  t = host ? find(s->resident, host) : NULL;
  return t ? t->far + (host - t->host) : NULL;
}

bool pn_resident_in_place(const pn_strategy *s) {
  return s->resident && pn_comm_moves_far(s->spec.data);
}

static pn_status make_places(pn_strategy *s, pn_far_places *p) {
  const pn_param_map *map = s->spec.map;

  p->param = calloc((size_t)map->n + 1, sizeof *p->param);
  p->grad = calloc((size_t)map->n + 1, sizeof *p->grad);
  if (!p->param || !p->grad) return PN_FAIL(PN_ERR_NOMEM, "strategy: out of memory");
  for (int i = 0; i < map->n; i++) {
    const struct pn_slot *slot = &map->slot[i];
    p->param[i] = pn_resident_far(s, s->params + slot->offset);
    if (slot->trainable) p->grad[i] = pn_resident_far(s, s->grads + slot->offset);
  }
  return PN_OK;
}

/* Units of parameters that come and go, or slices of the average, are not there whole. */
static pn_status find_evaluated(pn_strategy *s, struct pn_resident *r) {
  const pn_param_map *map = s->spec.map;

  if (!s->ema) {
    s->far_evaluated = s->ops->by_units ? NULL : &r->places;
    return PN_OK;
  }
  if (s->own.cut) return PN_OK;
  r->average.param = calloc((size_t)map->n + 1, sizeof *r->average.param);
  if (!r->average.param) return PN_FAIL(PN_ERR_NOMEM, "strategy: out of memory");
  for (int i = 0; i < map->n; i++) {
    int64_t at = map->slot[i].offset, rest = at - map->trainable;
    r->average.param[i] = pn_resident_far(s, rest < 0 ? s->ema + at : s->ema_rest + rest);
  }
  s->far_evaluated = &r->average;
  return PN_OK;
}

static pn_status make_pieces(pn_strategy *s, struct pn_resident *r) {
  size_t n = (size_t)s->own.n;

  r->host = calloc(n + 1, sizeof *r->host);
  r->far = calloc(n + 1, sizeof *r->far);
  if (!r->host || !r->far) return PN_FAIL(PN_ERR_NOMEM, "strategy: out of memory");
  memcpy(r->host, s->own.piece, n * sizeof *r->host);
  for (size_t k = 0; k < n; k++) {
    const pn_piece *p = &r->host[k];
    r->far[k] = (pn_piece){.first = p->first, .count = p->count};
    if (p->count == 0) continue;
    r->far[k].param = pn_resident_far(s, p->param);
    r->far[k].grad = pn_resident_far(s, p->grad);
    for (int i = 0; i < 2; i++) r->far[k].state[i] = pn_resident_far(s, p->state[i]);
    r->far[k].ema = pn_resident_far(s, p->ema);
  }
  return PN_OK;
}

static void point(pn_strategy *s, bool host) {
  const struct pn_resident *r = s->resident;
  memcpy(s->own.piece, host ? r->host : r->far, (size_t)s->own.n * sizeof *s->own.piece);
}

static pn_status copy_all(pn_strategy *s, bool to_host) {
  const struct pn_resident *r = s->resident;
  pn_device *d = s->spec.device;
  pn_status st = PN_OK;

  for (int i = 0; i < r->n && st == PN_OK; i++) {
    const struct twin *t = &r->twin[i];
    if (!t->copied) continue;
    st = to_host ? far_of(s)->download(d, t->host, t->far, bytes_of(t->count))
                 : far_of(s)->upload(d, t->far, t->host, bytes_of(t->count));
  }
  return st;
}

pn_status pn_resident_close(pn_strategy *s) {
  struct pn_resident *r = s->resident;
  pn_status st = PN_OK;

  if (!r) return PN_OK;
  PN_TRY(make_places(s, &r->places));
  PN_TRY(make_pieces(s, r));
  PN_TRY(find_evaluated(s, r));
  PN_TRY(copy_all(s, false));
  point(s, false);
  s->far = &r->places;
  PN_TRY(pn_far_update_make(s));
done:
  return st;
}

pn_status pn_resident_make(pn_strategy *s, int64_t state_count) {
  const pn_param_map *map = s->spec.map;
  pn_status st = pn_resident_open(s);

  if (st != PN_OK || !s->resident) return st;
  PN_TRY(pn_resident_add(s, "parameters", s->params, map->total, true));
  PN_TRY(pn_resident_add(s, "gradients", s->grads, map->trainable, false));
  PN_TRY(pn_resident_add_state(s, state_count));
  PN_TRY(pn_resident_close(s));
done:
  return st;
}

void pn_resident_free(pn_strategy *s) {
  struct pn_resident *r = s->resident;

  if (!r) return;
  pn_far_update_free(s);
  for (int i = 0; i < r->n_rooms; i++) far_of(s)->free(s->spec.device, r->room[i]);
  far_of(s)->mark_destroy(s->spec.device, r->mark);
  void *owned[] = {r->twin,         r->room,        r->host,          r->far,
                   r->places.param, r->places.grad, r->average.param, r};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
  s->resident = NULL;
  s->far = s->far_evaluated = NULL;
}

pn_status pn_resident_settle(pn_strategy *s) {
  pn_device *d = s->spec.device;
  double start_s = pn_now();
  bool passed = false;
  pn_status st = PN_OK;

  if (!pn_resident_in_place(s)) return PN_OK;
  PN_TRY(far_of(s)->mark_set(d, s->resident->mark));
  while (!passed) {
    PN_TRY(far_of(s)->mark_passed(d, s->resident->mark, &passed));
    if (!passed) PN_TRY(pn_comm_watch(s->spec.data, pn_now() - start_s));
    if (!passed) sched_yield();
  }
done:
  return st;
}

pn_status pn_resident_fetch(pn_strategy *s) {
  pn_status st = pn_resident_settle(s);
  return st == PN_OK && s->resident ? copy_all(s, true) : st;
}

pn_status pn_resident_look(pn_strategy *s) {
  pn_status st = pn_resident_fetch(s);
  if (st == PN_OK && s->resident) point(s, true);
  return st;
}

pn_status pn_resident_return(pn_strategy *s, bool changed) {
  if (!s->resident) return PN_OK;
  point(s, false);
  return changed ? copy_all(s, false) : PN_OK;
}

pn_status pn_resident_fetch_part(pn_strategy *s, float *host, int64_t count) {
  pn_status st = pn_resident_settle(s);

  if (st != PN_OK || !s->resident || count == 0) return st;
  return far_of(s)->download(s->spec.device, host, pn_resident_far(s, host), bytes_of(count));
}

pn_status pn_resident_push_part(pn_strategy *s, const float *host, int64_t count) {
  if (!s->resident || count == 0) return PN_OK;
  return far_of(s)->upload(s->spec.device, pn_resident_far(s, host), host, bytes_of(count));
}
