/* test_stats.c -- a library that gives the sums of what its convolution writes, as cuDNN's genstats
 * do: the norm behind takes its statistics from them.  Forward, backward and running statistics are
 * those of the norm's own sums and of `ref`; where nobody wants them, none are asked for; how much
 * sums in f32 lose where means are far from 0.  With the name of a device: on that one. */
#include "stats_job.h"

#include "test_device.h"

static struct {
  bool sums; /* it has engines with sums */
  int asked, runs;
} library;

/* One sum after the other in f32: no library is worse. */
static void add_sums(const cu_conv_job *j, const cu_operands *o) {
  const cu_conv *s = &j->shape;
  float *sum = o->stats, *squares = sum + s->o;
  size_t n = (size_t)s->n * s->oh * s->ow * s->o;

  memset(sum, 0, 2 * s->o * sizeof *sum);
  for (size_t i = 0; i < n; i++) {
    float y = get(o->y, j->type, i);
    sum[i % s->o] += y;
    squares[i % s->o] += y * y;
  }
}

static double product(const cu_conv_job *j, const cu_operands *o, size_t row, uint32_t f) {
  const cu_conv *s = &j->shape;
  int64_t x = (int64_t)(row % s->ow) * s->stride[1] - s->pad[1];
  int64_t y = (int64_t)(row / s->ow % s->oh) * s->stride[0] - s->pad[0];
  size_t n = row / s->ow / s->oh, w = (size_t)f * (size_t)(s->kernel[0] * s->kernel[1]) * s->c;
  double sum = 0;

  for (int32_t k = 0; k < s->kernel[0] * s->kernel[1]; k++, w += s->c) {
    int64_t iy = y + k / s->kernel[1], ix = x + k % s->kernel[1];
    size_t at = ((n * s->h + (size_t)iy) * s->w + (size_t)ix) * s->c;
    if (iy < 0 || ix < 0 || iy >= s->h || ix >= s->w) continue;
    for (uint32_t c = 0; c < s->c; c++)
      sum += (double)get(o->x, j->type, at + c) * (double)get(o->w, j->type, w + c);
  }
  return sum;
}

static pn_status library_run(void *plan, const cu_operands *o) {
  const cu_conv_job *j = plan;
  size_t rows = (size_t)j->shape.n * j->shape.oh * j->shape.ow;

  for (size_t r = 0; r < rows; r++)
    for (uint32_t f = 0; f < j->shape.o; f++)
      put(o->y, j->type, r * j->shape.o + f, product(j, o, r, f));
  assert_int_equal(o->stats != NULL, j->stats);
  if (j->stats) add_sums(j, o);
  library.runs += j->stats;
  return PN_OK;
}

/* Backward passes, biases and ReLU are left to our own kernels. */
static pn_status library_conv(void *impl, const cu_conv_job *asked, cu_call *out) {
  cu_conv_job *j;
  (void)impl;

  if (asked->pass != PN_FORWARD) return PN_FAIL(PN_ERR_UNSUPPORTED, "library: not this pass");
  assert_false(asked->stats && (asked->bias || asked->relu || asked->type == PN_F32));
  assert_non_null(j = malloc(sizeof *j));
  *j = *asked;
  j->stats = asked->stats && library.sums;
  library.asked += asked->stats;
  *out = (cu_call){.run = library_run, .destroy = free, .plan = j, .stats = j->stats};
  snprintf(out->impl, sizeof out->impl, "library%s", j->stats ? "+stats" : "");
  return PN_OK;
}

static void count_again(void) {
  library.asked = library.runs = 0;
}

