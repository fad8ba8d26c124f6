/* piece.c -- the optimizer over pieces of the arenas, tensor by tensor. */
#include "parallel/piece.h"

#include "parallel/exact.h"
#include "parallel/far_update.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

pn_status pn_pieces_make(pn_strategy *s, int n, bool cut) {
  s->own = (pn_pieces){.n = n, .cut = cut};
  s->own.piece = calloc((size_t)n + 1, sizeof *s->own.piece);
  s->own.squares = calloc((size_t)s->spec.map->n + 1, sizeof *s->own.squares);
  if (s->own.piece && s->own.squares) return PN_OK;
  return PN_FAIL(PN_ERR_NOMEM, "%d pieces of the arenas: out of memory", n);
}

void pn_pieces_free(pn_strategy *s) {
  free(s->own.piece);
  free(s->own.squares);
  s->own = (pn_pieces){.n = 0};
}

int pn_n_kinds(const pn_strategy *s) {
  return 1 + pn_optim_n_states(s->spec.optim) + (s->spec.ema > 0);
}

const char *pn_kind_name(const pn_strategy *s, int kind) {
  if (kind == 0) return "param";
  if (kind <= pn_optim_n_states(s->spec.optim)) return pn_optim_state_name(s->spec.optim, kind - 1);
  return "ema";
}

static float *data_of(const pn_strategy *s, const pn_piece *p, int kind) {
  if (kind == 0) return p->param;
  return kind <= pn_optim_n_states(s->spec.optim) ? p->state[kind - 1] : p->ema;
}

pn_span pn_piece_meet(const pn_strategy *s, int i, const pn_piece *p, int64_t lo, int64_t hi) {
  const struct pn_slot *slot = &s->spec.map->slot[i];
  int64_t first = slot->offset, last = slot->offset + slot->count;

  if (p->first > first) first = p->first;
  if (p->first + p->count < last) last = p->first + p->count;
  return (pn_span){lo > first ? lo : first, hi < last ? hi : last};
}

static pn_status init_param(pn_strategy *s, int i, float *logical, float *stored) {
  const struct pn_slot *slot = &s->spec.map->slot[i];
  pn_status st = PN_OK;

  PN_TRY(pn_strategy_initial_value(s, i, logical));
  PN_TRY(pn_layout_pack(&slot->layout, logical, stored));
  if (!slot->trainable)
    memcpy(s->params + slot->offset, stored, (size_t)slot->count * sizeof *stored);
  for (int k = 0; k < s->own.n; k++) {
    const pn_piece *p = &s->own.piece[k];
    pn_span x = pn_piece_meet(s, i, p, 0, s->spec.map->trainable);
    if (x.last > x.first)
      memcpy(p->param + (x.first - p->first), stored + (x.first - slot->offset),
             (size_t)(x.last - x.first) * sizeof *stored);
  }
done:
  return st;
}

pn_status pn_pieces_init(pn_strategy *s) {
  const pn_param_map *map = s->spec.map;
  int64_t most = 1;
  float *logical, *stored;
  pn_status st = PN_OK;

  for (int i = 0; i < map->n; i++)
    if (map->slot[i].count > most) most = map->slot[i].count;
  logical = malloc((size_t)most * sizeof *logical);
  stored = malloc((size_t)most * sizeof *stored);
  if (!logical || !stored) st = PN_FAIL(PN_ERR_NOMEM, "initial values: out of memory");
  for (int i = 0; i < map->n && st == PN_OK; i++) st = init_param(s, i, logical, stored);
  free(logical);
  free(stored);
  return st;
}

pn_group pn_piece_group(const pn_strategy *s, int param) {
  bool weight = pn_graph_param(s->spec.graph, param)->decay;
  if (s->spec.groups) return s->spec.groups[param];
  return (pn_group){.lr = 1, .decay = weight ? 1 : 0, .adapt = weight};
}

static pn_optim_range range_of(const pn_strategy *s, int i, const pn_piece *p, pn_span x) {
  int64_t at = x.first - p->first;
  pn_optim_range r = {.param = p->param + at,
                      .grad = p->grad + at,
                      .count = x.last - x.first,
                      .decay = pn_piece_group(s, i).decay,
                      .grad_scale = 1};

  for (int k = 0; k < 2; k++) r.state[k] = p->state[k] ? p->state[k] + at : NULL;
  return r;
}

static void average(pn_strategy *s, const pn_piece *p, const pn_optim_range *r, int64_t t) {
  pn_ema_range e = {.param = r->param, .count = r->count, .decay = s->spec.ema};

  if (!p->ema) return;
  e.average = p->ema + (r->param - p->param);
  pn_ema_update(&e, t, s->spec.device->threads);
}

