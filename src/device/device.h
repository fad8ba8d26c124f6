/* device.h -- where and how operations run.  One table per device: ref, onednn, cuda.
 *
 * The planner (nn/plan.c) cuts the graph into chains (conv, conv+relu+maxpool, norm+add+relu) and
 * asks the device to prepare one kernel per chain and pass.  A device chooses its private layouts;
 * the planner inserts reorders where two choices differ.  Nothing is created or looked up when a
 * prepared kernel runs. */
#ifndef PN_DEVICE_DEVICE_H
#define PN_DEVICE_DEVICE_H

#include "comm/place_gpu.h"
#include "device/flat_update.h"
#include "device/images.h"
#include "device/op.h"
#include "device/step_numbers.h"
#include "tensor/layout.h"

typedef struct pn_device pn_device;

/* The passes of a chain, in the order in which they run. */
typedef enum {
  PN_FORWARD,
  PN_BACKWARD_POST, /* chain of > 1 op: diff of the chain's output -> diff of its first op's output
                     */
  PN_BACKWARD_WEIGHT, /* diff of weights, bias, gamma, beta: overwritten, not added to */
  PN_BACKWARD_DATA,   /* diff of the input(s); never asked for an ADD, which has none to compute */
  PN_PASS_COUNT
} pn_pass;

/* Operands of a kernel.  Tensors are f32, or bf16 where their layout says so; LABEL is i32 [N],
 * AUX and SCRATCH are bytes. */
typedef enum {
  PN_SRC, /* input of the chain */
  PN_DST, /* output of the chain; of a loss: per-sample loss [N], unweighted */
  PN_WEIGHT,
  PN_BIAS,
  PN_DSRC,    /* diff of SRC */
  PN_DDST,    /* diff of DST, (for WEIGHT/DATA of a longer chain: diff of the first op's output) */
  PN_DMID,    /* BACKWARD_POST's result: diff of the first op's output */
  PN_DWEIGHT, /* layout: always that of WEIGHT */
  PN_DBIAS,
  PN_LABEL,
  PN_AUX,     /* bytes forward leaves for backward, and a backward pass for the next one */
  PN_SCRATCH, /* bytes of a kernel's own, garbage before and after */
  PN_SRC1,    /* further inputs: of ADD and CONCAT; SRC1 is also that of an ADD inside a chain */
  PN_SRC2,
  PN_SRC3,
  PN_DSRC1, /* CONCAT.  The diff of an ADD's inputs is DMID, or the chain's diff without POST */
  PN_DSRC2,
  PN_DSRC3,
  PN_DDST1, /* second term of the diff of DST: the diff is DDST + DDST1 */
  PN_DADD,  /* BACKWARD_DATA: to be added to DSRC */
  PN_GAMMA, /* NORM: scale, shift, running mean and variance; [C], plain */
  PN_BETA,
  PN_MEAN, /* training forward updates MEAN and VAR */
  PN_VAR,
  PN_DGAMMA,
  PN_DBETA,
  PN_STATS, /* FORWARD: f32 [2][C], of each channel of a convolution's DST the sum and the sum of
               squares, for the norm that alone reads it */
  PN_ROLE_COUNT
} pn_role;

enum { PN_MAX_CHAIN = 4, PN_IMPL_BYTES = 64 };

/* What the planner asks for; `layout`, the sizes and `uses` are the device's answer.
 * On entry layout[role].tag is "" where the device may choose, else what is there already.
 *  - an input in a layout the kernel does not want: the device overwrites the tag, the planner puts
 * a reorder before the kernel (WEIGHT too, but then each step pays for it: avoid);
 *  - an output with a fixed tag that the kernel cannot write: overwrite it, a reorder follows.
 * DDST1 and DADD are offers: the value has such a term.  A device that does not set their bits in
 * `uses` gets the sum in DDST, and its DSRC is added to the term in a step of its own.
 * STATS is one too: of a convolution, that its kernel may make them, and then of the norm.
 * Precision: where it is bf16, SRC, DST and their diffs should be bf16, and WEIGHT as the kernel
 * reads it may be (the planner converts it once in each step).  On entry a type is what is there,
 * or what is wished; the answer's type is what the kernel takes and makes, and the planner
 * converts. Parameters, their gradients, statistics and losses are f32 always: DWEIGHT's answer in
 * FORWARD is how the parameter is to be stored; a tag left empty there: like WEIGHT. Vectors of a
 * channel (BIAS, GAMMA, ...) and LABEL are plain and f32.  A device may give WEIGHT another shape
 * of as many elements in the same row-major order: a dense matrix O I as O C H W, stored like the
 * activations it multiplies. */
