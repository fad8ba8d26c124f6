/* fake_cublaslt.c -- a libcublasLt.so.13 for tests: looks at every descriptor and attribute that it
 * is given, and multiplies in host memory, in the order of columns as the true one.  Built as a
 * library of that name; FAKE_CUBLASLT=no_sums: no epilogue that sums the diff of a bias, none: no
 * algorithm for anything.  With a stream the product waits in it (fake_cudart.h). */
#include "base/bf16.h"
#include "base/fp16.h"

#include "fake_cudart.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { WORKSPACE = 3000 };

typedef struct {
  cudaDataType type;
  uint64_t rows, cols;
  int64_t ld;
} layout;

typedef struct {
  cublasComputeType_t compute;
  cublasOperation_t op[2];
  cublasLtEpilogue_t epilogue;
  int32_t bias_type;
  void *bias;
} product;

typedef struct {
  uint64_t workspace;
  uint32_t alignments; /* how many were set */
} preference;

_Static_assert(sizeof(layout) <= sizeof(cublasLtMatrixLayoutOpaque_t), "layout");
_Static_assert(sizeof(product) <= sizeof(cublasLtMatmulDescOpaque_t), "product");
_Static_assert(sizeof(preference) <= sizeof(cublasLtMatmulPreferenceOpaque_t), "preference");

static int handle;

static int mode_is(const char *mode) {
  const char *text = getenv("FAKE_CUBLASLT");
  return text && strcmp(text, mode) == 0;
}