enum { BLOCK = 4096 }; /* elements: a sum stays in the first-level cache until it is used */

/* The sum of all ranks' gradients block by block, each used at once. */
static void update_shared(pn_strategy *s, const pn_optim_range *r, int64_t t, double lr) {
  const pn_optim *o = s->spec.optim;
  const pn_flat_update u = pn_optim_describe(o, t, lr, r);
  int64_t blocks = (r->count + BLOCK - 1) / BLOCK;

#pragma omp parallel for num_threads(s->spec.device->threads) schedule(static)
  for (int64_t k = 0; k < blocks; k++) {
    int64_t at = k * BLOCK, n = r->count - at < BLOCK ? r->count - at : BLOCK;
    _Alignas(64) float sum[BLOCK];
    pn_comm_sum_shared(s->spec.data, r->grad + at, n, sum);
    pn_optim_apply(o, &u, at, n, sum);
  }
}

static void sum_piece(const pn_strategy *s, const pn_piece *p) {
  int64_t blocks = (p->count + BLOCK - 1) / BLOCK;

#pragma omp parallel for num_threads(s->spec.device->threads) schedule(static)
  for (int64_t b = 0; b < blocks; b++) {
    int64_t at = b * BLOCK, n = p->count - at < BLOCK ? p->count - at : BLOCK;
    pn_comm_sum_shared(s->spec.data, p->grad + at, n, p->grad + at);
  }
}

void pn_pieces_sum(pn_strategy *s) {
  for (int k = 0; k < s->own.n; k++)
    if (s->own.piece[k].shared) sum_piece(s, &s->own.piece[k]);
}

static void update_piece(pn_strategy *s, const pn_piece *p, int64_t lo, int64_t hi, int64_t t,
                         double lr) {
  for (int i = 0; i < s->spec.map->n; i++) {
    pn_span x = pn_piece_meet(s, i, p, lo, hi);
    if (x.last <= x.first) continue;
    pn_optim_range r = range_of(s, i, p, x);
    pn_group g = pn_piece_group(s, i);
    if (!g.frozen && p->shared)
      update_shared(s, &r, t, lr * g.lr);
    else if (!g.frozen)
      pn_optim_update(s->spec.optim, t, lr * g.lr, &r, s->spec.device->threads);
    average(s, p, &r, t);
  }
}

pn_status pn_pieces_update(pn_strategy *s, int64_t lo, int64_t hi, int64_t t, double lr) {
  if (s->far_update) return pn_far_update_pieces(s, lo, hi, t, lr);
  for (int k = 0; k < s->own.n; k++) {
    const pn_piece *p = &s->own.piece[k];
    if (p->first < hi && p->first + p->count > lo) update_piece(s, p, lo, hi, t, lr);
  }
  return PN_OK;
}

bool pn_pieces_need_norms(const pn_strategy *s) {
  return s->spec.clip_norm > 0 || pn_optim_wants_norms(s->spec.optim) || s->spec.loss_scaling;
}

bool pn_pieces_need_all(const pn_strategy *s) {
  return pn_pieces_need_norms(s) || (s->far_update && !s->own.cut);
}

/* The order of the pieces and of the ranks does not matter. */
static pn_status exact_squares(pn_strategy *s, double grad_scale, bool decay) {
  const pn_param_map *map = s->spec.map;
  pn_exact_sum *sum = pn_exact_squares(s);
  pn_status st;

  for (int i = 0; i < map->n; i++)
    for (int k = 0; k < s->own.n; k++) {
      const pn_piece *p = &s->own.piece[k];
      pn_span x = pn_piece_meet(s, i, p, 0, map->trainable);
      if (x.last <= x.first) continue;
      pn_optim_range r = range_of(s, i, p, x);
      r.grad_scale = grad_scale;
      if (!decay) r.decay = 0;
      pn_optim_add_squares(s->spec.optim, &r, &sum[2 * i], &sum[2 * i + 1]);
    }
  st = pn_exact_squares_share(s);
  for (int i = 0; i < map->n; i++)
    s->own.squares[i] = (pn_optim_squares){.param = pn_exact_sum_value(&sum[2 * i]),
                                           .grad = pn_exact_sum_value(&sum[2 * i + 1])};
  return st;
}

