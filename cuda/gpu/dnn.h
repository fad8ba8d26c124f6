/* dnn.h -- inside the GPU backend: one convolution, or its backward pass, as a graph of cuDNN 9.
 *
 * A graph is described without a GPU; candidates to run it are listed for the GPU of the handle, or
 * for one that is described in JSON (tests). */
#ifndef PN_CUDA_GPU_DNN_H
#define PN_CUDA_GPU_DNN_H

#include "gpu.h"

#include "../algorithms.h"

#include <cudnn.h>

/* What is called of the library; F(field, function). */
#define CU_DNN_FUNCTIONS(F)                                                                        \
  F(create, cudnnCreate)                                                                           \
  F(destroy, cudnnDestroy)                                                                         \
  F(error, cudnnGetErrorString)                                                                    \
  F(detail, cudnnGetLastErrorString)                                                               \
  F(version, cudnnGetVersion)                                                                      \
  F(set_stream, cudnnSetStream)                                                                    \
  F(make, cudnnBackendCreateDescriptor)                                                            \
  F(drop, cudnnBackendDestroyDescriptor)                                                           \
  F(finalize, cudnnBackendFinalize)                                                                \
  F(set, cudnnBackendSetAttribute)                                                                 \
  F(get, cudnnBackendGetAttribute)                                                                 \
  F(execute, cudnnBackendExecute)

typedef cudnnBackendDescriptor_t cu_desc;

struct cu_dnn {
  void *library;
  cudnnHandle_t handle; /* NULL: no GPU, `described` instead */
  cu_desc described;    /* owned */
  bool tf32, loose;     /* see pn_device_spec */
  cu_gpu_state *gpu;    /* borrowed */
  struct {
#define FIELD(field, function) __typeof__(&function) field;
    CU_DNN_FUNCTIONS(FIELD)
#undef FIELD
  } call;
};

/* The library alone; *out NULL where it is not there. */
pn_status cu_dnn_load(struct cu_dnn **out);
/* DEVICE, NOMEM, or UNSUPPORTED: no engine for it. */
pn_status cu_dnn_check(const struct cu_dnn *d, cudnnStatus_t rc, const char *what);
/* Sets one attribute of n elements; creates and finalizes. */
pn_status cu_dnn_set(const struct cu_dnn *d, cu_desc to, cudnnBackendAttributeName_t name,
                     cudnnBackendAttributeType_t type, int64_t n, const void *value);
pn_status cu_dnn_make(const struct cu_dnn *d, cudnnBackendDescriptorType_t type, cu_desc *out);
pn_status cu_dnn_finish(const struct cu_dnn *d, cu_desc x, const char *what);

/* Of tensors, in a run. */
enum { CU_UID_X = 1, CU_UID_W, CU_UID_Y, CU_UID_BIAS, CU_UID_SUM, CU_UID_SQUARES, CU_UID_INSIDE };

enum { CU_DNN_DESCS = 16, CU_DNN_OPS = 3 };
typedef struct {
  const struct cu_dnn *dnn;   /* borrowed */
  cu_desc made[CU_DNN_DESCS]; /* owned */
  int n_made;
  cu_desc op[CU_DNN_OPS]; /* among them */
  int n_ops;
  cu_desc graph; /* owned */
} cu_dnn_graph;

/* conv [+ bias] [+ ReLU], conv and the sums of what it writes, or a backward pass; all tensors of
 * job->type, also the diff of the weight, but the sums are f32.  *g is to be freed, on errors too.
 */
pn_status cu_dnn_graph_make(const struct cu_dnn *d, const cu_conv_job *job, cu_dnn_graph *g);
void cu_dnn_graph_free(cu_dnn_graph *g);

/* Engines with their settings, the most promising first: those that give the same bits every time
 * (unless d->loose), and in f32 without tf32 do not round their inputs.  job: of the graph. */
enum { CU_DNN_CHOICES = 48 };
typedef struct {
  cu_desc config[CU_DNN_CHOICES]; /* owned */
  int engine[CU_DNN_CHOICES];     /* the library's number of it */
  int n;
} cu_dnn_choices;
pn_status cu_dnn_choices_find(const struct cu_dnn *d, cu_desc graph, const cu_conv_job *job,
                              cu_dnn_choices *out); /* to be freed, on errors too */
void cu_dnn_choices_free(const struct cu_dnn *d, cu_dnn_choices *c);

/* Ready to run, maybe compiled here and now.  *plan owned by the caller (call.drop). */
pn_status cu_dnn_plan(const struct cu_dnn *d, cu_desc config, cu_desc *plan, size_t *bytes);

/* One prepared convolution.  The plan looks into its graph and its engine's settings. */
typedef struct {
  struct cu_dnn *dnn; /* borrowed */
  cu_conv_job job;
  cu_dnn_graph graph;
  cu_dnn_choices choices; /* of these only the one chosen is kept */
  cu_desc plan, pack;     /* pack: the pointers of the last run; owned */
  cu_operands last;
  bool timed;             /* by this search, not an earlier one */
  cu_algorithm algorithm; /* number: place among the choices; math: the engine's number */
} cu_prepared;

pn_status cu_dnn_run(void *prepared, const cu_operands *o);
/* The fastest of the engines in c->choices, by what the file says or by a search, as c->plan.
 * UNSUPPORTED: there is none, or cu_dnn_weigh once decided against it. */
pn_status cu_dnn_choose(cu_prepared *c);
/* Times c, with its sums, against `plain` and sums of our own after it.  UNSUPPORTED: these are
 * faster, which is kept. */
pn_status cu_dnn_weigh(cu_prepared *c, cu_prepared *plain);

#endif
