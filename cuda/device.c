/* device.c -- what the devices cuda and emulated have in common: memory, who prepares which chain.
 */
#include "cuda_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an allocation was for, to be taken off the ledger when it is freed. */
struct cu_block {
  void *at;
  const char *what;
  size_t bytes;
};

const struct pn_chain_pattern cu_patterns[] = {
    {3, {PN_OP_NORM, PN_OP_ADD, PN_OP_RELU}, false},
    {2, {PN_OP_NORM, PN_OP_RELU}, false},
    {2, {PN_OP_CONV, PN_OP_RELU}, false},
    {2, {PN_OP_DENSE, PN_OP_RELU}, false},
    {0, {PN_OP_INPUT}, false},
};

/* By the kind of the chain's first op. */
static pn_status (*const prepare_row[PN_OP_COUNT])(pn_device *, pn_task *, pn_kernel *) = {
    [PN_OP_CONV] = cu_linear_prepare,     [PN_OP_DENSE] = cu_linear_prepare,
    [PN_OP_RELU] = cu_map_prepare,        [PN_OP_SIGMOID] = cu_map_prepare,
    [PN_OP_SILU] = cu_map_prepare,        [PN_OP_DROPOUT] = cu_map_prepare,
    [PN_OP_ADD] = cu_map_prepare,         [PN_OP_CONCAT] = cu_join_prepare,
    [PN_OP_NORM] = cu_norm_prepare,       [PN_OP_MAXPOOL] = cu_window_prepare,
    [PN_OP_AVGPOOL] = cu_window_prepare,  [PN_OP_GAP] = cu_window_prepare,
    [PN_OP_ZEROPAD] = cu_window_prepare,  [PN_OP_UPSAMPLE] = cu_window_prepare,
    [PN_OP_SOFTMAX] = cu_loss_prepare,    [PN_OP_BCE] = cu_loss_prepare,
    [PN_OP_SOFTMAX_CE] = cu_loss_prepare,
};

pn_status cu_create(pn_device *d, const cu_backend *backend, const pn_device_spec *spec) {
  cu_device *c = calloc(1, sizeof *c);
  pn_status st;

  if (!c) return PN_FAIL(PN_ERR_NOMEM, "%s: device", backend->name);
  c->backend = backend;
  if ((st = backend->create(spec, &c->impl)) != PN_OK) {
    free(c);
    return st;
  }
  d->impl = c;
  if (backend->bus) snprintf(d->bus, sizeof d->bus, "%s", backend->bus(c->impl));
  return PN_OK;
}

void cu_destroy(pn_device *d) {
  cu_device *c = d->impl;
  if (!c) return;
  if (c->sums) c->backend->free(c->impl, c->sums);
  c->backend->destroy(c->impl);
  free(c->block);
  free(c);
  d->impl = NULL;
}

pn_status cu_prepare(pn_device *d, pn_task *task, pn_kernel *out) {
  pn_op_kind kind = task->op[0]->kind;
  *out = (pn_kernel){.run = NULL};
  if (kind >= PN_OP_COUNT || !prepare_row[kind])
    return PN_FAIL(PN_ERR_UNSUPPORTED, "%s: no kernel for %s", d->ops->name, pn_op_name(kind));
  return prepare_row[kind](d, task, out);
}

pn_status cu_host_alloc(pn_device *d, size_t bytes, void **out) {
  cu_device *c = d->impl;
  return c->backend->host_alloc(c->impl, bytes, out);
}

void cu_host_free(pn_device *d, void *p) {
  cu_device *c = d->impl;
  if (p) c->backend->host_free(c->impl, p);
}

static void note_bytes(cu_device *c, const char *what, int64_t bytes) {
  pn_ledger_add(&c->ledger, what, strcmp(what, "activations") == 0 ? "train.batch" : NULL, bytes);
}

static pn_status note_block(cu_device *c, void *at, const char *what, size_t bytes) {
  if (c->n_blocks == c->blocks_room) {
    int room = c->blocks_room ? 2 * c->blocks_room : 32;
    struct cu_block *bigger = realloc(c->block, (size_t)room * sizeof *bigger);
    if (!bigger) return PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", c->backend->name);
    c->block = bigger;
    c->blocks_room = room;
  }
  c->block[c->n_blocks++] = (struct cu_block){at, what, bytes};
  note_bytes(c, what, (int64_t)bytes);
  return PN_OK;
}

static pn_status far_alloc(pn_device *d, const char *what, size_t bytes, void **out) {
  cu_device *c = d->impl;
  pn_status st = c->backend->alloc(c->impl, bytes, out);

  if (st == PN_ERR_NOMEM) {
    note_bytes(c, what, 0); /* the option that makes it smaller */
    return pn_out_of_memory(&c->ledger, cu_describe(d), what, (int64_t)bytes,
                            c->backend->available(c->impl));
  }
  if (st == PN_OK && (st = note_block(c, *out, what, bytes)) != PN_OK) {
    c->backend->free(c->impl, *out);
    *out = NULL;
  }
  return st;
}