/* Beside f32, a rounding may turn a ReLU. */
static void test_training(void **state) {
  pn_device *d = linear_open();
  job with, without, full;
  (void)state;

  for (pn_dtype type = PN_BF16; type <= PN_FP16; type++) {
    job_make(&full, ref, net(RESIDUAL), PN_F32, true);
    library.sums = false;
    count_again();
    job_make(&without, d, net(RESIDUAL), type, true);
    assert_int_equal(library.asked, 3);
    library.sums = true;
    count_again();
    job_make(&with, d, net(RESIDUAL), type, true);
    for (int k = 0; k < 2; k++) { /* the second time the buffers are used ones */
      fill_images(&full), fill_images(&with), fill_images(&without);
      step(&full), step(&with), step(&without);
      assert_int_equal(library.runs, 3 * (k + 1));
      check_same(&with, &without, 1e-3);
      check_same(&with, &full, type == PN_BF16 ? 0.1 : 0.05);
    }
    job_free(&with), job_free(&without), job_free(&full);
  }
  pn_device_destroy(d);
}

/* The plan says so, and the norms keep no sums of their own. */
static void test_steps(void **state) {
  pn_device *d = linear_open();
  int norms = 0, convolutions = 0;
  job j;
  (void)state;

  library.sums = true;
  job_make(&j, d, net(RESIDUAL), PN_BF16, true);
  for (int i = 0; i < pn_plan_n_steps(j.plan); i++) {
    pn_step_info s;
    pn_plan_step_info(j.plan, i, &s);
    norms += strcmp(s.impl, "own, sums given") == 0;
    convolutions += strcmp(s.impl, "library+stats") == 0;
  }
  assert_int_equal(norms, 3);
  assert_int_equal(convolutions, 3);
  job_free(&j);
  pn_device_destroy(d);
}

static void expect_asked(pn_device *d, pn_graph *g, pn_dtype type, bool training, int asked) {
  job j;

  count_again();
  job_make(&j, d, g, type, training);
  assert_int_equal(library.asked, asked);
  if (training) {
    fill_images(&j);
    step(&j);
    assert_int_equal(library.runs, asked);
  }
  job_free(&j);
}

static pn_graph *frozen_net(void) {
  pn_graph *g = net(RESIDUAL);

  for (int i = 0; i < pn_graph_n_nodes(g); i++) {
    const pn_node *n = pn_graph_node(g, i);
    if (n->mean >= 0) pn_graph_freeze(g, n->mean);
    if (n->var >= 0) pn_graph_freeze(g, n->var);
  }
  assert_int_equal(pn_graph_frozen_norms(g), 3);
  return g;
}

/* Nobody else pays for them. */
static void test_not_taken(void **state) {
  pn_device *d = linear_open();
  (void)state;

  library.sums = true;
  expect_asked(d, net(RESIDUAL), PN_BF16, true, 3);
  expect_asked(d, net(RESIDUAL), PN_BF16, false, 0);
  expect_asked(d, net(RESIDUAL), PN_F32, true, 0);
  expect_asked(d, frozen_net(), PN_BF16, true, 0);
  expect_asked(d, net(SHARED), PN_FP16, true, 2);
  expect_asked(d, net(BIASED), PN_FP16, true, 2);
  pn_device_destroy(d);
}

/* Images through a convolution that leaves them as they are, to a norm that keeps what it sees. */
static pn_graph *identity_net(void) {
  static const pn_norm norm = {.eps = 1e-5f, .update = 1.0f, .biased = true};
  pn_graph *g = NULL;
  int at;
  pn_status st = pn_graph_create("identity", &g);

  PN_TRY(st);
  PN_TRY(pn_graph_input(g, CHANNELS, HEIGHT, WIDTH, &at));
  PN_TRY(pn_graph_conv_bare(g, "conv", at, CHANNELS, pn_square(1, 1, 0), &at));
  PN_TRY(pn_graph_norm(g, "bn", at, norm, &at));
  PN_TRY(pn_graph_simple(g, "gap", at, PN_OP_GAP, &at));
  PN_TRY(pn_graph_dense(g, "fc", at, CLASSES, &at));
  PN_TRY(pn_graph_loss(g, "loss", at, PN_OP_SOFTMAX_CE, &at));
done:
  assert_int_equal(st, PN_OK);
  return g;
}

