/* ref.c -- the oracle: every op in plain C, plain layouts, sums in double. */
#include "device/ref/ref.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const ref_op *const ops[PN_OP_COUNT] = {
    [PN_OP_CONV] = &ref_conv,
    [PN_OP_DENSE] = &ref_dense,
    [PN_OP_RELU] = &ref_relu,
    [PN_OP_MAXPOOL] = &ref_maxpool,
    [PN_OP_DROPOUT] = &ref_dropout,
    [PN_OP_NORM] = &ref_norm,
    [PN_OP_ADD] = &ref_add,
    [PN_OP_CONCAT] = &ref_concat,
    [PN_OP_GAP] = &ref_gap,
    [PN_OP_AVGPOOL] = &ref_avgpool,
    [PN_OP_ZEROPAD] = &ref_zeropad,
    [PN_OP_UPSAMPLE] = &ref_upsample,
    [PN_OP_SIGMOID] = &ref_sigmoid,
    [PN_OP_SILU] = &ref_silu,
    [PN_OP_SOFTMAX] = &ref_softmax,
    [PN_OP_BCE] = &ref_bce,
    [PN_OP_SOFTMAX_CE] = &ref_softmax_ce,
};

static pn_status ref_create(pn_device *d, const pn_device_spec *spec) {
  (void)spec;
  d->impl = NULL;
  return PN_OK;
}

static void ref_destroy(pn_device *d) {
  (void)d;
}

static pn_status ref_alloc(pn_device *d, size_t bytes, void **out) {
  size_t rounded = (bytes + 63) / 64 * 64;
  (void)d;
  *out = aligned_alloc(64, rounded ? rounded : 64);
  if (!*out) return PN_FAIL(PN_ERR_NOMEM, "ref: cannot allocate %zu bytes", bytes);
  memset(*out, 0, rounded);
  return PN_OK;
}

static void ref_free(pn_device *d, void *p) {
  (void)d;
  free(p);
}

static pn_status ref_prepare(pn_device *d, pn_task *task, pn_kernel *out) {
  const pn_op_desc *op = task->op[0];
  const ref_op *row = op->kind < PN_OP_COUNT ? ops[op->kind] : NULL;
  ref_state *s;
  (void)d;

  memset(out, 0, sizeof *out);
  if (task->n_ops != 1 || !row || !row->pass[task->pass].run)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "ref: no kernel for %s%s, pass %d", pn_op_name(op->kind),
                   task->n_ops > 1 ? "+..." : "", (int)task->pass);
  if (!(s = malloc(sizeof *s))) return PN_FAIL(PN_ERR_NOMEM, "ref: %s", pn_op_name(op->kind));
  *s = (ref_state){.op = *op, .training = task->training};
  task->uses = row->pass[task->pass].uses;
  if (task->pass == PN_FORWARD)
    task->aux_bytes = task->training && row->aux_bytes ? row->aux_bytes(op) : 0;
  if (!op->bias) task->uses &= ~(REF_BIT(PN_BIAS) | REF_BIT(PN_DBIAS));
  for (int k = op->n_more; k < PN_MAX_INPUTS - 1; k++)
    task->uses &= ~(REF_BIT(PN_SRC1 + k) | REF_BIT(PN_DSRC1 + k));
  if (task->aux_bytes == 0) task->uses &= ~REF_BIT(PN_AUX);
  task->scratch_bytes = (task->uses & REF_BIT(PN_SCRATCH)) ? row->scratch_bytes(op) : 0;
  for (int r = 0; r < PN_ROLE_COUNT; r++)
    if (task->uses & REF_BIT(r)) task->layout[r] = pn_layout_plain(task->layout[r].shape);
  *out = (pn_kernel){.run = row->pass[task->pass].run, .destroy = free, .state = s};
  snprintf(out->impl, sizeof out->impl, "ref");
  return PN_OK;
}

/* Reorder of any two layouts through the plain one. */
struct reorder {
  pn_layout from, to;
  float *plain; /* owned, [count of the shape] */
};

static pn_status reorder_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  struct reorder *r = state;
  pn_status st = pn_layout_unpack(&r->from, ptr[PN_SRC], r->plain);
  (void)ctx;
  return st != PN_OK ? st : pn_layout_pack(&r->to, r->plain, ptr[PN_DST]);
}

static void reorder_destroy(void *state) {
  struct reorder *r = state;
  if (!r) return;
  free(r->plain);
  free(r);
}

static pn_status ref_reorder(pn_device *d, const pn_layout *from, const pn_layout *to,
                             pn_kernel *out) {
  pn_status st = PN_OK;
  int64_t count;
  struct reorder *r = calloc(1, sizeof *r);
  (void)d;

  memset(out, 0, sizeof *out);
  if (!r) return PN_FAIL(PN_ERR_NOMEM, "ref: reorder");
  if (!pn_shape_equal(from->shape, to->shape)) {
    st = PN_FAIL(PN_ERR_ARG, "ref: reorder between different shapes");
    goto done;
  }
  PN_TRY(pn_layout_count(from, &count));
  PN_TRY(pn_layout_count(to, &count));
  *r = (struct reorder){.from = *from, .to = *to};
  r->plain = malloc((size_t)pn_shape_count(from->shape) * sizeof(float) + 1);
  if (!r->plain) {
    st = PN_FAIL(PN_ERR_NOMEM, "ref: reorder");
    goto done;
  }
  *out = (pn_kernel){.run = reorder_run, .destroy = reorder_destroy, .state = r};
  snprintf(out->impl, sizeof out->impl, "ref");
  r = NULL;
done:
  reorder_destroy(r);
  return st;
}

const pn_device_ops pn_device_ref_ops = {
    .name = "ref",
    .help = "plain C, one thread: the oracle of every operation",
    .create = ref_create,
    .destroy = ref_destroy,
    .fuse = (const struct pn_chain_pattern[]){{.n = 0}},
    .prepare = ref_prepare,
    .reorder = ref_reorder,
    .alloc = ref_alloc,
    .free = ref_free,
};
