/* far_update.c -- see far_update.h. */
#include "parallel/far_update.h"

#include "parallel/far_norms.h"
#include "parallel/piece.h"
#include "parallel/resident.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PART_GROUPS = 2048, MOST_PARTS = 512 }; /* of a range's sum of squares: a block each */

static const pn_far_ops *far_of(const pn_strategy *s) {
  return s->spec.device->ops->far;
}

static bool same_group(const pn_group *a, const pn_group *b) {
  return a->frozen == b->frozen && a->adapt == b->adapt && !(a->lr < b->lr) && !(a->lr > b->lr) &&
         !(a->decay < b->decay) && !(a->decay > b->decay);
}

static int row_of(struct pn_far_update *f, pn_group g) {
  int k = 0;
  while (k < f->n_rows && !same_group(&f->group[k], &g)) k++;
  if (k == f->n_rows) f->group[f->n_rows++] = g;
  return k;
}

static bool aligned(const pn_flat_range *r) {
  const void *p[] = {r->param, r->grad, r->state[0], r->state[1], r->average};
  for (size_t i = 0; i < sizeof p / sizeof *p; i++)
    if ((uintptr_t)p[i] % (PN_FLAT_LANES * sizeof(float)) != 0) return false;
  return true;
}

static pn_flat_range range_of(const pn_piece *p, pn_span x) {
  int64_t at = x.first - p->first;
  pn_flat_range r = {.param = p->param + at, .grad = p->grad + at, .count = x.last - x.first};

  for (int k = 0; k < 2; k++) r.state[k] = p->state[k] ? p->state[k] + at : NULL;
  r.average = p->ema ? p->ema + at : NULL;
  r.wide = aligned(&r);
  return r;
}

static int parts_of(int64_t groups) {
  int64_t n = groups / PART_GROUPS;
  return n < 1 ? 1 : n > MOST_PARTS ? MOST_PARTS : (int)n;
}

static void add_range(pn_strategy *s, struct pn_far_update *f, const pn_piece *p, int i) {
  pn_span x = pn_piece_meet(s, i, p, 0, s->spec.map->trainable);
  pn_flat_list *l = &f->list;
  pn_flat_range *r = &f->range[l->n];
  int64_t groups = (x.last - x.first + PN_FLAT_LANES - 1) / PN_FLAT_LANES;

  if (x.last <= x.first) return;
  *r = range_of(p, x);
  r->first = l->groups;
  r->part = l->parts;
  r->row = row_of(f, pn_piece_group(s, i));
  r->tensor = i;
  l->n++;
  l->groups += groups;
  l->parts += parts_of(groups);
}

/* As a frozen tensor: nothing but its average follows it. */
static void add_rest(pn_strategy *s, struct pn_far_update *f) {
  const pn_param_map *map = s->spec.map;
  pn_flat_range *r = &f->range[f->list.n];
  int64_t count = map->total - map->trainable;

  if (!s->ema || count == 0) return;
  *r = (pn_flat_range){.param = pn_resident_far(s, s->params + map->trainable),
                       .average = pn_resident_far(s, s->ema_rest),
                       .count = count,
                       .row = row_of(f, (pn_group){.frozen = true})};
  r->wide = aligned(r);
  f->rest = (pn_flat_list){.n = 1, .groups = (count + PN_FLAT_LANES - 1) / PN_FLAT_LANES};
}

/* A tensor meets as many pieces as it is cut into, and a piece at most all tensors. */
static pn_status list_ranges(pn_strategy *s, struct pn_far_update *f) {
  int tensors = s->spec.map->n, most = 0;

  for (int k = 0; k < s->own.n; k++)
    for (int i = 0; i < tensors; i++) {
      pn_span x = pn_piece_meet(s, i, &s->own.piece[k], 0, s->spec.map->trainable);
      most += x.last > x.first;
    }
  f->first = calloc((size_t)s->own.n + 1, sizeof *f->first);
  f->range = calloc((size_t)most + 1, sizeof *f->range);
  f->group = calloc((size_t)tensors + 1, sizeof *f->group);
  if (!f->first || !f->range || !f->group) return PN_FAIL(PN_ERR_NOMEM, "optimizer: out of memory");
  for (int k = 0; k < s->own.n; k++) {
    f->first[k] = f->list.n;
    for (int i = 0; i < tensors; i++) add_range(s, f, &s->own.piece[k], i);
  }
  f->first[s->own.n] = f->list.n;
  add_rest(s, f);
  return PN_OK;
}

/* What each step sends. */
static size_t row_bytes(const struct pn_far_update *f) {
  return (size_t)f->n_rows * sizeof **f->row + sizeof *f->list.unscale;
}

/* Places in one block of far memory. */
static size_t take(size_t *at, size_t bytes) {
  size_t from = *at;
  *at += (bytes + 63) / 64 * 64;
  return from;
}

