/* dnn_graph.c -- descriptors of a convolution's graph. */
#include "dnn.h"

#include <string.h>

pn_status cu_dnn_check(const struct cu_dnn *d, cudnnStatus_t rc, const char *what) {
  char detail[256] = "";

  if (rc == CUDNN_STATUS_SUCCESS) return PN_OK;
  d->call.detail(detail, sizeof detail);
  return PN_FAIL(rc / 1000 == CUDNN_STATUS_NOT_SUPPORTED / 1000             ? PN_ERR_UNSUPPORTED
                 : rc == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ? PN_ERR_NOMEM
                                                                            : PN_ERR_DEVICE,
                 "cuDNN: %s: %s: %s", what, d->call.error(rc), detail);
}

pn_status cu_dnn_set(const struct cu_dnn *d, cu_desc to, cudnnBackendAttributeName_t name,
                     cudnnBackendAttributeType_t type, int64_t n, const void *value) {
  return cu_dnn_check(d, d->call.set(to, name, type, n, value), "attribute");
}

pn_status cu_dnn_make(const struct cu_dnn *d, cudnnBackendDescriptorType_t type, cu_desc *out) {
  return cu_dnn_check(d, d->call.make(type, out), "descriptor");
}

pn_status cu_dnn_finish(const struct cu_dnn *d, cu_desc x, const char *what) {
  return cu_dnn_check(d, d->call.finalize(x), what);
}

