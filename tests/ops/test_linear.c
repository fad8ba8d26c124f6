/* test_linear.c -- the device cuda's code around a library for convolutions and dense layers
 * (cuda/linear.c), with one in its place that does more or less of the work, wants biases in 16
 * bits, leaves diffs in 16 bits, soils its scratch, refuses: the results are those of `ref`. */
#include "linear_device.h"
#include "op_check.h"

/* How the library behaves. */
static struct {
  bool complete;               /* bias and ReLU forward, the bias's diff backward */
  bool half_bias, half_weight; /* in 16 bits */
  size_t scratch;
  pn_pass refused; /* PN_PASS_COUNT: none */
  int runs;
} library;

struct job {
  pn_pass pass;
  pn_dtype type, out; /* out: of y, or of the diff of the weight */
  bool bias, relu;
  cu_conv s;
};

static size_t y_at(const cu_conv *s, uint32_t n, uint32_t y, uint32_t x) {
  return (((size_t)n * s->oh + y) * s->ow + x) * s->o;
}

/* Calls fn for each product of an input, a weight and an output. */
typedef void product_fn(const struct job *j, const cu_operands *o, double *sum, size_t x, size_t w,
                        size_t y);
static void each_product(const struct job *j, const cu_operands *o, double *sum, product_fn *fn) {
  const cu_conv *s = &j->s;

  for (uint32_t n = 0; n < s->n; n++)
    for (uint32_t y = 0; y < s->oh; y++)
      for (uint32_t x = 0; x < s->ow; x++)
        for (int32_t k = 0; k < s->kernel[0] * s->kernel[1]; k++) {
          int64_t iy = (int64_t)y * s->stride[0] - s->pad[0] + k / s->kernel[1];
          int64_t ix = (int64_t)x * s->stride[1] - s->pad[1] + k % s->kernel[1];
          size_t taps = (size_t)(s->kernel[0] * s->kernel[1]);
          if (iy < 0 || ix < 0 || iy >= s->h || ix >= s->w) continue;
          for (uint32_t f = 0; f < s->o; f++)
            for (uint32_t c = 0; c < s->c; c++)
              fn(j, o, sum, (((size_t)n * s->h + (size_t)iy) * s->w + (size_t)ix) * s->c + c,
                 (f * taps + (size_t)k) * s->c + c, y_at(s, n, y, x) + f);
        }
}

static void to_y(const struct job *j, const cu_operands *o, double *sum, size_t x, size_t w,
                 size_t y) {
  sum[y] += (double)get(o->x, j->type, x) * (double)get(o->w, j->type, w);
}

static void to_w(const struct job *j, const cu_operands *o, double *sum, size_t x, size_t w,
                 size_t y) {
  sum[w] += (double)get(o->x, j->type, x) * (double)get(o->y, j->type, y);
}

static void to_x(const struct job *j, const cu_operands *o, double *sum, size_t x, size_t w,
                 size_t y) {
  sum[x] += (double)get(o->w, j->type, w) * (double)get(o->y, j->type, y);
}

static void finish_forward(const struct job *j, const cu_operands *o, const double *sum, size_t n) {
  pn_dtype bias = library.half_bias && j->out != PN_F32 ? j->type : PN_F32;

  assert_int_equal(o->bias != NULL, j->bias);
  for (size_t i = 0; i < n; i++) {
    double v = sum[i];
    if (library.complete && j->bias) v += (double)get(o->bias, bias, i % j->s.o);
    if (library.complete && j->relu && v < 0) v = 0;
    put(o->y, j->out, i, v);
  }
}

static void bias_diff(const struct job *j, const cu_operands *o, size_t rows) {
  for (uint32_t f = 0; f < j->s.o; f++) {
    double sum = 0;
    for (size_t r = 0; r < rows; r++) sum += (double)get(o->y, j->type, r * j->s.o + f);
    ((float *)o->bias)[f] = (float)sum;
  }
}

static void soil(const cu_operands *o) {
  if (library.scratch == 0) return;
  assert_int_equal((uintptr_t)o->scratch % 256, 0);
  memset(o->scratch, 0xff, library.scratch);
}

static pn_status run(void *plan, const cu_operands *o) {
  const struct job *j = plan;
  const cu_conv *s = &j->s;
  size_t rows = (size_t)s->n * s->oh * s->ow, inputs = (size_t)s->n * s->h * s->w * s->c;
  size_t weights = (size_t)s->o * (size_t)(s->kernel[0] * s->kernel[1]) * s->c;
  size_t n = j->pass == PN_FORWARD ? rows * s->o : j->pass == PN_BACKWARD_WEIGHT ? weights : inputs;
  double *sum = calloc(n, sizeof *sum);

  assert_non_null(sum);
  library.runs++;
  soil(o);
  each_product(j, o, sum,
               j->pass == PN_FORWARD           ? to_y
               : j->pass == PN_BACKWARD_WEIGHT ? to_w
                                               : to_x);
  if (j->pass == PN_FORWARD) finish_forward(j, o, sum, n);
  for (size_t i = 0; j->pass == PN_BACKWARD_WEIGHT && i < n; i++) put(o->w, j->out, i, sum[i]);
  if (j->pass == PN_BACKWARD_WEIGHT && library.complete && j->bias) bias_diff(j, o, rows);
  for (size_t i = 0; j->pass == PN_BACKWARD_DATA && i < n; i++) put(o->x, j->type, i, sum[i]);
  soil(o);
  free(sum);
  return PN_OK;
}

