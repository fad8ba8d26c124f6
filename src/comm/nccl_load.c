/* nccl_load.c -- NCCL and the CUDA driver, found at run time. */
#include "comm/nccl_internal.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef struct {
  const char *name;
  size_t at; /* in nccl_api */
} symbol;
#define ROW(field, name)                                                                           \
  { name, offsetof(nccl_api, field) }

static const symbol of_nccl[] = {ROW(get_version, "ncclGetVersion"),
                                 ROW(get_id, "ncclGetUniqueId"),
                                 ROW(init, "ncclCommInitRankConfig"),
                                 ROW(abort, "ncclCommAbort"),
                                 ROW(destroy, "ncclCommDestroy"),
                                 ROW(async_error, "ncclCommGetAsyncError"),
                                 ROW(error_text, "ncclGetErrorString"),
                                 ROW(group_start, "ncclGroupStart"),
                                 ROW(group_end, "ncclGroupEnd"),
                                 ROW(all_reduce, "ncclAllReduce"),
                                 ROW(reduce_scatter, "ncclReduceScatter"),
                                 ROW(all_gather, "ncclAllGather"),
                                 ROW(reduce, "ncclReduce"),
                                 ROW(broadcast, "ncclBroadcast")};
static const symbol of_driver[] = {ROW(context, "cuCtxGetCurrent"),
                                   ROW(device, "cuCtxGetDevice"),
                                   ROW(device_name, "cuDeviceGetPCIBusId"),
                                   ROW(stream_create, "cuStreamCreate"),
                                   ROW(stream_destroy, "cuStreamDestroy_v2"),
                                   ROW(stream_wait, "cuStreamWaitEvent"),
                                   ROW(event_create, "cuEventCreate"),
                                   ROW(event_destroy, "cuEventDestroy_v2"),
                                   ROW(event_record, "cuEventRecord"),
                                   ROW(event_query, "cuEventQuery"),
                                   ROW(alloc, "cuMemAlloc_v2"),
                                   ROW(free, "cuMemFree_v2"),
                                   ROW(upload, "cuMemcpyHtoDAsync_v2"),
                                   ROW(download, "cuMemcpyDtoHAsync_v2"),
                                   ROW(attribute, "cuPointerGetAttribute"),
                                   ROW(driver_text, "cuGetErrorString")};
enum { N_NCCL = sizeof of_nccl / sizeof *of_nccl, N_DRIVER = sizeof of_driver / sizeof *of_driver };

/* Libraries stay loaded: threads of theirs may run. */
static pn_status load(const char *library, const char *source, const symbol *symbols, int n,
                      nccl_api *api) {
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);

  if (!handle)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "NCCL: cannot load %s (%s): %s", library, source, dlerror());
  for (int i = 0; i < n; i++) {
    void *p = dlsym(handle, symbols[i].name);
    if (!p)
      return PN_FAIL(PN_ERR_UNSUPPORTED, "NCCL: %s has no %s; expected NCCL 2.14 or later (%s)",
                     library, symbols[i].name, source);
    memcpy((char *)api + symbols[i].at, &p, sizeof p);
  }
  return PN_OK;
}

static int loaded; /* version; once, by the main thread */

int pn_nccl_loaded_version(void) {
  return loaded;
}

pn_status pn_nccl_load(const nccl_api **out) {
  static nccl_api api;
  int version = 0;
  pn_status st = PN_OK;

  *out = NULL;
  if (loaded) goto done;
  PN_TRY(load("libcuda.so.1", "it comes with NVIDIA's driver", of_driver, N_DRIVER, &api));
  PN_TRY(load("libnccl.so.2", "pip install nvidia-nccl-cu13, and its folder in LD_LIBRARY_PATH",
              of_nccl, N_NCCL, &api));
  if (api.get_version(&version) != NCCL_SUCCESS || version < NCCL_VERSION_LEAST)
    PN_TRY(PN_FAIL(PN_ERR_UNSUPPORTED, "NCCL %d: expected %d (2.14) or later", version,
                   NCCL_VERSION_LEAST));
  loaded = version;
done:
  if (st == PN_OK) *out = &api;
  return st;
}