typedef struct {
  pn_pass pass;
  const pn_op_desc *op[PN_MAX_CHAIN];
  int n_ops;
  bool training; /* forward: AUX will be needed */
  pn_dtype precision;
  pn_layout layout[PN_ROLE_COUNT];
  unsigned uses;        /* out: bit (1u << role) for every operand the kernel touches */
  size_t aux_bytes;     /* out in FORWARD, in otherwise */
  size_t scratch_bytes; /* out */
} pn_task;

/* What changes from step to step.  Mixed targets (mixup): where `mix` is not NULL, the loss of
 * image i is mix[i] * loss(label[i]) + (1 - mix[i]) * loss(label2[i]). */
typedef struct {
  uint64_t seed; /* of the run */
  uint32_t epoch;
  const uint64_t *sample_id; /* [N] keys dropout; never depends on the rank */
  const float *sample_scale; /* [N] backward of a loss: diff = scale[i] * dloss_i; 0 = padding */
  const int32_t *label2;     /* [N], used where mix is given */
  const float *mix;          /* [N] in [0, 1], or NULL: each image has its label only */
  float
      smoothing; /* targets of losses: (1 - smoothing) of the label, smoothing / K of each class */
  const pn_step_numbers *numbers; /* far: count instead of seed and epoch; NULL: none */
} pn_step_ctx;

/* A prepared kernel.  run touches only ptr[role] of the roles in `uses`. */
typedef struct {
  pn_status (*run)(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx);
  void (*destroy)(void *state);
  void *state; /* owned */
  char
      impl[PN_IMPL_BYTES]; /* "ref", "jit:avx512_core", "gemm:jit+ref_relu": shown by pneuma info */
} pn_kernel;

/* What a device is made from. */
typedef struct {
  const char *name; /* a row of the registry, or "auto"/"cpu": the fastest (CPU) device there is */
  int threads;      /* >= 1 */
  int gpu;          /* cuda: which of those that the process sees */
  bool tf32;        /* cuda: products of f32 numbers on the matrix units, 10-bit mantissas */
  bool loose;       /* cuda: convolutions may give other last bits each time */
} pn_device_spec;

/* Memory that only the device can touch.  Both calls are done when they return. */
typedef struct {
  /* 64-byte aligned, zeroed.  what: "parameters", for the message when there is no room; a literal
   */
  pn_status (*alloc)(pn_device *d, const char *what, size_t bytes, void **out);
  void (*free)(pn_device *d, void *p);
  pn_status (*upload)(pn_device *d, void *far, const void *host, size_t bytes);
  pn_status (*download)(pn_device *d, void *host, const void *far, size_t bytes);
  /* The same only queued, in the order of the kernels; the host's side comes from pn_device_alloc
   * and is left alone until a mark behind it has passed.  copy: both sides are far. */
  pn_status (*send)(pn_device *d, void *far, const void *host, size_t bytes);
  pn_status (*fetch)(pn_device *d, void *host, const void *far, size_t bytes);
  pn_status (*copy)(pn_device *d, void *to, const void *from, size_t bytes);
  /* Marks in the queue.  passed: all before it is done (never set: true); between: seconds from one
   * to a later one, both passed. */
  pn_status (*mark_create)(pn_device *d, void **mark);
  void (*mark_destroy)(pn_device *d, void *mark);
  pn_status (*mark_set)(pn_device *d, void *mark);
  pn_status (*mark_passed)(pn_device *d, void *mark, bool *passed);
  pn_status (*mark_between)(pn_device *d, void *from, void *to, double *seconds);
  void *(*queue)(pn_device *d); /* the queue itself, for libraries: a CUDA stream; NULL: none */
  /* Optimizers on far ranges (flat_update.h); what they compute stays there.
   * norms, not scaled: sums of squares of unscale * grad of each range, param's are 0; the norm
   * over the ranges that are not frozen, and unscale times the factor that clips it, to `result`,
   * where there is one. norms, scaled: of param and clip * grad + decay * param; balance: then
   * `trust`. Tensors that are cut over ranks: norms leaves this rank's sums, those of frozen
   * tensors 0, in `shares` and nothing else; when the others' are there too, totals adds them in
   * rank order and does the rest. */
  pn_status (*update)(pn_device *d, const pn_flat_list *l);
  pn_status (*norms)(pn_device *d, const pn_flat_list *l);
  pn_status (*totals)(pn_device *d, const pn_flat_list *l);
  /* to += from; queued. */
  pn_status (*add)(pn_device *d, float *to, const float *from, int64_t count);
  /* Kernels that run between begin and end are kept, not done; replay does them all again, with the
   * operands and numbers of then, for the cost of one call.  No transfers in between. */
  pn_status (*capture_begin)(pn_device *d);
  pn_status (*capture_end)(pn_device *d, void **graph); /* ends it on any error too */
  pn_status (*replay)(pn_device *d, void *graph);
  void (*forget)(pn_device *d, void *graph);
  const pn_image_ops *images; /* batches from stored bytes */
} pn_far_ops;

