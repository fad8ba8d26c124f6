/* api.h -- the part of oneDNN whose C interface differs between 2.x and 3.x, and small owners of
 * oneDNN's objects.  api_v2.c or api_v3.c implements the first part. */
#ifndef PN_DEVICE_ONEDNN_API_H
#define PN_DEVICE_ONEDNN_API_H

#include "device/device.h"

#include <oneapi/dnnl/dnnl.h>

/* A memory descriptor lent by oneDNN or by a dnn_md. */
#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t dnn_md_ref;
#else
typedef const dnnl_memory_desc_t *dnn_md_ref;
#endif

/* A memory descriptor we own; zero-initialise before use. */
struct dnn_md {
  dnnl_memory_desc_t d;
  bool made;
};

/* False: unfit. */
bool dnn_md_init(const pn_shape *s, pn_dtype type, dnnl_format_tag_t tag, struct dnn_md *out);
void dnn_md_free(struct dnn_md *m);
dnn_md_ref dnn_md_use(const struct dnn_md *m); /* NULL where not made */
dnnl_status_t dnn_post_relu(dnnl_post_ops_t post);

enum { DNN_MATMUL_SRC, DNN_MATMUL_WEIGHT, DNN_MATMUL_BIAS, DNN_MATMUL_DST, DNN_MATMUL_TENSORS };

/* A convolution as asked of oneDNN. */
struct dnn_conv {
  pn_pass pass;
  bool training; /* forward only */
  dnnl_dims_t stride, pad_before, pad_after;
  struct dnn_md src, weight, bias, dst; /* of diffs in backward; bias may be absent */
};
/* dst = src * weight [+ bias 1 x columns]. */
dnnl_status_t dnn_matmul_create(dnnl_engine_t e, const struct dnn_md m[DNN_MATMUL_TENSORS],
                                dnnl_primitive_attr_t attr, dnnl_primitive_desc_t *pd);
dnnl_status_t dnn_conv_create(dnnl_engine_t e, const struct dnn_conv *c, dnnl_primitive_attr_t attr,
                              dnnl_primitive_desc_t *pd);

/* ---- the same in both generations ---- */

/* Per device. */
struct dnn_device {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  int threads;
};

/* What is done to each output of a convolution, in this order. */
struct dnn_post {
  int64_t affine;         /* y = y * scale[c] + shift[c] for so many channels; 0: not */
  const pn_layout *added; /* y += another tensor, in this layout; NULL: not; borrowed */
  bool relu;
};
/* Scratchpad given at run, and post-ops.  *out owned by the caller. */
pn_status dnn_attr_make(const struct dnn_post *post, dnnl_primitive_attr_t *out);
/* The layout of scale and shift. */
pn_status dnn_channel_md(int64_t channels, struct dnn_md *out);

pn_status dnn_check(dnnl_status_t rc, const char *what); /* DEVICE with oneDNN's reason */
void dnn_use_threads(const struct dnn_device *d);

/* Empty tag: oneDNN chooses.  Errors: UNSUPPORTED (a tag that oneDNN does not know or that does not
 * fit the shape). */
pn_status dnn_md_make(const pn_layout *l, struct dnn_md *out);
/* The tag whose layout is exactly `md`; false where no tag names it. */
bool dnn_tag_of(dnn_md_ref md, const pn_shape *shape, pn_dtype type, char tag[PN_TAG_BYTES]);

/* A primitive with its memory objects; pointers are set when it runs. */
enum { DNN_MAX_ARGS = 9 };
struct dnn_exec {
  dnnl_primitive_t primitive;
  int n;
  dnnl_exec_arg_t arg[DNN_MAX_ARGS];
  pn_role role[DNN_MAX_ARGS];
  void *bound[DNN_MAX_ARGS];
};

struct dnn_arg {
  int arg; /* DNNL_ARG_SRC, ... */
  dnn_md_ref md;
  pn_role role;
};

/* Consumes nothing; pd stays the caller's.  Adds the scratchpad as PN_SCRATCH where needed. */
pn_status dnn_exec_make(struct dnn_device *d, const_dnnl_primitive_desc_t pd,
                        const struct dnn_arg *args, int n, struct dnn_exec *out);
void dnn_exec_free(struct dnn_exec *x);
pn_status dnn_exec_run(struct dnn_device *d, struct dnn_exec *x, void *const ptr[PN_ROLE_COUNT]);
size_t dnn_pd_scratch(const_dnnl_primitive_desc_t pd);
const char *dnn_pd_impl(const_dnnl_primitive_desc_t pd); /* borrowed from pd */

/* A convolution's layouts and implementation for one pass, chosen among those that are not oneDNN's
 * "ref" code.  In `want` an empty tag leaves the choice open; `found` may differ from it. */
enum { DNN_CONV_SRC, DNN_CONV_WEIGHT, DNN_CONV_DST, DNN_CONV_TENSORS };
struct dnn_conv_request {
  struct dnn_device *device; /* borrowed */
  pn_pass pass;
  const pn_op_desc *op; /* borrowed */
  bool training;
  pn_dtype type; /* of activations and their diffs, and of the weights but in BACKWARD_WEIGHT */
  struct dnn_post post;
};
/* Where an operand's layout is open, bf16 takes NHWC, which all our kernels share. */
pn_status dnn_conv_choose(const struct dnn_conv_request *r, const pn_layout want[DNN_CONV_TENSORS],
                          pn_layout found[DNN_CONV_TENSORS], dnnl_primitive_desc_t *out);
