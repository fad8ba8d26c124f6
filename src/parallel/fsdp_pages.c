/* fsdp_pages.c -- which units' pages are there: room for the two largest neighbours, and 5 %. */
#include "base/pages.h"
#include "parallel/fsdp.h"

#include <stdint.h>

static size_t bytes_of(const struct pn_fsdp *f, int u) {
  return (size_t)f->shards.block[u].count * sizeof(float);
}

static float *start_of(const pn_strategy *s, const struct pn_fsdp *f, int kind, int u) {
  return (kind == PN_UNIT_PARAMS ? s->params : s->grads) + f->shards.block[u].first;
}

/* At least `need` bytes, from the end; large pages stay whole. */
static void drop(pn_strategy *s, struct pn_fsdp *f, int kind, int u, size_t need) {
  bool shared = kind == PN_UNIT_GRADS && pn_comm_shares_memory(s->spec.data);
  char *start = (char *)start_of(s, f, kind, u);
  size_t have = f->unit[u].paged[kind], keep = have > need ? have - need : 0;
  uintptr_t cut = ((uintptr_t)start + keep) / PN_LARGE_PAGE * PN_LARGE_PAGE;

  keep = cut > (uintptr_t)start ? cut - (uintptr_t)start : 0;
  pn_pages_drop(start + keep, have - keep, shared);
  f->unit[u].paged[kind] = keep;
  f->used[kind] -= have - keep;
}

/* Units until v is needed again, seen from u: forward and backward passes alternate, gradients are
 * there in the backward ones only. */
static int next_use(const struct pn_fsdp *f, int kind, int u, int v) {
  if (kind == PN_UNIT_GRADS) return v < u ? u - v : u + f->n - v;
  if (f->backward) return v < u ? u - v : u + v;
  return v > u ? v - u : 2 * f->n - u - v;
}

/* The one that is needed last of those that nobody needs now; -1: there is none. */
static int find_idle(const struct pn_fsdp *f, int kind, int u) {
  int found = -1;

  for (int v = 0; v < f->n; v++) {
    if (f->unit[v].paged[kind] == 0 || f->unit[v].busy[kind]) continue;
    if (found < 0 || next_use(f, kind, u, v) > next_use(f, kind, u, found)) found = v;
  }
  return found;
}

pn_status pn_fsdp_take(pn_strategy *s, struct pn_fsdp *f, int kind, int u) {
  struct pn_unit *x = &f->unit[u];
  size_t missing = bytes_of(f, u) - x->paged[kind];
  char *from = (char *)start_of(s, f, kind, u) + x->paged[kind];
  int idle;
  pn_status st;

  x->busy[kind] = true;
  if (f->in_place) x->paged[kind] = bytes_of(f, u); /* by the device */
  if (f->in_place) return PN_OK;
  if (missing == 0) return PN_OK;
  while (f->used[kind] + missing > f->room[kind] && (idle = find_idle(f, kind, u)) >= 0)
    drop(s, f, kind, idle, f->used[kind] + missing - f->room[kind]);
  if ((st = pn_pages_take(from, missing)) != PN_OK) return st;
  x->paged[kind] += missing;
  f->used[kind] += missing;
  return PN_OK;
}

bool pn_fsdp_fits(const struct pn_fsdp *f, int kind, int u) {
  size_t need = bytes_of(f, u);

  for (int v = 0; v < f->n; v++)
    if (v != u && f->unit[v].busy[kind]) need += f->unit[v].paged[kind];
  return need <= f->room[kind];
}

bool pn_fsdp_still_there(const struct pn_fsdp *f, int u) {
  const struct pn_unit *x = &f->unit[u];

  if (f->far && f->held[x->window] != u) return false;
  return x->params == KEPT && x->paged[PN_UNIT_PARAMS] == bytes_of(f, u);
}

void pn_fsdp_forget_params(struct pn_fsdp *f) {
  for (int u = 0; u < f->n; u++) f->unit[u].paged[PN_UNIT_PARAMS] = 0;
  f->used[PN_UNIT_PARAMS] = 0;
}

void pn_fsdp_measure(pn_strategy *s, const struct pn_fsdp *f) {
  size_t own = (size_t)f->shards.own * sizeof(float), all = pn_fsdp_all_units(s), n;

  /* on one host `all` is there, once: the own slices are this rank's share of it */
  n = own + pn_fsdp_rest(s) + (f->params ? pn_pages_resident(s->params, all) : 0);
  if (n > s->peak_params) s->peak_params = n;
  n = (size_t)f->own_grads * sizeof(float) + pn_pages_resident(s->grads, all);
  if (n > s->peak_grads) s->peak_grads = n;
}
