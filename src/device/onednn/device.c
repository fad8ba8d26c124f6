/* device.c -- the oneDNN device's table: creation, memory, and which kernel takes which chain. */
#include "device/onednn/api.h"
#include "device/onednn/onednn.h"
#include "device/simd/amx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const struct pn_chain_pattern patterns[] = {
    {4, {PN_OP_CONV, PN_OP_NORM, PN_OP_ADD, PN_OP_RELU}, true},
    {3, {PN_OP_CONV, PN_OP_NORM, PN_OP_RELU}, true},
    {2, {PN_OP_CONV, PN_OP_NORM}, true},
    {2, {PN_OP_CONV, PN_OP_ADD}, true},
    {3, {PN_OP_CONV, PN_OP_RELU, PN_OP_MAXPOOL}, false},
    {2, {PN_OP_CONV, PN_OP_RELU}, false},
    {2, {PN_OP_DENSE, PN_OP_RELU}, false},
    {3, {PN_OP_NORM, PN_OP_ADD, PN_OP_RELU}, false},
    {2, {PN_OP_NORM, PN_OP_RELU}, false},
    {0, {PN_OP_INPUT}, false},
};

/* By the kind of the chain's first op; losses are left to `ref`: N x K numbers. */
static pn_status (*const prepare_row[PN_OP_COUNT])(pn_device *, pn_task *, pn_kernel *) = {
    [PN_OP_CONV] = dnn_conv_prepare,          [PN_OP_DENSE] = dnn_dense_prepare,
    [PN_OP_RELU] = dnn_relu_prepare,          [PN_OP_MAXPOOL] = dnn_pool_prepare,
    [PN_OP_DROPOUT] = dnn_dropout_prepare,    [PN_OP_NORM] = dnn_norm_prepare,
    [PN_OP_ADD] = dnn_activation_prepare,     [PN_OP_CONCAT] = dnn_concat_prepare,
    [PN_OP_GAP] = dnn_planes_prepare,         [PN_OP_AVGPOOL] = dnn_planes_prepare,
    [PN_OP_ZEROPAD] = dnn_planes_prepare,     [PN_OP_UPSAMPLE] = dnn_planes_prepare,
    [PN_OP_SIGMOID] = dnn_activation_prepare, [PN_OP_SILU] = dnn_activation_prepare,
    [PN_OP_SOFTMAX] = dnn_activation_prepare,
};

/* These take and make bf16; the others compute in f32, and the planner converts around them. */
static const bool takes_bf16[PN_OP_COUNT] = {
    [PN_OP_CONV] = true,    [PN_OP_DENSE] = true, [PN_OP_RELU] = true,
    [PN_OP_MAXPOOL] = true, [PN_OP_NORM] = true,  [PN_OP_ADD] = true,
    [PN_OP_DROPOUT] = true, [PN_OP_GAP] = true,   [PN_OP_ZEROPAD] = true};

const char *pn_onednn_version(void) {
  static _Thread_local char text[32];
  const dnnl_version_t *v = dnnl_version();
  snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
  return text;
}

/* Some virtual machines show AMX but not the shape of its tiles, which oneDNN asks for: it would
 * set up tiles of no rows and end by SIGILL.  Before the library's first use, unless the user has
 * set the limit; later calls change nothing. */
static void limit_isa(void) {
  if (!pn_amx_hides_tiles() || getenv("ONEDNN_MAX_CPU_ISA") || getenv("DNNL_MAX_CPU_ISA")) return;
  (void)dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core_bf16);
}

static int effective_isa(void) {
  limit_isa();
  return (int)dnnl_get_effective_cpu_isa();
}