static pn_status set_desc(const cu_dnn_graph *g, cu_desc to, cudnnBackendAttributeName_t name,
                          cu_desc value) {
  return cu_dnn_set(g->dnn, to, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

/* A descriptor that the graph owns. */
static pn_status add(cu_dnn_graph *g, cudnnBackendDescriptorType_t type, cu_desc *out) {
  pn_status st = cu_dnn_make(g->dnn, type, out);
  if (st == PN_OK) g->made[g->n_made++] = *out;
  return st;
}

/* Dimensions N C H W in channels-last memory.  Tensors inside the graph have no memory. */
struct tensor {
  int64_t uid, dim[4];
  cudnnDataType_t type;
  bool inside;
};

static pn_status add_tensor(cu_dnn_graph *g, const struct tensor *t, cu_desc *out) {
  const struct cu_dnn *d = g->dnn;
  const int64_t *n = t->dim, stride[4] = {n[1] * n[2] * n[3], 1, n[3] * n[1], n[1]}, align = 16;
  pn_status st;

  PN_TRY(add(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR, out));
  PN_TRY(cu_dnn_set(d, *out, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &t->uid));
  PN_TRY(cu_dnn_set(d, *out, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &t->type));
  PN_TRY(cu_dnn_set(d, *out, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, n));
  PN_TRY(cu_dnn_set(d, *out, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride));
  PN_TRY(cu_dnn_set(d, *out, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align));
  PN_TRY(cu_dnn_set(d, *out, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &t->inside));
  PN_TRY(cu_dnn_finish(d, *out, "tensor"));
done:
  return st;
}

static cudnnDataType_t data_type(pn_dtype t) {
  return t == PN_BF16 ? CUDNN_DATA_BFLOAT16 : t == PN_FP16 ? CUDNN_DATA_HALF : CUDNN_DATA_FLOAT;
}

/* Padding is alike before and after; sums in f32. */
static pn_status add_window(cu_dnn_graph *g, const cu_conv *s, cu_desc *out) {
  const struct cu_dnn *d = g->dnn;
  const int64_t two = 2, one[2] = {1, 1};
  const int64_t stride[2] = {s->stride[0], s->stride[1]}, pad[2] = {s->pad[0], s->pad[1]};
  const cudnnDataType_t type = CUDNN_DATA_FLOAT;
  const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  pn_status st;

  PN_TRY(add(g, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, out));
  PN_TRY(cu_dnn_set(d, *out, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type));
  PN_TRY(
      cu_dnn_set(d, *out, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode));
  PN_TRY(cu_dnn_set(d, *out, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &two));
  PN_TRY(cu_dnn_set(d, *out, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, one));
  PN_TRY(cu_dnn_set(d, *out, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride));
  PN_TRY(cu_dnn_set(d, *out, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pad));
  PN_TRY(cu_dnn_set(d, *out, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pad));
  PN_TRY(cu_dnn_finish(d, *out, "window"));
done:
  return st;
}

/* Names of a convolution's attributes, by pass. */
static const struct pass_row {
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t x, w, y, window, alpha, beta;
} passes[PN_PASS_COUNT] = {
    [PN_FORWARD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    [PN_BACKWARD_WEIGHT] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
    [PN_BACKWARD_DATA] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
};

static pn_status add_convolution(cu_dnn_graph *g, const cu_conv_job *job, const cu_desc t[3]) {
  const struct pass_row *row = &passes[job->pass];
  const float one = 1.0f, zero = 0.0f;
  cu_desc window, op;
  pn_status st;

  PN_TRY(add_window(g, &job->shape, &window));
  PN_TRY(add(g, row->type, &op));
  PN_TRY(set_desc(g, op, row->x, t[0]));
  PN_TRY(set_desc(g, op, row->w, t[1]));
  PN_TRY(set_desc(g, op, row->y, t[2]));
  PN_TRY(set_desc(g, op, row->window, window));
  PN_TRY(cu_dnn_set(g->dnn, op, row->alpha, CUDNN_TYPE_FLOAT, 1, &one));
  PN_TRY(cu_dnn_set(g->dnn, op, row->beta, CUDNN_TYPE_FLOAT, 1, &zero));
  PN_TRY(cu_dnn_finish(g->dnn, op, "convolution"));
  g->op[g->n_ops++] = op;
done:
  return st;
}

/* to = from + bias, or the ReLU of from where bias is NULL. */
static pn_status add_pointwise(cu_dnn_graph *g, cu_desc from, cu_desc bias, cu_desc to) {
  const cudnnPointwiseMode_t mode = bias ? CUDNN_POINTWISE_ADD : CUDNN_POINTWISE_RELU_FWD;
  const cudnnDataType_t type = CUDNN_DATA_FLOAT;
  const struct cu_dnn *d = g->dnn;
  cu_desc what, op;
  pn_status st;

  PN_TRY(add(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, &what));
  PN_TRY(cu_dnn_set(d, what, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode));
  PN_TRY(cu_dnn_set(d, what, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type));
  PN_TRY(cu_dnn_finish(d, what, "function"));
  PN_TRY(add(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, &op));
  PN_TRY(set_desc(g, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, what));
  PN_TRY(set_desc(g, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, from));
  if (bias) PN_TRY(set_desc(g, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, bias));
  PN_TRY(set_desc(g, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, to));
  PN_TRY(cu_dnn_finish(d, op, "pointwise operation"));
  g->op[g->n_ops++] = op;
done:
  return st;
}

/* Sums, and sums of squares, of x's channels. */
static pn_status add_stats(cu_dnn_graph *g, const cu_conv *s, cu_desc x) {
  const struct tensor sum = {CU_UID_SUM, {1, s->o, 1, 1}, CUDNN_DATA_FLOAT, false};
  const struct tensor squares = {CU_UID_SQUARES, {1, s->o, 1, 1}, CUDNN_DATA_FLOAT, false};
  const cudnnGenStatsMode_t mode = CUDNN_GENSTATS_SUM_SQSUM;
  const cudnnDataType_t type = CUDNN_DATA_FLOAT;
  const struct cu_dnn *d = g->dnn;
  cu_desc t[2], op;
  pn_status st;

  PN_TRY(add_tensor(g, &sum, &t[0]));
  PN_TRY(add_tensor(g, &squares, &t[1]));
  PN_TRY(add(g, CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR, &op));
  PN_TRY(cu_dnn_set(d, op, CUDNN_ATTR_OPERATION_GENSTATS_MODE, CUDNN_TYPE_GENSTATS_MODE, 1, &mode));
  PN_TRY(
      cu_dnn_set(d, op, CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type));
  PN_TRY(set_desc(g, op, CUDNN_ATTR_OPERATION_GENSTATS_XDESC, x));
  PN_TRY(set_desc(g, op, CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, t[0]));
  PN_TRY(set_desc(g, op, CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC, t[1]));
  PN_TRY(cu_dnn_finish(d, op, "sums"));
  g->op[g->n_ops++] = op;
done:
  return st;
}

/* Between the operations results are f32 and stay in registers. */
static pn_status add_operations(cu_dnn_graph *g, const cu_conv_job *job) {
  const cu_conv *s = &job->shape;
  const cudnnDataType_t type = data_type(job->type);
  const struct tensor x = {CU_UID_X, {s->n, s->c, s->h, s->w}, type, false};
  const struct tensor w = {CU_UID_W, {s->o, s->c, s->kernel[0], s->kernel[1]}, type, false};
  const struct tensor y = {CU_UID_Y, {s->n, s->o, s->oh, s->ow}, type, false};
  const struct tensor b = {CU_UID_BIAS, {1, s->o, 1, 1}, type, false};
  struct tensor inside = y;
  bool forward = job->pass == PN_FORWARD, bias = forward && job->bias;
  bool relu = forward && job->relu;
  cu_desc t[3], end, vector, step;
  pn_status st;

  inside.inside = true;
  inside.type = CUDNN_DATA_FLOAT;
  inside.uid = CU_UID_INSIDE;
  PN_TRY(add_tensor(g, &x, &t[0]));
  PN_TRY(add_tensor(g, &w, &t[1]));
  PN_TRY(add_tensor(g, &y, &end));
  t[2] = end;
  if (bias || relu) PN_TRY(add_tensor(g, &inside, &t[2]));
  PN_TRY(add_convolution(g, job, t));
  step = t[2];
  if (bias) {
    inside.uid++;
    PN_TRY(add_tensor(g, &b, &vector));
    if (relu) PN_TRY(add_tensor(g, &inside, &step));
    PN_TRY(add_pointwise(g, t[2], vector, relu ? step : end));
  }
  if (relu) PN_TRY(add_pointwise(g, step, NULL, end));
  if (job->stats) PN_TRY(add_stats(g, s, end));
done:
  return st;
}

pn_status cu_dnn_graph_make(const struct cu_dnn *d, const cu_conv_job *job, cu_dnn_graph *g) {
  pn_status st;

  memset(g, 0, sizeof *g);
  g->dnn = d;
  PN_TRY(add_operations(g, job));
  PN_TRY(cu_dnn_make(d, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &g->graph));
  PN_TRY(cu_dnn_set(d, g->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                    g->n_ops, g->op));
  if (d->handle)
    PN_TRY(cu_dnn_set(d, g->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1,
                      &d->handle));
  PN_TRY(cu_dnn_finish(d, g->graph, "graph"));
done:
  return st;
}

void cu_dnn_graph_free(cu_dnn_graph *g) {
  if (g->graph) g->dnn->call.drop(g->graph);
  while (g->n_made > 0) g->dnn->call.drop(g->made[--g->n_made]);
  memset(g, 0, sizeof *g);
}
