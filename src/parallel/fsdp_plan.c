/* fsdp_plan.c -- who has what: units cut into slices, planned bytes, memory. */
#include "base/pages.h"
#include "parallel/fsdp.h"
#include "parallel/piece.h"
#include "parallel/resident.h"

#include <stdlib.h>

bool pn_fsdp_empty(const struct pn_fsdp *f, int u) {
  return u < 0 || u >= f->n || f->shards.block[u].count == 0;
}

/* Past the last trainable parameter of unit u; *first: its first one, *end: where it ends. */
static int pass_unit(const pn_strategy *s, int p, int u, int *first, int64_t *end) {
  const pn_param_map *map = s->spec.map;

  *first = -1;
  for (; p < map->n; p++) {
    if (!map->slot[p].trainable) continue;
    if (pn_graph_param(s->spec.graph, p)->unit != u) break;
    if (*first < 0) *first = p;
    *end = map->slot[p].offset + map->slot[p].count;
  }
  return p;
}

/* Units lie one after the other in the arena, and in the order of the table. */
static pn_status cut_units(pn_strategy *s, struct pn_fsdp *f) {
  const pn_param_map *map = s->spec.map;
  int64_t first = 0;
  int p = 0;

  for (int u = 0; u < f->n; u++) {
    int64_t end = first;
    p = pass_unit(s, p, u, &f->unit[u].first_param, &end);
    end = (end + 15) / 16 * 16;
    if (end > map->trainable) end = map->trainable;
    pn_shards_add(s, first, end - first, &f->shards);
    first = end;
  }
  if (p == map->n) return PN_OK;
  return PN_FAIL(PN_ERR_UNSUPPORTED,
                 "fsdp: parameter %s comes out of the order of the model's units",
                 pn_graph_param(s->spec.graph, p)->name);
}

int pn_fsdp_neighbour(const struct pn_fsdp *f, int u, int step) {
  for (u += step; u >= 0 && u < f->n; u += step)
    if (!pn_fsdp_empty(f, u)) return u;
  return u;
}

/* The most that two neighbours need together. */
static size_t two_units(const struct pn_fsdp *f) {
  int64_t most = 0;

  for (int u = 0; u < f->n; u++) {
    int next = pn_fsdp_neighbour(f, u, 1);
    int64_t sum = f->shards.block[u].count + (next < f->n ? f->shards.block[next].count : 0);
    if (sum > most) most = sum;
  }
  return (size_t)most * sizeof(float);
}

size_t pn_fsdp_all_units(const pn_strategy *s) {
  return (size_t)s->spec.map->trainable * sizeof(float);
}

size_t pn_fsdp_rest(const pn_strategy *s) {
  return (size_t)(s->spec.map->total - s->spec.map->trainable) * sizeof(float);
}

/* A little more lets small units stay where the large ones fill the room. */
static size_t room_for_two(const pn_strategy *s, const struct pn_fsdp *f) {
  size_t room = two_units(f) + two_units(f) / 20, all = pn_fsdp_all_units(s);
  return room < all ? room : all;
}

/* Gradients of the lowest units, the last ones to come, stay until the update where there is room
 * for all of them, and no sum is needed before it: there they are added up in place. */
static void choose_late(const pn_strategy *s, struct pn_fsdp *f) {
  bool may = pn_one_host(s) && s->spec.micro_batches <= 1 && s->spec.leaves == 0;
  size_t sum = 0;

  for (int u = 0; u < f->n; u++) {
    struct pn_unit *x = &f->unit[u];
    sum += (size_t)f->shards.block[u].count * sizeof(float);
    x->late = may && sum <= f->room[PN_UNIT_GRADS];
    x->grads_at = f->own_grads;
    if (!x->late) f->own_grads += (f->shards.block[u].own.count + 15) / 16 * 16;
  }
}

pn_status pn_fsdp_plan(pn_strategy *s) {
  struct pn_fsdp *f = s->impl = calloc(1, sizeof *f);
  size_t own;
  pn_status st = PN_OK;

  if (!f) return PN_FAIL(PN_ERR_NOMEM, "fsdp: out of memory");
  f->n = pn_graph_n_units(s->spec.graph);
  f->unit = calloc((size_t)f->n + 1, sizeof *f->unit);
  f->held = calloc((size_t)f->n + 2, sizeof *f->held);
  if (!f->unit || !f->held) return PN_FAIL(PN_ERR_NOMEM, "fsdp: out of memory");
  PN_TRY(pn_shards_make(f->n, &f->shards));
  PN_TRY(cut_units(s, f));
  own = (size_t)f->shards.own * sizeof(float);
  f->room[PN_UNIT_GRADS] = s->spec.leaves > 0 ? pn_fsdp_all_units(s) : room_for_two(s, f);
  f->room[PN_UNIT_PARAMS] = s->spec.keep_whole ? pn_fsdp_all_units(s) : room_for_two(s, f);
  if (pn_one_host(s)) f->room[PN_UNIT_PARAMS] = 0;
  s->bytes_params = own + f->room[PN_UNIT_PARAMS] + pn_fsdp_rest(s);
  choose_late(s, f);
  s->bytes_grads = (size_t)f->own_grads * sizeof(float) + f->room[PN_UNIT_GRADS];
  s->bytes_state = own * (size_t)(pn_n_kinds(s) - 1);
done:
  return st;
}

