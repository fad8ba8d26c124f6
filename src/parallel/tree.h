/* tree.h -- sums over the leaves of a step along one fixed binary tree, whoever holds the leaves.
 *
 * The tree over leaves [lo, hi) is cut at lo + the largest power of two below hi - lo.  A stack of
 * subtrees takes leaves, or subtrees, from left to right and joins neighbours that are the two
 * halves of a node: what remains are the roots, at most 2 log2(leaves), whose sums are those of the
 * whole tree. */
#ifndef PN_PARALLEL_TREE_H
#define PN_PARALLEL_TREE_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
  int lo, hi; /* leaves [lo, hi) */
} pn_subtree;

enum { PN_TREE_DEPTH = 24, PN_MAX_LEAVES = 1024 };

typedef struct {
  int leaves; /* of the tree */
  int n;      /* subtrees on the stack */
  pn_subtree node[PN_TREE_DEPTH];
  float *sum[PN_TREE_DEPTH]; /* [capacity] vectors, owned; those of the first n are in use */
  int capacity, threads;
  int64_t count; /* elements of a vector */
} pn_tree;

/* capacity: the most that pn_tree_depth gives.  Errors: NOMEM. */
pn_status pn_tree_make(int capacity, int64_t count, int threads, pn_tree *out);
void pn_tree_free(pn_tree *t);
void pn_tree_start(pn_tree *t, int leaves); /* empty, 1 <= leaves <= PN_MAX_LEAVES */
/* x: vector of the subtree that follows the last one; borrowed during the call. */
void pn_tree_push(pn_tree *t, pn_subtree node, const float *x);

void pn_tree_place(pn_tree *t, pn_subtree node); /* the same without vectors */

/* The leaves that a rank holds: in rank order, as equal in number as can be. */
pn_subtree pn_tree_range(int leaves, int rank, int size);
/* What a stack holds after the leaves of `range`: roots[PN_TREE_DEPTH] may be NULL. *depth (may be
 * NULL): the most on the way. */
int pn_tree_roots(int leaves, pn_subtree range, pn_subtree *roots, int *depth);

double pn_tree_sum(const double *leaf, int leaves); /* along the same tree */

#endif