/* Squares of every tensor, over all ranks, into s->own.squares. */
static pn_status sum_squares(pn_strategy *s, double grad_scale, bool decay) {
  const pn_param_map *map = s->spec.map;
  pn_optim_squares *sum = s->own.squares;

  if (s->exact) return exact_squares(s, grad_scale, decay);
  for (int i = 0; i < map->n; i++) {
    sum[i] = (pn_optim_squares){0, 0};
    for (int k = 0; k < s->own.n; k++) {
      const pn_piece *p = &s->own.piece[k];
      pn_span x = pn_piece_meet(s, i, p, 0, map->trainable);
      if (x.last <= x.first) continue;
      pn_optim_range r = range_of(s, i, p, x);
      r.grad_scale = grad_scale;
      if (!decay) r.decay = 0;
      pn_optim_squares q = pn_optim_sum_squares(s->spec.optim, &r, s->spec.device->threads);
      sum[i].param += q.param;
      sum[i].grad += q.grad;
    }
  }
  if (!s->own.cut) return PN_OK;
  return pn_allreduce(s->spec.data, "norms of the tensors", sum, 2 * map->n, PN_F64, PN_SUM);
}

double pn_unscale(const pn_strategy *s) {
  return s->spec.loss_scaling ? s->grad_scale : 1;
}

double pn_pieces_norm(const pn_strategy *s) {
  double sum = 0;

  for (int i = 0; i < s->spec.map->n; i++)
    if (!pn_piece_group(s, i).frozen) sum += s->own.squares[i].grad;
  return sqrt(sum);
}

/* torch.nn.utils.clip_grad_norm_ */
double pn_clip_factor(const pn_strategy *s, double norm) {
  double f = s->spec.clip_norm > 0 ? s->spec.clip_norm / (norm + 1e-6) : 1;
  return f < 1 ? f : 1;
}

static void update_scaled(pn_strategy *s, const pn_piece *p, double clip, int64_t t, double lr) {
  const pn_optim *o = s->spec.optim;

  for (int i = 0; i < s->spec.map->n; i++) {
    pn_span x = pn_piece_meet(s, i, p, 0, s->spec.map->trainable);
    if (x.last <= x.first) continue;
    pn_optim_range r = range_of(s, i, p, x);
    pn_group g = pn_piece_group(s, i);
    bool adapts = g.adapt && pn_optim_wants_norms(o);
    double trust = adapts ? pn_optim_trust_ratio(o, s->own.squares[i]) : 1;
    r.grad_scale = clip;
    if (!g.frozen) pn_optim_update(o, t, lr * g.lr * trust, &r, s->spec.device->threads);
    average(s, p, &r, t);
  }
}

pn_status pn_pieces_update_all(pn_strategy *s, int64_t t, double lr, double *grad_norm) {
  bool scaling = s->spec.loss_scaling;
  double norm = 0, clip;
  pn_status st = PN_OK;

  if (s->far_update) return pn_far_update_all(s, t, lr, grad_norm);
  if (grad_norm || s->spec.clip_norm > 0 || scaling) {
    PN_TRY(sum_squares(s, pn_unscale(s), false));
    norm = pn_pieces_norm(s);
  }
  if (grad_norm) *grad_norm = norm;
  s->overflow = scaling && !isfinite(norm);
  if (s->overflow) return PN_OK;
  clip = pn_clip_factor(s, norm) * pn_unscale(s);
  if (pn_optim_wants_norms(s->spec.optim)) PN_TRY(sum_squares(s, clip, true));
  for (int k = 0; k < s->own.n; k++) update_scaled(s, &s->own.piece[k], clip, t, lr);
done:
  return st;
}

pn_status pn_pieces_visit(pn_strategy *s, int kind, pn_visit_fn fn, void *ctx) {
  const pn_param_map *map = s->spec.map;
  pn_status st = PN_OK;

  for (int i = 0; i < map->n; i++)
    for (int k = 0; k < s->own.n && st == PN_OK; k++) {
      const pn_piece *p = &s->own.piece[k];
      pn_span x = pn_piece_meet(s, i, p, 0, map->trainable);
      pn_owned range = {.param = i,
                        .what = pn_kind_name(s, kind),
                        .layout = &map->slot[i].layout,
                        .first = x.first - map->slot[i].offset,
                        .count = x.last - x.first};
      if (range.count <= 0) continue;
      range.data = data_of(s, p, kind) + (x.first - p->first);
      st = fn(ctx, &range);
    }
  return st;
}

pn_status pn_rest_visit(pn_strategy *s, const char *what, float *rest, pn_visit_fn fn, void *ctx) {
  const pn_param_map *map = s->spec.map;
  pn_status st = PN_OK;

  for (int i = 0; i < map->n && st == PN_OK; i++) {
    const struct pn_slot *slot = &map->slot[i];
    pn_owned range = {.param = i,
                      .what = what,
                      .layout = &slot->layout,
                      .data = rest + (slot->offset - map->trainable),
                      .count = slot->count};
    if (!slot->trainable) st = fn(ctx, &range);
  }
  return st;
}
