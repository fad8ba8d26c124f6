/* strategy.h -- how replicas share work: the only room that knows.  Adding one: one file, one row.
 */
#ifndef PN_PARALLEL_STRATEGY_H
#define PN_PARALLEL_STRATEGY_H

#include "comm/comm.h"
#include "nn/plan.h"
#include "optim/groups.h"
#include "optim/optim.h"
#include "parallel/bucket_choice.h"

typedef struct pn_strategy pn_strategy;

/* One contiguous piece of a logical tensor's storage that this rank owns (must save). */
typedef struct {
  int param;        /* index in the graph's table */
  const char *what; /* "param" or an optimizer state's name */
  const pn_layout *layout;
  float *data;          /* in storage layout; borrowed */
  int64_t first, count; /* elements of the storage */
} pn_owned;
typedef pn_status (*pn_visit_fn)(void *ctx, const pn_owned *range);

/* Values that replace the random initial ones. */
typedef struct {
  void *ctx; /* borrowed */
  /* *found false: parameter `param` keeps its random value.  Not collective. */
  pn_status (*value)(void *ctx, int param, float *logical, bool *found);
} pn_initial_source;

typedef struct {
  const pn_graph *graph;            /* borrowed */
  const pn_param_map *map;          /* borrowed */
  pn_optim *optim;                  /* borrowed */
  pn_comm *data;                    /* borrowed */
  pn_device *device;                /* borrowed: allocates the arenas */
  int64_t bucket_bytes;             /* ddp, zero1; 0 = pn_buckets_choose */
  uint64_t seed;                    /* initial values */
  const pn_initial_source *initial; /* NULL: all random; borrowed during creation */
  const pn_group *groups; /* [parameters]; NULL: all alike, decay as the graph says; borrowed */
  double clip_norm;       /* gradients are scaled down to this norm; 0 = never */
  int micro_batches;      /* most backward passes of a step, see pn_strategy_keep_grads; 0 = 1 */
  bool keep_whole;        /* fsdp: a unit's parameters stay from its forward to its backward */
  double ema;             /* decay of the average of the weights; 0 = none is kept */
  bool loss_scaling;      /* gradients may be multiplied and not finite: see grad_scale, overflow */
  int leaves; /* exact sums (exact.h): the most parts that a step of all ranks has; 0: ordinary */
} pn_strategy_spec;

/* Elements [first, first + count) of the arenas that this rank updates, wherever they lie. */
typedef struct {
  int64_t first, count;
  float *param, *grad, *state[2], *ema; /* of element `first`; borrowed; NULL: there is none */
  bool shared;                          /* `grad` is this rank's part of a sum: see pn_ishare */
} pn_piece;
typedef struct {
  int n;
  bool cut;                  /* a tensor may lie on several ranks */
  pn_piece *piece;           /* [n], owned */
  pn_optim_squares *squares; /* [parameters]: room for norms, owned */
} pn_pieces;

