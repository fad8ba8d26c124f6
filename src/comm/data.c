/* data.c -- communicators for bulk data, and the memory that they move. */
#include "base/pages.h"
#include "comm/comm_backend.h"
#include "comm/nccl_internal.h"

#include <stdlib.h>
#include <string.h>

static pn_status make(pn_comm *c, const char *kind, pn_comm **out) {
  bool is_auto = strcmp(kind, "auto") == 0, gpu = strcmp(kind, "gpu") == 0;
  bool nccl = strcmp(kind, "nccl") == 0;
  pn_status st = PN_OK;

  *out = NULL;
  if (!is_auto && !gpu && !nccl && strcmp(kind, "shm") != 0 && strcmp(kind, "mpi") != 0)
    return PN_FAIL(PN_ERR_ARG, "unknown communicator '%s'; there are: auto, mpi, shm, nccl", kind);
  if (nccl && (st = pn_agree(c, pn_nccl_built())) != PN_OK) return st;
  if (c->size > 1 && (gpu || nccl)) st = pn_comm_nccl_make(c, NULL, nccl, out);
  if (st != PN_OK || *out) return st;
  if (c->size > 1 && strcmp(kind, "mpi") != 0)
    st = pn_comm_shm_make(c, strcmp(kind, "shm") == 0, out);
  if (st != PN_OK || *out) return st;
  return pn_comm_split(c, 0, c->rank, out);
}

pn_status pn_comm_data(pn_comm *c, const char *kind, pn_comm **out) {
  pn_status st = make(c, kind, out);
  if (st == PN_OK) (*out)->whole = c->whole;
  return st;
}

bool pn_comm_shares_memory(const pn_comm *c) {
  return c->ops->alloc != NULL;
}

static pn_status plain(size_t bytes, bool touch, void **out) {
  size_t page = pn_page_bytes(), whole = (bytes + page - 1) / page * page;

  *out = aligned_alloc(page, whole > 0 ? whole : page);
  if (!*out) return PN_FAIL(PN_ERR_NOMEM, "no memory for %zu bytes", bytes);
  if (touch) memset(*out, 0, whole);
  return PN_OK;
}

static pn_status get(pn_comm *c, size_t bytes, bool touch, void **out) {
  pn_status st;

  *out = NULL;
  if (c->ops->alloc) return c->ops->alloc(c, bytes, touch, out);
  if ((st = pn_agree(c, plain(bytes, touch, out))) == PN_OK) return st;
  free(*out);
  *out = NULL;
  return st;
}

pn_status pn_comm_alloc(pn_comm *c, size_t bytes, void **out) {
  return get(c, bytes, true, out);
}

pn_status pn_comm_reserve(pn_comm *c, size_t bytes, void **out) {
  return get(c, bytes, false, out);
}

pn_status pn_comm_alloc_common(pn_comm *c, size_t common, size_t own, void **out) {
  *out = NULL;
  if (c->ops->alloc_common && c->sharers > 1) return c->ops->alloc_common(c, common, own, out);
  return get(c, common + own, true, out);
}

int pn_comm_sharers(const pn_comm *c) {
  return c->sharers > 1 ? c->sharers : 1;
}

void pn_comm_unshare(pn_comm *c) {
  c->sharers = c->sharer = 0;
}

int pn_comm_sharer(const pn_comm *c) {
  return c->sharer;
}

void pn_comm_sum_shared(const pn_comm *c, const float *in, int64_t count, float *out) {
  c->ops->sum_shared(c, in, count, out);
}

void pn_comm_free(pn_comm *c, void *p) {
  if (p && c->ops->free)
    c->ops->free(c, p);
  else
    free(p);
}
