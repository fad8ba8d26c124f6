/* test_ops.c -- every op on every device of the build against `ref`, forward and backward, with
 * the operands offered in several layouts; chains against the same ops one by one on `ref`. */
#include "op_run.h"
#include "test_device.h"

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

static bool is_loss(const pn_op_desc *op) {
  return op->kind == PN_OP_BCE || op->kind == PN_OP_SOFTMAX_CE;
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

/* What a device other than `ref` must take: single layers with weights, ReLU, pooling. */
static bool expected(const pn_device *d, const op_case *c) {
  if (c->n_ops > 1) return d != ref && fuses(d, c);
  if (d == ref) return c->terms == 0;
  return c->op[0] != PN_OP_DROPOUT && c->op[0] != PN_OP_BCE && c->op[0] != PN_OP_SOFTMAX_CE;
}

static void check_device(pn_device *d) {
  for (int i = 0; i < N_OP_CASES; i++) {
    const op_case *c = &op_cases[i];
    bool taken = false;
    if ((c->n_ops > 1 && !fuses(d, c)) || (d == ref && c->terms)) continue;
    for (int k = 0; k < (c->in.n_dims == 4 ? N_TAGS : 1); k++)
      taken = check_case(d, c, c->in.n_dims == 4 ? tags[k] : NULL) || taken;
    if (!taken && expected(d, c)) fail_msg("%s does not take: %s", d->ops->name, c->name);
    if (!taken) print_message("%s leaves to ref: %s\n", d->ops->name, c->name);
  }
}

static void test_ref_layouts(void **state) {
  (void)state;
  check_device(ref);
}

static void test_onednn(void **state) {
  pn_device *d;
  (void)state;

  for (int threads = 1; threads <= 2; threads++) {
    if (pn_device_create("onednn", threads, &d) == PN_ERR_UNSUPPORTED) {
      print_message("no onednn in this build\n");
      skip();
    }
    assert_non_null(d);
    n_compared = 0;
    check_device(d);
    assert_true(n_compared > N_OP_CASES);
    pn_device_destroy(d);
  }
}

/* The device cuda's own code, kernels on the CPU: it must take every case. */
static void test_emulated(void **state) {
  pn_device *d;
  (void)state;

  assert_int_equal(pn_device_create("emulated", 2, &d), PN_OK);
  n_compared = 0;
  check_device(d);
  assert_true(n_compared > N_OP_CASES);
  pn_device_destroy(d);
}

/* Against `ref` in f32, on operands that the type holds exactly. */
static void check_halves(pn_device *d) {
  for (pn_dtype type = PN_BF16; type <= PN_FP16; type++) {
    n_compared = 0;
    op_precision = type;
    check_device(d);
    op_precision = PN_F32;
    print_message("%s, %s: %d kernels agree with ref\n", d->ops->name, pn_dtype_name(type),
                  n_compared);
    assert_true(n_compared > N_OP_CASES);
  }
}

static void test_emulated_halves(void **state) {
  pn_device *d;
  (void)state;

  assert_int_equal(pn_device_create("emulated", 2, &d), PN_OK);
  check_halves(d);
  pn_device_destroy(d);
}

static void test_onednn_bf16(void **state) {
  pn_device *d;
  (void)state;

  if (pn_device_create("onednn", 2, &d) != PN_OK) skip();
  if (pn_device_check_precision(d, PN_BF16) != PN_OK) {
    print_message("%s\n", pn_last_error());
    pn_device_destroy(d);
    skip();
  }
  n_compared = 0;
  op_precision = PN_BF16;
  check_device(d);
  op_precision = PN_F32;
  assert_true(n_compared > N_OP_CASES);
  pn_device_destroy(d);
}

static void check_reorder(pn_device *d, pn_shape s, const char *from, const char *to) {
  int64_t n = pn_shape_count(s);
  pn_layout a = pn_layout_any(s), b = pn_layout_any(s);
  float *x = malloc((size_t)n * sizeof *x), *y = calloc((size_t)n, sizeof *y);
  void *ptr[PN_ROLE_COUNT] = {NULL};
  pn_kernel k = {0};
  pn_status st;

  strcpy(a.tag, from);
  strcpy(b.tag, to);
  fill_normal(x, n, 5, 1.0f);
  st = d->ops->reorder(d, &a, &b, &k);
  if (st != PN_ERR_UNSUPPORTED) {
    assert_int_equal(st, PN_OK);
    ptr[PN_SRC] = packed(d, &a, x);
    ptr[PN_DST] = packed(d, &b, NULL);
    assert_int_equal(k.run(k.state, ptr, NULL), PN_OK);
    unpacked(d, &b, ptr[PN_DST], y);
    assert_memory_equal(x, y, (size_t)n * sizeof *x);
    release(d, ptr[PN_SRC]);
    release(d, ptr[PN_DST]);
    k.destroy(k.state);
  } else
    assert_ptr_not_equal(d, ref);
  free(x);
  free(y);
}

static void test_reorder(void **state) {
  static const char *const names[] = {"ref", "onednn", "emulated"};
  static const char *const weights[] = {"abcd", "ABcd16b16a", "ABcd8b8a", "Acdb16a"};
  (void)state;

  for (int k = 0; k < 3; k++) {
    pn_device *d = ref;
    if (k && pn_device_create(names[k], 2, &d) != PN_OK) continue;
    for (int i = 0; i < N_TAGS * N_TAGS; i++) {
      check_reorder(d, pn_shape4(2, 19, 5, 4), tags[i / N_TAGS], tags[i % N_TAGS]);
      check_reorder(d, pn_shape4(20, 17, 3, 3), weights[i / N_TAGS], weights[i % N_TAGS]);
    }
    if (k) pn_device_destroy(d);
  }
}

/* Ties: the first maximum of the window gets the whole diff (PyTorch). */
static void test_first_maximum(void **state) {
  op_case c = {.name = "ties", .op = {PN_OP_MAXPOOL}, .n_ops = 1, .in = {4, {1, 1, 2, 2}}};
  pn_op_desc op[CASE_CHAIN];
  op_data d;
  (void)state;

  c.pool = (pn_window)W(2, 2, 0, 0);
  case_ops(&c, op);
  op_data_make(&c, op, &d);
  for (int i = 0; i < 4; i++) d.plain[PN_SRC][i] = i == 0 ? 1.0f : 5.0f;
  d.plain[PN_DDST][0] = 3.0f;
  ref_pass(op, PN_FORWARD, &d);
  ref_pass(op, PN_BACKWARD_DATA, &d);
  assert_true(d.plain[PN_DST][0] == 5.0f);
  for (int i = 0; i < 4; i++) assert_true(d.plain[PN_DSRC][i] == (i == 1 ? 3.0f : 0.0f));
  op_data_free(&d);
}

/* A label outside the classes is an error, not a read past the row. */
static void test_bad_label(void **state) {
  (void)state;
  for (int i = 0; i < N_OP_CASES; i++) {
    pn_op_desc op[CASE_CHAIN];
    op_data d;
    case_ops(&op_cases[i], op);
    if (!is_loss(op)) continue;
    op_data_make(&op_cases[i], op, &d);
    pn_task t = op_task(op, 1, PN_FORWARD, NULL, false);
    pn_kernel k;
    void *ptr[PN_ROLE_COUNT] = {
        [PN_SRC] = d.plain[PN_SRC], [PN_DST] = d.plain[PN_DST], [PN_LABEL] = d.label};
    d.label[1] = 7;
    assert_int_equal(ref->ops->prepare(ref, &t, &k), PN_OK);
    assert_int_equal(k.run(k.state, ptr, &d.ctx), PN_ERR_ARG);
    assert_non_null(strstr(pn_last_error(), "label 7 of image 1"));
    k.destroy(k.state);
    op_data_free(&d);
  }
}

static int setup(void **state) {
  (void)state;
  return pn_device_create("ref", 1, &ref) != PN_OK;
}

static int teardown(void **state) {
  (void)state;
  pn_device_destroy(ref);
  return 0;
}

static pn_device *gpu;

/* The same table on a GPU; sums there have another order. */
static void test_gpu(void **state) {
  (void)state;
  tolerance = 1e-4;
  n_compared = 0;
  check_device(gpu);
  print_message("%s: %d kernels agree with ref\n",
                gpu->ops->describe ? gpu->ops->describe(gpu) : gpu->ops->name, n_compared);
  assert_true(n_compared > N_OP_CASES);
}

static void test_gpu_halves(void **state) {
  (void)state;
  check_halves(gpu);
}

/* test_ops cuda: exit code 77 and the reason where there is no GPU. */
static int run_gpu(const char *name) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_gpu), cmocka_unit_test(test_gpu_halves)};
  int failed;

  if (!(gpu = test_device_open(name, 1))) return TEST_SKIPPED;
  failed = cmocka_run_group_tests(tests, setup, teardown);
  pn_device_destroy(gpu);
  return failed;
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_ref_layouts),   cmocka_unit_test(test_onednn),
      cmocka_unit_test(test_emulated),      cmocka_unit_test(test_reorder),
      cmocka_unit_test(test_first_maximum), cmocka_unit_test(test_bad_label),
      cmocka_unit_test(test_onednn_bf16),   cmocka_unit_test(test_emulated_halves),
  };
  if (argc > 1) return run_gpu(test_device_name(argc, argv));
  return cmocka_run_group_tests(tests, setup, teardown);
}
