/* exact.c -- leaves into subtrees on every rank; then each rank gets all subtrees' part of what it
 * owns and finishes the tree. */
#include "parallel/exact.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum { GRADS, STATS, KINDS, TAG = 7 };

struct pn_exact {
  int leaves;          /* of this step */
  pn_tree tree[KINDS]; /* this rank's leaves */
  pn_tree fold;        /* what this rank owns, of all leaves */
  int64_t rest;        /* elements of running statistics */
  float *old, *delta;  /* [rest]: at the start of the step; their change */
  int n_spans;         /* of gradients, per rank */
  pn_slice *span;      /* [ranks][n_spans] */
  int64_t *width;      /* [ranks]: elements that it owns, gradients and statistics */
  float *send, *recv;  /* [most roots of a rank][width of another]; [most roots][own width] */
  int all;             /* most roots of a step */
  int64_t n_send;      /* elements of send */
  pn_exact_sum *squares;
};

static int ranks(const pn_strategy *s) {
  return pn_comm_size(s->spec.data);
}

static int64_t trainable(const pn_strategy *s) {
  return s->spec.map->trainable;
}

/* What a rank needs of the gradients: its pieces, where they are cut; else an equal part, which all
 * get afterwards. */
static pn_status share_spans(pn_strategy *s, struct pn_exact *x) {
  pn_slice equal = pn_comm_slice(trainable(s), pn_comm_rank(s->spec.data), ranks(s));
  pn_slice *mine = calloc((size_t)x->n_spans + 1, sizeof *mine);
  pn_status st = mine ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "exact sums: out of memory");

  PN_TRY(pn_agree(s->spec.data, st));
  mine[0] = equal;
  for (int i = 0; s->own.cut && i < x->n_spans; i++)
    mine[i] = (pn_slice){s->own.piece[i].first, s->own.piece[i].count};
  PN_TRY(pn_allgather(s->spec.data, "slices of exact sums", mine, x->span, 2 * (int64_t)x->n_spans,
                      PN_I64));
  for (int r = 0; r < ranks(s); r++) {
    x->width[r] = pn_comm_slice(x->rest, r, ranks(s)).count;
    for (int i = 0; i < x->n_spans; i++) x->width[r] += x->span[r * x->n_spans + i].count;
  }
done:
  free(mine);
  return st;
}

/* Over steps with 1 .. spec.leaves leaves: the most subtrees of this rank, on the way too; of all
 * ranks; on the way when they are put together. */
struct most {
  int own, all, fold;
};

static int fold_depth(int leaves, int size, int *all) {
  pn_tree t = {.capacity = 0, .threads = 1};
  int most = 0;

  *all = 0;
  pn_tree_start(&t, leaves);
  for (int r = 0; r < size; r++) {
    pn_subtree roots[PN_TREE_DEPTH];
    int n = pn_tree_roots(leaves, pn_tree_range(leaves, r, size), roots, NULL);
    *all += n;
    for (int i = 0; i < n; i++) {
      pn_tree_place(&t, roots[i]);
      if (t.n > most) most = t.n;
    }
  }
  return most;
}

static struct most find_most(const pn_strategy *s) {
  int rank = pn_comm_rank(s->spec.data);
  struct most m = {1, 1, 1};

  for (int leaves = 1; leaves <= s->spec.leaves; leaves++) {
    int own, all, fold = fold_depth(leaves, ranks(s), &all);
    pn_tree_roots(leaves, pn_tree_range(leaves, rank, ranks(s)), NULL, &own);
    if (own > m.own) m.own = own;
    if (all > m.all) m.all = all;
    if (fold > m.fold) m.fold = fold;
  }
  return m;
}

static float *floats(int64_t n) {
  return calloc((size_t)n + 1, sizeof(float));
}

static pn_status alloc_tables(pn_strategy *s, struct pn_exact *x) {
  size_t n = (size_t)ranks(s);

  x->rest = s->spec.map->total - trainable(s);
  x->n_spans = s->own.cut ? s->own.n : 1;
  x->span = calloc(n * (size_t)x->n_spans + 1, sizeof *x->span);
  x->width = calloc(n, sizeof *x->width);
  x->old = floats(x->rest);
  x->delta = floats(x->rest);
  x->squares = calloc(2 * (size_t)s->spec.map->n + 1, sizeof *x->squares);
  if (x->span && x->width && x->old && x->delta && x->squares) return PN_OK;
  return PN_FAIL(PN_ERR_NOMEM, "exact sums: out of memory");
}

