/* emulated.c -- the GPU's part played by the CPU, for tests: every kernel's body in a loop.  Its
 * memory can be touched only while a kernel or a transfer runs, like a GPU's: host code that reads
 * a far pointer dies here too. */
#include "backend.h"
#include "base/clock.h"

#include "body_augment.h"
#include "body_conv.h"
#include "body_loss.h"
#include "body_map.h"
#include "body_norm.h"
#include "body_update.h"
#include "body_window.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MAX_BLOCKS = 256 };

struct emulated {
  int threads;
  struct {
    void *at;
    size_t bytes;
  } block[MAX_BLOCKS];
  int n_blocks;
  int64_t left; /* bytes; < 0: no limit */
  bool open;    /* never protected */
  int64_t launches[CU_KERNEL_COUNT];
  struct tape *tape; /* NULL: launches run at once */
  /* A copy is made as late as it may be: what the host writes too early shows. */
  struct lane {
    enum { LANE_FREE, LANE_BEGUN, LANE_COPIED, LANE_READ } state;
    void *far;
    const void *host;
    size_t bytes;
  } lane[PN_COPY_LANES];
};

/* Kept launches. */
enum { MAX_LAUNCHES = 4096, ARGS_BYTES = 256 };
struct tape {
  int n;
  struct {
    cu_kernel kernel;
    int form;
    uint32_t n;
    _Alignas(16) char args[ARGS_BYTES];
  } launch[MAX_LAUNCHES];
};

/* PN_EMULATED_BYTES: so much memory; PN_EMULATED_OPEN: memory that the host may touch;
 * PN_EMULATED_COUNT: a file for how often each kernel was launched; for tests. */
static pn_status emulated_create(const pn_device_spec *spec, void **impl) {
  const char *limit = getenv("PN_EMULATED_BYTES");
  struct emulated *e = calloc(1, sizeof *e);
  if (!e) return PN_FAIL(PN_ERR_NOMEM, "emulated: device");
  e->threads = spec->threads;
  e->left = limit ? atoll(limit) : -1;
  e->open = getenv("PN_EMULATED_OPEN") != NULL;
  *impl = e;
  return PN_OK;
}

static void write_launches(const struct emulated *e) {
  static const char *const name[CU_KERNEL_COUNT] = {
#define NAME(kernel, body, type, has_wide)                   #kernel,
#define SUM_NAME(kernel, body, join, type, number, has_wide) #kernel,
      CU_TYPED_KERNELS(NAME) CU_SUM_KERNELS(SUM_NAME) CU_KERNELS(NAME)};
  const char *path = getenv("PN_EMULATED_COUNT");
  FILE *f = path ? fopen(path, "w") : NULL;

  for (int k = 0; f && k < CU_KERNEL_COUNT; k++)
    if (e->launches[k]) fprintf(f, "%s %lld\n", name[k], (long long)e->launches[k]);
  if (f) fclose(f);
}

static void emulated_destroy(void *impl) {
  struct emulated *e = impl;
  write_launches(e);
  for (int i = 0; i < e->n_blocks; i++) munmap(e->block[i].at, e->block[i].bytes);
  free(e);
}

static pn_status emulated_alloc(void *impl, size_t bytes, void **out) {
  struct emulated *e = impl;
  size_t rounded = (bytes + 4095) / 4096 * 4096;
  void *p;

  *out = NULL;
  if (rounded == 0) rounded = 4096;
  if (e->left >= 0 && (int64_t)rounded > e->left)
    return PN_FAIL(PN_ERR_NOMEM, "emulated: cannot allocate %zu bytes", rounded);
  if (e->n_blocks == MAX_BLOCKS)
    return PN_FAIL(PN_ERR_NOMEM, "emulated: over %d blocks", MAX_BLOCKS);
  p = mmap(NULL, rounded, e->open ? PROT_READ | PROT_WRITE : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
           -1, 0);
  if (p == MAP_FAILED) return PN_FAIL(PN_ERR_NOMEM, "emulated: cannot map %zu bytes", rounded);
  e->block[e->n_blocks].at = p;
  e->block[e->n_blocks++].bytes = rounded;
  if (e->left >= 0) e->left -= (int64_t)rounded;
  *out = p;
  return PN_OK;
}

