/* op_run.h -- runs one pass of a chain on a device with plain operands, as the planner would:
 * packs into the layouts the device answers, runs, unpacks. */
#ifndef PN_TESTS_OP_RUN_H
#define PN_TESTS_OP_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bf16.h"
#include "base/fp16.h"
#include "base/rng.h"
#include "op_cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_BATCH = 64 };

static pn_dtype op_precision; /* of the tasks, and of what the operands are rounded to */

/* Plain row-major operands by role; aux: the device's bytes. */
typedef struct {
  float *plain[PN_ROLE_COUNT];
  int32_t label[MAX_BATCH];
  void *aux;
  size_t aux_bytes;
  pn_layout dst, weight; /* as forward answered: backward finds them so, like in a plan */
  pn_step_ctx ctx;
} op_data;

static const pn_role tensor_roles[] = {
    PN_SRC,   PN_DST,   PN_WEIGHT, PN_BIAS, PN_DSRC,  PN_DDST,   PN_DMID,  PN_DWEIGHT,
    PN_DBIAS, PN_SRC1,  PN_SRC2,   PN_SRC3, PN_DSRC1, PN_DSRC2,  PN_DSRC3, PN_DDST1,
    PN_DADD,  PN_GAMMA, PN_BETA,   PN_MEAN, PN_VAR,   PN_DGAMMA, PN_DBETA};
enum { N_TENSOR_ROLES = sizeof tensor_roles / sizeof *tensor_roles };

static inline bool is_output(pn_pass pass, int role) {
  static const unsigned outputs[PN_PASS_COUNT] = {
      1u << PN_DST | 1u << PN_MEAN | 1u << PN_VAR | 1u << PN_STATS, 1u << PN_DMID,
      1u << PN_DWEIGHT | 1u << PN_DBIAS | 1u << PN_DGAMMA | 1u << PN_DBETA,
      1u << PN_DSRC | 1u << PN_DSRC1 | 1u << PN_DSRC2 | 1u << PN_DSRC3};
  return outputs[pass] & 1u << role;
}

/* Input k of a chain: of its first op, or the other input of an add inside. */
static inline pn_shape input_shape(const pn_op_desc *op, int n, int k) {
  if (op[0].n_more) return k <= op[0].n_more ? op[0].more[k - 1] : pn_shape1(1);
  return k == 1 && n > 1 ? op[0].out : pn_shape1(1);
}

static inline pn_shape role_shape(const pn_op_desc *op, int n, int role) {
  if (role >= PN_SRC1 && role <= PN_SRC3) return input_shape(op, n, role - PN_SRC1 + 1);
  if (role >= PN_DSRC1 && role <= PN_DSRC3) return input_shape(op, n, role - PN_DSRC1 + 1);
  if (role >= PN_GAMMA && role <= PN_DBETA) return pn_shape1(op[0].in.dim[1]);
  switch (role) {
  case PN_SRC:
  case PN_DSRC:
  case PN_DADD:
    return op[0].in;
  case PN_WEIGHT:
  case PN_DWEIGHT:
    return op[0].weight;
  case PN_BIAS:
  case PN_DBIAS:
    return pn_shape1(op[0].weight.dim[0]);
  case PN_DMID:
    return op[0].out;
  default:
    return op[n - 1].out;
  }
}

/* Inputs that keep away from kinks: distinct, in random order, none near 0; exact in f32,
 * also after a small power of two is added. */
static inline void fill_distinct(float *x, int64_t n, uint64_t stream) {
  pn_rng r = pn_rng_make(11, PN_RNG_TEST, stream, 0);

  for (int64_t i = 0; i < n; i++) x[i] = ((float)(i - n / 2) + 0.5f) * 0.125f;
  for (int64_t i = n - 1; i > 0; i--) {
    int64_t k = pn_rng_below(&r, (uint32_t)i + 1);
    float keep = x[i];
    x[i] = x[k];
    x[k] = keep;
  }
}

static inline void fill_normal(float *x, int64_t n, uint64_t stream, float scale) {
  pn_rng r = pn_rng_make(12, PN_RNG_TEST, stream, 0);
  for (int64_t i = 0; i < n; i++) x[i] = scale * (float)pn_rng_normal(&r);
}

/* What is of 16 bits in a plan of such a precision. */
static inline bool is_activation(int r) {
  return r == PN_SRC || r == PN_DST || (r >= PN_DSRC && r <= PN_DMID) ||
         (r >= PN_SRC1 && r <= PN_DADD);
}

