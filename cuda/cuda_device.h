/* cuda_device.h -- inside the CUDA device: what the files that prepare kernels share.  Everything
 * here is plain C over a backend; the GPU and its emulation run the same code. */
#ifndef PN_CUDA_DEVICE_H
#define PN_CUDA_DEVICE_H

#include "backend.h"

#include "device/out_of_memory.h"

typedef struct {
  const cu_backend *backend;
  void *impl; /* the backend's, owned */
  pn_ledger ledger;
  struct cu_block *block; /* what is allocated; owned */
  int n_blocks, blocks_room;
} cu_device;

/* State of every prepared kernel. */
typedef struct {
  cu_device *device; /* borrowed */
  pn_pass pass;
  pn_op_desc op[PN_MAX_CHAIN];
  int n_ops;
  bool training;
  int form; /* CU_F32, CU_BF16 or CU_FP16: of activations */
  unsigned uses;
  cu_call call;       /* of a library; run NULL: own kernels */
  size_t sums;        /* where in SCRATCH sums over rows, or a bias of another type, lie */
  size_t half_weight; /* where in SCRATCH a library's diff of the weight in 16 bits lies */
  size_t middle;      /* where in SCRATCH the convolution in front of a pool lies */
  union {
    cu_norm norm;
    cu_conv conv;
    cu_window window;
    cu_place place;
    cu_permute permute;
  } args;
  int64_t convert; /* reorder: so many elements change their type alone; 0: their order too */
} cu_state;

typedef pn_status cu_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx);

/* Fills *out, task->uses, tags (channels last) and types of all operands: activations are of the
 * task's precision, but f32 where losses and softmax are.  *s stays owned by *out.
 * Errors: NOMEM, UNSUPPORTED (a tensor of 2^31 elements or more). */
pn_status cu_answer(pn_device *d, pn_task *t, unsigned uses, cu_run *run, pn_kernel *out,
                    cu_state **s);
/* uses, plus DDST1 or DADD where they are offered. */
unsigned cu_with_offers(const pn_task *t, unsigned uses, unsigned offers);

/* n elements, of the state's type where the kernel has that choice; wide: by 16 bytes. */
pn_status cu_launch(const cu_state *s, cu_kernel k, bool wide, const void *args, int64_t n);
void cu_state_destroy(void *state);
int cu_form_of(pn_dtype type);                          /* CU_F32, ... */
int cu_lanes(int form);                                 /* elements of 16 bytes */
bool cu_wide(int64_t channels);                         /* rows of so many f32 can be taken so */
bool cu_wide_rows(const cu_state *s, int64_t channels); /* the same of the state's type */

/* Sums over rows (norm_statistics, norm_diffs, norm_post) into args->partial, in args->parts parts:
 * their bytes, and the launch, which fills in how the rows are dealt. */
size_t cu_sum_bytes(const cu_state *s, uint32_t rows, uint32_t channels);
pn_status cu_sum_rows(const cu_state *s, cu_kernel k, cu_norm *args);
/* The same in two halves: how rows are dealt, and the launch of a kernel whose args begin so. */
void cu_deal_sums(const cu_state *s, cu_norm *args);
pn_status cu_sum_launch(const cu_state *s, cu_kernel k, const cu_norm *dealt, const void *args);
/* The kernels that end them (norm_settle, norm_gradients); partial NULL: there are none. */
pn_status cu_total_rows(const cu_state *s, cu_kernel k, cu_norm *args);
/* Kernels of rows without sums (norm_apply, norm_data). */
pn_status cu_map_rows(const cu_state *s, cu_kernel k, cu_norm *args);

/* Rows and channels of a channels-last tensor: N H W and C, or N and F. */
uint32_t cu_rows(const pn_shape *s);
uint32_t cu_channels(const pn_shape *s);

pn_status cu_map_prepare(pn_device *d, pn_task *t, pn_kernel *out);  /* elementwise, ADD */
pn_status cu_join_prepare(pn_device *d, pn_task *t, pn_kernel *out); /* CONCAT */
pn_status cu_norm_prepare(pn_device *d, pn_task *t, pn_kernel *out);
pn_status cu_window_prepare(pn_device *d, pn_task *t, pn_kernel *out);
pn_status cu_linear_prepare(pn_device *d, pn_task *t, pn_kernel *out); /* CONV, DENSE */
pn_status cu_loss_prepare(pn_device *d, pn_task *t, pn_kernel *out);   /* and SOFTMAX */
pn_status cu_reorder(pn_device *d, const pn_layout *from, const pn_layout *to, pn_kernel *out);
/* BACKWARD_POST of chains that end in ReLU: DMID = DDST (+ DDST1) where DST > 0. */
pn_status cu_relu_post(pn_device *d, pn_task *t, pn_kernel *out);
/* BACKWARD_POST of any chain, with sums for WEIGHT where there is something to sum. */
pn_status cu_post_prepare(pn_device *d, pn_task *t, pn_kernel *out);
bool cu_post_sums(const cu_state *s);  /* does POST leave sums in AUX? */
size_t cu_post_aux(const cu_state *s); /* bytes of AUX: forward's own, then those sums */
cu_norm cu_post_rows(const cu_state *s, void *aux); /* rows, how they are dealt, and the sums */
cu_window cu_window_of(const pn_op_desc *op);       /* without pointers */

/* The parts of a table of pn_device_ops that do not depend on the backend. */
pn_status cu_create(pn_device *d, const cu_backend *backend, const pn_device_spec *spec);
void cu_destroy(pn_device *d);
pn_status cu_prepare(pn_device *d, pn_task *task, pn_kernel *out);
pn_status cu_host_alloc(pn_device *d, size_t bytes, void **out);
void cu_host_free(pn_device *d, void *p);
const char *cu_describe(pn_device *d);
bool cu_computes(const pn_device *d, pn_dtype type, const char **why);
extern const pn_far_ops cu_far_ops;
extern const pn_image_ops cu_image_ops;
extern const struct pn_chain_pattern cu_patterns[];
#define CU_DEVICE_TABLE                                                                            \
  .destroy = cu_destroy, .fuse = cu_patterns, .prepare = cu_prepare, .reorder = cu_reorder,        \
  .computes = cu_computes, .alloc = cu_host_alloc, .free = cu_host_free, .far = &cu_far_ops,       \
  .describe = cu_describe

#define CU_BIT(role) (1u << (role))

#endif
