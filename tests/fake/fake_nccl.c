/* fake_nccl.c -- a libnccl.so.2 for tests: transfers between ranks that each have a fake GPU
 * (fake_cudart.h), by MPI, when their stream runs.  The communicator is non-blocking: what a group
 * holds is queued when somebody asks for its end.  All ranks of the job take part. */
#include "fake_cudart.h"

#include <mpi.h>
#include <nccl.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64 };

typedef struct {
  enum { ALL_REDUCE, REDUCE_SCATTER, ALL_GATHER, REDUCE, BROADCAST } kind;
  const void *in;
  void *out;
  size_t n; /* of the call */
  MPI_Datatype type;
  size_t width;
  int root;
  MPI_Comm mpi;
  cudaStream_t stream;
} call;

struct ncclComm {
  MPI_Comm mpi;
  call waiting[MOST]; /* of groups that were closed */
  int n;
  bool captured; /* some of its transfers are part of a graph */
};

static ncclComm_t open_group[1]; /* of one communicator */
static int depth;

const char *ncclGetErrorString(ncclResult_t rc) {
  return rc == ncclSuccess ? "no error" : "refused by the fake";
}

ncclResult_t ncclGetVersion(int *v) {
  *v = NCCL_VERSION_CODE;
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
  memset(id, 7, sizeof *id);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *out, int n, ncclUniqueId id, int rank,
                                    ncclConfig_t *config) {
  ncclComm_t c = calloc(1, sizeof *c);
  int size, own;

  *out = c;
  if (!c) return ncclSystemError;
  MPI_Comm_dup(MPI_COMM_WORLD, &c->mpi);
  MPI_Comm_size(c->mpi, &size);
  MPI_Comm_rank(c->mpi, &own);
  for (size_t i = 0; i < sizeof id.internal; i++)
    if (id.internal[i] != 7) return ncclInvalidArgument;
  if (n != size || rank != own || config->blocking != 0) return ncclInvalidArgument;
  return ncclInProgress;
}

static void run(void *args) {
  const call *q = args;
  int ranks, rank, count = (int)q->n;
  size_t bytes = q->n * q->width;
  char *in;

  MPI_Comm_size(q->mpi, &ranks);
  MPI_Comm_rank(q->mpi, &rank);
  if (q->kind == REDUCE_SCATTER) bytes *= (size_t)ranks;
  if (!(in = malloc(bytes + 1))) abort();
  if (q->kind != BROADCAST || rank == q->root) memcpy(in, q->in, bytes);
  if (q->kind == ALL_REDUCE) MPI_Allreduce(in, q->out, count, q->type, MPI_SUM, q->mpi);
  if (q->kind == REDUCE_SCATTER)
    MPI_Reduce_scatter_block(in, q->out, count, q->type, MPI_SUM, q->mpi);
  if (q->kind == ALL_GATHER) MPI_Allgather(in, count, q->type, q->out, count, q->type, q->mpi);
  if (q->kind == REDUCE) MPI_Reduce(in, q->out, count, q->type, MPI_SUM, q->root, q->mpi);
  if (q->kind == BROADCAST) {
    MPI_Bcast(in, count, q->type, q->root, q->mpi);
    memcpy(q->out, in, bytes);
  }
  free(in);
}

static void queue_waiting(ncclComm_t c) {
  for (int i = 0; i < c->n; i++) {
    c->captured |= fake_cuda_in_graph(c->waiting[i].stream);
    fake_cuda_queue(c->waiting[i].stream, run, &c->waiting[i], sizeof c->waiting[i]);
  }
  c->n = 0;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *rc) {
  queue_waiting(c);
  *rc = ncclSuccess;
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t c) {
  free(c);
  return ncclSuccess;
}

/* The true one waits for the graphs that have its transfers. */
ncclResult_t ncclCommDestroy(ncclComm_t c) {
  if (c->n) fake_cuda_die("a communicator with a group under way is destroyed");
  if (c->captured && fake_cuda_graphs()) fake_cuda_die("a communicator is destroyed before graphs");
  MPI_Comm_free(&c->mpi);
  return ncclCommAbort(c);
}

ncclResult_t ncclGroupStart(void) {
  depth++;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void) {
  if (--depth != 0) fake_cuda_die("groups in groups");
  return open_group[0] ? ncclInProgress : ncclSuccess;
}

static ncclResult_t put(ncclComm_t c, call q, ncclDataType_t type, ncclRedOp_t op) {
  if (!depth) fake_cuda_die("a transfer outside of a group");
  if (type != ncclFloat32 && type != ncclFloat64) return ncclInvalidArgument;
  if (op != ncclSum || c->n == MOST || q.n > INT32_MAX) return ncclInvalidArgument;
  q.type = type == ncclFloat32 ? MPI_FLOAT : MPI_DOUBLE;
  q.width = type == ncclFloat32 ? 4 : 8;
  q.mpi = c->mpi;
  open_group[0] = c;
  c->waiting[c->n++] = q;
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void *in, void *out, size_t n, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t c, cudaStream_t s) {
  return put(c, (call){.kind = ALL_REDUCE, .in = in, .out = out, .n = n, .stream = s}, type, op);
}

ncclResult_t ncclReduceScatter(const void *in, void *out, size_t n, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t c, cudaStream_t s) {
  return put(c, (call){.kind = REDUCE_SCATTER, .in = in, .out = out, .n = n, .stream = s}, type,
             op);
}

ncclResult_t ncclAllGather(const void *in, void *out, size_t n, ncclDataType_t type, ncclComm_t c,
                           cudaStream_t s) {
  return put(c, (call){.kind = ALL_GATHER, .in = in, .out = out, .n = n, .stream = s}, type,
             ncclSum);
}

ncclResult_t ncclReduce(const void *in, void *out, size_t n, ncclDataType_t type, ncclRedOp_t op,
                        int root, ncclComm_t c, cudaStream_t s) {
  call q = {.kind = REDUCE, .in = in, .out = out, .n = n, .root = root, .stream = s};
  return put(c, q, type, op);
}

ncclResult_t ncclBroadcast(const void *in, void *out, size_t n, ncclDataType_t type, int root,
                           ncclComm_t c, cudaStream_t s) {
  call q = {.kind = BROADCAST, .in = in, .out = out, .n = n, .root = root, .stream = s};
  return put(c, q, type, ncclSum);
}
