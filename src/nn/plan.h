/* plan.h -- a graph lowered for one device, batch size and mode: flat steps over one arena. */
#ifndef PN_NN_PLAN_H
#define PN_NN_PLAN_H

#include "device/device.h"
#include "nn/graph.h"

typedef struct pn_plan pn_plan;

/* Where the parameters lie in a flat f32 arena: made by the training plan, taken by all others.
 * Slot i is parameter i of the graph.  Offsets are multiples of 16 elements (64 bytes): first the
 * trainable parameters in table order, then the others (running statistics, frozen weights).
 * Gradients and optimizer state have `trainable` elements and exist for the first part only. */
typedef struct {
  int n;
  struct pn_slot {
    pn_layout layout;
    int64_t offset, count; /* elements, padding of the layout included */
    bool trainable;
  } * slot;          /* [n], owned */
  int64_t total;     /* elements of the parameters arena */
  int64_t trainable; /* of these, the first ones have gradients */
} pn_param_map;

void pn_param_map_free(pn_param_map *m);

typedef struct {
  const pn_graph *graph;      /* borrowed for the plan's life */
  pn_device *device;          /* borrowed */
  int64_t batch;              /* images, >= 1 */
  bool training;              /* backward too; dropout active */
  pn_dtype precision;         /* of activations and weights as used: PN_F32, PN_BF16, PN_FP16 */
  const pn_param_map *params; /* NULL: choose the layouts (see pn_plan_param_map) */
} pn_plan_spec;

/* Prepares every kernel and allocates the arena.  Not collective. *out owned by the caller. */
pn_status pn_plan_create(const pn_plan_spec *spec, pn_plan **out);
void pn_plan_destroy(pn_plan *p);

const pn_param_map *pn_plan_param_map(const pn_plan *p); /* borrowed from the plan */

/* Arenas of map.total and map.trainable f32; grads may be NULL in evaluation.  Borrowed; call
 * before the first run.  A training plan updates the running statistics in `params`; an evaluation
 * plan on a device with memory of its own copies `params` there in the first run after this call:
 * call it again when they have changed. */
void pn_plan_bind(pn_plan *p, float *params, float *grads);

/* The same for a device with memory of its own (pn_far_ops), when its arenas are there already:
 * where each tensor lies, [map.n] of each kind.  Nothing of them is copied by runs.  Borrowed;
 * after pn_plan_bind.  NULL: what pn_plan_bind gave is copied, as before. */
typedef struct {
  float **param, **grad; /* grad: NULL where there is none */
} pn_far_places;
void pn_plan_bind_far(pn_plan *p, const pn_far_places *where);

/* Buffers of one batch, filled by the caller before a run; they are the same ones as long as the
 * plan lives, but that pn_plan_step swaps them. */
float *pn_plan_input(pn_plan *p);    /* N C H W plain */
int32_t *pn_plan_labels(pn_plan *p); /* [N] class index; 0/1 for BCE */
/* Devices with memory of their own: where kernels find them, for one who fills them there.  Until
 * pn_plan_input is asked for again, runs do not copy the host's.  NULL on other devices. */
float *pn_plan_far_input(pn_plan *p, int32_t **labels);
const float *pn_plan_logits(pn_plan *p); /* N x K plain, valid after forward */
const float *pn_plan_losses(pn_plan *p); /* [N], per sample, valid after forward */

/* Called between steps; any may be NULL. */
typedef struct {
  void *ctx; /* borrowed */
  pn_status (*before_forward)(void *ctx, int unit);
  pn_status (*after_forward)(void *ctx, int unit);
  pn_status (*before_backward)(void *ctx, int unit);
  /* Gradient of the trainable parameter `param` is final for this rank.  Called in descending order
   * of parameters, whatever order the branches of the network give. */
  pn_status (*grad_ready)(void *ctx, int param);
  pn_status (*tick)(void *ctx); /* after every backward step: a chance to move communication on */
} pn_plan_hooks;

pn_status pn_plan_forward(pn_plan *p, const pn_step_ctx *ctx, const pn_plan_hooks *hooks);
/* After forward on the same batch.  Gradients are of sum_i sample_scale[i] * loss_i, overwritten.
 */