static void emulated_free(void *impl, void *p) {
  struct emulated *e = impl;
  for (int i = 0; i < e->n_blocks; i++) {
    if (e->block[i].at != p) continue;
    munmap(p, e->block[i].bytes);
    if (e->left >= 0) e->left += (int64_t)e->block[i].bytes;
    e->block[i] = e->block[--e->n_blocks];
    return;
  }
}

static int64_t emulated_available(void *impl) {
  return ((struct emulated *)impl)->left;
}

static pn_status emulated_host_alloc(void *impl, size_t bytes, void **out) {
  size_t rounded = (bytes + 63) / 64 * 64;
  (void)impl;
  *out = aligned_alloc(64, rounded ? rounded : 64);
  if (!*out) return PN_FAIL(PN_ERR_NOMEM, "emulated: cannot allocate %zu bytes", bytes);
  memset(*out, 0, rounded ? rounded : 64);
  return PN_OK;
}

static void emulated_host_free(void *impl, void *p) {
  (void)impl;
  free(p);
}

static pn_status protect(const struct emulated *e, int how) {
  for (int i = 0; !e->open && i < e->n_blocks; i++)
    if (mprotect(e->block[i].at, e->block[i].bytes, how) != 0)
      return PN_FAIL(PN_ERR_DEVICE, "emulated: mprotect of %zu bytes", e->block[i].bytes);
  return PN_OK;
}

static pn_status transfer(struct emulated *e, void *to, const void *from, size_t bytes) {
  pn_status st;

  if (e->tape) return PN_FAIL(PN_ERR_DEVICE, "emulated: transfer in a graph");
  if ((st = protect(e, PROT_READ | PROT_WRITE)) != PN_OK) return st;
  if (bytes) memcpy(to, from, bytes);
  return protect(e, PROT_NONE);
}

static pn_status emulated_upload(void *impl, void *far, const void *host, size_t bytes) {
  return transfer(impl, far, host, bytes);
}

static pn_status emulated_download(void *impl, void *host, const void *far, size_t bytes) {
  return transfer(impl, host, far, bytes);
}

static pn_status emulated_copy_begin(void *impl, int lane, void *far, const void *host,
                                     size_t bytes) {
  struct lane *l = &((struct emulated *)impl)->lane[lane];

  if (l->state == LANE_BEGUN || l->state == LANE_READ)
    return PN_FAIL(PN_ERR_DEVICE, "emulated: lane %d begins again before it is %s", lane,
                   l->state == LANE_READ ? "done" : "settled");
  *l = (struct lane){LANE_BEGUN, far, host, bytes};
  return PN_OK;
}

static pn_status emulated_copy_settle(void *impl, int lane) {
  struct lane *l = &((struct emulated *)impl)->lane[lane];

  if (l->state != LANE_BEGUN) return PN_OK;
  l->state = LANE_COPIED;
  return transfer(impl, l->far, l->host, l->bytes);
}

static pn_status emulated_copy_arrive(void *impl, int lane) {
  struct lane *l = &((struct emulated *)impl)->lane[lane];
  pn_status st = emulated_copy_settle(impl, lane);

  if (l->state != LANE_COPIED)
    return PN_FAIL(PN_ERR_DEVICE, "emulated: nothing is under way in lane %d", lane);
  l->state = LANE_READ;
  return st;
}

static pn_status emulated_copy_done(void *impl, int lane) {
  ((struct emulated *)impl)->lane[lane].state = LANE_FREE;
  return PN_OK;
}

/* Nothing is ever left in the queue. */
static pn_status emulated_mark_create(void *impl, void **mark) {
  (void)impl;
  *mark = calloc(1, sizeof(double));
  return *mark ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "emulated: mark");
}

static void emulated_mark_destroy(void *impl, void *mark) {
  (void)impl;
  free(mark);
}

static pn_status emulated_mark_set(void *impl, void *mark) {
  (void)impl;
  *(double *)mark = pn_now();
  return PN_OK;
}

static pn_status emulated_mark_passed(void *impl, void *mark, bool *passed) {
  (void)impl, (void)mark;
  *passed = true;
  return PN_OK;
}

static pn_status emulated_mark_between(void *impl, void *from, void *to, double *seconds) {
  (void)impl;
  *seconds = *(double *)to - *(double *)from;
  return PN_OK;
}