/* Types in `want` do not count: they follow from the request.  Exactly these layouts (the open ones
 * oneDNN's), and that code unless `impl` is "". */
bool dnn_conv_take(const struct dnn_conv_request *r, const pn_layout want[DNN_CONV_TENSORS],
                   const char *impl, pn_layout found[DNN_CONV_TENSORS], dnnl_primitive_desc_t *out);
/* Evaluation with the weights of a training plan: its layouts where there is fast code for them, so
 * that no weight and no activation is reordered; else a blocked result.  False: none of these. */
bool dnn_conv_take_stored(const struct dnn_conv_request *r, const pn_layout want[DNN_CONV_TENSORS],
                          pn_layout found[DNN_CONV_TENSORS], dnnl_primitive_desc_t *out);
/* FORWARD of training in bf16: the layout in which the weights' gradient comes is that to store
 * them in; into DWEIGHT. */
void dnn_conv_storage(const struct dnn_conv_request *r, pn_task *t);
pn_status dnn_conv_exec(const struct dnn_conv_request *r, const_dnnl_primitive_desc_t pd,
                        struct dnn_exec *out);
/* Evaluation: conv + norm [+ add] [+ ReLU], and conv + add: one primitive, the rest as post-ops. */
bool dnn_conv_norm_fits(const pn_task *t);
pn_status dnn_conv_norm_prepare(pn_device *d, pn_task *t, pn_kernel *out);
/* Chains of conv, ReLU and max-pool. */
pn_status dnn_conv_pool_prepare(pn_device *d, pn_task *t, pn_kernel *out);
/* BACKWARD_DATA from the chain's diff, also where oneDNN is slow with that layout. */
pn_status dnn_conv_pool_data(pn_device *d, pn_task *t, pn_kernel *out);
/* One pass of the convolution alone; ReLU after it where the chain is of two. */
pn_status dnn_conv_single_prepare(pn_device *d, pn_task *t, pn_kernel *out);
/* BACKWARD_POST through ReLU and pool: DDST -> DMID. */
pn_status dnn_pool_post(pn_device *d, pn_task *t, pn_kernel *out);

/* Backward of conv + ReLU + pool without the zeros of the diff; asked before the passes above. */
bool dnn_pool_grad_fits(const pn_task *t);
pn_status dnn_pool_grad_prepare(pn_device *d, pn_task *t, pn_kernel *out);
/* bf16 convolutions and dense layers, with ReLU, by our own tile kernels. */
bool dnn_tiles(void); /* the processor and oneDNN's limit allow them */
bool dnn_amx_fits(const pn_task *t);
bool dnn_columns_fits(const pn_task *t); /* forward and weights of a first layer */
pn_status dnn_columns_prepare(pn_device *d, pn_task *t, pn_kernel *out);
bool dnn_amx_fits_shorter(const pn_task *t); /* without the pool at its end */
pn_status dnn_amx_prepare(pn_device *d, pn_task *t, pn_kernel *out);

/* Our own conv + ReLU + pool for a first layer. */
bool dnn_small_conv_fits(const pn_task *t);
pn_status dnn_small_conv_prepare(pn_device *d, pn_task *t, pn_kernel *out);
/* Floats in the widest vector that oneDNN's limit allows: 16, 8, or 4. */
int dnn_lanes(void);

/* Preparation of one kind of chain; UNSUPPORTED: not this one. */
pn_status dnn_conv_prepare(pn_device *d, pn_task *t, pn_kernel *out);
pn_status dnn_dense_prepare(pn_device *d, pn_task *t, pn_kernel *out);
/* inputs: of an image, padding of the layout included; the task has its layouts. */
pn_status dnn_dense_bf16_prepare(pn_device *d, pn_task *t, int64_t inputs, pn_kernel *out);
pn_status dnn_norm_prepare(pn_device *d, pn_task *t, pn_kernel *out);
pn_status dnn_planes_prepare(pn_device *d, pn_task *t, pn_kernel *out);
pn_status dnn_concat_prepare(pn_device *d, pn_task *t, pn_kernel *out);
pn_status dnn_activation_prepare(pn_device *d, pn_task *t, pn_kernel *out);
pn_status dnn_relu_prepare(pn_device *d, pn_task *t, pn_kernel *out);
pn_status dnn_pool_prepare(pn_device *d, pn_task *t, pn_kernel *out);
pn_status dnn_dropout_prepare(pn_device *d, pn_task *t, pn_kernel *out);
pn_status dnn_reorder(pn_device *d, const pn_layout *from, const pn_layout *to, pn_kernel *out);
/* BACKWARD_POST of a chain that ends in a ReLU: diff of the chain -> diff of its first output. */
pn_status dnn_relu_post(pn_device *d, pn_task *t, pn_kernel *out);

#endif
