/* tree.c -- sums along a fixed binary tree. */
#include "parallel/tree.h"

#include <stdlib.h>
#include <string.h>

pn_status pn_tree_make(int capacity, int64_t count, int threads, pn_tree *out) {
  *out = (pn_tree){.capacity = capacity, .threads = threads, .count = count};
  for (int i = 0; i < capacity; i++)
    if (!(out->sum[i] = calloc((size_t)count + 1, sizeof *out->sum[i])))
      return PN_FAIL(PN_ERR_NOMEM, "sums of %lld elements: out of memory", (long long)count);
  return PN_OK;
}

void pn_tree_free(pn_tree *t) {
  for (int i = 0; i < t->capacity; i++) free(t->sum[i]);
  *t = (pn_tree){.n = 0};
}

void pn_tree_start(pn_tree *t, int leaves) {
  t->leaves = leaves;
  t->n = 0;
}

/* Where [lo, hi), two leaves or more, is cut. */
static int cut(int lo, int hi) {
  int half = 1;
  while (2 * half < hi - lo) half *= 2;
  return lo + half;
}

/* [left.lo, left.hi) and [left.hi, hi) are the two halves of a node. */
static bool joins(int leaves, pn_subtree left, int hi) {
  pn_subtree at = {0, leaves};

  while (at.hi - at.lo > 1) {
    int mid = cut(at.lo, at.hi);
    if (mid == left.hi) return at.lo == left.lo && at.hi == hi;
    if (left.hi < mid)
      at.hi = mid;
    else
      at.lo = mid;
  }
  return false;
}

static void add(const pn_tree *t, float *restrict to, const float *restrict x) {
#pragma omp parallel for simd num_threads(t->threads) schedule(static) if (t->threads > 1)
  for (int64_t i = 0; i < t->count; i++) to[i] += x[i];
}

/* The sum of a node lies where its left half did. */
void pn_tree_push(pn_tree *t, pn_subtree node, const float *x) {
  while (t->n > 0 && joins(t->leaves, t->node[t->n - 1], node.hi)) {
    t->n--;
    add(t, t->sum[t->n], x);
    x = t->sum[t->n];
    node.lo = t->node[t->n].lo;
  }
  if (x != t->sum[t->n]) memcpy(t->sum[t->n], x, (size_t)t->count * sizeof *x);
  t->node[t->n++] = node;
}

void pn_tree_place(pn_tree *t, pn_subtree node) {
  while (t->n > 0 && joins(t->leaves, t->node[t->n - 1], node.hi)) node.lo = t->node[--t->n].lo;
  t->node[t->n++] = node;
}

pn_subtree pn_tree_range(int leaves, int rank, int size) {
  int base = leaves / size, extra = leaves % size;
  int lo = base * rank + (rank < extra ? rank : extra);
  return (pn_subtree){lo, lo + base + (rank < extra)};
}

int pn_tree_roots(int leaves, pn_subtree range, pn_subtree *roots, int *depth) {
  pn_tree t = {.leaves = leaves};
  int most = 0;

  for (int i = range.lo; i < range.hi; i++) {
    pn_tree_place(&t, (pn_subtree){i, i + 1});
    if (t.n > most) most = t.n;
  }
  if (roots) memcpy(roots, t.node, (size_t)t.n * sizeof *roots);
  if (depth) *depth = most;
  return t.n;
}

double pn_tree_sum(const double *leaf, int leaves) {
  int mid;
  if (leaves == 1) return leaf[0];
  mid = cut(0, leaves);
  return pn_tree_sum(leaf, mid) + pn_tree_sum(leaf + mid, leaves - mid);
}