static void place_pieces(pn_strategy *s, const struct pn_fsdp *f) {
  for (int u = 0; u < f->n; u++) {
    const pn_block *b = &f->shards.block[u];
    pn_piece *p = &s->own.piece[u];
    *p = (pn_piece){.first = b->first + b->own.first,
                    .count = b->own.count,
                    .param = f->params ? f->params + b->at : s->params + b->first + b->own.first,
                    .grad = f->unit[u].late ? s->grads + b->first + b->own.first
                                            : f->grads + f->unit[u].grads_at,
                    .shared = f->unit[u].late,
                    .ema = s->ema ? s->ema + b->at : NULL};
    for (int k = 0; k < 2; k++) p->state[k] = s->state[k] ? s->state[k] + b->at : NULL;
  }
}

static pn_status alloc_private(pn_strategy *s, struct pn_fsdp *f) {
  void *p = NULL;
  pn_status st = PN_OK;

  PN_TRY(pn_pieces_make(s, f->n, true));
  PN_TRY(pn_shards_alloc(s, &f->shards));
  PN_TRY(pn_device_alloc(s->spec.device, (size_t)(f->own_grads + 16) * sizeof(float), &p));
  f->grads = p;
done:
  return st;
}

/* Units in turn share `windows` parts of far memory, each as large as its largest unit. */
static pn_status make_windows(pn_strategy *s, struct pn_fsdp *f, int kind, int windows) {
  static const char *const what[] = {"parameters of units", "gradients of units"};
  float *arena = kind == PN_UNIT_PARAMS ? s->params : s->grads;
  pn_status st = PN_OK;

  for (int w = 0; w < windows; w++) {
    int64_t most = 0;
    float *far = NULL;
    for (int u = 0, k = 0; u < f->n; u++) {
      if (pn_fsdp_empty(f, u) || k++ % windows != w) continue;
      if (kind == PN_UNIT_PARAMS) f->unit[u].window = w;
      if (f->shards.block[u].count > most) most = f->shards.block[u].count;
    }
    f->held[w] = -1;
    if (most > 0) PN_TRY(pn_resident_room(s, what[kind], most, &far));
    for (int u = 0, k = 0; u < f->n; u++) {
      const pn_block *b = &f->shards.block[u];
      if (pn_fsdp_empty(f, u) || k++ % windows != w) continue;
      PN_TRY(pn_resident_alias(s, arena + b->first, b->count, far));
    }
  }
done:
  return st;
}

/* Only what the host has whole is whole on the device. */
static pn_status make_resident(pn_strategy *s, struct pn_fsdp *f) {
  const pn_param_map *map = s->spec.map;
  pn_status st = pn_resident_open(s);

  if (st != PN_OK || !s->resident) return st;
  f->far = true;
  f->in_place = pn_resident_in_place(s);
  PN_TRY(pn_resident_add(s, "parameters", f->params, f->shards.own, true));
  PN_TRY(pn_resident_add(s, "gradients", f->grads, f->own_grads, false));
  PN_TRY(pn_resident_add_state(s, f->shards.own));
  PN_TRY(pn_resident_add(s, "running statistics", s->params + map->trainable,
                         map->total - map->trainable, true));
  PN_TRY(make_windows(s, f, PN_UNIT_GRADS, 2));
  PN_TRY(make_windows(s, f, PN_UNIT_PARAMS, s->spec.keep_whole ? f->n : 2));
  PN_TRY(pn_resident_close(s));
done:
  return st;
}

/* The own slices, which are gathered into `whole`; on one host all slices, side by side. */
static pn_status alloc_params(pn_strategy *s, struct pn_fsdp *f) {
  void *p = NULL;
  pn_status st = PN_OK;

  if (pn_one_host(s)) {
    st = pn_comm_alloc_common(s->spec.data, pn_fsdp_all_units(s), pn_fsdp_rest(s), &p);
    s->params = p;
    return st;
  }
  PN_TRY(pn_comm_alloc(s->spec.data, (size_t)(f->shards.own + 16) * sizeof(float), &p));
  f->params = p;
  s->params = f->shards.whole;
  for (int u = 0; u < f->n; u++)
    pn_pages_prefer_large(s->params + f->shards.block[u].first,
                          (size_t)f->shards.block[u].count * sizeof(float));
done:
  return st;
}

/* Slices of parameters and whole gradients are what the others read. */
pn_status pn_fsdp_setup(pn_strategy *s) {
  struct pn_fsdp *f = s->impl;
  void *p = NULL;
  pn_status st = PN_OK;

  PN_TRY(pn_agree(s->spec.data, alloc_private(s, f)));
  PN_TRY(alloc_params(s, f));
  PN_TRY(pn_comm_reserve(s->spec.data, pn_fsdp_all_units(s), &p));
  s->grads = p;
  place_pieces(s, f);
  PN_TRY(pn_agree(s->spec.data, pn_pieces_init(s)));
  PN_TRY(pn_agree(s->spec.data, make_resident(s, f)));
done:
  return st;
}
