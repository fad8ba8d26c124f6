/* fsdp_pages.c -- which units' pages are there: room for the two largest neighbours, and 5 %. */
#include "base/pages.h"
#include "parallel/fsdp.h"

static size_t bytes_of(const struct pn_fsdp *f, int u) {
  return (size_t)f->shards.block[u].count * sizeof(float);
}

static float *start_of(const pn_strategy *s, const struct pn_fsdp *f, int kind, int u) {
  return (kind == PN_UNIT_PARAMS ? s->params : s->grads) + f->shards.block[u].first;
}

static void drop(pn_strategy *s, struct pn_fsdp *f, int kind, int u) {
  bool shared = kind == PN_UNIT_GRADS && pn_comm_shares_memory(s->spec.data);

  pn_pages_drop(start_of(s, f, kind, u), bytes_of(f, u), shared);
  f->unit[u].paged[kind] = false;
  f->used[kind] -= bytes_of(f, u);
}

/* The smallest one that nobody needs; -1: there is none. */
static int find_idle(const struct pn_fsdp *f, int kind) {
  int found = -1;

  for (int u = 0; u < f->n; u++) {
    if (!f->unit[u].paged[kind] || f->unit[u].busy[kind]) continue;
    if (found < 0 || bytes_of(f, u) < bytes_of(f, found)) found = u;
  }
  return found;
}

pn_status pn_fsdp_take(pn_strategy *s, struct pn_fsdp *f, int kind, int u) {
  size_t bytes = bytes_of(f, u);
  int idle;
  pn_status st;

  f->unit[u].busy[kind] = true;
  if (f->unit[u].paged[kind]) return PN_OK;
  while (f->used[kind] + bytes > f->room[kind] && (idle = find_idle(f, kind)) >= 0)
    drop(s, f, kind, idle);
  if ((st = pn_pages_take(start_of(s, f, kind, u), bytes)) != PN_OK) return st;
  f->unit[u].paged[kind] = true;
  f->used[kind] += bytes;
  return PN_OK;
}

void pn_fsdp_forget_params(struct pn_fsdp *f) {
  for (int u = 0; u < f->n; u++) f->unit[u].paged[PN_UNIT_PARAMS] = false;
  f->used[PN_UNIT_PARAMS] = 0;
}

void pn_fsdp_measure(pn_strategy *s, const struct pn_fsdp *f) {
  size_t own = (size_t)f->shards.own * sizeof(float), all = pn_fsdp_all_units(s), n;

  n = own + pn_fsdp_rest(s) + pn_pages_resident(s->params, all);
  if (n > s->peak_params) s->peak_params = n;
  n = own + pn_pages_resident(s->grads, all);
  if (n > s->peak_grads) s->peak_grads = n;
}
