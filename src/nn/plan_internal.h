/* plan_internal.h -- the fields of a plan, shared by the plan_*.c files only.
 *
 * Lowering (plan_forward.c, plan_backward.c) appends steps; their operands name buffers, not
 * addresses.  plan_memory.c turns buffers into offsets of one arena; pn_plan_bind (plan_run.c)
 * turns all operands into pointers. */
#ifndef PN_NN_PLAN_INTERNAL_H
#define PN_NN_PLAN_INTERNAL_H

#include "nn/plan.h"

enum {
  MAX_COPIES = 4, /* layouts of one value that may live beside each other */
  MAX_TERMS = 4   /* diffs of one value that wait to be summed */
};

typedef struct {
  enum { AT_NOWHERE, AT_BUFFER, AT_PARAM, AT_GRAD } at;
  int index; /* of the buffer or the parameter */
} pn_operand;

typedef struct {
  size_t bytes, offset;
  int first, last; /* steps that touch it */
  bool pinned;     /* lives as long as the plan */
  bool workspace;  /* AUX or SCRATCH */
} pn_buffer;

/* A value, a diff or a parameter, in one or more layouts; [0] is the one it was made in. */
typedef struct {
  struct {
    pn_layout layout;
    pn_operand where;
  } copy[MAX_COPIES];
  int n_copies;     /* 0: not made yet */
  pn_operand stats; /* PN_STATS of it, AT_NOWHERE: not made */
} pn_value;

/* The diff of a value that several nodes read: the sum of the terms.  One term may belong to
 * several values: the diff of a sum is that of both its inputs. */
typedef struct {
  pn_value term[MAX_TERMS];
  int n;
} pn_diff;

typedef struct {
  pn_kernel kernel; /* owned */
  pn_device *device;
  pn_task task; /* as answered */
  pn_operand operand[PN_ROLE_COUNT];
  char name[PN_NAME_BYTES];
  bool backward, enter_unit, leave_unit;
  int unit;
  int64_t flop;
} pn_step;

/* What the step loop walks. */
typedef struct {
  pn_status (*run)(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx);
  void *state;
  void *ptr[PN_ROLE_COUNT];
} pn_bound_step;

/* Nodes that one kernel per pass computes. */
typedef struct {
  int node[PN_MAX_CHAIN], n;
  int input[PN_MAX_INPUTS], n_in; /* nodes whose values are SRC, SRC1, ... */
  int norm;                       /* the norm among the nodes, -1: none */
  pn_device *device;
  size_t aux_bytes;
  int aux; /* buffer or -1 */
} pn_chain;

struct pn_plan {
  pn_plan_spec spec;
  pn_device *host; /* ref: takes what the device cannot; owned */
  int n_nodes, n_params;
  pn_op_desc *op; /* [n_nodes]: the graph's, with the batch */
  int *source;    /* [n_nodes]: the node that makes this node's value: itself but for aliases */
  int *consumers; /* [n_nodes]: readings of the value, aliases resolved */
  bool *needs_grad;
  bool *live;    /* [n_nodes]: the loss depends on it */
  bool *lowered; /* [n_nodes]: its chain has a forward step */
  int *longest;  /* [n_nodes]: longest chain the device may take from here; 0: host */
  int logits, loss;
  bool retry; /* lowering failed, but `longest` was shortened: start again */

  pn_chain *chain; /* [n_nodes] room */
  int n_chains;
  pn_value *value, *weight; /* [n_nodes], [n_params] */
  pn_diff *diff;            /* [n_nodes] */
  int *ready;               /* [n_params]: step after which the gradient is final, and all later
                               parameters' too */
  pn_step *step;
  int n_steps, steps_room, n_forward;
  pn_buffer *buffer;
  int n_buffers, buffers_room;
  int input_buffer, label_buffer, logits_buffer, loss_buffer;

  pn_param_map map;
  char *arena;             /* from spec.device, far where it has far memory; owned */
  struct pn_plan_far *far; /* NULL: the device works in host memory; owned */
  size_t arena_bytes;
  pn_bound_step *bound;  /* [n_steps] */
  float *params, *grads; /* borrowed, see pn_plan_bind */

  /* copy of the last run's context, for pn_plan_find_nonfinite */
  pn_step_ctx last;
  uint64_t *last_id;    /* [batch] */
  float *last_scale;    /* [batch] */
  int32_t *last_label2; /* [batch] */
  float *last_mix;      /* [batch] */
  bool ran_backward;
};