/* Operands as the type holds them, so that only the kernels' own rounding shows. */
static inline void round_operands(float *x, int64_t n) {
  for (int64_t i = 0; i < n && op_precision == PN_BF16; i++)
    x[i] = pn_bf16_to_f32(pn_bf16_of(x[i]));
  for (int64_t i = 0; i < n && op_precision == PN_FP16; i++)
    x[i] = pn_fp16_to_f32(pn_fp16_of(x[i]));
}

static inline void op_data_make(const op_case *c, const pn_op_desc *op, op_data *d) {
  static uint64_t id[MAX_BATCH];
  static float scale[MAX_BATCH];
  int64_t batch = c->in.dim[0], classes = op[0].kind == PN_OP_BCE ? 2 : c->in.dim[1];

  memset(d, 0, sizeof *d);
  for (int i = 0; i < N_TENSOR_ROLES; i++) {
    int r = (int)tensor_roles[i];
    int64_t n = pn_shape_count(role_shape(op, c->n_ops, r));
    d->plain[r] = calloc((size_t)n + 1, sizeof(float));
    if (r == PN_SRC && c->n_ops == 1 && (op->kind == PN_OP_MAXPOOL || op->kind == PN_OP_RELU))
      fill_distinct(d->plain[r], n, 1);
    else
      fill_normal(d->plain[r], n, (uint64_t)r, r == PN_WEIGHT ? 0.3f : 1.0f);
  }
  for (int64_t i = 0; i < c->in.dim[1]; i++)
    d->plain[PN_VAR][i] = fabsf(d->plain[PN_VAR][i]) + 0.5f;
  for (int64_t i = 0; c->ties && i < pn_shape_count(c->in); i++)
    d->plain[PN_SRC][i] = floorf(fabsf(d->plain[PN_SRC][i])) * (i % 3 == 0 ? 0.0f : 1.0f);
  for (int64_t i = 0; i < batch; i++) {
    d->label[i] = (int32_t)((i * 5 + 1) % classes);
    id[i] = 100 + 7 * (uint64_t)i;
    scale[i] = i == 2 ? 0.0f : 0.25f + 0.125f * (float)i;
  }
  for (int i = 0; i < N_TENSOR_ROLES; i++)
    round_operands(d->plain[tensor_roles[i]],
                   pn_shape_count(role_shape(op, c->n_ops, (int)tensor_roles[i])));
  d->ctx = (pn_step_ctx){.seed = 99, .epoch = 4, .sample_id = id, .sample_scale = scale};
}

static inline void op_data_free(op_data *d) {
  for (int r = 0; r < PN_ROLE_COUNT; r++) free(d->plain[r]);
  free(d->aux);
}

static inline pn_task op_task(const pn_op_desc *op, int n, pn_pass pass, const char *tag,
                              bool first_diff) {
  pn_task t = {.pass = pass, .n_ops = n, .training = true, .precision = op_precision};

  for (int i = 0; i < n; i++) t.op[i] = &op[i];
  for (int i = 0; i < N_TENSOR_ROLES; i++) {
    int r = (int)tensor_roles[i];
    pn_shape s = role_shape(op, r == PN_DDST && first_diff ? 1 : n, r);
    bool chosen = is_output(pass, r) || r == PN_WEIGHT;
    if (r == PN_DDST1 || r == PN_DADD) continue; /* offered by those who want to */
    if (r >= PN_GAMMA) chosen = false;
    t.layout[r] = chosen && r != PN_DBIAS ? pn_layout_any(s) : pn_layout_plain(s);
    if (!chosen && s.n_dims == 4 && tag) strcpy(t.layout[r].tag, tag);
    if (is_activation(r)) t.layout[r].type = op_precision;
  }
  t.layout[PN_LABEL] = pn_layout_plain(pn_shape1(op[0].in.dim[0]));
  return t;
}

/* `bytes` of the device's memory with a copy of `host` (NULL: zeros). */
static inline void *operand(pn_device *d, size_t bytes, const void *host) {
  const pn_far_ops *far = d->ops->far;
  void *p = NULL;

  assert_int_equal(far ? far->alloc(d, "test", bytes, &p) : d->ops->alloc(d, bytes, &p), PN_OK);
  if (host && far) assert_int_equal(far->upload(d, p, host, bytes), PN_OK);
  if (host && !far) memcpy(p, host, bytes);
  return p;
}

static inline void fetch(pn_device *d, void *host, const void *p, size_t bytes) {
  const pn_far_ops *far = d->ops->far;

  if (far)
    assert_int_equal(far->download(d, host, p, bytes), PN_OK);
  else
    memcpy(host, p, bytes);
}

