/* fake_nccl.h -- NCCL and the CUDA driver as functions of a test: device memory is malloc's, sums
 * are made by MPI when a group ends, events take some polls.  What a call must not do is an error.
 */
#ifndef PN_TESTS_FAKE_NCCL_H
#define PN_TESTS_FAKE_NCCL_H

#include "comm/nccl_internal.h"
#include "mpi/mpi_test.h"

#include <stdio.h>
#include <stdlib.h>

enum { FAKE_BLOCKS = 64, FAKE_OPS = 16, INVALID_USAGE = 5, REMOTE_ERROR = 6 };

typedef struct {
  enum { OP_ALL_REDUCE, OP_REDUCE_SCATTER, OP_ALL_GATHER, OP_REDUCE, OP_BROADCAST } kind;
  const float *in;
  float *out;
  int n, root;
} fake_op;

typedef struct {
  int polls;           /* until it has come */
  int capture, groups; /* fake.capture and fake.groups when it was recorded */
} fake_event;

static struct {
  MPI_Comm comm;
  struct {
    char *at;
    size_t bytes;
  } block[FAKE_BLOCKS]; /* device memory */
  fake_op op[FAKE_OPS];
  int n_ops, slow, stream, communicator; /* slow: polls that init takes; -1 = for ever */
  bool in_group, no_context, hang;
  const char *gpu;                    /* NULL: one for each rank */
  void *producer;                     /* stream of the computation */
  bool (*also_device)(const void *p); /* other memory than fake_alloc's; NULL: none */
  bool recording;                     /* of a graph: nobody may ask an event */
  /* What CUDA wants of a graph: the transfers' stream has followed the producer into it (number
   * of the capture; 0: none), and the producer has waited for all transfers of it at its end. */
  int captures, capture, followed, groups, joined;
  void (*keep)(void); /* instead of running op[0 .. n_ops), while recording */
  int async;          /* what NCCL's threads have met */
  int aborts, destroys, grouped, waits, streams;
} fake;

static bool fake_is_device(const void *p) {
  if (fake.also_device && fake.also_device(p)) return true;
  for (int i = 0; i < FAKE_BLOCKS; i++)
    if (fake.block[i].at && (const char *)p >= fake.block[i].at &&
        (const char *)p < fake.block[i].at + fake.block[i].bytes)
      return true;
  return false;
}

static int fake_version(int *version) {
  *version = 22703;
  return NCCL_SUCCESS;
}

static int fake_id(nccl_id *id) {
  for (int i = 0; i < NCCL_ID_BYTES; i++) id->bytes[i] = (char)(100 - i);
  return rank == 0 ? NCCL_SUCCESS : INVALID_USAGE;
}

static int fake_init(void **comm, int n, nccl_id id, int r, nccl_config *config) {
  nccl_id want;
  for (int i = 0; i < NCCL_ID_BYTES; i++) want.bytes[i] = (char)(100 - i);
  if (n != size || r != rank || memcmp(&id, &want, sizeof id) != 0 || config->blocking != 0 ||
      config->magic != 0xcafebeefu || config->size != sizeof *config)
    return INVALID_USAGE;
  *comm = &fake.communicator;
  return NCCL_IN_PROGRESS;
}

static int fake_abort(void *comm) {
  fake.aborts++;
  return comm == &fake.communicator ? NCCL_SUCCESS : INVALID_USAGE;
}

static int fake_destroy(void *comm) {
  fake.destroys++;
  return comm == &fake.communicator ? NCCL_SUCCESS : INVALID_USAGE;
}

static int fake_async(void *comm, int *error) {
  if (comm != &fake.communicator) return INVALID_USAGE;
  *error = fake.async;
  if (fake.slow != 0) *error = NCCL_IN_PROGRESS;
  if (fake.slow > 0) fake.slow--;
  return NCCL_SUCCESS;
}

static const char *fake_text(int rc) {
  return rc == REMOTE_ERROR ? "remote process exited or there was a network error" : "fake error";
}

static int fake_group_start(void) {
  if (fake.in_group) return INVALID_USAGE;
  fake.in_group = true;
  fake.n_ops = 0;
  return NCCL_SUCCESS;
}

