/* op_check.h -- what a device makes of the table of op cases, forward and backward, against `ref`:
 * operands offered in several layouts, chains against the same ops one by one. */
#ifndef PN_TESTS_OP_CHECK_H
#define PN_TESTS_OP_CHECK_H

#include "op_run.h"

static const char *const tags[] = {"abcd", "acdb", "aBcd8b", "aBcd16b"};
enum { N_TAGS = sizeof tags / sizeof *tags };

static pn_device *ref;
static int n_compared; /* kernels of other devices that were checked */
static double tolerance = 2e-5;

/* Largest difference relative to the largest reference value. */
static double distance(const float *a, const float *b, int64_t n) {
  double top = 0, diff = 0;

  for (int64_t i = 0; i < n; i++) {
    double d = fabs((double)a[i] - (double)b[i]);
    if (!(d <= diff)) diff = d; /* NaN counts */
    if (fabs((double)b[i]) > top) top = fabs((double)b[i]);
  }
  return diff / (top > 0 ? top : 1);
}

/* Root mean square of the difference relative to that of the reference: 16 bits round each element
 * by itself, and near equal maxima of a pool may change places. */
static double rms_distance(const float *a, const float *b, int64_t n) {
  double sum = 0, diff = 0;

  for (int64_t i = 0; i < n; i++) {
    double d = (double)a[i] - (double)b[i];
    diff += d * d;
    sum += (double)b[i] * (double)b[i];
  }
  return sqrt(diff) / (sum > 0 ? sqrt(sum) : 1);
}

/* One rounding of a result, 2^-9 at most in bf16 and 2^-12 in fp16, for each op of the chain, twice
 * for the way back. */
static double allowed(const op_case *c, const pn_op_desc *op, int role) {
  bool pooled = op[c->n_ops - 1].kind == PN_OP_MAXPOOL && c->n_ops > 1;

  if (op_precision == PN_F32) return tolerance;
  return pooled && role != PN_DST ? 0.2 : c->n_ops * (op_precision == PN_BF16 ? 0x1p-8 : 0x1p-11);
}

static void same_role(const op_case *c, const pn_op_desc *op, const op_data *got,
                      const op_data *want, int role, const char *what) {
  int64_t n = pn_shape_count(role_shape(op, c->n_ops, role));
  double d =
      (op_precision == PN_F32 ? distance : rms_distance)(got->plain[role], want->plain[role], n);

  if (!(d < allowed(c, op, role)))
    fail_msg("%s, %s: role %d differs by %g of its range", c->name, what, role, d);
}

static void ref_pass(const pn_op_desc *op, pn_pass pass, op_data *d) {
  pn_dtype asked = op_precision;
  pn_task t;
  bool ran;

  op_precision = PN_F32;
  t = op_task(op, 1, pass, NULL, false);
  assert_int_equal(op_pass(ref, &t, d, &ran, NULL), PN_OK);
  assert_true(ran);
  op_precision = asked;
}

static void copy_role(op_data *to, const op_data *from, int role, pn_shape s) {
  memcpy(to->plain[role], from->plain[role], (size_t)pn_shape_count(s) * sizeof(float));
}

/* Channel vectors, and what an add inside the chain adds. */
static void give_operands(const pn_op_desc *op, op_data *stage, const op_data *want) {
  for (int r = PN_GAMMA; r <= PN_VAR && op->kind == PN_OP_NORM; r++)
    copy_role(stage, want, r, pn_shape1(op->in.dim[1]));
  for (int i = 0; i < op->n_more; i++) copy_role(stage, want, PN_SRC1 + i, op->more[i]);
}

static void take_results(const pn_op_desc *op, op_data *want, const op_data *stage) {
  for (int r = PN_MEAN; r <= PN_DBETA && op->kind == PN_OP_NORM; r++)
    copy_role(want, stage, r, pn_shape1(op->in.dim[1]));
  for (int i = 0; i < op->n_more && op->kind == PN_OP_CONCAT; i++)
    copy_role(want, stage, PN_DSRC1 + i, op->more[i]);
  if (op->kind == PN_OP_ADD) /* of both inputs */
    memcpy(want->plain[PN_DMID], stage->plain[PN_DSRC],
           (size_t)pn_shape_count(op->out) * sizeof(float));
}

static void add_to(float *x, const float *y, pn_shape s) {
  for (int64_t i = 0; i < pn_shape_count(s); i++) x[i] += y[i];
}

