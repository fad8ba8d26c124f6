/* nccl_internal.h -- shared by the nccl_*.c files and their tests.
 *
 * NCCL and the CUDA driver are loaded at run time: the program is built without their headers, runs
 * on machines without them, and a test puts functions of its own in their place.  Names, numbers
 * and structs are those of NCCL 2.14 and of the driver API, which newer versions keep. */
#ifndef PN_COMM_NCCL_INTERNAL_H
#define PN_COMM_NCCL_INTERNAL_H

#include "comm/comm_backend.h"

#include <stddef.h>

enum { NCCL_ID_BYTES = 128, NCCL_VERSION_LEAST = 21400 };
enum { NCCL_SUCCESS = 0, NCCL_IN_PROGRESS = 7 }; /* ncclResult_t */
enum { NCCL_FLOAT32 = 7, NCCL_SUM = 0 };
enum { CU_SUCCESS = 0, CU_NOT_READY = 600 }; /* CUresult */

typedef struct {
  char bytes[NCCL_ID_BYTES];
} nccl_id;

/* The first members of ncclConfig_t; `size` tells NCCL how many there are. */
typedef struct {
  size_t size;
  unsigned magic, version;
  int blocking;
} nccl_config;

typedef unsigned long long cu_pointer;

/* Calls answer with a ncclResult_t or CUresult; communicators, streams, events are `void *`. */
typedef struct {
  int (*get_version)(int *version);
  int (*get_id)(nccl_id *id);
  int (*init)(void **comm, int size, nccl_id id, int rank, nccl_config *config);
  int (*abort)(void *comm);
  int (*destroy)(void *comm);
  int (*async_error)(void *comm, int *error);
  const char *(*error_text)(int rc);
  int (*group_start)(void);
  int (*group_end)(void);
  int (*all_reduce)(const void *in, void *out, size_t n, int type, int op, void *comm,
                    void *stream);
  int (*reduce_scatter)(const void *in, void *out, size_t n_out, int type, int op, void *comm,
                        void *stream);
  int (*all_gather)(const void *in, void *out, size_t n_in, int type, void *comm, void *stream);
  int (*reduce)(const void *in, void *out, size_t n, int type, int op, int root, void *comm,
                void *stream);
  int (*broadcast)(const void *in, void *out, size_t n, int type, int root, void *comm,
                   void *stream);

  int (*context)(void **ctx); /* of this thread; NULL: none */
  int (*device)(int *device); /* of that context */
  int (*device_name)(char *pci_bus_id, int bytes, int device);
  int (*stream_create)(void **stream, unsigned flags);
  int (*stream_destroy)(void *stream);
  int (*stream_wait)(void *stream, void *event, unsigned flags);
  int (*event_create)(void **event, unsigned flags);
  int (*event_destroy)(void *event);
  int (*event_record)(void *event, void *stream);
  int (*event_query)(void *event);
  int (*alloc)(cu_pointer *p, size_t bytes);
  int (*free)(cu_pointer p);
  int (*upload)(cu_pointer to, const void *from, size_t bytes, void *stream);
  int (*download)(void *to, cu_pointer from, size_t bytes, void *stream);
  int (*attribute)(void *value, int attribute, cu_pointer p);
  int (*driver_text)(int rc, const char **text);
} nccl_api;

struct nccl_comm {
  const nccl_api *api; /* borrowed: of the process, or of a test */
  pn_comm *mpi;        /* the same ranks: what is not a transfer; owned */
  void *handle;        /* of NCCL; NULL: none yet, or aborted; owned */
  void *stream;        /* transfers and nothing else; owned */
  void *producer;      /* stream that writes the buffers; NULL: done when a transfer starts */
  void *ready;         /* event: the producer has come so far; owned */
  double limit_s;      /* of a wait; 0: no end */
};

/* nccl_load.c: the libraries of this machine; the same answer on every call.
 * Errors: UNSUPPORTED (which library or function is missing, and how to get it). */
pn_status pn_nccl_load(const nccl_api **out);
int pn_nccl_loaded_version(void); /* 22703 is 2.27.3; 0: not loaded yet */

/* nccl_registry.c.  UNSUPPORTED: the build left NCCL out, and how to have it. */
pn_status pn_nccl_built(void);

/* nccl.c.  COMM or DEVICE, with the library's text. */
pn_status pn_nccl_check(const struct nccl_comm *m, int rc, const char *call);
pn_status pn_cu_check(const struct nccl_comm *m, int rc, const char *call);
/* rc of a NCCL call that may still be going on: waits, at most limit_s. */
pn_status pn_nccl_settle(struct nccl_comm *m, int rc, const char *call);
/* An error that NCCL's own threads have met, or no end in time: aborts. */
pn_status pn_nccl_watch(struct nccl_comm *m, double waited_s);
/* Ends what hangs: kernels of NCCL too.  The communicator takes no further transfer. */
void pn_nccl_abort(struct nccl_comm *m);

/* nccl_transfer.c */
pn_status pn_nccl_start(pn_request *r, const pn_transfer *t);
pn_status pn_nccl_test(pn_request *r, bool *done);
pn_status pn_nccl_wait(pn_request *r);
void pn_nccl_request_free(pn_request *r);

extern const pn_comm_ops pn_comm_nccl_ops;

/* nccl_world.c.  api NULL: the libraries of this machine.  This thread's CUDA context says which
 * GPU.  *out stays NULL, without an error, where `must` is false and NCCL cannot be used: a log
 * line says why.  Collective, agreed. */
pn_status pn_comm_nccl_make(pn_comm *c, const nccl_api *api, bool must, pn_comm **out);

#endif