enum { STRIDE = 8 }; /* doubles: 64 bytes, so that slices of the communicator end there */

/* Sums of tensors over the ranks: see pn_flat_list. */
static void cut_shares(const pn_strategy *s, pn_flat_list *l) {
  if (!s->own.cut || !pn_pieces_need_norms(s) || !pn_far_norms_stay(s)) return;
  l->tensors = s->spec.map->n;
  l->rank = pn_comm_rank(s->spec.data);
  l->ranks = pn_comm_size(s->spec.data);
  l->stride = (2 * l->tensors + STRIDE - 1) / STRIDE * STRIDE;
}

static pn_status place_tables(pn_strategy *s, struct pn_far_update *f) {
  pn_flat_list *l = &f->list;
  size_t n = (size_t)(l->n + f->rest.n), bytes = 0, range = take(&bytes, n * sizeof *l->range);
  size_t row = take(&bytes, row_bytes(f));
  size_t partial = take(&bytes, (size_t)l->parts * 2 * sizeof(double));
  size_t sums = take(&bytes, n * 2 * sizeof(double)), trust = take(&bytes, n * sizeof(double));
  size_t shares = take(&bytes, (size_t)(l->ranks * l->stride) * sizeof(double));
  size_t totals = take(&bytes, (size_t)l->tensors * 2 * sizeof(double));
  size_t result = take(&bytes, PN_FLAT_RESULTS * sizeof(double));
  char *far;
  pn_status st;

  PN_TRY(far_of(s)->alloc(s->spec.device, "optimizer tables", bytes, &f->far));
  far = f->far;
  l->range = (void *)(far + range);
  l->row = (void *)(far + row);
  l->unscale = (void *)(l->row + f->n_rows);
  l->partial = (void *)(far + partial);
  l->sums = (void *)(far + sums);
  l->trust = (void *)(far + trust);
  l->result = (void *)(far + result);
  if (l->ranks > 0) {
    l->shares = (void *)(far + shares);
    l->totals = (void *)(far + totals);
  }
  f->rest.range = l->range + l->n;
  f->rest.row = l->row;
  f->rest.result = l->result;
  PN_TRY(far_of(s)->upload(s->spec.device, far + range, f->range, n * sizeof *f->range));
done:
  return st;
}

static pn_status alloc_host(pn_strategy *s, struct pn_far_update *f) {
  void *p = NULL;
  pn_status st = PN_OK;

  for (int k = 0; k < 2; k++) {
    PN_TRY(pn_device_alloc(s->spec.device, row_bytes(f), &p));
    f->row[k] = p;
  }
  PN_TRY(pn_device_alloc(s->spec.device,
                         ((size_t)f->list.n * 2 + PN_FLAT_RESULTS) * sizeof *f->host, &p));
  f->host = p;
done:
  return st;
}

pn_status pn_far_update_make(pn_strategy *s) {
  struct pn_far_update *f = s->far_update = calloc(1, sizeof *f);
  pn_status st;

  if (!f) return PN_FAIL(PN_ERR_NOMEM, "optimizer: out of memory");
  f->list.clip_norm = s->spec.clip_norm;
  f->list.eta = pn_optim_trust(s->spec.optim);
  PN_TRY(list_ranges(s, f));
  cut_shares(s, &f->list);
  PN_TRY(place_tables(s, f));
  PN_TRY(alloc_host(s, f));
done:
  return st;
}

void pn_far_update_free(pn_strategy *s) {
  struct pn_far_update *f = s->far_update;
  pn_device *d = s->spec.device;

  if (!f) return;
  far_of(s)->free(d, f->far);
  for (int k = 0; k < 2; k++) d->ops->free(d, f->row[k]);
  d->ops->free(d, f->host);
  free(f->first);
  free(f->range);
  free(f->group);
  free(f);
  s->far_update = NULL;
}

static pn_flat_row row_now(const pn_strategy *s, const pn_group *g, int64_t t, double lr) {
  pn_optim_range like = {.decay = g->decay, .grad_scale = 1};
  pn_flat_row r = {.number = pn_optim_describe(s->spec.optim, t, lr * g->lr, &like),
                   .rate = lr * g->lr,
                   .decay = pn_optim_weight_decay(s->spec.optim, &like),
                   .frozen = g->frozen,
                   .adapts = g->adapt};

  if (s->spec.ema > 0) r.fresh = pn_ema_factor(s->spec.ema, t);
  return r;
}

static bool staged(const struct pn_far_update *f, int64_t t, double lr, double unscale) {
  return t == f->t && !(lr < f->lr) && !(lr > f->lr) && !(unscale < f->unscale) &&
         !(unscale > f->unscale);
}

