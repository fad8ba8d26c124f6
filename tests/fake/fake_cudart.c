/* fake_cudart.c -- streams, events, copies and graphs of the fake CUDA runtime. */
#include "fake_cudart.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One piece of work in a stream or a graph; its arguments follow it. */
typedef struct entry {
  struct entry *next;
  enum { WORK, RECORD, WAIT } kind;
  fake_work *work;
  cudaEvent_t event;
  int64_t ticket; /* of the event */
  _Alignas(16) char args[];
} entry;

typedef struct {
  entry *first, *last;
} list;

struct CUgraph_st {
  list all;
  bool spoilt;
};

struct CUgraphExec_st {
  list all;
  int queued; /* launches that did not run yet */
};

struct CUstream_st {
  list queue;
  cudaStream_t next; /* of all streams */
  cudaGraph_t graph; /* not NULL: what is queued goes there */
  bool origin;       /* began it */
  bool eager;        /* runs what it can at once */
  int64_t put, seen; /* pieces of work in this capture; those the origin waits for */
};

/* Each record has a ticket; done: that of the last one which ran. */
struct CUevent_st {
  bool timing;
  int64_t last, done;
  int asked; /* since the last record */
  cudaStream_t stream;
  cudaGraph_t graph; /* recorded in a capture */
  int64_t put;       /* its stream's, then */
  double s;
};

enum { NOT_READY_TIMES = 2 };

static cudaStream_t streams;
static cudaGraph_t capture;
static cudaError_t last_error;
static int graphs;

void fake_cuda_die(const char *format, ...) {
  va_list args;

  va_start(args, format);
  fputs("fake CUDA: ", stderr);
  vfprintf(stderr, format, args);
  fputs("\n", stderr);
  va_end(args);
  abort();
}

cudaError_t fake_cuda_answer(cudaError_t rc) {
  if (rc != cudaSuccess) last_error = rc;
  return rc;
}

cudaError_t cudaGetLastError(void) {
  cudaError_t rc = last_error;
  last_error = cudaSuccess;
  return rc;
}

const char *cudaGetErrorName(cudaError_t rc) {
  return rc == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaErrorOfTheFake";
}

const char *cudaGetErrorString(cudaError_t rc) {
  return rc == cudaErrorMemoryAllocation ? "out of memory" : "refused by the fake";
}

bool fake_cuda_capturing(void) {
  if (capture) capture->spoilt = true;
  return capture != NULL;
}

bool fake_cuda_in_graph(cudaStream_t s) {
  return s->graph != NULL;
}

int fake_cuda_graphs(void) {
  return graphs;
}

/* Time of the GPU: a copy takes a microsecond, what a kernel or a library does two. */
static double now_s;

static void do_work(entry *e) {
  e->work(e->args);
  now_s += e->work == fake_cuda_copy || e->work == fake_cuda_set ? 1e-6 : 2e-6;
}

static entry *add(list *to, const void *args, size_t bytes) {
  entry *e = calloc(1, sizeof *e + bytes);

  if (!e) fake_cuda_die("out of memory");
  if (bytes) memcpy(e->args, args, bytes);
  if (to->last)
    to->last->next = e;
  else
    to->first = e;
  to->last = e;
  return e;
}

static void drop(list *l) {
  while (l->first) {
    entry *e = l->first;
    l->first = e->next;
    free(e);
  }
  l->last = NULL;
}

static void run_first(cudaStream_t s);

static void run_until(cudaEvent_t e, int64_t ticket) {
  while (e->done < ticket) {
    if (!e->stream->queue.first) fake_cuda_die("an event that nothing records is waited for");
    run_first(e->stream);
  }
}

static void run_first(cudaStream_t s) {
  entry *e = s->queue.first;

  if (e->kind == WAIT) run_until(e->event, e->ticket);
  if (e != s->queue.first) return; /* a circle came back here */
  s->queue.first = e->next;
  if (!e->next) s->queue.last = NULL;
  if (e->kind == RECORD) {
    e->event->done = e->ticket;
    e->event->s = now_s;
  } else if (e->kind == WORK)
    do_work(e);
  free(e);
}

/* What waits for nobody. */
static void run_ready(cudaStream_t s) {
  if (!s->eager) return;
  fake_memory_open();
  while (s->queue.first &&
         (s->queue.first->kind != WAIT || s->queue.first->event->done >= s->queue.first->ticket))
    run_first(s);
  fake_memory_close();
}

static void finish(cudaStream_t s) {
  fake_memory_open();
  while (s->queue.first) run_first(s);
  fake_memory_close();
}

void fake_cuda_finish_all(void) {
  for (cudaStream_t s = streams; s; s = s->next) finish(s);
}

static entry *put(cudaStream_t s, const void *args, size_t bytes) {
  if (!s) fake_cuda_die("work in the default stream, which waits for no other stream here");
  if (s->graph) s->put++;
  return add(s->graph ? &s->graph->all : &s->queue, args, bytes);
}

cudaError_t fake_cuda_queue(cudaStream_t s, fake_work *work, const void *args, size_t bytes) {
  entry *e = put(s, args, bytes);
  e->kind = WORK;
  e->work = work;
  run_ready(s);
  return cudaSuccess;
}

