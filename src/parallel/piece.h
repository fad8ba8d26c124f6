/* piece.h -- what this rank updates: contiguous pieces of the arenas, wherever their data lie. */
#ifndef PN_PARALLEL_PIECE_H
#define PN_PARALLEL_PIECE_H

#include "parallel/strategy.h"

/* Room for n pieces.  cut: a tensor may lie on several ranks.  Errors: NOMEM. */
pn_status pn_pieces_make(pn_strategy *s, int n, bool cut);
void pn_pieces_free(pn_strategy *s);

/* Kinds of data: 0 = parameters, then the optimizer's states, then the average if it is kept. */
int pn_n_kinds(const pn_strategy *s);
const char *pn_kind_name(const pn_strategy *s, int kind);

/* Write the initial parameters; what is not trainable, into s->params.  Not collective. */
pn_status pn_pieces_init(pn_strategy *s);

/* Elements of the trainable parameter i that lie in [lo, hi) and in the piece: an empty range has
 * last <= first. */
typedef struct {
  int64_t first, last;
} pn_span;
pn_span pn_piece_meet(const pn_strategy *s, int i, const pn_piece *p, int64_t lo, int64_t hi);
pn_group pn_piece_group(const pn_strategy *s, int param);

/* Optimizer step of the elements [lo, hi) of the arenas, alone or while gradients of others are
 * still on their way; not where pn_pieces_need_all. */
pn_status pn_pieces_update(pn_strategy *s, int64_t lo, int64_t hi, int64_t t, double lr);
/* In the pieces that are `shared` the sums take the place of the rank's gradients. */
void pn_pieces_sum(pn_strategy *s);
/* Clipping, LARS and the scale of the loss look at norms first. */
bool pn_pieces_need_norms(const pn_strategy *s);
/* All gradients must be there before the first update: for norms, and where one launch on a device
 * updates all. */
bool pn_pieces_need_all(const pn_strategy *s);
/* Takes the scale of the loss off the gradients; 1: there is none. */
double pn_unscale(const pn_strategy *s);
/* Norm of what is not frozen, of s->own.squares; the factor that clips it. */
double pn_pieces_norm(const pn_strategy *s);
double pn_clip_factor(const pn_strategy *s, double norm);
/* Optimizer step of everything.  *grad_norm (may be NULL): Euclidean norm of the gradients of what
 * is not frozen, before clipping, over all ranks.  With spec.loss_scaling nothing is updated where
 * it is not finite (s->overflow).  Collective where the pieces are cut. */
pn_status pn_pieces_update_all(pn_strategy *s, int64_t t, double lr, double *grad_norm);

/* Every trainable tensor's part in the pieces, of one kind. */
pn_status pn_pieces_visit(pn_strategy *s, int kind, pn_visit_fn fn, void *ctx);
/* The tensors that are not trainable: running statistics.  rest: of the first of them. */
pn_status pn_rest_visit(pn_strategy *s, const char *what, float *rest, pn_visit_fn fn, void *ctx);

#endif