/* plan_far.c: for devices with memory of their own.  After the arena is placed: */
pn_status pn_plan_far_create(pn_plan *p);
void pn_plan_far_destroy(pn_plan *p);
/* Arenas for parameters and gradients, if none are lent; parameters of an evaluation. */
pn_status pn_plan_far_ready(pn_plan *p);
void pn_plan_far_outdate(pn_plan *p);             /* the host's parameters are others now */
void *pn_plan_far_param(const pn_plan *p, int i); /* where it lies; NULL: nowhere yet */
void *pn_plan_far_grad(const pn_plan *p, int i);
/* The host's side of input, labels, logits or losses. */
void *pn_plan_far_shadow(const pn_plan *p, int buffer);
void pn_plan_far_fill(pn_plan *p, bool there); /* the caller fills the batch on the device */
bool pn_plan_far_filled(const pn_plan *p);
pn_status pn_plan_far_batch(const pn_plan *p); /* input and labels; ARG: a label out of range */
/* The same context with far arrays, whose contents are sent. */
pn_status pn_plan_far_context(const pn_plan *p, const pn_step_ctx *ctx, pn_step_ctx *out);
/* All steps of a pass at once; the second time with the same numbers as one graph. */
pn_status pn_plan_far_run(const pn_plan *p, bool backward, const pn_step_ctx *ctx);
bool pn_plan_far_whole(const pn_plan *p);               /* nothing is copied between the steps */
pn_status pn_plan_far_unit(const pn_plan *p, int unit); /* its parameters to the device */
pn_status pn_plan_far_results(const pn_plan *p);        /* logits, losses, running statistics */
pn_status pn_plan_far_gradient(const pn_plan *p, int param);
/* A host copy of a kernel's operand; *host owned by the caller, also on error. */
pn_status pn_plan_peek(const pn_plan *p, const void *at, size_t bytes, void **host);

/* plan_chain.c: aliases, consumers, gradients, chains */
pn_status pn_plan_analyse(pn_plan *p);
/* The longest allowed chain from `start`: its nodes, inputs and norm. */
void pn_chain_match(const pn_plan *p, int start, pn_chain *c);
/* A convolution alone, whose only reader is a norm that wants the batch's statistics of it. */
bool pn_chain_feeds_norm(const pn_plan *p, const pn_chain *c);
bool pn_is_loss(pn_op_kind k);

/* plan_step.c: tasks, values, reorders, steps */
pn_task pn_task_begin(const pn_plan *p, const pn_chain *c, pn_pass pass);
pn_step pn_step_begin(const pn_plan *p, const pn_chain *c, bool backward);
/* Takes the kernel, also on error; adds a buffer for SCRATCH. */
pn_status pn_step_add(pn_plan *p, pn_step *s);
void pn_kernel_destroy(pn_kernel *k);
pn_status pn_buffer_add(pn_plan *p, size_t bytes, bool workspace, int *out);
pn_status pn_buffer_add_layout(pn_plan *p, const pn_layout *l, pn_operand *out);
void pn_value_set(pn_value *v, const pn_layout *l, pn_operand where); /* copy 0 */
/* The value in layout `want`: a copy there is, or a reorder appended now and remembered.  like:
 * step that will read it (its unit and direction). */
pn_status pn_value_in(pn_plan *p, const pn_step *like, pn_value *v, const pn_layout *want,
                      pn_operand *out);
/* Operands of `s` that its kernel reads, by s->task.uses, but diffs. */
pn_status pn_step_inputs(pn_plan *p, const pn_chain *c, pn_step *s);
bool pn_step_uses(const pn_step *s, pn_role role);
/* Role of input k of a chain, and of its diff. */
pn_role pn_src_role(int k);
pn_role pn_dsrc_role(int k);
/* Append a reorder. */
pn_status pn_reorder_add(pn_plan *p, const pn_step *like, const pn_layout *from, pn_operand src,
                         const pn_layout *to, pn_operand dst);

/* plan_diff.c: adds a term; sums until at most `most` are left. */
pn_status pn_diff_push(pn_plan *p, const pn_step *like, pn_diff *d, const pn_value *term);
pn_status pn_diff_sum(pn_plan *p, const pn_step *like, pn_diff *d, int most);

pn_status pn_plan_lower_forward(pn_plan *p);  /* plan_forward.c */
pn_status pn_plan_lower_backward(pn_plan *p); /* plan_backward.c */
pn_status pn_plan_place(pn_plan *p);          /* plan_memory.c: lifetimes, offsets, arena */

#endif
