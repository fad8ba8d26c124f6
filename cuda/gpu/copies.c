/* copies.c -- copies from pinned memory on a stream of their own, ordered with the kernels by
 * events.
 */
#include "gpu.h"

#include <stdlib.h>

struct cu_copies {
  cudaStream_t stream;
  cudaEvent_t copied[PN_COPY_LANES], done[PN_COPY_LANES];
};

/* An event that was never recorded is no wait. */
pn_status cu_copies_create(struct cu_copies **out) {
  struct cu_copies *c = calloc(1, sizeof *c);
  pn_status st = PN_OK;

  *out = NULL;
  if (!c) return PN_FAIL(PN_ERR_NOMEM, "cuda: copies");
  PN_TRY(cu_check(cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking), "stream"));
  for (int i = 0; i < PN_COPY_LANES; i++) {
    PN_TRY(cu_check(cudaEventCreateWithFlags(&c->copied[i], cudaEventDisableTiming), "event"));
    PN_TRY(cu_check(cudaEventCreateWithFlags(&c->done[i], cudaEventDisableTiming), "event"));
  }
  *out = c;
  c = NULL;
done:
  cu_copies_destroy(c);
  return st;
}

void cu_copies_destroy(struct cu_copies *c) {
  if (!c) return;
  for (int i = 0; i < PN_COPY_LANES; i++) {
    if (c->copied[i]) cudaEventDestroy(c->copied[i]);
    if (c->done[i]) cudaEventDestroy(c->done[i]);
  }
  if (c->stream) cudaStreamDestroy(c->stream);
  free(c);
}

pn_status cu_copy_begin(void *impl, int lane, void *far, const void *host, size_t bytes) {
  struct cu_copies *c = ((cu_gpu_state *)impl)->copies;
  pn_status st;

  PN_TRY(cu_check(cudaStreamWaitEvent(c->stream, c->done[lane], 0), "order of a copy"));
  PN_TRY(cu_check(cudaMemcpyAsync(far, host, bytes, cudaMemcpyHostToDevice, c->stream),
                  "copy of a batch"));
  PN_TRY(cu_check(cudaEventRecord(c->copied[lane], c->stream), "copy of a batch"));
done:
  return st;
}

pn_status cu_copy_arrive(void *impl, int lane) {
  cu_gpu_state *g = impl;
  return cu_check(cudaStreamWaitEvent(g->stream, g->copies->copied[lane], 0), "order of a copy");
}

pn_status cu_copy_done(void *impl, int lane) {
  cu_gpu_state *g = impl;
  return cu_check(cudaEventRecord(g->copies->done[lane], g->stream), "order of a copy");
}

pn_status cu_copy_settle(void *impl, int lane) {
  struct cu_copies *c = ((cu_gpu_state *)impl)->copies;
  return cu_check(cudaEventSynchronize(c->copied[lane]), "copy of a batch");
}
