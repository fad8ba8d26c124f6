/* cudnn.c -- convolutions by cuDNN 9, opened when the program runs.
 *
 * The convolution calls of its first interface, not the graph API: one call per pass with an
 * algorithm number, about a tenth of the code, and the numbers can be searched for and kept
 * (algorithms.h).  Bias and ReLU follow as one kernel of our own. */
#include "../algorithms.h"
#include "gpu.h"

#include <cudnn.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* What is called of the library; F(field, function). */
#define FUNCTIONS(F)                                                                               \
  F(create, cudnnCreate)                                                                           \
  F(destroy, cudnnDestroy)                                                                         \
  F(error, cudnnGetErrorString)                                                                    \
  F(version, cudnnGetVersion)                                                                      \
  F(set_stream, cudnnSetStream)                                                                    \
  F(tensor_create, cudnnCreateTensorDescriptor)                                                    \
  F(tensor_set, cudnnSetTensor4dDescriptor)                                                        \
  F(tensor_destroy, cudnnDestroyTensorDescriptor)                                                  \
  F(filter_create, cudnnCreateFilterDescriptor)                                                    \
  F(filter_set, cudnnSetFilter4dDescriptor)                                                        \
  F(filter_destroy, cudnnDestroyFilterDescriptor)                                                  \
  F(conv_create, cudnnCreateConvolutionDescriptor)                                                 \
  F(conv_set, cudnnSetConvolution2dDescriptor)                                                     \
  F(conv_math, cudnnSetConvolutionMathType)                                                        \
  F(conv_destroy, cudnnDestroyConvolutionDescriptor)                                               \
  F(find_forward, cudnnFindConvolutionForwardAlgorithm)                                            \
  F(find_data, cudnnFindConvolutionBackwardDataAlgorithm)                                          \
  F(find_weight, cudnnFindConvolutionBackwardFilterAlgorithm)                                      \
  F(forward, cudnnConvolutionForward)                                                              \
  F(data, cudnnConvolutionBackwardData)                                                            \
  F(weight, cudnnConvolutionBackwardFilter)

struct cu_dnn {
  void *library;
  cudnnHandle_t handle;
  cu_gpu_state *gpu; /* borrowed */
  struct {
#define FIELD(field, function) __typeof__(&function) field;
    FUNCTIONS(FIELD)
  } call;
};

/* One prepared convolution. */
struct conv {
  struct cu_dnn *dnn; /* borrowed */
  pn_pass pass;
  cudnnTensorDescriptor_t x, y;
  cudnnFilterDescriptor_t w;
  cudnnConvolutionDescriptor_t conv;
  cu_algorithm algorithm;
};

static pn_status check(const struct cu_dnn *d, cudnnStatus_t rc, const char *what) {
  if (rc == CUDNN_STATUS_SUCCESS) return PN_OK;
  return PN_FAIL(rc == CUDNN_STATUS_ALLOC_FAILED ? PN_ERR_NOMEM : PN_ERR_DEVICE, "cuDNN: %s: %s",
                 what, d->call.error(rc));
}

void cu_dnn_destroy(struct cu_dnn *d) {
  if (!d) return;
  if (d->handle) d->call.destroy(d->handle);
  if (d->library) dlclose(d->library);
  free(d);
}

pn_status cu_dnn_create(cu_gpu_state *g, struct cu_dnn **out) {
  static const char *const names[] = {"libcudnn.so.9", "/usr/local/cuda/lib64/libcudnn.so.9", NULL};
  struct cu_dnn *d = calloc(1, sizeof *d);
  const cu_symbol symbols[] = {
#define SYMBOL(field, function) {#function, d ? &d->call.field : NULL},
      FUNCTIONS(SYMBOL)};
  pn_status st = PN_OK;

  *out = NULL;
  if (!d) return PN_FAIL(PN_ERR_NOMEM, "cuDNN");
  d->gpu = g;
  if (!(d->library = cu_library(names))) goto done;
  PN_TRY(cu_symbols(d->library, symbols, (int)(sizeof symbols / sizeof *symbols)));
  PN_TRY(check(d, d->call.create(&d->handle), "cudnnCreate"));
  PN_TRY(check(d, d->call.set_stream(d->handle, g->stream), "cudnnSetStream"));
  *out = d;
  d = NULL;
done:
  cu_dnn_destroy(d);
  return st;
}

static void conv_destroy(void *plan) {
  struct conv *c = plan;
  if (!c) return;
  if (c->x) c->dnn->call.tensor_destroy(c->x);
  if (c->y) c->dnn->call.tensor_destroy(c->y);
  if (c->w) c->dnn->call.filter_destroy(c->w);
  if (c->conv) c->dnn->call.conv_destroy(c->conv);
  free(c);
}

static pn_status make_tensor(struct cu_dnn *d, const uint32_t dim[4],
                             cudnnTensorDescriptor_t *out) {
  pn_status st;

  PN_TRY(check(d, d->call.tensor_create(out), "tensor"));
  PN_TRY(check(d,
               d->call.tensor_set(*out, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, (int)dim[0],
                                  (int)dim[1], (int)dim[2], (int)dim[3]),
               "tensor"));
done:
  return st;
}