const char *pn_onednn_isa(void) {
  static const struct {
    int bits;
    const char *name;
  } rows[] = {/* widest first; 3.x adds bits above */
              {dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx"},
              {dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16"},
              {dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni"},
              {dnnl_cpu_isa_avx512_core, "avx512_core"},
              {dnnl_cpu_isa_avx2_vnni, "avx2_vnni"},
              {dnnl_cpu_isa_avx2, "avx2"},
              {dnnl_cpu_isa_avx, "avx"},
              {dnnl_cpu_isa_sse41, "sse41"}};
  int isa = effective_isa();
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if ((isa & rows[i].bits) == rows[i].bits) return rows[i].name;
  return "generic";
}

bool dnn_tiles(void) {
  bool limited = (effective_isa() & dnnl_cpu_isa_avx512_core_amx) != dnnl_cpu_isa_avx512_core_amx;
  const char *asked = getenv("ONEDNN_MAX_CPU_ISA"), *old = getenv("DNNL_MAX_CPU_ISA");

  if (limited && (asked || old || !pn_amx_hides_tiles())) return false;
  return pn_amx_usable();
}

int dnn_lanes(void) {
  int isa = effective_isa();
  if ((isa & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core) return 16;
  return (isa & dnnl_cpu_isa_avx2) == dnnl_cpu_isa_avx2 ? 8 : 4;
}

int pn_onednn_lanes(void) {
  return dnn_lanes();
}

static bool onednn_computes(const pn_device *d, pn_dtype type, const char **why) {
  (void)d;
  *why = type == PN_FP16
             ? "fp16 is for GPUs (train.device=cuda), bf16 for CPUs too"
             : "the processor, or ONEDNN_MAX_CPU_ISA, has no bf16 instructions (avx512_bf16)";
  return type == PN_F32 || (type == PN_BF16 && (effective_isa() & dnnl_cpu_isa_avx512_core_bf16) ==
                                                   dnnl_cpu_isa_avx512_core_bf16);
}

static void onednn_destroy(pn_device *d) {
  struct dnn_device *m = d->impl;
  if (!m) return;
  if (m->stream) dnnl_stream_destroy(m->stream);
  if (m->engine) dnnl_engine_destroy(m->engine);
  free(m);
  d->impl = NULL;
}

static pn_status onednn_create(pn_device *d, const pn_device_spec *spec) {
  pn_status st = PN_OK;
  struct dnn_device *m = calloc(1, sizeof *m);
  if (!m) return PN_FAIL(PN_ERR_NOMEM, "onednn: device");
  d->impl = m;
  m->threads = spec->threads;
  limit_isa();
  dnn_use_threads(m);
  PN_TRY(dnn_check(dnnl_engine_create(&m->engine, dnnl_cpu, 0), "engine"));
  PN_TRY(dnn_check(dnnl_stream_create(&m->stream, m->engine, dnnl_stream_default_flags), "stream"));
done:
  if (st != PN_OK) onednn_destroy(d);
  return st;
}

static void all_f32(pn_task *task) {
  task->precision = PN_F32;
  for (int r = 0; r < PN_ROLE_COUNT; r++) task->layout[r].type = PN_F32;
}

static pn_status onednn_prepare(pn_device *d, pn_task *task, pn_kernel *out) {
  pn_op_kind kind = task->op[0]->kind;
  *out = (pn_kernel){.run = NULL};
  if (kind >= PN_OP_COUNT || !prepare_row[kind])
    return PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: no kernel for %s", pn_op_name(kind));
  if (!takes_bf16[kind]) all_f32(task);
  dnn_use_threads(d->impl);
  return prepare_row[kind](d, task, out);
}

/* In front of each block: how it was taken. */
struct block {
  size_t mapped; /* bytes of the map, 0: from malloc */
};
enum { HEAD = 64, HUGE_PAGE = 2 << 20 }; /* HEAD keeps the alignment */

/* A map of huge pages: fewer faults and TLB misses.  The kernel gives zeros, page by page when they
 * are first touched: not in the start-up, and not twice. */
static char *map_block(size_t bytes, size_t *mapped) {
  char *p;

  *mapped = (bytes + HEAD + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
  p = mmap(NULL, *mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return NULL;
  (void)madvise(p, *mapped, MADV_HUGEPAGE); /* a hint: failure is harmless */
  return p;
}

static char *heap_block(size_t bytes) {
  size_t rounded = (bytes + 2 * HEAD - 1) / HEAD * HEAD;
  char *p = aligned_alloc(HEAD, rounded);
  return p ? memset(p, 0, rounded) : NULL;
}

static pn_status onednn_alloc(pn_device *d, size_t bytes, void **out) {
  size_t mapped = 0;
  char *p = bytes >= HUGE_PAGE ? map_block(bytes, &mapped) : heap_block(bytes);
  (void)d;

  *out = NULL;
  if (!p) return PN_FAIL(PN_ERR_NOMEM, "onednn: cannot allocate %zu bytes", bytes);
  *(struct block *)(void *)p = (struct block){mapped};
  *out = p + HEAD;
  return PN_OK;
}

static void onednn_free(pn_device *d, void *p) {
  char *start = p ? (char *)p - HEAD : NULL;
  size_t mapped = p ? ((struct block *)(void *)start)->mapped : 0;
  (void)d;

  if (mapped)
    munmap(start, mapped);
  else
    free(start);
}

const pn_device_ops pn_device_onednn_ops = {
    .name = "onednn",
    .help = "oneDNN and own vector kernels, blocked layouts",
    .create = onednn_create,
    .destroy = onednn_destroy,
    .fuse = patterns,
    .prepare = onednn_prepare,
    .reorder = dnn_reorder,
    .computes = onednn_computes,
    .alloc = onednn_alloc,
    .free = onednn_free,
};
