/* far_norms.c -- see far_norms.h. */
#include "parallel/far_norms.h"

#include "parallel/piece.h"
#include "parallel/resident.h"

#include <string.h>

static const pn_far_ops *far_of(const pn_strategy *s) {
  return s->spec.device->ops->far;
}

bool pn_far_norms_stay(const pn_strategy *s) {
  return pn_comm_size(s->spec.data) == 1 || pn_resident_in_place(s);
}

/* Doubles as pairs of floats: nothing is computed on the way. */
static pn_status gather_sums(pn_strategy *s, const pn_flat_list *l) {
  float *all = (void *)l->shares;
  int64_t each = (int64_t)l->stride * (int64_t)(sizeof(double) / sizeof(float));
  pn_request *q = NULL;
  pn_status st = PN_OK;

  if (l->ranks == 1) return PN_OK;
  PN_TRY(pn_iallgather_slices(s->spec.data, "norms of the tensors", all + l->rank * each, all,
                              l->ranks * each, &q));
  PN_TRY(pn_request_wait(q));
done:
  return st;
}

/* The sums of the ranges on this rank become those of the tensors on all ranks. */
static pn_status share_sums(pn_strategy *s, struct pn_far_update *f) {
  size_t bytes = (size_t)f->list.n * 2 * sizeof *f->host;
  pn_optim_squares *sum = s->own.squares;
  pn_status st;

  memset(sum, 0, (size_t)s->spec.map->n * sizeof *sum);
  PN_TRY(far_of(s)->download(s->spec.device, f->host, f->list.sums, bytes));
  for (int k = 0; k < f->list.n; k++) {
    sum[f->range[k].tensor].param += f->host[2 * k];
    sum[f->range[k].tensor].grad += f->host[2 * k + 1];
  }
  PN_TRY(
      pn_allreduce(s->spec.data, "norms of the tensors", sum, 2 * s->spec.map->n, PN_F64, PN_SUM));
done:
  return st;
}

static pn_status clip_by_host(pn_strategy *s, struct pn_far_update *f) {
  double *result = f->host + 2 * f->list.n;

  result[PN_FLAT_NORM] = pn_pieces_norm(s);
  result[PN_FLAT_CLIP] = pn_clip_factor(s, result[PN_FLAT_NORM]) * pn_unscale(s);
  return far_of(s)->upload(s->spec.device, f->list.result, result,
                           PN_FLAT_RESULTS * sizeof *result);
}

static pn_status balance_by_host(pn_strategy *s, struct pn_far_update *f) {
  for (int k = 0; k < f->list.n; k++)
    f->host[k] = f->group[f->range[k].row].adapt
                     ? pn_optim_trust_ratio(s->spec.optim, s->own.squares[f->range[k].tensor])
                     : 1;
  return far_of(s)->upload(s->spec.device, f->list.trust, f->host,
                           (size_t)f->list.n * sizeof *f->host);
}

/* Through the host, where the communicator is too. */
static pn_status norms_by_host(pn_strategy *s, const pn_flat_list *l) {
  struct pn_far_update *f = s->far_update;
  pn_flat_list own = *l;
  pn_status st;

  own.balance = false;
  PN_TRY(far_of(s)->norms(s->spec.device, &own));
  PN_TRY(share_sums(s, f));
  PN_TRY(l->scaled ? balance_by_host(s, f) : clip_by_host(s, f));
done:
  return st;
}

pn_status pn_far_norms(pn_strategy *s, const pn_flat_list *l) {
  pn_status st;

  if (s->own.cut && !l->shares) return norms_by_host(s, l);
  PN_TRY(far_of(s)->norms(s->spec.device, l));
  if (!l->shares) return PN_OK;
  PN_TRY(gather_sums(s, l));
  PN_TRY(far_of(s)->totals(s->spec.device, l));
done:
  return st;
}