static pn_status prepare(const struct job *job, cu_call *out) {
  bool forward = job->pass == PN_FORWARD, weight = job->pass == PN_BACKWARD_WEIGHT;
  bool half = weight && library.half_weight && job->type != PN_F32;
  struct job *j;

  assert_int_equal(job->type, op_precision);
  if (job->pass == library.refused) return PN_FAIL(PN_ERR_UNSUPPORTED, "library: not this pass");
  assert_non_null(j = malloc(sizeof *j));
  *j = *job;
  if (weight) j->out = half ? job->type : PN_F32;
  *out = (cu_call){.run = run,
                   .destroy = free,
                   .plan = j,
                   .scratch_bytes = library.scratch,
                   .complete = library.complete && (forward || (weight && job->bias)),
                   .half_weight = half,
                   .half_bias = forward && library.half_bias && job->out != PN_F32};
  snprintf(out->impl, sizeof out->impl, "library");
  return PN_OK;
}

static pn_status library_conv(void *impl, const cu_conv_job *c, cu_call *out) {
  struct job j = {.pass = c->pass, .type = c->type, .out = c->type, .s = c->shape};
  (void)impl;

  j.bias = c->pass == PN_FORWARD ? c->bias : false;
  j.relu = c->relu;
  return prepare(&j, out);
}

static pn_status library_dense(void *impl, const cu_dense_job *c, cu_call *out) {
  struct job j = {.pass = c->pass, .type = c->type, .bias = c->bias, .relu = c->relu};
  (void)impl;

  j.out = c->f32_out ? PN_F32 : c->type;
  j.s = (cu_conv){.n = (uint32_t)c->batch, .c = (uint32_t)c->in, .h = 1, .w = 1, .oh = 1, .ow = 1};
  j.s.o = (uint32_t)c->out;
  for (int i = 0; i < 2; i++) j.s.kernel[i] = j.s.stride[i] = 1;
  return prepare(&j, out);
}

/* In each type: every small case of the table, on the library where it takes it. */
static void check_library(void) {
  pn_device *d;

  linear_backend = cu_emulated;
  linear_backend.conv = library_conv;
  linear_backend.dense = library_dense;
  d = linear_open();
  for (pn_dtype type = PN_F32; type <= PN_FP16; type++) {
    library.runs = 0;
    op_precision = type;
    check_device(d);
    op_precision = PN_F32;
    assert_true(library.runs > 40);
  }
  pn_device_destroy(d);
}

/* Everything in the library, with 16 bits where it wants them, as cuDNN and cuBLASLt do. */
static void test_complete(void **state) {
  (void)state;
  library.complete = library.half_bias = library.half_weight = true;
  library.scratch = 1000;
  library.refused = PN_PASS_COUNT;
  check_library();
  library.scratch = 0;
  check_library();
}

/* Bias, ReLU and the bias's diff by kernels of our own. */
static void test_bare(void **state) {
  (void)state;
  library.complete = library.half_bias = library.half_weight = false;
  library.scratch = 768;
  library.refused = PN_PASS_COUNT;
  check_library();
  library.half_weight = true;
  check_library();
}

/* Each pass in turn is left to the own kernels. */
static void test_refused(void **state) {
  (void)state;
  library.complete = library.half_weight = true;
  library.half_bias = false;
  library.scratch = 1;
  for (pn_pass p = PN_FORWARD; p < PN_PASS_COUNT; p++) {
    library.refused = p;
    if (p != PN_BACKWARD_POST) check_library();
  }
}

/* Logits are f32 whatever the precision: not rounded, and the bias neither. */
static void test_logits(void **state) {
  const op_case c = DENSE("logits", ROWS(5, 37), 11);
  pn_op_desc op[CASE_CHAIN];
  op_data got, want;
  bool ran;
  pn_device *d;

  (void)state;
  library.complete = library.half_bias = library.half_weight = true;
  library.scratch = 100;
  library.refused = PN_PASS_COUNT;
  d = linear_open();
  case_ops(&c, op);
  for (pn_dtype type = PN_BF16; type <= PN_FP16; type++) {
    pn_task t;
    op_precision = type;
    op_data_make(&c, op, &got);
    op_data_make(&c, op, &want);
    for (uint32_t f = 0; f < 11; f++) got.plain[PN_BIAS][f] = want.plain[PN_BIAS][f] += 1e-4f;
    reference(&c, op, &want);
    t = op_task(op, 1, PN_FORWARD, NULL, false);
    t.layout[PN_DST].type = PN_F32;
    library.runs = 0;
    assert_int_equal(op_pass(d, &t, &got, &ran, NULL), PN_OK);
    op_precision = PN_F32;
    assert_int_equal(library.runs, 1);
    assert_int_equal(t.layout[PN_DST].type, PN_F32);
    same_role(&c, op, &got, &want, PN_DST, "logits");
    op_data_free(&got);
    op_data_free(&want);
  }
  pn_device_destroy(d);
}

/* Few enough products for a plain loop. */
static bool is_small(const op_case *c) {
  pn_op_desc op[CASE_CHAIN];

  if (!is_linear(c)) return false;
  case_ops(c, op);
  return pn_shape_count(op[0].out) * pn_shape_count(op[0].weight) / c->filters < 300000;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_complete), cmocka_unit_test(test_bare),
                                     cmocka_unit_test(test_refused), cmocka_unit_test(test_logits)};
  int failed;

  if (pn_device_create("ref", 1, &ref) != PN_OK) return 1;
  wanted = is_small;
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  pn_device_destroy(ref);
  return failed;
}
