/* cublas.c -- dense layers by cuBLASLt, opened when the program runs; bias, ReLU and the diff of
 * the bias in its epilogue. */
#include "gpu.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* What is called of the library; F(field, function). */
#define FUNCTIONS(F)                                                                               \
  F(create, cublasLtCreate)                                                                        \
  F(destroy, cublasLtDestroy)                                                                      \
  F(error, cublasLtGetStatusString)                                                                \
  F(desc_create, cublasLtMatmulDescCreate)                                                         \
  F(desc_set, cublasLtMatmulDescSetAttribute)                                                      \
  F(desc_destroy, cublasLtMatmulDescDestroy)                                                       \
  F(layout_create, cublasLtMatrixLayoutCreate)                                                     \
  F(layout_destroy, cublasLtMatrixLayoutDestroy)                                                   \
  F(preference_create, cublasLtMatmulPreferenceCreate)                                             \
  F(preference_set, cublasLtMatmulPreferenceSetAttribute)                                          \
  F(preference_destroy, cublasLtMatmulPreferenceDestroy)                                           \
  F(heuristic, cublasLtMatmulAlgoGetHeuristic)                                                     \
  F(multiply, cublasLtMatmul)

struct cu_blas {
  void *library;
  cublasLtHandle_t handle;
  cu_gpu_state *gpu; /* borrowed */
  struct {
#define FIELD(field, function) __typeof__(&function) field;
    FUNCTIONS(FIELD)
  } call;
};

/* One prepared product D = op(A) op(B), column-major. */
struct product {
  struct cu_blas *blas; /* borrowed */
  cu_dense_job job;
  cublasLtMatmulDesc_t desc;
  cublasLtMatrixLayout_t a, b, d;
  cublasLtMatmulAlgo_t algorithm;
  size_t bytes;
  bool sums; /* BACKWARD_WEIGHT: the diff of the bias too */
};

enum { WORKSPACE = 32 << 20 };

static pn_status check(const struct cu_blas *b, cublasStatus_t rc, const char *what) {
  if (rc == CUBLAS_STATUS_SUCCESS) return PN_OK;
  return PN_FAIL(rc == CUBLAS_STATUS_ALLOC_FAILED ? PN_ERR_NOMEM : PN_ERR_DEVICE,
                 "cuBLASLt: %s: %s", what, b->call.error(rc));
}

void cu_blas_destroy(struct cu_blas *b) {
  if (!b) return;
  if (b->handle) b->call.destroy(b->handle);
  if (b->library) dlclose(b->library);
  free(b);
}

pn_status cu_blas_create(cu_gpu_state *g, struct cu_blas **out) {
  static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12",
                                      "/usr/local/cuda/lib64/libcublasLt.so.13", NULL};
  struct cu_blas *b = calloc(1, sizeof *b);
  const cu_symbol symbols[] = {
#define SYMBOL(field, function) {#function, b ? &b->call.field : NULL},
      FUNCTIONS(SYMBOL)};
  pn_status st = PN_OK;

  *out = NULL;
  if (!b) return PN_FAIL(PN_ERR_NOMEM, "cuBLASLt");
  b->gpu = g;
  if (!(b->library = cu_library(names))) goto done;
  PN_TRY(cu_symbols(b->library, symbols, (int)(sizeof symbols / sizeof *symbols)));
  PN_TRY(check(b, b->call.create(&b->handle), "cublasLtCreate"));
  *out = b;
  b = NULL;
done:
  cu_blas_destroy(b);
  return st;
}

static void product_destroy(void *plan) {
  struct product *p = plan;
  if (!p) return;
  if (p->a) p->blas->call.layout_destroy(p->a);
  if (p->b) p->blas->call.layout_destroy(p->b);
  if (p->d) p->blas->call.layout_destroy(p->d);
  if (p->desc) p->blas->call.desc_destroy(p->desc);
  free(p);
}

