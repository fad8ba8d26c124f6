/* stats_job.h -- networks with norms behind convolutions, plans of them on a device, one step, and
 * how far apart two of them are. */
#ifndef PN_TESTS_STATS_JOB_H
#define PN_TESTS_STATS_JOB_H

#include "linear_device.h"

#include "models/builders.h"
#include "nn/plan.h"

enum { BATCH = 5, CHANNELS = 8, HEIGHT = 10, WIDTH = 12, CLASSES = 3 };

static pn_device *ref; /* of the whole program */

typedef enum { RESIDUAL, SHARED, BIASED } net_kind;

/* conv, norm, ReLU; then conv, norm, + conv, norm, ReLU.  SHARED: the first convolution's result is
 * read by that sum, too.  BIASED: that convolution has a bias. */
static pn_graph *net(net_kind kind) {
  static const pn_norm norm = {.eps = 1e-5f, .update = 0.1f};
  pn_graph *g = NULL;
  int at, first, deep, side;
  pn_status st = pn_graph_create("net", &g);

  PN_TRY(st);
  PN_TRY(pn_graph_input(g, CHANNELS, HEIGHT, WIDTH, &at));
  if (kind == BIASED)
    PN_TRY(pn_graph_conv(g, "conv1", at, 16, pn_square(3, 1, 1), &first));
  else
    PN_TRY(pn_graph_conv_bare(g, "conv1", at, 16, pn_square(3, 1, 1), &first));
  PN_TRY(pn_graph_norm(g, "bn1", first, norm, &at));
  PN_TRY(pn_graph_relu(g, "relu1", at, &at));
  PN_TRY(pn_graph_conv_bare(g, "conv2", at, 16, pn_square(3, 1, 1), &deep));
  PN_TRY(pn_graph_norm(g, "bn2", deep, norm, &deep));
  PN_TRY(
      pn_graph_conv_bare(g, "conv3", kind == SHARED ? first : at, 16, pn_square(1, 1, 0), &side));
  PN_TRY(pn_graph_norm(g, "bn3", side, norm, &side));
  PN_TRY(pn_graph_add(g, "add", deep, side, &at));
  PN_TRY(pn_graph_relu(g, "relu2", at, &at));
  PN_TRY(pn_graph_simple(g, "gap", at, PN_OP_GAP, &at));
  PN_TRY(pn_graph_dense(g, "fc", at, CLASSES, &at));
  PN_TRY(pn_graph_loss(g, "loss", at, PN_OP_SOFTMAX_CE, &at));
done:
  assert_int_equal(st, PN_OK);
  return g;
}

typedef struct {
  pn_device *device;
  pn_graph *graph;
  pn_plan *plan;
  const pn_param_map *map;
  float *params, *grads;
} job;

static void bind(job *j) {
  j->params = calloc((size_t)j->map->total + 1, sizeof(float));
  j->grads = calloc((size_t)j->map->total + 1, sizeof(float));
  assert_true(j->params && j->grads);
  for (int i = 0; i < j->map->n; i++) {
    int64_t n = pn_shape_count(pn_graph_param(j->graph, i)->shape);
    float *w = malloc((size_t)n * sizeof *w);
    assert_non_null(w);
    pn_graph_init_param(j->graph, i, 21, w);
    assert_int_equal(pn_layout_pack(&j->map->slot[i].layout, w, j->params + j->map->slot[i].offset),
                     PN_OK);
    free(w);
  }
  pn_plan_bind(j->plan, j->params, j->grads);
}

/* Takes the graph. */
static void job_make(job *j, pn_device *d, pn_graph *g, pn_dtype type, bool training) {
  pn_plan_spec spec = {
      .graph = g, .device = d, .batch = BATCH, .training = training, .precision = type};

  *j = (job){.device = d, .graph = g};
  if (pn_plan_create(&spec, &j->plan) != PN_OK) fail_msg("%s", pn_last_error());
  j->map = pn_plan_param_map(j->plan);
  bind(j);
}

static void job_free(job *j) {
  pn_plan_destroy(j->plan);
  pn_graph_destroy(j->graph);
  free(j->params);
  free(j->grads);
}

static void step(job *j) {
  static const uint64_t id[BATCH] = {7, 8, 9, 10, 11};
  static const float scale[BATCH] = {200, 200, 200, 200, 200}; /* fp16's diffs not too small */
  pn_step_ctx ctx = {.seed = 8, .epoch = 3, .sample_id = id, .sample_scale = scale};

  for (int n = 0; n < BATCH; n++) pn_plan_labels(j->plan)[n] = n % CLASSES;
  if (pn_plan_forward(j->plan, &ctx, NULL) != PN_OK) fail_msg("%s", pn_last_error());
  if (pn_plan_backward(j->plan, &ctx, NULL) != PN_OK) fail_msg("%s", pn_last_error());
}

static void fill_images(job *j) {
  fill_normal(pn_plan_input(j->plan), BATCH * CHANNELS * HEIGHT * WIDTH, 5, 1.0f);
}

static double distance(const float *a, const float *b, int64_t n) {
  double d = 0, norm = 0;

  for (int64_t i = 0; i < n; i++) {
    d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    norm += (double)b[i] * (double)b[i];
  }
  assert_true(norm > 0);
  return sqrt(d / norm);
}

/* Of parameter i or its gradient, in logical order; owned by the caller. */
static float *plain(const job *j, int i, const float *arena) {
  const struct pn_slot *s = &j->map->slot[i];
  float *x = malloc((size_t)pn_shape_count(s->layout.shape) * sizeof *x);

  assert_non_null(x);
  assert_int_equal(pn_layout_unpack(&s->layout, arena + s->offset, x), PN_OK);
  return x;
}

/* Logits, gradients, and running statistics ten times as well: their distance, relative. */
static void check_same(const job *a, const job *b, double tolerance) {
  double d = distance(pn_plan_logits(a->plan), pn_plan_logits(b->plan), BATCH * CLASSES);

  if (!(d <= tolerance)) fail_msg("logits differ by %g", d);
  for (int i = 0; i < a->map->n; i++) {
    bool trains = a->map->slot[i].trainable;
    float *x = plain(a, i, trains ? a->grads : a->params);
    float *y = plain(b, i, trains ? b->grads : b->params);
    d = distance(x, y, pn_shape_count(a->map->slot[i].layout.shape));
    free(x);
    free(y);
    if (!(d <= (trains ? tolerance : tolerance / 10)))
      fail_msg("%s differs by %g", pn_graph_param(a->graph, i)->name, d);
  }
}

#endif