/* The chain op by op on `ref`; results in `want`. */
static void reference(const op_case *c, const pn_op_desc *op, op_data *want) {
  op_data stage[CASE_CHAIN];

  for (int k = 0; k < c->n_ops; k++) {
    op_case one = {.n_ops = 1, .in = op[k].in};
    op_data_make(&one, &op[k], &stage[k]);
    memcpy(stage[k].plain[PN_SRC], k ? stage[k - 1].plain[PN_DST] : want->plain[PN_SRC],
           (size_t)pn_shape_count(op[k].in) * sizeof(float));
    if (op[k].weight.n_dims) {
      memcpy(stage[k].plain[PN_WEIGHT], want->plain[PN_WEIGHT],
             (size_t)pn_shape_count(op[k].weight) * sizeof(float));
      memcpy(stage[k].plain[PN_BIAS], want->plain[PN_BIAS],
             (size_t)op[k].weight.dim[0] * sizeof(float));
    }
    give_operands(&op[k], &stage[k], want);
    ref_pass(&op[k], PN_FORWARD, &stage[k]);
  }
  if (c->terms & 1u << PN_DDST1)
    add_to(want->plain[PN_DDST], want->plain[PN_DDST1], op[c->n_ops - 1].out);
  for (int k = c->n_ops - 1; k >= 0; k--) {
    memcpy(stage[k].plain[PN_DDST],
           k == c->n_ops - 1 ? want->plain[PN_DDST] : stage[k + 1].plain[PN_DSRC],
           (size_t)pn_shape_count(op[k].out) * sizeof(float));
    if (op[k].weight.n_dims || op[k].kind == PN_OP_NORM)
      ref_pass(&op[k], PN_BACKWARD_WEIGHT, &stage[k]);
    if (op[k].kind == PN_OP_ADD)
      memcpy(stage[k].plain[PN_DSRC], stage[k].plain[PN_DDST],
             (size_t)pn_shape_count(op[k].out) * sizeof(float));
    else
      ref_pass(&op[k], PN_BACKWARD_DATA, &stage[k]);
    take_results(&op[k], want, &stage[k]);
  }
  memcpy(want->plain[PN_DST], stage[c->n_ops - 1].plain[PN_DST],
         (size_t)pn_shape_count(op[c->n_ops - 1].out) * sizeof(float));
  for (int r = PN_DSRC; r <= PN_DBIAS; r++)
    if (r == PN_DSRC || (op->weight.n_dims && (r == PN_DWEIGHT || r == PN_DBIAS)))
      memcpy(want->plain[r], stage[0].plain[r],
             (size_t)pn_shape_count(role_shape(op, 1, r)) * sizeof(float));
  if (c->terms & 1u << PN_DADD) add_to(want->plain[PN_DSRC], want->plain[PN_DADD], op[0].in);
  for (int k = 0; k < c->n_ops; k++) op_data_free(&stage[k]);
}

/* Offers the extra terms of the case where they stand in a pass; they must be taken. */
static bool offered_pass(pn_device *d, const op_case *c, pn_task *t, bool post, op_data *got,
                         bool *ran) {
  unsigned offers = c->terms;
  pn_shape out = t->layout[PN_DDST].shape;

  if (t->pass != PN_BACKWARD_DATA) offers &= ~(1u << PN_DADD);
  if (post) offers &= ~(1u << PN_DDST1); /* is in DMID */
  if (offers & 1u << PN_DADD) t->layout[PN_DADD] = pn_layout_plain(t->op[0]->in);
  if (offers & 1u << PN_DDST1) t->layout[PN_DDST1] = pn_layout_plain(out);
  t->layout[PN_DADD].type = t->layout[PN_DDST1].type = op_precision;
  if (op_pass(d, t, got, ran, NULL) != PN_OK) return false;
  if (*ran && (t->uses & offers) != offers)
    fail_msg("%s: %s leaves a term of pass %d to be summed", c->name, d->ops->name, (int)t->pass);
  return true;
}

/* Backward of the device: POST where there is one, then WEIGHT and DATA.  False: not supported. */
static bool device_backward(pn_device *d, const op_case *c, const pn_op_desc *op, const char *tag,
                            op_data *got) {
  bool post = false, ran;
  pn_task t;

  if (c->n_ops > 1) {
    t = op_task(op, c->n_ops, PN_BACKWARD_POST, tag, false);
    if (!offered_pass(d, c, &t, false, got, &post)) return false;
  }
  if (post)
    memcpy(got->plain[PN_DDST], got->plain[PN_DMID],
           (size_t)pn_shape_count(op[0].out) * sizeof(float));
  for (pn_pass pass = PN_BACKWARD_WEIGHT; pass <= PN_BACKWARD_DATA; pass++) {
    if (pass == PN_BACKWARD_WEIGHT && !op[0].weight.n_dims && op[0].kind != PN_OP_NORM) continue;
    if (op[0].kind == PN_OP_ADD) continue;
    t = op_task(op, c->n_ops, pass, tag, post);
    if (!offered_pass(d, c, &t, post, got, &ran)) return false;
    assert_true(ran);
    n_compared++;
  }
  return true;
}

