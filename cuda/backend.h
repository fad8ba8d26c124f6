/* backend.h -- what the CUDA device stands on: memory, transfers, kernels, and the libraries.  Two
 * of them: the GPU (gpu/) and its emulation on the CPU (emulated.c). */
#ifndef PN_CUDA_BACKEND_H
#define PN_CUDA_BACKEND_H

#include "device/device.h"
#include "kernels.h"

/* A convolution for a library: N H W C, weight O KH KW I, symmetric padding. */
typedef struct {
  pn_pass pass; /* FORWARD, BACKWARD_WEIGHT or BACKWARD_DATA */
  pn_dtype type;
  bool bias, relu; /* FORWARD */
  bool stats;      /* FORWARD, without the two: sums and sums of squares of y's channels as well */
  cu_conv shape;
} cu_conv_job;

/* A dense layer: x [batch][in], weight [out][in], y [batch][out].  FORWARD: y = x W^T (+ bias)
 * (ReLU); BACKWARD_DATA: dx = dy W; BACKWARD_WEIGHT: dW = dy^T x, and with bias its diff, the sums
 * of dy.  All of `type` but these two, which are f32, and y where f32_out says so. */
typedef struct {
  pn_pass pass;
  pn_dtype type;
  bool f32_out; /* FORWARD */
  int64_t batch, in, out;
  bool bias, relu;
} cu_dense_job;

/* x, w, y: input, weight, output of the layer, or their diffs; so is bias.  stats: f32 [2][C]. */
typedef struct {
  void *bias, *stats;
  void *x, *w, *y, *scratch;
} cu_operands;

/* A prepared call of a library. */
typedef struct {
  pn_status (*run)(void *plan, const cu_operands *o);
  void (*destroy)(void *plan);
  void *plan; /* owned */
  size_t scratch_bytes;
  bool complete;    /* FORWARD: bias and ReLU are done too, always so where f32_out asks for another
                       type than that of the products; BACKWARD_WEIGHT: the bias's diff too */
  bool half_weight; /* BACKWARD_WEIGHT: the diff is in `type`, not in f32 */
  bool half_bias;   /* FORWARD, complete: the bias is wanted in the type of y */
  bool stats;       /* FORWARD: made, as was asked for */
  char impl[PN_IMPL_BYTES];
} cu_call;

/* All queue work in one order; upload and download are for the host's eyes: the host may reuse or
 * read its side when they return. */
typedef struct {
  const char *name;
  pn_status (*create)(const pn_device_spec *spec, void **impl);
  void (*destroy)(void *impl);
  pn_status (*alloc)(void *impl, size_t bytes, void **out); /* far, 256-byte aligned, zeroed */
  void (*free)(void *impl, void *p);
  int64_t (*available)(void *impl);                              /* far bytes; < 0: not known */
  pn_status (*host_alloc)(void *impl, size_t bytes, void **out); /* for fast transfers, zeroed */
  void (*host_free)(void *impl, void *p);
  pn_status (*upload)(void *impl, void *far, const void *host, size_t bytes);
  pn_status (*download)(void *impl, void *host, const void *far, size_t bytes);
  /* See pn_far_ops. */
  pn_status (*send)(void *impl, void *far, const void *host, size_t bytes);
  pn_status (*fetch)(void *impl, void *host, const void *far, size_t bytes);
  pn_status (*copy)(void *impl, void *to, const void *from, size_t bytes);
  pn_status (*mark_create)(void *impl, void **mark);
  void (*mark_destroy)(void *impl, void *mark);
  pn_status (*mark_set)(void *impl, void *mark);
  pn_status (*mark_passed)(void *impl, void *mark, bool *passed);
  pn_status (*mark_between)(void *impl, void *from, void *to, double *seconds);
  void *(*queue)(void *impl);
  /* n groups of elements; form: CU_F32, CU_BF16 or CU_FP16, with CU_WIDE groups of 16 bytes.  args:
   * the kernel's struct, copied. */
  pn_status (*launch)(void *impl, cu_kernel k, int form, const void *args, uint32_t n);
  pn_status (*copy_begin)(void *impl, int lane, void *far, const void *host, size_t bytes);
  pn_status (*copy_arrive)(void *impl, int lane); /* see pn_image_ops */
  pn_status (*copy_done)(void *impl, int lane);
  pn_status (*copy_settle)(void *impl, int lane);
  pn_status (*capture_begin)(void *impl); /* see pn_far_ops */
  pn_status (*capture_end)(void *impl, void **graph);
  pn_status (*replay)(void *impl, void *graph);
  void (*forget)(void *impl, void *graph);
  /* UNSUPPORTED: use the own kernels.  NULL: no library at all. */
  pn_status (*conv)(void *impl, const cu_conv_job *job, cu_call *out);
  pn_status (*dense)(void *impl, const cu_dense_job *job, cu_call *out);
  const char *(*bus)(void *impl);      /* PCI address; NULL: it has none */
  const char *(*describe)(void *impl); /* NULL: the name says it */
} cu_backend;

extern const cu_backend cu_emulated;
extern const cu_backend cu_gpu; /* with PN_WITH_CUDA */

#endif
