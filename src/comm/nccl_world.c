/* nccl_world.c -- making a communicator between GPUs: one GPU per rank, NCCL's id over MPI. */
#include "comm/nccl_internal.h"

#include "base/log.h"
#include "comm/mpi_internal.h"
#include "comm/watchdog.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GPU_BYTES = 128, NON_BLOCKING_STREAM = 1, NO_TIMING = 2 };
enum { CONFIG_MAGIC = (int)0xcafebeef };

typedef struct {
  char text[GPU_BYTES]; /* "host 0000:3b:00.0" */
} gpu_name;

/* Local: libraries, and the GPU of this thread's context. */
static pn_status find_gpu(struct nccl_comm *m, gpu_name *out) {
  char host[64] = "", bus[32] = "";
  void *context = NULL;
  int device = 0;
  pn_status st = PN_OK;

  memset(out, 0, sizeof *out);
  if (!m->api) PN_TRY(pn_nccl_load(&m->api));
  PN_TRY(pn_cu_check(m, m->api->context(&context), "cuCtxGetCurrent"));
  if (!context)
    PN_TRY(PN_FAIL(PN_ERR_ARG, "NCCL: this rank uses no GPU; expected train.device=cuda"));
  PN_TRY(pn_cu_check(m, m->api->device(&device), "cuCtxGetDevice"));
  PN_TRY(pn_cu_check(m, m->api->device_name(bus, sizeof bus, device), "cuDeviceGetPCIBusId"));
  gethostname(host, sizeof host - 1);
  snprintf(out->text, sizeof out->text, "%s %s", host, bus);
done:
  return st;
}

/* NCCL takes one rank per GPU.  The same answer on all ranks. */
static pn_status check_apart(const gpu_name *all, int n) {
  for (int a = 0; a < n; a++)
    for (int b = 0; b < a; b++)
      if (strcmp(all[a].text, all[b].text) == 0)
        return PN_FAIL(PN_ERR_ARG,
                       "NCCL: ranks %d and %d share a GPU (%s); expected one for each: fewer "
                       "ranks, or train.comm=auto",
                       b, a, all[a].text);
  return PN_OK;
}

static pn_status find_gpus(pn_comm *c, struct nccl_comm *m) {
  gpu_name own, *all = calloc((size_t)c->size, sizeof *all);
  pn_status st = all ? find_gpu(m, &own) : PN_FAIL(PN_ERR_NOMEM, "%d ranks", c->size);

  PN_TRY(pn_agree(c, st));
  PN_TRY(pn_allgather(c, "GPUs of the ranks", &own, all, sizeof own, PN_U8));
  PN_TRY(check_apart(all, c->size));
done:
  free(all);
  return st;
}

static pn_status join(const pn_comm *c, struct nccl_comm *m, nccl_id id) {
  nccl_config config = {.size = sizeof config,
                        .magic = (unsigned)CONFIG_MAGIC,
                        .version = NCCL_VERSION_LEAST,
                        .blocking = 0}; /* so that the wait for the other ranks has an end */
  pn_status st = PN_OK;

  PN_TRY(pn_nccl_settle(m, m->api->init(&m->handle, c->size, id, c->rank, &config),
                        "ncclCommInitRankConfig"));
  PN_TRY(pn_cu_check(m, m->api->stream_create(&m->stream, NON_BLOCKING_STREAM), "cuStreamCreate"));
  PN_TRY(pn_cu_check(m, m->api->event_create(&m->ready, NO_TIMING), "cuEventCreate"));
done:
  return st;
}

static pn_status connect_ranks(pn_comm *c, struct nccl_comm *m) {
  nccl_id id;
  pn_status st = PN_OK;

  memset(&id, 0, sizeof id);
  PN_TRY(find_gpus(c, m));
  if (c->rank == 0) st = pn_nccl_check(m, m->api->get_id(&id), "ncclGetUniqueId");
  PN_TRY(pn_agree(c, st));
  PN_TRY(pn_bcast(c, "NCCL's id", id.bytes, sizeof id.bytes, PN_U8, 0));
  PN_TRY(pn_agree(c, join(c, m, id)));
done:
  return st;
}

static void fill(const pn_comm *c, struct nccl_comm *m, pn_comm *own) {
  own->ops = &pn_comm_nccl_ops;
  own->rank = c->rank;
  own->size = c->size;
  own->world_rank = c->world_rank;
  own->chunk = INT_MAX;
  own->impl = m;
  own->ctl = m->mpi->ctl; /* shared with m->mpi, owned by the whole */
}

pn_status pn_comm_nccl_make(pn_comm *c, const nccl_api *api, bool must, pn_comm **out) {
  struct nccl_comm *m = calloc(1, sizeof *m);
  pn_comm *own = calloc(1, sizeof *own);
  pn_status st = PN_OK;

  *out = NULL;
  if (!m || !own) st = PN_FAIL(PN_ERR_NOMEM, "no memory for a communicator");
  PN_TRY(pn_agree(c, st));
  m->api = api;
  m->limit_s = 0.75 * pn_watchdog_limit(); /* so that a rank can tell the others before it bites */
  PN_TRY(pn_comm_split(c, 0, c->rank, &m->mpi));
  st = connect_ranks(c, m);
  if (st != PN_OK && !must && !pn_comm_broken()) {
    if (c->rank == 0) pn_info("gradients do not travel by NCCL: %s", pn_last_error());
    st = PN_OK;
    goto done;
  }
  PN_TRY(st);
  fill(c, m, own);
  *out = own;
  m = NULL;
  own = NULL;
done:
  if (m) pn_nccl_abort(m); /* the other ranks may not have come so far */
  if (m) pn_comm_nccl_ops.destroy(&(pn_comm){.impl = m});
  free(own);
  return st;
}

bool pn_comm_moves_far(const pn_comm *c) {
  return c->ops == &pn_comm_nccl_ops;
}

pn_status pn_comm_watch(pn_comm *c, double waited_s) {
  return c->ops == &pn_comm_nccl_ops ? pn_nccl_watch(c->impl, waited_s) : PN_OK;
}

void pn_comm_follow(pn_comm *c, void *stream) {
  if (c->ops == &pn_comm_nccl_ops) ((struct nccl_comm *)c->impl)->producer = stream;
}