/* DDST must hold the larger of the chain's diff and the first op's. */
static void room_for_mid(const op_case *c, const pn_op_desc *op, op_data *d) {
  int64_t last = pn_shape_count(op[c->n_ops - 1].out), first = pn_shape_count(op[0].out);
  float *bigger = realloc(d->plain[PN_DDST], (size_t)(last > first ? last : first) * sizeof(float));
  assert_non_null(bigger);
  d->plain[PN_DDST] = bigger;
}

static void same_results(const op_case *c, const pn_op_desc *op, const op_data *got,
                         const op_data *want, const char *what) {
  if (op[0].kind != PN_OP_ADD) same_role(c, op, got, want, PN_DSRC, what);
  for (int r = PN_DWEIGHT; r <= PN_DBIAS && op[0].weight.n_dims; r++)
    same_role(c, op, got, want, r, what);
  for (int r = PN_MEAN; r <= PN_DBETA && op[0].kind == PN_OP_NORM; r++)
    same_role(c, op, got, want, r, what);
  for (int i = 0; i < op[0].n_more && op[0].kind == PN_OP_CONCAT; i++)
    same_role(c, op, got, want, PN_DSRC1 + i, what);
  if (c->n_ops > 1 && (op[0].kind == PN_OP_ADD || op[1].kind == PN_OP_ADD))
    same_role(c, op, got, want, PN_DMID, what);
}

/* True: the device takes the case and agrees with `ref`. */
static bool check_case(pn_device *d, const op_case *c, const char *tag) {
  char impl[PN_IMPL_BYTES] = "", what[PN_IMPL_BYTES + 64];
  pn_op_desc op[CASE_CHAIN];
  op_data got, want;
  bool ran, taken;
  pn_task t;

  case_ops(c, op);
  op_data_make(c, op, &got);
  op_data_make(c, op, &want);
  room_for_mid(c, op, &got);
  reference(c, op, &want);
  t = op_task(op, c->n_ops, PN_FORWARD, tag, false);
  taken = op_pass(d, &t, &got, &ran, impl) == PN_OK;
  if (taken) {
    snprintf(what, sizeof what, "%s (%s), offered %s", d->ops->name, impl, tag ? tag : "plain");
    same_role(c, op, &got, &want, PN_DST, what);
    taken = device_backward(d, c, op, tag, &got);
  }
  if (taken) same_results(c, op, &got, &want, what);
  op_data_free(&got);
  op_data_free(&want);
  return taken;
}

static bool fuses(const pn_device *d, const op_case *c) {
  for (const struct pn_chain_pattern *p = d->ops->fuse; p && p->n > 0; p++)
    if (p->n == c->n_ops && memcmp(p->op, c->op, (size_t)p->n * sizeof *p->op) == 0) return true;
  return false;
}

/* A chain's pool with padding, or windows that overlap: not for devices with memory of their own.
 */
static bool far_refuses(const pn_device *d, const op_case *c) {
  const pn_window *w = &c->pool;
  return d->ops->far && c->op[c->n_ops - 1] == PN_OP_MAXPOOL &&
         (w->stride[0] != w->kernel[0] || w->pad_before[0] != 0);
}

/* What a device other than `ref` must take: single layers with weights, ReLU, pooling. */
static bool expected(const pn_device *d, const op_case *c) {
  if (c->n_ops > 1) return d != ref && fuses(d, c) && !far_refuses(d, c);
  if (d == ref) return c->terms == 0;
  return c->op[0] != PN_OP_DROPOUT && c->op[0] != PN_OP_BCE && c->op[0] != PN_OP_SOFTMAX_CE;
}

static bool (*wanted)(const op_case *c); /* of the table; NULL: all */

static void check_device(pn_device *d) {
  for (int i = 0; i < N_OP_CASES; i++) {
    const op_case *c = &op_cases[i];
    bool taken = false;
    if (wanted && !wanted(c)) continue;
    if ((c->n_ops > 1 && !fuses(d, c)) || (d == ref && c->terms)) continue;
    for (int k = 0; k < (c->in.n_dims == 4 ? N_TAGS : 1); k++)
      taken = check_case(d, c, c->in.n_dims == 4 ? tags[k] : NULL) || taken;
    if (!taken && expected(d, c)) fail_msg("%s does not take: %s", d->ops->name, c->name);
    if (!taken) print_message("%s leaves to ref: %s\n", d->ops->name, c->name);
  }
}

#endif