pn_status pn_far_update_stage(pn_strategy *s, int64_t t, double lr) {
  struct pn_far_update *f = s->far_update;
  pn_flat_row *row = f->row[f->turn];
  double unscale = pn_unscale(s);
  pn_status st;

  if (staged(f, t, lr, unscale)) return PN_OK;
  for (int k = 0; k < f->n_rows; k++) row[k] = row_now(s, &f->group[k], t, lr);
  memcpy(row + f->n_rows, &unscale, sizeof unscale);
  f->list.rule = row[0].number.rule;
  f->turn = !f->turn;
  st = far_of(s)->send(s->spec.device, (void *)f->list.row, row, row_bytes(f));
  f->t = st == PN_OK ? t : 0;
  f->lr = lr;
  f->unscale = unscale;
  return st;
}

/* Ranges [lo, hi) of the table. */
static pn_flat_list part_of(const struct pn_far_update *f, int lo, int hi) {
  pn_flat_list l = f->list;
  int64_t end = hi < l.n ? f->range[hi].first : l.groups;

  if (lo == hi) return (pn_flat_list){.n = 0};
  l.n = hi - lo;
  l.first = f->range[lo].first;
  l.groups = end - l.first;
  l.range += lo;
  l.trust = l.result = NULL;
  return l;
}

pn_status pn_far_update_pieces(pn_strategy *s, int64_t lo, int64_t hi, int64_t t, double lr) {
  struct pn_far_update *f = s->far_update;
  pn_status st = pn_far_update_stage(s, t, lr);

  for (int k = 0; k < s->own.n && st == PN_OK; k++) {
    const pn_piece *p = &s->own.piece[k];
    pn_flat_list l = part_of(f, f->first[k], f->first[k + 1]);
    if (p->first < lo || p->first + p->count > hi || l.n == 0) continue;
    st = far_of(s)->update(s->spec.device, &l);
  }
  return st;
}

/* With the scale of fp16's loss.  Where all is queued the update itself looks. */
static pn_status look_for_overflow(pn_strategy *s, pn_flat_list *l) {
  double norm = 0;
  pn_status st = PN_OK;

  s->overflow = false;
  l->skips = s->spec.loss_scaling && pn_far_norms_stay(s);
  if (!s->spec.loss_scaling || l->skips) return PN_OK;
  st = far_of(s)->download(s->spec.device, &norm, l->result + PN_FLAT_NORM, sizeof norm);
  s->overflow = !isfinite(norm);
  return st;
}

/* As pn_pieces_update_all on the host: norm, clipping, trust ratios, update. */
pn_status pn_far_update_all(pn_strategy *s, int64_t t, double lr, double *grad_norm) {
  struct pn_far_update *f = s->far_update;
  const pn_far_ops *far = far_of(s);
  bool clips = s->spec.clip_norm > 0 || grad_norm || s->spec.loss_scaling;
  pn_flat_list l;
  pn_status st;

  PN_TRY(pn_far_update_stage(s, t, lr));
  l = f->list;
  if (!clips) l.result = NULL;
  if (!pn_optim_wants_norms(s->spec.optim)) l.trust = NULL;
  if (clips) PN_TRY(pn_far_norms(s, &l));
  if (clips) PN_TRY(look_for_overflow(s, &l));
  if (s->overflow) return PN_OK;
  l.scaled = true;
  l.balance = l.trust != NULL;
  if (l.balance) PN_TRY(pn_far_norms(s, &l));
  PN_TRY(far->update(s->spec.device, &l));
  if (grad_norm)
    PN_TRY(far->download(s->spec.device, grad_norm, l.result + PN_FLAT_NORM, sizeof *grad_norm));
done:
  return st;
}

pn_status pn_far_update_rest(pn_strategy *s) {
  struct pn_far_update *f = s->far_update;

  if (f->rest.n == 0 || s->overflow) return PN_OK;
  f->rest.rule = f->list.rule;
  f->rest.skips = s->spec.loss_scaling && pn_far_norms_stay(s);
  return far_of(s)->update(s->spec.device, &f->rest);
}

static double *told_of(const struct pn_far_update *f) {
  return f->host + 2 * f->list.n;
}

pn_status pn_far_update_tell(pn_strategy *s) {
  struct pn_far_update *f = s->far_update;
  return far_of(s)->fetch(s->spec.device, told_of(f), f->list.result,
                          PN_FLAT_RESULTS * sizeof(double));
}

pn_status pn_far_update_outcome(pn_strategy *s, bool told) {
  struct pn_far_update *f = s->far_update;
  pn_status st = PN_OK;

  if (!told) PN_TRY(pn_resident_settle(s));
  if (!told)
    PN_TRY(far_of(s)->download(s->spec.device, told_of(f), f->list.result,
                               PN_FLAT_RESULTS * sizeof(double)));
  s->overflow = !isfinite(told_of(f)[PN_FLAT_NORM]);
done:
  return st;
}