typedef struct {
  const char *name; /* "ref", "onednn" */
  const char *help;
  pn_status (*create)(pn_device *d, const pn_device_spec *spec);
  void (*destroy)(pn_device *d);
  /* Chains the device would like to fuse, longest first, ended by n == 0.  Single ops need no row.
   */
  struct pn_chain_pattern {
    int n;
    pn_op_kind op[PN_MAX_CHAIN];
    bool evaluation; /* only there */
  } const *fuse;
  /* Prepare the kernel for a task.  UNSUPPORTED: the planner tries a shorter chain, then `ref`
   * (host devices).  For BACKWARD_POST of a chain whose other backward kernels take the chain's
   * diff directly, answer with run == NULL: then PN_DDST of the passes that follow is the chain's
   * diff. */
  pn_status (*prepare)(pn_device *d, pn_task *task, pn_kernel *out);
  /* Kernel from PN_SRC (layout `from`) to PN_DST (layout `to`), same logical shape. */
  pn_status (*reorder)(pn_device *d, const pn_layout *from, const pn_layout *to, pn_kernel *out);
  /* Has this machine fast code for the type?  NULL: for f32 only.  *why: what is missing. */
  bool (*computes)(const pn_device *d, pn_dtype type, const char **why);
  /* Host memory: parameters, gradients, optimizer state.  64-byte aligned or better, zeroed. */
  pn_status (*alloc)(pn_device *d, size_t bytes, void **out);
  void (*free)(pn_device *d, void *p);
  /* NULL: kernels work in host memory.  Else all their operands are far, and so are the arrays of
   * pn_step_ctx that `run` gets; the planner copies (nn/plan_far.c). */
  const pn_far_ops *far;
  const char *(*describe)(
      pn_device *d); /* "NVIDIA H100 80GB HBM3, sm_90"; NULL: the name says it */
} pn_device_ops;

struct pn_device {
  const pn_device_ops *ops;
  int threads;
  char bus[PN_BUS_BYTES]; /* PCI address of a GPU: "0000:3B:00.0"; "": none */
  void *impl;             /* owned by the backend */
};

/* "auto" takes a GPU where there is one that can be used.  Errors: ARG (unknown name: lists those
 * there are), UNSUPPORTED (known, not built in: says how), DEVICE (no GPU or driver: says what). */
pn_status pn_device_open(const pn_device_spec *spec, pn_device **out);
pn_status pn_device_create(const char *name, int threads, pn_device **out);
/* The GPUs that this process sees; none is no error.  DEVICE: the driver fails. */
pn_status pn_device_gpus(pn_gpu_list *out);
void pn_device_destroy(pn_device *d);
/* Why the device or this processor has no fast code for plans of that type; NULL: it has. */
const char *pn_device_lacks(const pn_device *d, pn_dtype type);
/* Errors: UNSUPPORTED (the same). */
pn_status pn_device_check_precision(const pn_device *d, pn_dtype type);
/* 64-byte aligned or better, zeroed; d->ops->free gives it back.  Errors: NOMEM. */
pn_status pn_device_alloc(pn_device *d, size_t bytes, void **out);
const char *pn_device_library(void); /* "oneDNN 2.6.3" or "none": for pneuma info */
const char *pn_device_isa(void);     /* ISA the library will use, e.g. "avx512_core_amx" */

int pn_device_lanes(void); /* floats in the widest vector of that ISA */

extern const pn_device_ops pn_device_ref_ops; /* the oracle; prepares every op */
/* cuda/: emulated is the device cuda with its kernels run by the CPU, always there. */
extern const pn_device_ops pn_device_cuda_ops, pn_device_emulated_ops;
pn_status pn_cuda_gpus(pn_gpu_list *out); /* of builds with CUDA */

#endif