/* One loop per kernel, type and width. */
#define EACH(call)                                                                                 \
  _Pragma("omp parallel for num_threads(threads) schedule(static)") for (uint32_t i = 0; i < n;    \
                                                                         i++) call
#define LOOP(name, body, type, has_wide)                                                           \
  static void name##_loop(const void *args, uint32_t n, int form, int threads) {                   \
    const type *a = args;                                                                          \
    if (has_wide && form == CU_WIDE)                                                               \
      EACH(body(a, i, has_wide ? CU_LANES : 1));                                                   \
    else                                                                                           \
      EACH(body(a, i, 1));                                                                         \
  }
#define TYPED_LOOP(name, body, type, has_wide)                                                     \
  static void name##_loop(const void *args, uint32_t n, int form, int threads) {                   \
    const type *a = args;                                                                          \
    if (form == CU_F32) EACH(body(a, i, 1, CU_F32));                                               \
    if (form == CU_BF16) EACH(body(a, i, 1, CU_BF16));                                             \
    if (form == CU_FP16) EACH(body(a, i, 1, CU_FP16));                                             \
    if (has_wide && form == CU_WIDE) EACH(body(a, i, has_wide ? CU_LANES : 1, CU_F32));            \
    if (has_wide && form == (CU_BF16 | CU_WIDE))                                                   \
      EACH(body(a, i, has_wide ? CU_HALF_LANES : 1, CU_BF16));                                     \
    if (has_wide && form == (CU_FP16 | CU_WIDE))                                                   \
      EACH(body(a, i, has_wide ? CU_HALF_LANES : 1, CU_FP16));                                     \
  }
/* The threads of block i one after another, then its join. */
#define BLOCKS(body, join, number, lanes, type)                                                    \
  _Pragma("omp parallel for num_threads(threads) schedule(static)") for (uint32_t i = 0;           \
                                                                         i < n / CU_BLOCK; i++) {  \
    number sum[2][CU_HALF_LANES], all[2 * CU_HALF_LANES * CU_BLOCK];                               \
    for (uint32_t t = 0; t < CU_BLOCK; t++) {                                                      \
      body(a, i, t, lanes, type, sum);                                                             \
      for (int k = 0; k < 2 * (lanes); k++)                                                        \
        all[k * CU_BLOCK + (int)t] = sum[k / (lanes)][k % (lanes)];                                \
    }                                                                                              \
    for (uint32_t t = 0; t < CU_BLOCK; t++) join(a, i, t, lanes, all);                             \
  }
#define SUM_LOOP(name, body, join, type, number, has_wide)                                         \
  static void name##_loop(const void *args, uint32_t n, int form, int threads) {                   \
    const type *a = args;                                                                          \
    if (form == CU_F32) BLOCKS(body, join, number, 1, CU_F32)                                      \
    if (form == CU_BF16) BLOCKS(body, join, number, 1, CU_BF16)                                    \
    if (form == CU_FP16) BLOCKS(body, join, number, 1, CU_FP16)                                    \
    if (has_wide && form == CU_WIDE) BLOCKS(body, join, number, has_wide ? CU_LANES : 1, CU_F32)   \
    if (has_wide && form == (CU_BF16 | CU_WIDE))                                                   \
      BLOCKS(body, join, number, has_wide ? CU_HALF_LANES : 1, CU_BF16)                            \
    if (has_wide && form == (CU_FP16 | CU_WIDE))                                                   \
      BLOCKS(body, join, number, has_wide ? CU_HALF_LANES : 1, CU_FP16)                            \
  }
CU_TYPED_KERNELS(TYPED_LOOP)
CU_SUM_KERNELS(SUM_LOOP)
CU_KERNELS(LOOP)

static void (*const loops[CU_KERNEL_COUNT])(const void *, uint32_t, int, int) = {
#define ENTRY(name, body, type, has_wide)                   name##_loop,
#define SUM_ENTRY(name, body, join, type, number, has_wide) name##_loop,
    CU_TYPED_KERNELS(ENTRY) CU_SUM_KERNELS(SUM_ENTRY) CU_KERNELS(ENTRY)};