static void far_free(pn_device *d, void *p) {
  cu_device *c = d->impl;

  if (!p) return;
  for (int i = 0; i < c->n_blocks; i++) {
    if (c->block[i].at != p) continue;
    note_bytes(c, c->block[i].what, -(int64_t)c->block[i].bytes);
    c->block[i] = c->block[--c->n_blocks];
    break;
  }
  c->backend->free(c->impl, p);
}

static pn_status far_upload(pn_device *d, void *far, const void *host, size_t bytes) {
  cu_device *c = d->impl;
  return bytes ? c->backend->upload(c->impl, far, host, bytes) : PN_OK;
}

static pn_status far_download(pn_device *d, void *host, const void *far, size_t bytes) {
  cu_device *c = d->impl;
  return bytes ? c->backend->download(c->impl, host, far, bytes) : PN_OK;
}

const char *cu_describe(pn_device *d) {
  cu_device *c = d->impl;
  return c->backend->describe ? c->backend->describe(c->impl) : c->backend->name;
}

bool cu_computes(const pn_device *d, pn_dtype type, const char **why) {
  (void)d;
  *why = "it computes in f32, bf16 and fp16";
  return type == PN_F32 || type == PN_BF16 || type == PN_FP16;
}

/* Many tensors are one range of the arenas where they share their coefficients. */
static pn_status far_update(pn_device *d, const pn_flat_update *u) {
  static const cu_kernel kernel[] = {[PN_FLAT_SGD] = CU_K_sgd,
                                     [PN_FLAT_ADAM] = CU_K_adam,
                                     [PN_FLAT_LARS] = CU_K_lars,
                                     [PN_FLAT_EMA] = CU_K_ema};
  cu_state s = {.device = d->impl};
  bool wide = cu_wide(u->count) && (uintptr_t)u->param % sizeof(float[CU_LANES]) == 0;

  if (u->count > INT32_MAX)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "%s: update of %lld elements", d->ops->name,
                   (long long)u->count);
  return cu_launch(&s, kernel[u->rule], wide, u, u->count);
}

/* Two folds leave one row. */
static pn_status far_squares(pn_device *d, const pn_flat_update *u, double sum[2]) {
  enum { PARTS = 1 << 12, GROUP = 1 << 6 };
  cu_device *c = d->impl;
  cu_state s = {.device = c};
  cu_squares a = {.param = u->param, .grad = u->grad, .scale = (double)u->scale};
  cu_fold fold = {.width = 2, .parts = PARTS, .group = GROUP};
  pn_status st = PN_OK;

  if (!c->sums)
    PN_TRY(far_alloc(d, "sums", (PARTS + PARTS / GROUP + 1) * 2 * sizeof(double), &c->sums));
  a.decay = (double)u->decay;
  a.count = (uint32_t)u->count;
  a.parts = PARTS;
  a.partial = c->sums;
  PN_TRY(cu_launch(&s, CU_K_squares, false, &a, PARTS));
  fold.in = a.partial;
  fold.out = a.partial + 2 * PARTS;
  PN_TRY(cu_launch(&s, CU_K_fold, false, &fold, 2 * (PARTS / GROUP)));
  fold = (cu_fold){.in = fold.out, .out = fold.out + 2 * (PARTS / GROUP), .width = 2};
  fold.parts = fold.group = PARTS / GROUP;
  PN_TRY(cu_launch(&s, CU_K_fold, false, &fold, 2));
  PN_TRY(far_download(d, sum, fold.out, 2 * sizeof *sum));
done:
  return st;
}

static pn_status far_capture_begin(pn_device *d) {
  cu_device *c = d->impl;
  return c->backend->capture_begin(c->impl);
}

static pn_status far_capture_end(pn_device *d, void **graph) {
  cu_device *c = d->impl;
  return c->backend->capture_end(c->impl, graph);
}

static pn_status far_replay(pn_device *d, void *graph) {
  cu_device *c = d->impl;
  return c->backend->replay(c->impl, graph);
}

static void far_forget(pn_device *d, void *graph) {
  cu_device *c = d->impl;
  if (graph) c->backend->forget(c->impl, graph);
}

const pn_far_ops cu_far_ops = {.alloc = far_alloc,
                               .free = far_free,
                               .upload = far_upload,
                               .download = far_download,
                               .update = far_update,
                               .squares = far_squares,
                               .capture_begin = far_capture_begin,
                               .capture_end = far_capture_end,
                               .replay = far_replay,
                               .forget = far_forget,
                               .images = &cu_image_ops};

static pn_status emulated_create(pn_device *d, const pn_device_spec *spec) {
  return cu_create(d, &cu_emulated, spec);
}

const pn_device_ops pn_device_emulated_ops = {
    .name = "emulated",
    .help = "the device cuda with its kernels run by the CPU: for tests, slow",
    .create = emulated_create,
    CU_DEVICE_TABLE,
};
