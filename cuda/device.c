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
    {3, {PN_OP_CONV, PN_OP_RELU, PN_OP_MAXPOOL}, false},
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

/* What makes a purpose smaller. */
static const char *option_of(const char *what) {
  static const char *const rows[][2] = {{"activations", "train.batch"},
                                        {"batches under way", "train.batch"},
                                        {"images of the data set", "device.images to stream"}};

  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (strcmp(what, rows[i][0]) == 0) return rows[i][1];
  return NULL;
}

static void note_bytes(cu_device *c, const char *what, int64_t bytes) {
  pn_ledger_add(&c->ledger, what, option_of(what), bytes);
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

static pn_status far_send(pn_device *d, void *far, const void *host, size_t bytes) {
  cu_device *c = d->impl;
  return bytes ? c->backend->send(c->impl, far, host, bytes) : PN_OK;
}

static pn_status far_fetch(pn_device *d, void *host, const void *far, size_t bytes) {
  cu_device *c = d->impl;
  return bytes ? c->backend->fetch(c->impl, host, far, bytes) : PN_OK;
}

static pn_status far_copy(pn_device *d, void *to, const void *from, size_t bytes) {
  cu_device *c = d->impl;
  return bytes && to != from ? c->backend->copy(c->impl, to, from, bytes) : PN_OK;
}

static pn_status far_mark_create(pn_device *d, void **mark) {
  cu_device *c = d->impl;
  return c->backend->mark_create(c->impl, mark);
}

static void far_mark_destroy(pn_device *d, void *mark) {
  cu_device *c = d->impl;
  if (mark) c->backend->mark_destroy(c->impl, mark);
}

static pn_status far_mark_set(pn_device *d, void *mark) {
  cu_device *c = d->impl;
  return c->backend->mark_set(c->impl, mark);
}

static pn_status far_mark_passed(pn_device *d, void *mark, bool *passed) {
  cu_device *c = d->impl;
  return c->backend->mark_passed(c->impl, mark, passed);
}

static pn_status far_mark_between(pn_device *d, void *from, void *to, double *seconds) {
  cu_device *c = d->impl;
  return c->backend->mark_between(c->impl, from, to, seconds);
}

static void *far_queue(pn_device *d) {
  cu_device *c = d->impl;
  return c->backend->queue ? c->backend->queue(c->impl) : NULL;
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

static pn_status far_update(pn_device *d, const pn_flat_list *l) {
  cu_state s = {.device = d->impl};

  if (l->groups > INT32_MAX)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "%s: update of %lld elements", d->ops->name,
                   (long long)l->groups * PN_FLAT_LANES);
  return cu_launch(&s, CU_K_update, false, l, l->groups);
}

/* Two folds leave one number per range, a third one the norm of all, or one per tensor. */
static pn_status far_norms(pn_device *d, const pn_flat_list *l) {
  cu_state s = {.device = d->impl};
  pn_status st;

  PN_TRY(cu_launch(&s, CU_K_squares, false, l, (int64_t)l->parts * CU_BLOCK));
  PN_TRY(cu_launch(&s, CU_K_sums, false, l, (int64_t)l->n * CU_BLOCK));
  if (l->shares) return cu_launch(&s, CU_K_share, false, l, l->tensors);
  if (l->result && !l->scaled) PN_TRY(cu_launch(&s, CU_K_clip, false, l, CU_BLOCK));
done:
  return st;
}

static pn_status far_totals(pn_device *d, const pn_flat_list *l) {
  cu_state s = {.device = d->impl};
  pn_status st;

  PN_TRY(cu_launch(&s, CU_K_total, false, l, l->tensors));
  if (l->result && !l->scaled) PN_TRY(cu_launch(&s, CU_K_clip, false, l, CU_BLOCK));
  if (l->balance) PN_TRY(cu_launch(&s, CU_K_trust, false, l, l->n));
done:
  return st;
}

static pn_status far_add(pn_device *d, float *to, const float *from, int64_t count) {
  cu_state s = {.device = d->impl};
  cu_adding a = {.to = to, .from = from, .count = count};
  int64_t groups = (count + CU_LANES - 1) / CU_LANES;

  if (groups > INT32_MAX)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "%s: sum of %lld elements", d->ops->name, (long long)count);
  a.wide = ((uintptr_t)to | (uintptr_t)from) % (CU_LANES * sizeof(float)) == 0;
  return cu_launch(&s, CU_K_add, false, &a, groups);
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
                               .send = far_send,
                               .fetch = far_fetch,
                               .copy = far_copy,
                               .mark_create = far_mark_create,
                               .mark_destroy = far_mark_destroy,
                               .mark_set = far_mark_set,
                               .mark_passed = far_mark_passed,
                               .mark_between = far_mark_between,
                               .queue = far_queue,
                               .update = far_update,
                               .norms = far_norms,
                               .totals = far_totals,
                               .add = far_add,
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
