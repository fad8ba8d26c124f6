/* nccl_registry.c -- whether this build has NCCL, and the answers where it has not. */
#include "base/log.h"
#include "comm/nccl_internal.h"

#include <stdio.h>

#ifdef PN_WITH_NCCL
pn_status pn_nccl_built(void) {
  return PN_OK;
}

const char *pn_nccl_library(void) {
  static char text[32];
  int v = pn_nccl_loaded_version();

  if (v == 0) return "built in, loaded where ranks train on GPUs";
  snprintf(text, sizeof text, "NCCL %d.%d.%d", v / 10000, v / 100 % 100, v % 100);
  return text;
}
#else
pn_status pn_nccl_built(void) {
  return PN_FAIL(PN_ERR_UNSUPPORTED,
                 "train.comm=nccl: this program was built without NCCL: configure with "
                 "-DPN_NCCL=AUTO and rebuild, or use train.comm=auto");
}

const char *pn_nccl_library(void) {
  return "none";
}

pn_status pn_comm_nccl_make(pn_comm *c, const nccl_api *api, bool must, pn_comm **out) {
  (void)api;
  *out = NULL;
  if (must) return pn_nccl_built();
  if (pn_comm_rank(c) == 0)
    pn_info("gradients do not travel by NCCL: built without it (-DPN_NCCL=AUTO brings it in)");
  return PN_OK;
}

bool pn_comm_moves_far(const pn_comm *c) {
  (void)c; /* transfers of this build are between host memory */
  return false;
}

pn_status pn_comm_watch(pn_comm *c, double waited_s) {
  (void)c, (void)waited_s;
  return PN_OK;
}

void pn_comm_follow(pn_comm *c, void *stream) {
  (void)c, (void)stream; /* no communicator of this build follows one */
}
#endif