/* Mean and variance of channel c of images as fp16 holds them. */
static void exact(const float *image, int c, double *mean, double *var) {
  enum { AREA = HEIGHT * WIDTH };
  *mean = *var = 0;
  for (int pass = 0; pass < 2; pass++) {
    double sum = 0;
    for (int i = 0; i < BATCH * AREA; i++) {
      double x = (double)image[((int64_t)(i / AREA) * CHANNELS + c) * AREA + i % AREA];
      sum += pass ? (x - *mean) * (x - *mean) : x;
    }
    *(pass ? var : mean) = sum / (BATCH * AREA);
  }
}

/* With L additions in f32 one after the other, the mean is wrong by at most L 2^-24 times the mean
 * of |x|, and the variance by 3 L 2^-24 (mean^2 + variance).  Channel c has its mean at
 * 0, 1, 4, ... 4096 standard deviations; the last is constant: its variance may not be negative. */
static void test_cancellation(void **state) {
  const double step_of = ldexp(1, -24) * BATCH * HEIGHT * WIDTH;
  pn_device *d = linear_open();
  float *image, *mean_of, *var_of, weight[CHANNELS * CHANNELS] = {0};
  double worst = 0;
  job j;
  (void)state;

  library.sums = true;
  job_make(&j, d, identity_net(), PN_FP16, true);
  for (int c = 0; c < CHANNELS; c++) weight[c * CHANNELS + c] = 1;
  assert_int_equal(pn_layout_pack(&j.map->slot[0].layout, weight, j.params + j.map->slot[0].offset),
                   PN_OK);
  fill_images(&j);
  image = pn_plan_input(j.plan);
  for (int i = 0; i < BATCH * CHANNELS * HEIGHT * WIDTH; i++) {
    int c = i / (HEIGHT * WIDTH) % CHANNELS;
    float x = c == CHANNELS - 1 ? 3.7f : ldexpf(image[i], -3) + (c ? ldexpf(1, 2 * c - 5) : 0);
    image[i] = pn_fp16_to_f32(pn_fp16_of(x));
  }
  step(&j);
  mean_of = plain(&j, pn_graph_node(j.graph, 2)->mean, j.params);
  var_of = plain(&j, pn_graph_node(j.graph, 2)->var, j.params);
  for (int c = 0; c < CHANNELS; c++) {
    double mean, var, size;
    exact(image, c, &mean, &var);
    size = mean * mean + var;
    assert_true(fabs((double)mean_of[c] - mean) <= step_of * sqrt(size));
    assert_true(var_of[c] >= 0);
    if (!(fabs((double)var_of[c] - var) <= 3 * step_of * size))
      fail_msg("mean %g, variance %g: found %g", mean, var, (double)var_of[c]);
    if (var > 0) worst = fmax(worst, fabs((double)var_of[c] - var) / var);
  }
  assert_true(worst > 1e-4); /* f32 it was */
  for (int i = 0; i < BATCH * CLASSES; i++) assert_true(isfinite(pn_plan_logits(j.plan)[i]));
  free(mean_of);
  free(var_of);
  job_free(&j);
  pn_device_destroy(d);
}

enum { FILTERS = 64 };

/* Of channel f of a result N C H W: sum, sum of squares, and how far off the library's may be: it
 * may have summed before it rounded. */
static void compare_sums(const float *y, const float *stats, int f, int64_t images, double unit) {
  enum { AREA = 14 * 14 };
  double sum[2] = {0, 0}, size = 0;

  for (int64_t i = 0; i < images * AREA; i++) {
    double x = (double)y[(i / AREA * FILTERS + f) * AREA + i % AREA];
    sum[0] += x;
    sum[1] += x * x;
    size += fabs(x);
  }
  assert_true(fabs((double)stats[f] - sum[0]) <= unit * size);
  assert_true(fabs((double)stats[FILTERS + f] - sum[1]) <= 2 * unit * sum[1]);
}