static cublasStatus_t made(void *p) {
  return p ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out) {
  *out = (cublasLtHandle_t)(void *)&handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t h) {
  return (void *)h == &handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

const char *cublasLtGetStatusString(cublasStatus_t rc) {
  return rc == CUBLAS_STATUS_SUCCESS ? "success" : "refused by the fake";
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld) {
  layout *l = calloc(1, sizeof **out);

  *out = (void *)l;
  if (l) *l = (layout){type, rows, cols, ld};
  return made(l);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) {
  free(l);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  product *p = calloc(1, sizeof **out);

  *out = (void *)p;
  if (p) *p = (product){.compute = compute, .epilogue = CUBLASLT_EPILOGUE_DEFAULT};
  return scale == CUDA_R_32F ? made(p) : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t p) {
  free(p);
  return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t take(void *to, size_t want, const void *value, size_t bytes) {
  if (bytes != want) return CUBLAS_STATUS_INVALID_VALUE;
  memcpy(to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t what,
                                              const void *value, size_t bytes) {
  product *p = (void *)desc;

  switch (what) {
  case CUBLASLT_MATMUL_DESC_TRANSA:
    return take(&p->op[0], sizeof p->op[0], value, bytes);
  case CUBLASLT_MATMUL_DESC_TRANSB:
    return take(&p->op[1], sizeof p->op[1], value, bytes);
  case CUBLASLT_MATMUL_DESC_EPILOGUE:
    return take(&p->epilogue, sizeof p->epilogue, value, bytes);
  case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
    return take(&p->bias_type, sizeof p->bias_type, value, bytes);
  case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
    return take(&p->bias, sizeof p->bias, value, bytes);
  default:
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out) {
  *out = calloc(1, sizeof **out);
  return made(*out);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
  free(p);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t pref,
                                                    cublasLtMatmulPreferenceAttributes_t what,
                                                    const void *value, size_t bytes) {
  preference *p = (void *)pref;
  uint32_t alignment;

  if (what == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
    return take(&p->workspace, sizeof p->workspace, value, bytes);
  p->alignments++;
  return take(&alignment, sizeof alignment, value, bytes);
}

static uint64_t rows_of(const layout *l, cublasOperation_t op) {
  return op == CUBLAS_OP_N ? l->rows : l->cols;
}

static uint64_t cols_of(const layout *l, cublasOperation_t op) {
  return op == CUBLAS_OP_N ? l->cols : l->rows;
}

static int uses_bias(const product *p) {
  return p->epilogue == CUBLASLT_EPILOGUE_BIAS || p->epilogue == CUBLASLT_EPILOGUE_RELU_BIAS ||
         p->epilogue == CUBLASLT_EPILOGUE_BGRADB;
}

static int fits(const product *p, const layout *a, const layout *b, const layout *d) {
  const layout *const all[] = {a, b, d};

  for (int i = 0; i < 3; i++)
    if (all[i]->ld < (int64_t)all[i]->rows) return 0;
  if (p->compute == CUBLAS_COMPUTE_32F_FAST_TF32 && a->type != CUDA_R_32F) return 0;
  if (a->type != b->type || (d->type != a->type && d->type != CUDA_R_32F)) return 0;
  if (uses_bias(p) && (!p->bias || p->bias_type != (int32_t)d->type)) return 0;
  return rows_of(a, p->op[0]) == d->rows && cols_of(b, p->op[1]) == d->cols &&
         cols_of(a, p->op[0]) == rows_of(b, p->op[1]);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t h, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t pref, int wanted,
                                              cublasLtMatmulHeuristicResult_t *result, int *found) {
  const product *p = (void *)desc;
  const preference *x = (void *)pref;

  *found = 0;
  if ((void *)h != &handle || wanted < 1 || c != d || x->alignments != 4 ||
      x->workspace < WORKSPACE || !fits(p, (void *)a, (void *)b, (void *)d))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (mode_is("none") || (mode_is("no_sums") && p->epilogue == CUBLASLT_EPILOGUE_BGRADB))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  memset(result, 0, sizeof *result);
  result->workspaceSize = WORKSPACE;
  result->state = CUBLAS_STATUS_SUCCESS;
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

static double get(const void *x, cudaDataType type, size_t i) {
  const uint16_t *half = x;

  if (type == CUDA_R_32F) return (double)((const float *)x)[i];
  return (double)(type == CUDA_R_16BF ? pn_bf16_to_f32(half[i]) : pn_fp16_to_f32(half[i]));
}

static void put(void *x, cudaDataType type, size_t i, double value) {
  uint16_t *half = x;

  if (type == CUDA_R_32F)
    ((float *)x)[i] = (float)value;
  else
    half[i] = type == CUDA_R_16BF ? pn_bf16_of((float)value) : pn_fp16_of((float)value);
}

/* Element (r, c) of op(x). */
static double at(const void *x, const layout *l, cublasOperation_t op, uint64_t r, uint64_t c) {
  return get(x, l->type, op == CUBLAS_OP_N ? r + c * (size_t)l->ld : c + r * (size_t)l->ld);
}

static double after(const product *p, double v, cudaDataType type, uint64_t row) {
  if (p->epilogue == CUBLASLT_EPILOGUE_BIAS || p->epilogue == CUBLASLT_EPILOGUE_RELU_BIAS)
    v += get(p->bias, type, row);
  if (p->epilogue == CUBLASLT_EPILOGUE_RELU || p->epilogue == CUBLASLT_EPILOGUE_RELU_BIAS)
    v = v > 0 ? v : 0;
  return v;
}

/* The library's workspace is garbage before and after. */
static void soil(void *workspace, size_t bytes) {
  memset(workspace, 0xff, bytes);
}

typedef struct {
  product p;
  layout x, y, z;
  const void *a, *b;
  void *d, *workspace;
  size_t bytes;
} job;

static void multiply(void *args) {
  const job *q = args;
  const product *p = &q->p;
  const layout *x = &q->x, *y = &q->y, *z = &q->z;

  soil(q->workspace, q->bytes);
  for (uint64_t j = 0; j < z->cols; j++) {
    double diff = 0;
    for (uint64_t k = 0; k < rows_of(y, p->op[1]); k++) diff += at(q->b, y, p->op[1], k, j);
    if (p->epilogue == CUBLASLT_EPILOGUE_BGRADB) put(p->bias, z->type, j, diff);
    for (uint64_t i = 0; i < z->rows; i++) {
      double sum = 0;
      for (uint64_t k = 0; k < cols_of(x, p->op[0]); k++)
        sum += at(q->a, x, p->op[0], i, k) * at(q->b, y, p->op[1], k, j);
      put(q->d, z->type, i + j * (size_t)z->ld, after(p, sum, z->type, i));
    }
  }
  soil(q->workspace, q->bytes);
}

/* In the stream's order; without a stream now. */
static cublasStatus_t start(const job *q, cudaStream_t stream) {
  void *f = dlsym(RTLD_DEFAULT, "fake_cuda_queue");
  cudaError_t (*queue)(cudaStream_t, fake_work *, const void *, size_t);
  job now = *q;

  memcpy(&queue, &f, sizeof queue);
  if (stream && !f) return CUBLAS_STATUS_INVALID_VALUE;
  if (stream)
    return queue(stream, multiply, q, sizeof *q) == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                                                : CUBLAS_STATUS_INTERNAL_ERROR;
  multiply(&now);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t h, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t la, const void *b,
                              cublasLtMatrixLayout_t lb, const void *beta, const void *c,
                              cublasLtMatrixLayout_t lc, void *d, cublasLtMatrixLayout_t ld,
                              const cublasLtMatmulAlgo_t *algorithm, void *workspace, size_t bytes,
                              cudaStream_t stream) {
  job q = {.p = *(product *)(void *)desc,
           .a = a,
           .b = b,
           .d = d,
           .workspace = workspace,
           .bytes = bytes};
  float one, zero;

  q.x = *(layout *)(void *)la;
  q.y = *(layout *)(void *)lb;
  q.z = *(layout *)(void *)ld;
  memcpy(&one, alpha, sizeof one);
  memcpy(&zero, beta, sizeof zero);
  if ((void *)h != &handle || one < 1 || one > 1 || zero < 0 || zero > 0 || c != d || lc != ld ||
      !algorithm || !fits(&q.p, &q.x, &q.y, &q.z) || bytes != WORKSPACE ||
      (uintptr_t)workspace % 256 != 0)
    return CUBLAS_STATUS_INVALID_VALUE;
  return start(&q, stream);
}