pn_status pn_plan_backward(pn_plan *p, const pn_step_ctx *ctx, const pn_plan_hooks *hooks);

/* A step may be in parts, one whole step each for what follows; each kind has a graph of its own.
 */
typedef enum {
  PN_ONLY_PART,
  PN_FIRST_PART,
  PN_MIDDLE_PART,
  PN_LAST_PART,
  PN_PART_KINDS
} pn_part_kind;

/* What follows a backward pass in a whole step. */
typedef struct {
  pn_part_kind part;
  void *ctx;                     /* borrowed until the next step has been queued */
  pn_status (*queue)(void *ctx); /* queues communication and update on the device */
  pn_status (*tell)(void *ctx);  /* queues what the host shall see of it, behind; NULL: nothing */
  const char *host; /* why that needs the host, so that it cannot be in a graph; NULL: it can */
  /* Now and then while the host waits for the device; not PN_OK: it waits no longer. */
  pn_status (*waiting)(void *ctx, double waited_s);
} pn_plan_tail;

/* Training steps of plans with far arenas (pn_plan_bind_far): forward, backward and tail are queued
 * as one graph, which is recorded when a second step has the same numbers but seed, epoch and what
 * the tail's owner keeps in the device's memory.  The hooks and tail->queue are called where steps
 * run one by one and while the graph is recorded, not when it is replayed.  Returns when the step
 * before this one is complete; the buffers of the next batch are then free. */
pn_status pn_plan_step(pn_plan *p, const pn_step_ctx *ctx, const pn_plan_hooks *hooks,
                       const pn_plan_tail *tail);
/* The host's images of the next pn_plan_step are complete: they begin to travel, while the caller
 * still waits for what the step before gives.  Need not be called. */
pn_status pn_plan_begin_input(pn_plan *p);
/* Of the last whole step (ago 0), or the one before (1), after waiting for it; valid until the next
 * pn_plan_step.  Errors: ARG (there is none), those of the device. */
typedef struct {
  const float *losses, *scale; /* [N], as in pn_step_ctx */
} pn_plan_result;
pn_status pn_plan_result_of(pn_plan *p, int ago, pn_plan_result *out);
bool pn_plan_can_step(const pn_plan *p); /* its arenas are far */
bool pn_plan_is_graph(const pn_plan *p); /* the next pn_plan_step replays one, so far */

/* Of whole steps that are complete, after the first one or pn_plan_reset_times. */
typedef struct {
  int64_t steps;
  double busy_s, idle_s; /* the device: in the steps, between them */
  double waited_s;       /* the host, for the device */
} pn_plan_times;
pn_plan_times pn_plan_step_times(const pn_plan *p);
void pn_plan_reset_times(pn_plan *p);

/* Step i of pn_plan_n_steps alone, for measurements; all of them in order are forward and backward.
 */
pn_status pn_plan_run_step(pn_plan *p, int i, const pn_step_ctx *ctx);

/* What `pneuma info` prints: one row per step. */
typedef struct {
  char name[PN_NAME_BYTES];           /* "conv1+relu1", "reorder", "convert" (to another type) */
  const char *pass;                   /* "forward", "backward" */
  const char *device, *impl;          /* borrowed from the plan */
  char layout[2 * PN_TAG_BYTES + 16]; /* "abcd -> aBcd16b", "abcd -> acdb bf16" */
  size_t bytes;                       /* operands read and written, SCRATCH left out */
  int64_t flop;
} pn_step_info;
int pn_plan_n_steps(const pn_plan *p);
void pn_plan_step_info(const pn_plan *p, int i, pn_step_info *out);

typedef struct {
  size_t activations, workspace; /* bytes in the arena: values and diffs; AUX and SCRATCH */
  size_t arena;                  /* after sharing by lifetime */
} pn_plan_memory;
pn_plan_memory pn_plan_memory_use(const pn_plan *p);

/* Names the first step whose result is not finite after a run, "" if all are; slow, for reports. */
void pn_plan_find_nonfinite(pn_plan *p, char *out, size_t out_bytes);
/* The same between forward and backward of a training plan, without running anything: among the
 * results that backward needs, and the losses.  Parameters need not be there. */
void pn_plan_find_kept_nonfinite(const pn_plan *p, char *out, size_t out_bytes);

#endif