static void fake_run(const fake_op *o) {
  float *whole = NULL;
  if (o->kind == OP_REDUCE_SCATTER) { /* out may lie in `in` */
    whole = malloc((size_t)o->n * (size_t)size * sizeof *whole);
    MPI_Allreduce(o->in, whole, o->n * size, MPI_FLOAT, MPI_SUM, fake.comm);
    memcpy(o->out, whole + rank * o->n, (size_t)o->n * sizeof *whole);
  } else if (o->kind == OP_ALL_GATHER) {
    bool in_place = o->in == o->out + rank * o->n;
    MPI_Allgather(in_place ? MPI_IN_PLACE : o->in, o->n, MPI_FLOAT, o->out, o->n, MPI_FLOAT,
                  fake.comm);
  } else if (o->kind == OP_ALL_REDUCE) {
    MPI_Allreduce(o->in == o->out ? MPI_IN_PLACE : o->in, o->out, o->n, MPI_FLOAT, MPI_SUM,
                  fake.comm);
  } else if (o->kind == OP_REDUCE) {
    bool in_place = rank == o->root && o->in == o->out;
    MPI_Reduce(in_place ? MPI_IN_PLACE : o->in, o->out, o->n, MPI_FLOAT, MPI_SUM, o->root,
               fake.comm);
  } else {
    if (rank == o->root) memmove(o->out, o->in, (size_t)o->n * sizeof *o->in);
    MPI_Bcast(o->out, o->n, MPI_FLOAT, o->root, fake.comm);
  }
  free(whole);
}

static int fake_group_end(void) {
  if (!fake.in_group) return INVALID_USAGE;
  fake.in_group = false;
  if (fake.hang) return NCCL_SUCCESS;
  if (fake.capture != 0 && fake.followed != fake.capture) return INVALID_USAGE;
  fake.groups++;
  if (fake.recording) fake.keep();
  for (int i = 0; !fake.recording && i < fake.n_ops; i++) fake_run(&fake.op[i]);
  fake.grouped += fake.n_ops > 1;
  return NCCL_SUCCESS;
}

/* Every buffer must be device memory, every call within a group and on the right stream. */
static int fake_push(fake_op o, size_t n, void *comm, const void *stream) {
  bool reads = o.kind != OP_BROADCAST || rank == o.root;
  bool writes = o.kind != OP_REDUCE || rank == o.root;
  if (!fake.in_group || fake.n_ops == FAKE_OPS || comm != &fake.communicator ||
      stream != &fake.stream || (reads && !fake_is_device(o.in)) ||
      (writes && !fake_is_device(o.out)))
    return INVALID_USAGE;
  o.n = (int)n;
  fake.op[fake.n_ops++] = o;
  return NCCL_SUCCESS;
}

static int fake_all_reduce(const void *in, void *out, size_t n, int type, int op, void *comm,
                           void *stream) {
  if (type != NCCL_FLOAT32 || op != NCCL_SUM) return INVALID_USAGE;
  return fake_push((fake_op){.kind = OP_ALL_REDUCE, .in = in, .out = out}, n, comm, stream);
}

static int fake_reduce_scatter(const void *in, void *out, size_t n, int type, int op, void *comm,
                               void *stream) {
  if (type != NCCL_FLOAT32 || op != NCCL_SUM) return INVALID_USAGE;
  return fake_push((fake_op){.kind = OP_REDUCE_SCATTER, .in = in, .out = out}, n, comm, stream);
}

static int fake_all_gather(const void *in, void *out, size_t n, int type, void *comm,
                           void *stream) {
  if (type != NCCL_FLOAT32) return INVALID_USAGE;
  return fake_push((fake_op){.kind = OP_ALL_GATHER, .in = in, .out = out}, n, comm, stream);
}

static int fake_reduce(const void *in, void *out, size_t n, int type, int op, int root, void *comm,
                       void *stream) {
  if (type != NCCL_FLOAT32 || op != NCCL_SUM) return INVALID_USAGE;
  return fake_push((fake_op){.kind = OP_REDUCE, .in = in, .out = out, .root = root}, n, comm,
                   stream);
}

static int fake_broadcast(const void *in, void *out, size_t n, int type, int root, void *comm,
                          void *stream) {
  if (type != NCCL_FLOAT32) return INVALID_USAGE;
  return fake_push((fake_op){.kind = OP_BROADCAST, .in = in, .out = out, .root = root}, n, comm,
                   stream);
}

static int fake_context(void **context) {
  *context = fake.no_context ? NULL : &fake;
  return CU_SUCCESS;
}

static int fake_device(int *device) {
  *device = rank;
  return CU_SUCCESS;
}

static int fake_name(char *name, int bytes, int device) {
  snprintf(name, (size_t)bytes, "%s", fake.gpu ? fake.gpu : "0000:00:00.0");
  if (!fake.gpu) name[6] = (char)('0' + device);
  return CU_SUCCESS;
}