static const size_t args_bytes[CU_KERNEL_COUNT] = {
#define BYTES(name, body, type, has_wide)                   sizeof(type),
#define SUM_BYTES(name, body, join, type, number, has_wide) sizeof(type),
    CU_TYPED_KERNELS(BYTES) CU_SUM_KERNELS(SUM_BYTES) CU_KERNELS(BYTES)};

static pn_status keep(struct tape *t, cu_kernel k, int form, const void *args, uint32_t n) {
  if (t->n == MAX_LAUNCHES || args_bytes[k] > ARGS_BYTES)
    return PN_FAIL(PN_ERR_NOMEM, "emulated: more than %d kernels in a graph", MAX_LAUNCHES);
  t->launch[t->n].kernel = k;
  t->launch[t->n].form = form;
  t->launch[t->n].n = n;
  memcpy(t->launch[t->n++].args, args, args_bytes[k]);
  return PN_OK;
}

/* Copies within the memory are part of a graph. */
enum { COPY = CU_KERNEL_COUNT };
typedef struct {
  void *to;
  const void *from;
  size_t bytes;
} copy_args;

static pn_status emulated_copy(void *impl, void *to, const void *from, size_t bytes) {
  struct emulated *e = impl;
  copy_args a = {to, from, bytes};

  if (!e->tape) return transfer(e, to, from, bytes);
  if (e->tape->n == MAX_LAUNCHES)
    return PN_FAIL(PN_ERR_NOMEM, "emulated: more than %d kernels in a graph", MAX_LAUNCHES);
  e->tape->launch[e->tape->n].kernel = (cu_kernel)COPY;
  memcpy(e->tape->launch[e->tape->n++].args, &a, sizeof a);
  return PN_OK;
}

static pn_status emulated_launch(void *impl, cu_kernel k, int form, const void *args, uint32_t n) {
  struct emulated *e = impl;
  pn_status st;

  if (e->tape) return keep(e->tape, k, form, args, n);
  if ((st = protect(e, PROT_READ | PROT_WRITE)) != PN_OK) return st;
  e->launches[k]++;
  loops[k](args, n, form, e->threads);
  return protect(e, PROT_NONE);
}

static pn_status emulated_capture_begin(void *impl) {
  struct emulated *e = impl;
  e->tape = calloc(1, sizeof *e->tape);
  return e->tape ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "emulated: graph");
}

static pn_status emulated_capture_end(void *impl, void **graph) {
  struct emulated *e = impl;
  *graph = e->tape;
  e->tape = NULL;
  return PN_OK;
}

static pn_status emulated_replay(void *impl, void *graph) {
  const struct tape *t = graph;
  pn_status st = PN_OK;

  for (int i = 0; i < t->n && st == PN_OK; i++) {
    const copy_args *copy = (const void *)t->launch[i].args;
    if ((int)t->launch[i].kernel == COPY)
      st = transfer(impl, copy->to, copy->from, copy->bytes);
    else
      st = emulated_launch(impl, t->launch[i].kernel, t->launch[i].form, t->launch[i].args,
                           t->launch[i].n);
  }
  return st;
}

static void emulated_forget(void *impl, void *graph) {
  (void)impl;
  free(graph);
}

const cu_backend cu_emulated = {
    .name = "emulated",
    .create = emulated_create,
    .destroy = emulated_destroy,
    .alloc = emulated_alloc,
    .free = emulated_free,
    .available = emulated_available,
    .host_alloc = emulated_host_alloc,
    .host_free = emulated_host_free,
    .upload = emulated_upload,
    .download = emulated_download,
    .send = emulated_upload,
    .fetch = emulated_download,
    .copy = emulated_copy,
    .mark_create = emulated_mark_create,
    .mark_destroy = emulated_mark_destroy,
    .mark_set = emulated_mark_set,
    .mark_passed = emulated_mark_passed,
    .mark_between = emulated_mark_between,
    .launch = emulated_launch,
    .copy_begin = emulated_copy_begin,
    .copy_arrive = emulated_copy_arrive,
    .copy_done = emulated_copy_done,
    .copy_settle = emulated_copy_settle,
    .capture_begin = emulated_capture_begin,
    .capture_end = emulated_capture_end,
    .replay = emulated_replay,
    .forget = emulated_forget,
};
