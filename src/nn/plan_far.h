/* plan_far.h -- plans on devices with memory of their own: what plan_far.c (copies, one pass at a
 * time) and plan_whole.c (whole steps) share. */
#ifndef PN_NN_PLAN_FAR_H
#define PN_NN_PLAN_FAR_H

#include "nn/plan_internal.h"

enum { SIDES = PN_COPY_LANES, MARKS = 4 };

/* What a batch brings beside its images and labels, in one block, on the host and far. */
typedef struct {
  pn_step_numbers *numbers;
  uint64_t *id;
  float *scale, *mix;
  int32_t *label2;
} batch_block;

/* The host's side of a batch and its results. */
typedef struct {
  float *input, *logits, *losses;
  int32_t *labels;
  char *memory;    /* of block */
  void *far_input; /* where whole steps copy `input` to, beside the step before; far; NULL: none */
  batch_block block;
  bool travels; /* the copy of `input` has begun */
  int64_t step; /* whole step that uses it, from 1; 0: none */
} host_side;

struct captured {
  void *graph;     /* owned; NULL: none */
  pn_step_ctx key; /* of the run before: what kernels take as numbers */
  bool seen, refused;
};

struct pn_plan_far {
  host_side side[SIDES]; /* of steps in turn; only the first before whole steps; arrays owned */
  int turn;              /* the caller's: what it fills next */
  char *memory;          /* far block; owned */
  batch_block block;
  size_t input_bytes, logits_bytes, block_bytes;
  bool filled;               /* input and labels are the caller's work, on the device */
  float *params, *grads;     /* far: mirrors of the host's, made when first needed; owned */
  bool copied;               /* evaluation: `params` are those of the last pn_plan_bind */
  const pn_far_places *lent; /* instead of them; borrowed; NULL: none */
  struct captured pass[2];   /* forward, backward */

  struct captured whole[PN_PART_KINDS];
  int64_t steps, completed; /* whole ones: queued; last one that is known to be complete */
  struct {
    void *start, *end; /* owned; NULL before the first whole step */
  } mark[MARKS];       /* of step k at k % MARKS */
  pn_plan_tail tail;   /* of the last one */
  pn_plan_times times;
};

const pn_far_ops *pn_plan_far_ops(const pn_plan *p);
void *pn_plan_far_buffer(const pn_plan *p, int buffer);
pn_status pn_plan_side_make(pn_plan *p, host_side *out);
/* Fills the side's block from ctx; *out: the same context with far arrays.  ARG: a label. */
pn_status pn_plan_far_write(const pn_plan *p, const host_side *x, const pn_step_ctx *ctx,
                            pn_step_ctx *out);
pn_status pn_plan_far_check_labels(const pn_plan *p, const int32_t *label, const char *what);
bool pn_plan_far_same(const pn_step_ctx *a, const pn_step_ctx *b);
void pn_plan_far_drop(const pn_plan *p, struct captured *c);

/* plan_run.c: steps one by one, with the hooks between them. */
pn_status pn_plan_forward_steps(pn_plan *p, const pn_step_ctx *ctx, const pn_plan_hooks *h);
pn_status pn_plan_backward_steps(pn_plan *p, const pn_step_ctx *ctx, const pn_plan_hooks *h);

#endif