typedef struct pn_strategy_ops {
  const char *name, *help;                /* "single", "ddp" */
  const struct pn_strategy_ops *one_host; /* what does it where pn_one_host; NULL: these */
  bool by_buckets;                        /* sends gradients in buckets */
  bool sums_late; /* on one host: in the update, where gradients lie; no buckets there */
  bool by_units;  /* parameters are there only inside the hooks, or between gather and release */
  /* Decides who has what: fills bytes_*, which are told before anything is allocated.  Not
   * collective. */
  pn_status (*plan)(pn_strategy *s);
  pn_status (*setup)(pn_strategy *s); /* allocates; collective */
  pn_plan_hooks hooks; /* ctx is filled with the strategy; NULL entries: nothing to do */
  /* Wait for gradients, update parameters.  Collective.  A rank without samples calls zero_grads
   * and then reports every gradient ready through the hooks (pn_strategy_skip does both). */
  pn_status (*step)(pn_strategy *s, int64_t t, double lr, double *grad_norm);
  /* The same when the gradients are in s->own's pieces already (exact sums). */
  pn_status (*apply)(pn_strategy *s, int64_t t, double lr, double *grad_norm);
  /* Gradients of every backward pass of a step are shared, and added on the way.  Called before the
   * second one and those after it.  NULL: they are kept, and shared with the last one's.
   * Collective. */
  pn_status (*next_pass)(pn_strategy *s);
  /* Before backward pass `pass` of a step, from 0, where steps are whole: what the host remembers
   * becomes what holds there always, for the passes before may have been replayed.  NULL: nothing.
   */
  void (*begin_pass)(pn_strategy *s, int pass);
  /* Each logical tensor once over all ranks, to be saved; and all that this rank has a copy of, to
   * be filled when a checkpoint is read, parts of tensors too.  visit_owned gives whole tensors and
   * is collective; an error of `fn` is this rank's own. */
  pn_status (*visit_owned)(pn_strategy *s, pn_visit_fn fn, void *ctx);
  pn_status (*visit_held)(pn_strategy *s, pn_visit_fn fn, void *ctx);
  /* See pn_strategy_gather; NULL: params and ema are whole. */
  pn_status (*gather)(pn_strategy *s, bool average, float **out);
  void (*release)(pn_strategy *s);
  void (*destroy)(pn_strategy *s);
} pn_strategy_ops;

struct pn_strategy {
  const pn_strategy_ops *ops;
  pn_strategy_spec spec;
  /* params: arena of map->total elements, for the plans; fsdp fills it by units.  Running
   * statistics are those of this rank's images until pn_strategy_sync_buffers.  grads:
   * map->trainable elements. state: as many, or this rank's slices (see `own`).  Owned. */
  float *params, *grads, *state[2];
  pn_pieces own;
  pn_bucket_choice buckets;
  float *carry, *far_carry; /* gradients of the step's backward passes so far, on the host or the
                             * device; owned */
  bool carrying;
  struct {
    int number;
    bool last;
  } part;                 /* of the step, see pn_strategy_begin_part */
  struct pn_exact *exact; /* NULL: ordinary sums; owned */
  float *ema; /* average of the trainable params, or of this rank's slices; NULL: none; owned */
  float *ema_rest; /* in the same memory: average of the running statistics, this rank's until
                    * pn_strategy_sync_buffers; not cut: it follows the others */
  /* With spec.loss_scaling: what undoes the scale, set by the caller before an update; after it:
   * the gradients were not finite and nothing was updated, the same on all ranks.  Where steps are
   * whole: after pn_strategy_outcome. */
  double grad_scale;
  bool overflow;
  int64_t fed; /* backward passes with images of this rank since pn_strategy_sync_buffers */
  double comm_total_s, comm_exposed_s; /* since the caller set them to 0: time in flight; time of it
                                        * that the rank spent waiting or moving data instead of
                                        * computing */
  size_t bytes_params, bytes_grads, bytes_state; /* planned: the most at any time */
  size_t peak_params, peak_grads; /* measured; 0 where all is there from the start to the end */
  /* NULL: all is in host memory.  Else what plans on the device take instead (resident.h). */
  struct pn_resident *resident;     /* owned */
  struct pn_far_update *far_update; /* far_update.h; owned */
  struct {
    int64_t t;
    double lr;
  } staged;                           /* step that pn_strategy_stage was called for */
  const pn_far_places *far;           /* borrowed from it */
  const pn_far_places *far_evaluated; /* the same of what pn_strategy_evaluated is about, where that
                                       * lies on the device whole; NULL: it does not */
  void *impl;
};

/* All ranks have one host's memory in common. */
bool pn_one_host(const pn_strategy *s);
const pn_strategy_ops *const *pn_strategy_table(int *count);
/* Allocates, initialises parameters (same on all ranks), broadcasts nothing.  Collective.
 * Errors: ARG (unknown name; `single` on more than one rank says to use ddp). */
