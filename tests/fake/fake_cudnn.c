/* fake_cudnn.c -- a libcudnn.so.9 for tests: keeps the attributes of every descriptor, checks that
 * the parts of a graph fit, lists made-up engines, and runs plans in the order of the stream
 * (fake_cudart.h), element by element with the strides that it was given.
 *
 * Engines: see `engines` below.  FAKE_CUDNN=none: no engine for anything; single: none for graphs
 * of several operations. */
#include "fake_cudnn.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ATTRIBUTES = 16, MOST_VALUES = 8 };

typedef struct {
  cudnnBackendAttributeName_t name;
  cudnnBackendAttributeType_t type;
  int64_t n;
  union {
    int64_t i[MOST_VALUES];
    void *p[MOST_VALUES];
    float f;
    bool b;
    int e;
  } v;
} attribute;

typedef struct {
  cudnnBackendDescriptorType_t type;
  bool finished;
  int n, engine;
  attribute a[MOST_ATTRIBUTES];
} desc;

static const struct engine {
  cudnnBackendNumericalNote_t note; /* -1: none */
  bool full_only, fallback, fails, wild, compiled;
  int64_t bytes;
} engines[] = {
    {CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC, .wild = true},
    {CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS, .full_only = true, .wild = true},
    {CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION, .wild = true},
    {(cudnnBackendNumericalNote_t)-1, .fails = true},
    {(cudnnBackendNumericalNote_t)-1, .compiled = true, .bytes = 70000},
    {(cudnnBackendNumericalNote_t)-1, .bytes = 3000},
    {(cudnnBackendNumericalNote_t)-1, .bytes = (int64_t)2 << 30},
    {(cudnnBackendNumericalNote_t)-1, .fallback = true},
};
enum { N_ENGINES = sizeof engines / sizeof *engines };

static char said[256];
static cudaStream_t stream;
static int handle;

static cudnnStatus_t refuse(cudnnStatus_t rc, const char *why) {
  snprintf(said, sizeof said, "%s", why);
  return rc;
}

const char *cudnnGetErrorString(cudnnStatus_t rc) {
  return rc == CUDNN_STATUS_SUCCESS ? "success" : "refused by the fake";
}

void cudnnGetLastErrorString(char *out, size_t bytes) {
  snprintf(out, bytes, "%s", said);
}

size_t cudnnGetVersion(void) {
  return CUDNN_VERSION;
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *out) {
  *out = (cudnnHandle_t)(void *)&handle;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t h) {
  return (void *)h == &handle ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t h, cudaStream_t s) {
  stream = s;
  return cudnnDestroy(h);
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t *out) {
  desc *d = calloc(1, sizeof *d);

  *out = d;
  if (!d) return CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED;
  d->type = type;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d) {
  free(d);
  return CUDNN_STATUS_SUCCESS;
}

static size_t bytes_of(cudnnBackendAttributeType_t type) {
  switch (type) {
  case CUDNN_TYPE_INT64:
    return sizeof(int64_t);
  case CUDNN_TYPE_BACKEND_DESCRIPTOR:
  case CUDNN_TYPE_HANDLE:
  case CUDNN_TYPE_VOID_PTR:
    return sizeof(void *);
  case CUDNN_TYPE_BOOLEAN:
    return sizeof(bool);
  default:
    return sizeof(int); /* enumerations and f32 */
  }
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t to,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t n,
                                       const void *value) {
  desc *d = to;
  attribute *a = &d->a[d->n];

  if (d->finished) return refuse(CUDNN_STATUS_BAD_PARAM, "attribute of a finished descriptor");
  if (d->n == MOST_ATTRIBUTES || n < 1 || n > MOST_VALUES)
    return refuse(CUDNN_STATUS_BAD_PARAM, "number of values");
  for (int i = 0; i < d->n; i++)
    if (d->a[i].name == name) return refuse(CUDNN_STATUS_BAD_PARAM, "an attribute set twice");
  *a = (attribute){.name = name, .type = type, .n = n};
  memcpy(&a->v, value, (size_t)n * bytes_of(type));
  d->n++;
  return CUDNN_STATUS_SUCCESS;
}

static const attribute *find(const desc *d, cudnnBackendAttributeName_t name) {
  for (int i = 0; d && i < d->n; i++)
    if (d->a[i].name == name) return &d->a[i];
  return NULL;
}

static const desc *part(const desc *d, cudnnBackendAttributeName_t name) {
  const attribute *a = find(d, name);
  return a && a->type == CUDNN_TYPE_BACKEND_DESCRIPTOR ? a->v.p[0] : NULL;
}