static pn_status describe(struct conv *c, const cu_conv *s) {
  struct cu_dnn *d = c->dnn;
  const uint32_t in[4] = {s->n, s->c, s->h, s->w}, result[4] = {s->n, s->o, s->oh, s->ow};
  pn_status st;

  PN_TRY(make_tensor(d, in, &c->x));
  PN_TRY(make_tensor(d, result, &c->y));
  PN_TRY(check(d, d->call.filter_create(&c->w), "filter"));
  PN_TRY(check(d,
               d->call.filter_set(c->w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, (int)s->o, (int)s->c,
                                  s->kernel[0], s->kernel[1]),
               "filter"));
  PN_TRY(check(d, d->call.conv_create(&c->conv), "convolution"));
  PN_TRY(check(d,
               d->call.conv_set(c->conv, s->pad[0], s->pad[1], s->stride[0], s->stride[1], 1, 1,
                                CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
               "convolution"));
  PN_TRY(check(d, d->call.conv_math(c->conv, d->gpu->tf32 ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH),
               "math type"));
done:
  return st;
}

/* The fastest of those measured that gives the same bits every time and takes at most MOST_BYTES.
 */
enum { TRIED = 10, MOST_BYTES = 1 << 30 };
#define TAKE_BEST(list, n, algorithm)                                                              \
  for (int i = 0; i < (n); i++)                                                                    \
    if ((list)[i].status == CUDNN_STATUS_SUCCESS &&                                                \
        (list)[i].determinism == CUDNN_DETERMINISTIC && (list)[i].memory <= MOST_BYTES) {          \
      *(algorithm) =                                                                               \
          (cu_algorithm){(int)(list)[i].algo, (int)(list)[i].mathType, (list)[i].memory};          \
      return PN_OK;                                                                                \
    }

static pn_status search(struct conv *c, cu_algorithm *out) {
  struct cu_dnn *d = c->dnn;
  cudnnConvolutionFwdAlgoPerf_t forward[TRIED];
  cudnnConvolutionBwdDataAlgoPerf_t data[TRIED];
  cudnnConvolutionBwdFilterAlgoPerf_t weight[TRIED];
  int n = 0;
  pn_status st;

  if (c->pass == PN_FORWARD) {
    PN_TRY(check(d, d->call.find_forward(d->handle, c->x, c->w, c->conv, c->y, TRIED, &n, forward),
                 "search, forward"));
    TAKE_BEST(forward, n, out)
  } else if (c->pass == PN_BACKWARD_DATA) {
    PN_TRY(check(d, d->call.find_data(d->handle, c->w, c->y, c->conv, c->x, TRIED, &n, data),
                 "search, data"));
    TAKE_BEST(data, n, out)
  } else {
    PN_TRY(check(d, d->call.find_weight(d->handle, c->x, c->y, c->conv, c->w, TRIED, &n, weight),
                 "search, weights"));
    TAKE_BEST(weight, n, out)
  }
  st = PN_FAIL(PN_ERR_UNSUPPORTED, "cuDNN: no algorithm");
done:
  return st;
}

static pn_status choose(struct conv *c, const cu_conv_job *job) {
  struct cu_dnn *d = c->dnn;
  char key[CU_KEY_BYTES];
  pn_status st = PN_OK;

  cu_algorithm_key(d->gpu->name, (int64_t)d->call.version(), d->gpu->tf32, job, key);
  if (!cu_algorithm_find(key, &c->algorithm)) {
    PN_TRY(search(c, &c->algorithm));
    cu_algorithm_keep(key, &c->algorithm);
  }
  if (!d->gpu->tf32) c->algorithm.math = CUDNN_FMA_MATH; /* whatever the search calls it */
  PN_TRY(check(d, d->call.conv_math(c->conv, (cudnnMathType_t)c->algorithm.math), "math type"));
done:
  return st;
}

static pn_status conv_run(void *plan, const cu_operands *o) {
  static const float one = 1.0f, zero = 0.0f;
  struct conv *c = plan;
  struct cu_dnn *d = c->dnn;
  size_t bytes = c->algorithm.bytes;
  cudnnStatus_t rc;

  if (c->pass == PN_FORWARD)
    rc = d->call.forward(d->handle, &one, c->x, o->x, c->w, o->w, c->conv,
                         (cudnnConvolutionFwdAlgo_t)c->algorithm.number, o->scratch, bytes, &zero,
                         c->y, o->y);
  else if (c->pass == PN_BACKWARD_DATA)
    rc = d->call.data(d->handle, &one, c->w, o->w, c->y, o->y, c->conv,
                      (cudnnConvolutionBwdDataAlgo_t)c->algorithm.number, o->scratch, bytes, &zero,
                      c->x, o->x);
  else
    rc = d->call.weight(d->handle, &one, c->x, o->x, c->y, o->y, c->conv,
                        (cudnnConvolutionBwdFilterAlgo_t)c->algorithm.number, o->scratch, bytes,
                        &zero, c->w, o->w);
  return check(d, rc, "convolution");
}

pn_status cu_dnn_conv(void *impl, const cu_conv_job *job, cu_call *out) {
  cu_gpu_state *g = impl;
  struct conv *c = calloc(1, sizeof *c);
  pn_status st = PN_OK;

  *out = (cu_call){.run = NULL};
  if (job->type != PN_F32) {
    free(c);
    return PN_ERR_UNSUPPORTED;
  }
  if (!c) return PN_FAIL(PN_ERR_NOMEM, "cuDNN: convolution");
  c->dnn = g->dnn;
  c->pass = job->pass;
  PN_TRY(describe(c, &job->shape));
  PN_TRY(choose(c, job));
  *out = (cu_call){
      .run = conv_run, .destroy = conv_destroy, .plan = c, .scratch_bytes = c->algorithm.bytes};
  snprintf(out->impl, sizeof out->impl, "cudnn:%d%s", c->algorithm.number,
           c->algorithm.math == CUDNN_FMA_MATH ? "" : ":tensor");
  c = NULL;
done:
  conv_destroy(c);
  return st;
}