static cudaDataType_t data_type(pn_dtype t) {
  return t == PN_BF16 ? CUDA_R_16BF : t == PN_FP16 ? CUDA_R_16F : CUDA_R_32F;
}

/* Of D: gradients of parameters, and logits, are f32. */
static cudaDataType_t result_type(const cu_dense_job *j) {
  bool full = j->pass == PN_BACKWARD_WEIGHT || (j->pass == PN_FORWARD && j->f32_out);
  return full ? CUDA_R_32F : data_type(j->type);
}

/* Row-major [r][c] is column-major c x r: y^T = W x^T, dx^T = W^T dy^T, dW^T = x^T dy. */
static pn_status make_layouts(struct product *p) {
  const cu_dense_job *j = &p->job;
  uint64_t batch = (uint64_t)j->batch, in = (uint64_t)j->in, out = (uint64_t)j->out;
  cudaDataType_t type = data_type(j->type);
  struct cu_blas *b = p->blas;
  bool weight = j->pass == PN_BACKWARD_WEIGHT, forward = j->pass == PN_FORWARD;
  pn_status st;

  PN_TRY(check(b, b->call.layout_create(&p->a, type, in, weight ? batch : out, (int64_t)in),
               "layout of A"));
  PN_TRY(check(
      b,
      b->call.layout_create(&p->b, type, forward ? in : out, batch, (int64_t)(forward ? in : out)),
      "layout of B"));
  PN_TRY(check(b,
               b->call.layout_create(&p->d, result_type(j), forward ? out : in,
                                     weight ? out : batch, (int64_t)(forward ? out : in)),
               "layout of D"));
done:
  return st;
}

static pn_status set(struct product *p, cublasLtMatmulDescAttributes_t what, const void *value,
                     size_t bytes) {
  return check(p->blas, p->blas->call.desc_set(p->desc, what, value, bytes), "attribute");
}

static cublasLtEpilogue_t epilogue_of(const struct product *p) {
  const cu_dense_job *j = &p->job;

  if (p->sums) return CUBLASLT_EPILOGUE_BGRADB; /* over the columns of dy */
  if (j->pass != PN_FORWARD) return CUBLASLT_EPILOGUE_DEFAULT;
  if (j->bias) return j->relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
  return j->relu ? CUBLASLT_EPILOGUE_RELU : CUBLASLT_EPILOGUE_DEFAULT;
}