static bool read_tensor(const desc *d, tensor *out) {
  const attribute *uid = find(d, CUDNN_ATTR_TENSOR_UNIQUE_ID);
  const attribute *type = find(d, CUDNN_ATTR_TENSOR_DATA_TYPE);
  const attribute *dim = find(d, CUDNN_ATTR_TENSOR_DIMENSIONS);
  const attribute *stride = find(d, CUDNN_ATTR_TENSOR_STRIDES);
  const attribute *inside = find(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL);

  if (!d || !d->finished || !uid || !type || !dim || !stride || dim->n != 4 || stride->n != 4)
    return false;
  *out = (tensor){
      .uid = uid->v.i[0], .type = (cudnnDataType_t)type->v.e, .inside = inside && inside->v.b};
  memcpy(out->dim, dim->v.i, sizeof out->dim);
  memcpy(out->stride, stride->v.i, sizeof out->stride);
  return true;
}

static const struct row {
  cudnnBackendDescriptorType_t kind;
  cudnnBackendAttributeName_t t[3], with;
} rows[] = {
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
     {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y},
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
     {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY},
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
     {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY},
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR,
     {CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
      CUDNN_ATTR_OPERATION_POINTWISE_YDESC},
     CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR},
    {CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR,
     {CUDNN_ATTR_OPERATION_GENSTATS_XDESC, CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC,
      CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC},
     CUDNN_ATTR_OPERATION_GENSTATS_MODE},
};

static const struct row *row_of(cudnnBackendDescriptorType_t kind) {
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (rows[i].kind == kind) return &rows[i];
  return NULL;
}