static pn_status alloc_sums(pn_strategy *s, struct pn_exact *x) {
  const struct most most = find_most(s);
  int64_t own = x->width[pn_comm_rank(s->spec.data)], widest = 0;
  int threads = s->spec.device->threads;
  pn_status st = PN_OK;

  for (int r = 0; r < ranks(s); r++)
    if (x->width[r] > widest) widest = x->width[r];
  PN_TRY(pn_tree_make(most.own, trainable(s), threads, &x->tree[GRADS]));
  PN_TRY(pn_tree_make(most.own, x->rest, threads, &x->tree[STATS]));
  PN_TRY(pn_tree_make(most.fold, own, threads, &x->fold));
  x->all = most.all;
  x->n_send = ranks(s) > 1 ? most.own * widest : 0;
  x->send = floats(x->n_send);
  x->recv = floats(most.all * own);
  if (!x->send || !x->recv) st = PN_FAIL(PN_ERR_NOMEM, "exact sums: out of memory");
done:
  return st;
}

static void tell(const pn_strategy *s, const struct pn_exact *x) {
  double vectors = (double)x->tree[GRADS].capacity * (double)s->spec.map->total;
  double slices = (double)x->fold.count * (x->fold.capacity + x->all) + (double)x->n_send;

  pn_info("%-12s along a tree over %d parts of a step: %.1f MiB more on each rank", "exact sums",
          s->spec.leaves, (vectors + slices) * sizeof(float) / (1 << 20));
}

pn_status pn_exact_create(pn_strategy *s) {
  struct pn_exact *x = s->exact = calloc(1, sizeof *x);
  pn_status st = x ? alloc_tables(s, x) : PN_FAIL(PN_ERR_NOMEM, "exact sums: out of memory");

  PN_TRY(pn_agree(s->spec.data, st));
  PN_TRY(share_spans(s, x));
  PN_TRY(pn_agree(s->spec.data, alloc_sums(s, x)));
  tell(s, x);
done:
  return st;
}

void pn_exact_destroy(pn_strategy *s) {
  struct pn_exact *x = s->exact;

  if (!x) return;
  for (int k = 0; k < KINDS; k++) pn_tree_free(&x->tree[k]);
  pn_tree_free(&x->fold);
  free(x->old);
  free(x->delta);
  free(x->span);
  free(x->width);
  free(x->send);
  free(x->recv);
  free(x->squares);
  free(x);
  s->exact = NULL;
}

void pn_strategy_begin_leaves(pn_strategy *s, int leaves) {
  struct pn_exact *x = s->exact;

  x->leaves = leaves;
  for (int k = 0; k < KINDS; k++) pn_tree_start(&x->tree[k], leaves);
  memcpy(x->old, s->params + trainable(s), (size_t)x->rest * sizeof *x->old);
}

/* The change of the statistics is summed, not they themselves: what did not change (they of frozen
 * layers, frozen parameters) stays as it is to the bit. */
void pn_strategy_keep_leaf(pn_strategy *s, int leaf, double share) {
  struct pn_exact *x = s->exact;
  float *now = s->params + trainable(s), part = (float)share;
  pn_subtree node = {leaf, leaf + 1};

  for (int64_t i = 0; i < x->rest; i++) x->delta[i] = part * (now[i] - x->old[i]);
  memcpy(now, x->old, (size_t)x->rest * sizeof *now);
  pn_tree_push(&x->tree[GRADS], node, s->grads);
  pn_tree_push(&x->tree[STATS], node, x->delta);
}

/* The part that rank r owns of this rank's subtree i. */
static void pack(const pn_strategy *s, const struct pn_exact *x, int i, int r, float *out) {
  const float *grads = x->tree[GRADS].sum[i], *stats = x->tree[STATS].sum[i];
  pn_slice rest = pn_comm_slice(x->rest, r, ranks(s));

  for (int k = 0; k < x->n_spans; k++) {
    pn_slice p = x->span[r * x->n_spans + k];
    memcpy(out, grads + p.first, (size_t)p.count * sizeof *out);
    out += p.count;
  }
  memcpy(out, stats + rest.first, (size_t)rest.count * sizeof *out);
}

static void pack_all(const pn_strategy *s, const struct pn_exact *x, int n, int r, float *out) {
  for (int i = 0; i < n; i++) pack(s, x, i, r, out + i * x->width[r]);
}