/* The first stream computes. */
static bool begins_eager(void) {
  const char *order = getenv("FAKE_CUDA_ORDER");
  return order && strcmp(order, "early") == 0 && streams;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags) {
  cudaStream_t s = calloc(1, sizeof *s);

  if (!s) return fake_cuda_answer(cudaErrorMemoryAllocation);
  if (flags != cudaStreamNonBlocking) fake_cuda_die("a stream that waits for the default stream");
  s->eager = begins_eager();
  s->next = streams;
  *out = streams = s;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s) {
  cudaStream_t *at = &streams;

  finish(s);
  while (*at && *at != s) at = &(*at)->next;
  if (!*at) fake_cuda_die("cudaStreamDestroy of what is no stream");
  *at = s->next;
  free(s);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  if (fake_cuda_capturing()) return fake_cuda_answer(cudaErrorStreamCaptureUnsupported);
  finish(s);
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags) {
  cudaEvent_t e = calloc(1, sizeof *e);

  if (!e) return fake_cuda_answer(cudaErrorMemoryAllocation);
  e->timing = !(flags & cudaEventDisableTiming);
  *out = e;
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *out) {
  return cudaEventCreateWithFlags(out, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t e) {
  if (e->last > e->done) fake_cuda_finish_all();
  free(e);
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  entry *x;

  e->graph = s->graph;
  e->put = s->put;
  e->stream = s;
  e->asked = 0;
  if (s->graph) return cudaSuccess;
  x = put(s, NULL, 0);
  x->kind = RECORD;
  x->event = e;
  x->ticket = ++e->last;
  run_ready(s);
  return cudaSuccess;
}

/* In a capture: of another stream of it, which thereby joins, or ends. */
static cudaError_t wait_in_capture(cudaStream_t s, cudaEvent_t e) {
  if (!e->graph && e->last == 0) return cudaSuccess;
  if (e->graph != capture || (s->graph && s->graph != capture)) {
    capture->spoilt = true;
    return fake_cuda_answer(cudaErrorStreamCaptureIsolation);
  }
  if (!s->graph) {
    s->graph = capture;
    s->put = s->seen = 0;
  }
  if (s->origin) e->stream->seen = e->put;
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags) {
  entry *x;

  if (flags) return fake_cuda_answer(cudaErrorInvalidValue);
  if (s->graph || e->graph) return wait_in_capture(s, e);
  if (e->last == 0) return cudaSuccess;
  x = put(s, NULL, 0);
  x->kind = WAIT;
  x->event = e;
  x->ticket = e->last;
  run_ready(s);
  return cudaSuccess;
}

/* Says "not ready" a few times and keeps that as the last error, as some runtimes do. */
cudaError_t cudaEventQuery(cudaEvent_t e) {
  if (e->graph) return fake_cuda_answer(cudaErrorCapturedEvent);
  if (e->done < e->last && e->asked++ < NOT_READY_TIMES) return fake_cuda_answer(cudaErrorNotReady);
  return cudaEventSynchronize(e);
}

cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  if (e->graph || (capture && capture->spoilt)) return fake_cuda_answer(cudaErrorCapturedEvent);
  fake_memory_open();
  run_until(e, e->last);
  fake_memory_close();
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to) {
  if (!from->timing || !to->timing || !from->last || !to->last)
    return fake_cuda_answer(cudaErrorInvalidResourceHandle);
  if (from->done < from->last || to->done < to->last) return fake_cuda_answer(cudaErrorNotReady);
  *ms = (float)(1e3 * (to->s - from->s));
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode) {
  if (capture) return fake_cuda_answer(cudaErrorIllegalState);
  if (mode != cudaStreamCaptureModeThreadLocal) fake_cuda_die("a capture that minds other threads");
  if (!(s->graph = capture = calloc(1, sizeof *capture))) fake_cuda_die("out of memory");
  s->origin = true;
  return cudaSuccess;
}

/* Streams that joined must have been waited for. */
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *out) {
  cudaGraph_t g = s->graph;
  cudaError_t rc = cudaSuccess;

  *out = NULL;
  if (!g || !s->origin) return fake_cuda_answer(cudaErrorIllegalState);
  for (cudaStream_t x = streams; x; x = x->next) {
    if (x->graph != g) continue;
    if (!x->origin && x->seen < x->put) rc = cudaErrorStreamCaptureUnjoined;
    x->graph = NULL;
    x->origin = false;
  }
  capture = NULL;
  if (g->spoilt) rc = cudaErrorStreamCaptureInvalidated;
  if (rc == cudaSuccess)
    *out = g;
  else
    cudaGraphDestroy(g);
  return fake_cuda_answer(rc);
}

cudaError_t cudaGraphDestroy(cudaGraph_t g) {
  drop(&g->all);
  free(g);
  return cudaSuccess;
}

/* Takes the work: a graph is instantiated once here. */
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t g, unsigned long long flags) {
  cudaGraphExec_t x = calloc(1, sizeof *x);

  if (!x) return fake_cuda_answer(cudaErrorMemoryAllocation);
  if (flags) fake_cuda_die("flags of cudaGraphInstantiate");
  x->all = g->all;
  g->all = (list){NULL, NULL};
  graphs++;
  *out = x;
  return cudaSuccess;
}

static void replay(void *args) {
  cudaGraphExec_t x = *(cudaGraphExec_t *)args;

  for (entry *e = x->all.first; e; e = e->next) do_work(e);
  x->queued--;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t s) {
  if (s->graph) fake_cuda_die("a graph in a graph");
  x->queued++;
  return fake_cuda_queue(s, replay, &x, sizeof x);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t x) {
  if (x->queued) fake_cuda_die("a graph that is still to run is destroyed");
  drop(&x->all);
  free(x);
  graphs--;
  return cudaSuccess;
}