/* What a convolution's sizes must be. */
static bool conv_fits(const desc *window, operation *o) {
  const attribute *stride = find(window, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
  const attribute *before = find(window, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
  const attribute *after = find(window, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS);
  const int64_t *x = o->t[0].dim, *w = o->t[1].dim, *y = o->t[2].dim;

  if (!window || !window->finished || !stride || !before || !after) return false;
  if (x[0] != y[0] || x[1] != w[1] || y[1] != w[0]) return false;
  for (int i = 0; i < 2; i++) {
    o->stride[i] = stride->v.i[i];
    o->pad[i] = before->v.i[i];
    if (y[2 + i] != (x[2 + i] + o->pad[i] + after->v.i[i] - w[2 + i]) / o->stride[i] + 1)
      return false;
  }
  return true;
}

static bool read_operation(const desc *d, operation *o) {
  const struct row *row = d ? row_of(d->type) : NULL;
  const attribute *mode;

  if (!row || !d->finished) return false;
  *o = (operation){.kind = d->type};
  for (int i = 0; i < 3; i++) {
    const desc *t = part(d, row->t[i]);
    o->t[i].uid = -1;
    if (t && !read_tensor(t, &o->t[i])) return false;
    if (!t && !(row->kind == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR && i == 1)) return false;
  }
  if (fake_cudnn_is_conv(o)) return conv_fits(part(d, row->with), o);
  if (row->kind == CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR) return find(d, row->with) != NULL;
  if (!(mode = find(part(d, row->with), CUDNN_ATTR_POINTWISE_MODE))) return false;
  o->mode = (cudnnPointwiseMode_t)mode->v.e;
  return o->mode == CUDNN_POINTWISE_ADD ? o->t[1].uid >= 0 : o->mode == CUDNN_POINTWISE_RELU_FWD;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t x) {
  const char *mode = getenv("FAKE_CUDNN");
  desc *d = x;
  operation o;
  tensor t;

  d->finished = true;
  if (d->type == CUDNN_BACKEND_TENSOR_DESCRIPTOR && !read_tensor(d, &t))
    return refuse(CUDNN_STATUS_BAD_PARAM, "a tensor that is not complete");
  if (row_of(d->type) && !read_operation(d, &o))
    return refuse(CUDNN_STATUS_BAD_PARAM, "an operation that is not complete, or of wrong sizes");
  if (d->type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR && mode) {
    const attribute *ops =
        find(part(d, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH), CUDNN_ATTR_OPERATIONGRAPH_OPS);
    if (strcmp(mode, "none") == 0 || ops->n > 1)
      return refuse(CUDNN_STATUS_NOT_SUPPORTED, "no engine");
  }
  if (d->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
    const desc *config = part(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
    if (!config || !find(d, CUDNN_ATTR_EXECUTION_PLAN_HANDLE))
      return refuse(CUDNN_STATUS_BAD_PARAM, "a plan without engine or handle");
    if (engines[config->engine].fails) return refuse(CUDNN_STATUS_NOT_SUPPORTED, "not this engine");
  }
  return CUDNN_STATUS_SUCCESS;
}

static const desc *graph_of(const desc *config) {
  return part(config, CUDNN_ATTR_ENGINE_OPERATION_GRAPH);
}

static bool has_f32(const desc *graph) {
  operation o;
  return read_operation(find(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS)->v.p[0], &o) &&
         o.t[0].type == CUDNN_DATA_FLOAT;
}

/* Engines of one list, into the descriptors that were brought for them. */
static int64_t list_engines(const desc *heuristics, int64_t room, desc *const *out) {
  const desc *graph = part(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
  const attribute *mode = find(heuristics, CUDNN_ATTR_ENGINEHEUR_MODE);
  bool fallback = mode->v.e == CUDNN_HEUR_MODE_FALLBACK;
  int64_t n = 0;

  for (int i = 0; i < N_ENGINES && n < room; i++) {
    if (engines[i].fallback != fallback || (engines[i].full_only && !has_f32(graph))) continue;
    out[n]->engine = i;
    out[n]->n = 0;
    cudnnBackendSetAttribute(out[n], CUDNN_ATTR_ENGINE_OPERATION_GRAPH,
                             CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &graph);
    out[n++]->finished = true;
  }
  return n;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t from,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t room, int64_t *n,
                                       void *out) {
  const desc *d = from;
  const struct engine *e = &engines[d->engine];
  desc *const *to = out;

  *n = 1;
  if (!d->finished || room < 1) return refuse(CUDNN_STATUS_BAD_PARAM, "not finished");
  if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS)
    *n = list_engines(d, room, to);
  else if (name == CUDNN_ATTR_ENGINECFG_ENGINE) {
    to[0]->engine = d->engine;
    to[0]->finished = true;
  } else if (name == CUDNN_ATTR_ENGINE_GLOBAL_INDEX && type == CUDNN_TYPE_INT64)
    *(int64_t *)out = 40 + d->engine;
  else if (name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE) {
    *n = e->note != (cudnnBackendNumericalNote_t)-1;
    if (*n) *(cudnnBackendNumericalNote_t *)out = e->note;
  } else if (name == CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE) {
    *n = e->compiled;
    if (*n) *(cudnnBackendBehaviorNote_t *)out = CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
  } else if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)
    *(int64_t *)out = engines[part(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)->engine].bytes;
  else
    return refuse(CUDNN_STATUS_NOT_SUPPORTED, "an attribute that the fake does not know");
  return CUDNN_STATUS_SUCCESS;
}

/* Where tensor t lies; false: the pack does not say. */
static bool bind(const desc *pack, tensor *t) {
  const attribute *id = find(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const attribute *at = find(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);

  if (t->uid < 0 || t->inside) return true;
  for (int64_t i = 0; id && at && i < id->n && i < at->n; i++)
    if (id->v.i[i] == t->uid) t->at = at->v.p[i];
  return t->at != NULL && (uintptr_t)t->at % 16 == 0;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t h, cudnnBackendDescriptor_t of,
                                  cudnnBackendDescriptor_t with) {
  const desc *config = part(of, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG), *pack = with;
  const attribute *ops = find(graph_of(config), CUDNN_ATTR_OPERATIONGRAPH_OPS);
  const attribute *work = find(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
  const struct engine *e = &engines[config->engine];
  cudaError_t (*queue)(cudaStream_t, fake_work *, const void *, size_t);
  void *f = dlsym(RTLD_DEFAULT, "fake_cuda_queue");
  job q = {.n = (int)ops->n,
           .wild = e->wild,
           .restless = e->note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC,
           .bytes = (size_t)e->bytes};

  if ((void *)h != &handle || !f || !pack->finished || q.n > MOST_OPS)
    return refuse(CUDNN_STATUS_BAD_PARAM, "execution");
  q.workspace = work ? work->v.p[0] : NULL;
  if (q.bytes && (!q.workspace || (uintptr_t)q.workspace % 256 != 0))
    return refuse(CUDNN_STATUS_BAD_PARAM, "workspace");
  for (int i = 0; i < q.n; i++) {
    if (!read_operation(ops->v.p[i], &q.op[i])) return refuse(CUDNN_STATUS_BAD_PARAM, "operation");
    for (int k = 0; k < 3; k++)
      if (!bind(pack, &q.op[i].t[k]))
        return refuse(CUDNN_STATUS_BAD_PARAM, "a tensor without memory");
  }
  memcpy(&queue, &f, sizeof queue);
  return queue(stream, fake_cudnn_run, &q, sizeof q) == cudaSuccess ? CUDNN_STATUS_SUCCESS
                                                                    : CUDNN_STATUS_EXECUTION_FAILED;
}