/* The search wants to see a pointer; the true one is set in each run. */
static pn_status set_epilogue(struct product *p) {
  cublasLtEpilogue_t epilogue = epilogue_of(p);
  int32_t type = (int32_t)result_type(&p->job);
  const void *somewhere = (const void *)(uintptr_t)(1 << 20);
  pn_status st;

  PN_TRY(set(p, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
  if (!p->sums && !(p->job.pass == PN_FORWARD && p->job.bias)) return PN_OK;
  PN_TRY(set(p, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type, sizeof type));
  PN_TRY(set(p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &somewhere, sizeof somewhere));
done:
  return st;
}

static pn_status make_desc(struct product *p) {
  const cu_dense_job *j = &p->job;
  struct cu_blas *b = p->blas;
  bool forward = j->pass == PN_FORWARD;
  cublasOperation_t a = forward ? CUBLAS_OP_T : CUBLAS_OP_N;
  cublasOperation_t c = j->pass == PN_BACKWARD_WEIGHT ? CUBLAS_OP_T : CUBLAS_OP_N;
  bool fast = b->gpu->tf32 && j->type == PN_F32;
  cublasComputeType_t compute = fast ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  pn_status st;

  PN_TRY(check(b, b->call.desc_create(&p->desc, compute, CUDA_R_32F), "product"));
  PN_TRY(set(p, CUBLASLT_MATMUL_DESC_TRANSA, &a, sizeof a));
  PN_TRY(set(p, CUBLASLT_MATMUL_DESC_TRANSB, &c, sizeof c));
  PN_TRY(set_epilogue(p));
done:
  return st;
}

/* The library counts on 256 bytes unless it is told otherwise; the arenas give 64. */
static pn_status set_alignment(struct cu_blas *b, cublasLtMatmulPreference_t preference) {
  static const cublasLtMatmulPreferenceAttributes_t of[] = {
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
  const uint32_t bytes = 16;
  pn_status st = PN_OK;

  for (size_t i = 0; i < sizeof of / sizeof *of && st == PN_OK; i++)
    st = check(b, b->call.preference_set(preference, of[i], &bytes, sizeof bytes), "alignment");
  return st;
}

/* The heuristic's first; UNSUPPORTED where it has none, and a kernel of our own does it. */
static pn_status choose(struct product *p) {
  struct cu_blas *b = p->blas;
  cublasLtMatmulPreference_t preference = NULL;
  cublasLtMatmulHeuristicResult_t found;
  uint64_t most = WORKSPACE;
  int n = 0;
  pn_status st;

  PN_TRY(check(b, b->call.preference_create(&preference), "preference"));
  PN_TRY(check(b,
               b->call.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most,
                                      sizeof most),
               "preference"));
  PN_TRY(set_alignment(b, preference));
  if (b->call.heuristic(b->handle, p->desc, p->a, p->b, p->d, p->d, preference, 1, &found, &n) !=
          CUBLAS_STATUS_SUCCESS ||
      n < 1 || found.state != CUBLAS_STATUS_SUCCESS) {
    st = PN_FAIL(PN_ERR_UNSUPPORTED, "cuBLASLt: no algorithm");
    goto done;
  }
  p->algorithm = found.algo;
  p->bytes = found.workspaceSize;
done:
  if (preference) b->call.preference_destroy(preference);
  return st;
}

static pn_status product_run(void *plan, const cu_operands *o) {
  static const float one = 1.0f, zero = 0.0f;
  struct product *p = plan;
  struct cu_blas *b = p->blas;
  const void *a = o->w, *c = o->x;
  void *d = o->y;
  pn_status st;

  if (p->job.pass == PN_BACKWARD_DATA) {
    c = o->y;
    d = o->x;
  } else if (p->job.pass == PN_BACKWARD_WEIGHT) {
    a = o->x;
    c = o->y;
    d = o->w;
  }
  if (p->sums || (p->job.pass == PN_FORWARD && p->job.bias))
    PN_TRY(set(p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &o->bias, sizeof o->bias));
  PN_TRY(check(b,
               b->call.multiply(b->handle, p->desc, &one, a, p->a, c, p->b, &zero, d, p->d, d, p->d,
                                &p->algorithm, o->scratch, p->bytes, b->gpu->stream),
               "product"));
done:
  return st;
}

pn_status cu_blas_dense(void *impl, const cu_dense_job *job, cu_call *out) {
  cu_gpu_state *g = impl;
  struct product *p = calloc(1, sizeof *p);
  pn_status st = PN_OK;

  *out = (cu_call){.run = NULL};
  if (!p) return PN_FAIL(PN_ERR_NOMEM, "cuBLASLt: product");
  p->blas = g->blas;
  p->job = *job;
  p->sums = job->pass == PN_BACKWARD_WEIGHT && job->bias;
  PN_TRY(make_layouts(p));
  PN_TRY(make_desc(p));
  st = choose(p);
  if (st == PN_ERR_UNSUPPORTED && p->sums) { /* the sums by a kernel of our own */
    p->sums = false;
    PN_TRY(set_epilogue(p));
    st = choose(p);
  }
  PN_TRY(st);
  *out = (cu_call){.run = product_run,
                   .destroy = product_destroy,
                   .plan = p,
                   .scratch_bytes = p->bytes,
                   .complete = job->pass == PN_FORWARD || p->sums,
                   .half_bias = result_type(job) != CUDA_R_32F};
  snprintf(out->impl, sizeof out->impl, "cublasLt%s",
           job->type != PN_F32 ? ":tensor"
           : g->tf32           ? ":tf32"
                               : "");
  p = NULL;
done:
  product_destroy(p);
  return st;
}