pn_status pn_strategy_create(const char *name, const pn_strategy_spec *spec, pn_strategy **out);
void pn_strategy_destroy(pn_strategy *s);
/* Logical initial value of a parameter, for setup. */
pn_status pn_strategy_initial_value(const pn_strategy *s, int param, float *logical);
/* last: of a step's last backward pass, whose gradients are shared, and those kept before added. */
pn_plan_hooks pn_strategy_hooks(pn_strategy *s, bool last);
/* Before a step's second backward pass and those after it: the gradients so far are kept.
 * Collective where ops->next_pass is. */
pn_status pn_strategy_keep_grads(pn_strategy *s);
/* Where the device keeps them: they are added to the elements [first, first + count) of the last
 * pass's.  Strategies call it before they send or use these. */
pn_status pn_strategy_add_kept(pn_strategy *s, int64_t first, int64_t count);
pn_status pn_strategy_skip(pn_strategy *s); /* this rank has no sample: zero gradients, all ready */

/* Wait for gradients, or sum them exactly; update parameters and averages.  *grad_norm (may be
 * NULL): see pn_pieces_update_all.  Collective. */
pn_status pn_strategy_update(pn_strategy *s, int64_t t, double lr, double *grad_norm);

/* Steps are those of pn_plan_step, not of pn_plan_forward and its neighbours: all that they need is
 * on the device, or reached from there.  The same on all ranks, like: */
bool pn_strategy_steps_whole(const pn_strategy *s);
/* Why a step cannot be one graph; NULL: it can. */
const char *pn_strategy_no_graph(const pn_strategy *s);
/* Steps in parts, whole ones: before pn_strategy_stage, or pn_strategy_skip, of each; number: from
 * 0.  The gradients of all but the last are kept by their tails, after pn_strategy_skip by
 * pn_strategy_keep_grads; not called: there is one part. */
void pn_strategy_begin_part(pn_strategy *s, int number, bool last);
/* Before pn_plan_step: the numbers of step t to the device; *out: what to give to it. */
pn_status pn_strategy_stage(pn_strategy *s, int64_t t, double lr, pn_plan_tail *out);

/* With spec.loss_scaling, after the update of a whole step: s->overflow.  told: that step was
 * pn_plan_step's, and pn_plan_result_of has waited for it; else this waits. */
pn_status pn_strategy_outcome(pn_strategy *s, bool told);

/* With spec.leaves: a step's batch is computed in parts, its leaves, that do not depend on the
 * number of ranks; a rank has those of pn_tree_range.  Begin, on every rank; after each leaf's
 * backward pass, in ascending order, keep its gradients and statistics (share: of the step's
 * images).  A strategy that works by units wants pn_strategy_skip from ranks with fewer leaves than
 * others. */
void pn_strategy_begin_leaves(pn_strategy *s, int leaves);
void pn_strategy_keep_leaf(pn_strategy *s, int leaf, double share);

/* Running statistics (all that is not trainable) become the mean over the ranks, weighted by the
 * steps in which a rank had images since the last call (`fed`, counted by the caller), summed in
 * double in rank order: the same bits on every rank.  The trainer calls it before an evaluation, a
 * checkpoint and the hash; so does their average over the steps (ema).  Averaging early or late
 * gives the same statistics up to rounding, since their update is linear.  Nothing to do without
 * such tensors, and with exact sums, which keep them the same.  Collective. */
pn_status pn_strategy_sync_buffers(pn_strategy *s);

/* All weights on every rank, the averaged ones if asked for and kept, in an arena of map->total
 * elements until pn_strategy_release; between steps only.  Collective. */
pn_status pn_strategy_gather(pn_strategy *s, bool average, float **out);
void pn_strategy_release(pn_strategy *s);
/* Weights to evaluate, the averaged ones where they are kept: for pn_plan_bind, and where *far is
 * not NULL for pn_plan_bind_far, which then is all that counts: nothing is copied.  Until
 * pn_strategy_release; between steps only.  Collective. */
pn_status pn_strategy_evaluated(pn_strategy *s, float **host, const pn_far_places **far);

/* weights_sha256 of outputs.md: SHA-256 over logical tensors in table order.  Collective. */
pn_status pn_strategy_weights_sha256(pn_strategy *s, char hex[65]);

#endif