/* One convolution, in memory that is not zero.  False: the device makes no sums. */
static bool check_sums(pn_device *d, pn_dtype type) {
  const op_case c = CONV("sums", IMAGE(4, 32, 14, 14), FILTERS, W(3, 1, 1, 1));
  pn_op_desc op[CASE_CHAIN];
  op_data data;
  pn_task t;
  bool ran, made;

  case_ops(&c, op);
  op[0].bias = false;
  op_precision = type;
  op_data_make(&c, op, &data);
  data.plain[PN_STATS] = malloc(2 * FILTERS * sizeof(float));
  assert_non_null(data.plain[PN_STATS]);
  for (int i = 0; i < 2 * FILTERS; i++) data.plain[PN_STATS][i] = 1e6f;
  t = op_task(op, 1, PN_FORWARD, NULL, false);
  op_precision = PN_F32;
  t.layout[PN_STATS] = pn_layout_plain(pn_shape2(2, FILTERS));
  if (op_pass(d, &t, &data, &ran, NULL) != PN_OK) fail_msg("%s", pn_last_error());
  made = t.uses & 1u << PN_STATS;
  for (int f = 0; f < FILTERS && made; f++)
    compare_sums(data.plain[PN_DST], data.plain[PN_STATS], f, c.in.dim[0],
                 type == PN_BF16 ? 0x1p-8 : 0x1p-11);
  op_data_free(&data);
  return made;
}

static void test_sums(void **state) {
  pn_device *d = linear_open();
  (void)state;

  for (pn_dtype type = PN_BF16; type <= PN_FP16; type++) {
    library.sums = true;
    assert_true(check_sums(d, type));
    library.sums = false;
    assert_false(check_sums(d, type));
  }
  pn_device_destroy(d);
}

static const char *device_name; /* on a GPU: cuDNN, whatever it takes, deterministic and not */

/* Gradients and running statistics of the same step once more. */
static void check_bits(const job *j, pn_device *d, pn_dtype type) {
  job again;

  job_make(&again, d, net(RESIDUAL), type, true);
  fill_images(&again);
  step(&again);
  assert_memory_equal(again.grads, j->grads, (size_t)j->map->trainable * sizeof(float));
  assert_memory_equal(again.params, j->params, (size_t)j->map->total * sizeof(float));
  job_free(&again);
}

static void test_device(void **state) {
  pn_device_spec spec = {.name = device_name, .threads = 2};
  (void)state;

  for (int loose = 0; loose < 2; loose++)
    for (pn_dtype type = PN_BF16; type <= PN_FP16; type++) {
      pn_device *d;
      job j, full;
      spec.loose = loose;
      if (pn_device_open(&spec, &d) != PN_OK) fail_msg("%s", pn_last_error());
      print_message("%s, %s%s: %s\n", device_name, pn_dtype_name(type), loose ? ", loose" : "",
                    check_sums(d, type) ? "sums of the convolution" : "own sums");
      job_make(&full, ref, net(RESIDUAL), PN_F32, true);
      job_make(&j, d, net(RESIDUAL), type, true);
      fill_images(&full), fill_images(&j);
      step(&full), step(&j);
      check_same(&j, &full, type == PN_BF16 ? 0.1 : 0.05);
      if (!loose) check_bits(&j, d, type);
      job_free(&j), job_free(&full);
      pn_device_destroy(d);
    }
}

static int run_on(const char *name) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_device)};
  pn_device *d = test_device_open(name, 1);

  if (!d) return TEST_SKIPPED;
  pn_device_destroy(d);
  device_name = name;
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sums), cmocka_unit_test(test_training),
                                     cmocka_unit_test(test_steps), cmocka_unit_test(test_not_taken),
                                     cmocka_unit_test(test_cancellation)};
  int failed;

  linear_backend = cu_emulated;
  linear_backend.conv = library_conv;
  if (pn_device_create("ref", 1, &ref) != PN_OK) return 1;
  failed =
      argc > 1 ? run_on(test_device_name(argc, argv)) : cmocka_run_group_tests(tests, NULL, NULL);
  pn_device_destroy(ref);
  return failed;
}