static inline void release(pn_device *d, void *p) {
  if (d->ops->far)
    d->ops->far->free(d, p);
  else
    d->ops->free(d, p);
}

static inline size_t stored_bytes(const pn_layout *l) {
  int64_t count;
  assert_int_equal(pn_layout_count(l, &count), PN_OK);
  return (size_t)count * sizeof(float);
}

static inline void *packed(pn_device *d, const pn_layout *l, const float *plain) {
  size_t bytes = stored_bytes(l);
  float *stored = calloc(bytes + 1, 1);
  void *p;

  assert_non_null(stored);
  if (plain) assert_int_equal(pn_layout_pack(l, plain, stored), PN_OK);
  p = operand(d, bytes, stored);
  free(stored);
  return p;
}

static inline void unpacked(pn_device *d, const pn_layout *l, const void *p, float *plain) {
  size_t bytes = stored_bytes(l);
  float *stored = malloc(bytes + 1);

  assert_non_null(stored);
  fetch(d, stored, p, bytes);
  assert_int_equal(pn_layout_unpack(l, stored, plain), PN_OK);
  free(stored);
}

/* What stands where in the device's memory. */
static inline void *op_operand(pn_device *d, const pn_task *t, op_data *data, int r) {
  bool written = is_output(t->pass, r) && r < PN_GAMMA;

  if (r == PN_LABEL) return operand(d, sizeof data->label, data->label);
  if (r == PN_AUX) return operand(d, data->aux_bytes, data->aux);
  if (r == PN_SCRATCH) return operand(d, t->scratch_bytes, NULL);
  return packed(d, &t->layout[r], written ? NULL : data->plain[r]);
}

/* Runs a prepared kernel; out: the operands' plain arrays of the pass's outputs. */
static inline void op_execute(pn_device *d, const pn_task *t, const pn_kernel *k, op_data *data) {
  void *ptr[PN_ROLE_COUNT] = {NULL};
  pn_step_ctx ctx = data->ctx;
  void *id = operand(d, MAX_BATCH * sizeof *ctx.sample_id, ctx.sample_id);
  void *scale = operand(d, MAX_BATCH * sizeof *ctx.sample_scale, ctx.sample_scale);

  ctx.sample_id = id;
  ctx.sample_scale = scale;
  for (int r = 0; r < PN_ROLE_COUNT; r++)
    if (t->uses & 1u << r) ptr[r] = op_operand(d, t, data, r);
  assert_int_equal(k->run(k->state, ptr, &ctx), PN_OK);
  for (int r = 0; r < PN_ROLE_COUNT; r++) {
    if (!ptr[r]) continue;
    if (r == PN_AUX)
      fetch(d, data->aux, ptr[r], data->aux_bytes);
    else if (r != PN_LABEL && r != PN_SCRATCH && is_output(t->pass, r))
      unpacked(d, &t->layout[r], ptr[r], data->plain[r]);
    release(d, ptr[r]);
  }
  release(d, id);
  release(d, scale);
}

/* One pass; *ran false where the device has no kernel of its own for it (POST).  Returns what
 * prepare said.  impl: filled for messages. */
static inline pn_status op_pass(pn_device *d, pn_task *t, op_data *data, bool *ran, char *impl) {
  pn_kernel k = {0};
  pn_status st;

  if (t->pass != PN_FORWARD) {
    t->aux_bytes = data->aux_bytes;
    t->layout[PN_DST] = data->dst;
    t->layout[PN_WEIGHT] = t->layout[PN_DWEIGHT] = data->weight;
  }
  st = d->ops->prepare(d, t, &k);
  if (st != PN_OK) return st;
  *ran = k.run != NULL;
  if (t->pass == PN_FORWARD) {
    data->dst = t->layout[PN_DST];
    data->weight = t->layout[t->layout[PN_DWEIGHT].tag[0] ? PN_DWEIGHT : PN_WEIGHT];
    data->weight.type = PN_F32;
  }
  if (impl) snprintf(impl, PN_IMPL_BYTES, "%s", k.impl);
  if (t->pass == PN_FORWARD && t->aux_bytes) {
    free(data->aux);
    data->aux_bytes = t->aux_bytes;
    data->aux = aligned_alloc(64, (t->aux_bytes + 63) / 64 * 64);
    assert_non_null(data->aux);
    memset(data->aux, 0, data->aux_bytes);
  }
  if (k.run) op_execute(d, t, &k, data);
  if (k.destroy) k.destroy(k.state);
  return PN_OK;
}

#endif