static int fake_stream_create(void **stream, unsigned flags) {
  *stream = &fake.stream;
  fake.streams++;
  return flags == 1 ? CU_SUCCESS : 1;
}

static int fake_stream_destroy(void *stream) {
  fake.streams--;
  return stream == &fake.stream ? CU_SUCCESS : 1;
}

static int fake_stream_wait(void *stream, void *event, unsigned flags) {
  fake.waits++;
  if (stream != &fake.stream && (!fake.producer || stream != fake.producer)) return 1;
  if (!event || flags != 0) return 1;
  if (((fake_event *)event)->capture != fake.capture) return 1; /* of another graph, or of none */
  if (stream == &fake.stream)
    fake.followed = fake.capture;
  else
    fake.joined = ((fake_event *)event)->groups;
  return CU_SUCCESS;
}

static int fake_event_create(void **event, unsigned flags) {
  *event = calloc(1, sizeof(fake_event));
  return *event && flags == 2 ? CU_SUCCESS : 1;
}

static int fake_event_destroy(void *event) {
  free(event);
  return CU_SUCCESS;
}

static int fake_event_record(void *event, void *stream) {
  *(fake_event *)event = (fake_event){2, fake.capture, fake.groups};
  return stream ? CU_SUCCESS : 1;
}

static int fake_event_query(void *event) {
  fake_event *e = event;
  if (fake.recording) return 1;
  if (fake.hang || e->polls-- > 0) return CU_NOT_READY;
  return CU_SUCCESS;
}

static int fake_alloc(cu_pointer *p, size_t bytes) {
  for (int i = 0; i < FAKE_BLOCKS; i++) {
    if (fake.block[i].at) continue;
    fake.block[i].at = malloc(bytes);
    fake.block[i].bytes = bytes;
    *p = (cu_pointer)(uintptr_t)fake.block[i].at;
    return fake.block[i].at ? CU_SUCCESS : 2;
  }
  return 2;
}

static int fake_free(cu_pointer p) {
  for (int i = 0; i < FAKE_BLOCKS; i++)
    if (fake.block[i].at == (char *)(uintptr_t)p) {
      free(fake.block[i].at);
      fake.block[i].at = NULL;
      return CU_SUCCESS;
    }
  return 1;
}

static int fake_upload(cu_pointer to, const void *from, size_t bytes, void *stream) {
  if (!fake_is_device((void *)(uintptr_t)to) || fake_is_device(from) || stream != &fake.stream)
    return 1;
  memcpy((void *)(uintptr_t)to, from, bytes);
  return CU_SUCCESS;
}

static int fake_download(void *to, cu_pointer from, size_t bytes, void *stream) {
  if (!fake_is_device((void *)(uintptr_t)from) || fake_is_device(to) || stream != &fake.stream)
    return 1;
  memcpy(to, (void *)(uintptr_t)from, bytes);
  return CU_SUCCESS;
}

static int fake_attribute(void *value, int attribute, cu_pointer p) {
  if (attribute != 2 || !fake_is_device((void *)(uintptr_t)p)) return 1; /* as the driver does */
  *(unsigned *)value = 2;
  return CU_SUCCESS;
}

static int fake_driver_text(int rc, const char **text) {
  *text = rc == 1 ? "invalid argument" : "fake driver error";
  return CU_SUCCESS;
}

static const nccl_api fake_api = {.get_version = fake_version,
                                  .get_id = fake_id,
                                  .init = fake_init,
                                  .abort = fake_abort,
                                  .destroy = fake_destroy,
                                  .async_error = fake_async,
                                  .error_text = fake_text,
                                  .group_start = fake_group_start,
                                  .group_end = fake_group_end,
                                  .all_reduce = fake_all_reduce,
                                  .reduce_scatter = fake_reduce_scatter,
                                  .all_gather = fake_all_gather,
                                  .reduce = fake_reduce,
                                  .broadcast = fake_broadcast,
                                  .context = fake_context,
                                  .device = fake_device,
                                  .device_name = fake_name,
                                  .stream_create = fake_stream_create,
                                  .stream_destroy = fake_stream_destroy,
                                  .stream_wait = fake_stream_wait,
                                  .event_create = fake_event_create,
                                  .event_destroy = fake_event_destroy,
                                  .event_record = fake_event_record,
                                  .event_query = fake_event_query,
                                  .alloc = fake_alloc,
                                  .free = fake_free,
                                  .upload = fake_upload,
                                  .download = fake_download,
                                  .attribute = fake_attribute,
                                  .driver_text = fake_driver_text};

#endif