static pn_status swap(pn_strategy *s, struct pn_exact *x, int peer, int64_t mine, float *theirs,
                      int64_t n_theirs) {
  pn_comm *c = s->spec.data;
  bool first = pn_comm_rank(c) < peer;
  pn_status st = PN_OK;

  for (int k = 0; k < 2; k++) {
    if ((k == 0) == first && mine > 0)
      PN_TRY(pn_send(c, "subtrees of gradients", x->send, mine, PN_F32, peer, TAG));
    if ((k == 1) == first && n_theirs > 0)
      PN_TRY(pn_recv(c, "subtrees of gradients", theirs, n_theirs, PN_F32, peer, TAG, NULL));
  }
done:
  return st;
}

static int roots_of(const pn_strategy *s, const struct pn_exact *x, int r, pn_subtree *roots) {
  return pn_tree_roots(x->leaves, pn_tree_range(x->leaves, r, ranks(s)), roots, NULL);
}

/* Every pair of ranks meets in one round, and each rank has one partner, maybe itself, in each: no
 * circle of waiting ranks.  x->recv: the subtrees of all ranks in their order. */
static pn_status exchange(pn_strategy *s, struct pn_exact *x) {
  int me = pn_comm_rank(s->spec.data), size = ranks(s), own = roots_of(s, x, me, NULL);
  pn_status st = PN_OK;

  for (int round = 0; round < size; round++) {
    int peer = (round - me + size) % size;
    float *theirs = x->recv;
    for (int r = 0; r < peer; r++) theirs += roots_of(s, x, r, NULL) * x->width[me];
    pack_all(s, x, own, peer, peer == me ? theirs : x->send);
    if (peer != me)
      PN_TRY(swap(s, x, peer, own * x->width[peer], theirs,
                  roots_of(s, x, peer, NULL) * x->width[me]));
  }
done:
  return st;
}

static const float *finish_tree(const pn_strategy *s, struct pn_exact *x) {
  const float *v = x->recv;

  pn_tree_start(&x->fold, x->leaves);
  for (int r = 0; r < ranks(s); r++) {
    pn_subtree roots[PN_TREE_DEPTH];
    int n = roots_of(s, x, r, roots);
    for (int i = 0; i < n; i++, v += x->fold.count) pn_tree_push(&x->fold, roots[i], v);
  }
  return x->fold.sum[0];
}

static pn_status gather(pn_strategy *s, const char *what, float *whole, int64_t n) {
  pn_slice own = pn_comm_slice(n, pn_comm_rank(s->spec.data), ranks(s));
  pn_request *q = NULL;
  pn_status st = PN_OK;

  if (ranks(s) == 1 || n == 0) return PN_OK;
  PN_TRY(pn_iallgather_slices(s->spec.data, what, whole + own.first, whole, n, &q));
  PN_TRY(pn_request_wait(q));
done:
  return st;
}

static pn_status hand_out(pn_strategy *s, struct pn_exact *x, const float *sum) {
  const pn_slice *span = x->span + pn_comm_rank(s->spec.data) * x->n_spans;
  pn_slice rest = pn_comm_slice(x->rest, pn_comm_rank(s->spec.data), ranks(s));
  float *stats = s->params + trainable(s);
  pn_status st = PN_OK;

  for (int k = 0; k < x->n_spans; sum += span[k++].count) {
    float *to = s->own.cut ? s->own.piece[k].grad : s->grads + span[k].first;
    memcpy(to, sum, (size_t)span[k].count * sizeof *to);
  }
  memcpy(x->delta + rest.first, sum, (size_t)rest.count * sizeof *sum);
  if (!s->own.cut) PN_TRY(gather(s, "sum of gradients", s->grads, trainable(s)));
  PN_TRY(gather(s, "change of running statistics", x->delta, x->rest));
  for (int64_t i = 0; i < x->rest; i++)
    if (x->delta[i] != 0) stats[i] = x->old[i] + x->delta[i];
done:
  return st;
}

pn_status pn_exact_sum_step(pn_strategy *s) {
  struct pn_exact *x = s->exact;
  double t0 = pn_now();
  pn_status st = PN_OK;

  PN_TRY(exchange(s, x));
  PN_TRY(hand_out(s, x, finish_tree(s, x)));
  s->comm_exposed_s += pn_now() - t0;
  s->comm_total_s += pn_now() - t0;
done:
  return st;
}

pn_exact_sum *pn_exact_squares(pn_strategy *s) {
  struct pn_exact *x = s->exact;
  memset(x->squares, 0, 2 * (size_t)s->spec.map->n * sizeof *x->squares);
  return x->squares;
}

pn_status pn_exact_squares_share(pn_strategy *s) {
  if (!s->own.cut) return PN_OK;
  return pn_allreduce(s->spec.data, "norms of the tensors", s->exact->squares,
                      2 * (int64_t)s->spec.map->n * PN_EXACT_DIGITS, PN_I64, PN_SUM);
}
