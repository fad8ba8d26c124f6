/* plan_job.h -- a small CNN with a plan, parameters and batches, for the planner tests. */
#ifndef PN_TESTS_PLAN_JOB_H
#define PN_TESTS_PLAN_JOB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "models/models.h"
#include "nn/plan_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 6 };

static pn_device *ref; /* of the whole program */

/* A plan with parameters and gradients of its own. */
typedef struct {
  pn_plan *plan;
  const pn_param_map *map;
  float *params, *grads;
} job;

static pn_graph *small_net(float dropout, int64_t classes) {
  pn_model_config c;
  pn_graph *g;

  pn_model_defaults(&c);
  c.size[0] = 14;
  c.size[1] = 18; /* neither is divisible by 4 */
  c.filters[0] = 5;
  c.filters[1] = 12;
  c.hidden = 9;
  c.dropout = dropout;
  c.softmax = classes > 0;
  if (classes) c.classes = classes;
  assert_int_equal(pn_model_build("custom_cnn", &c, &g), PN_OK);
  return g;
}

static void load_params(job *j, const pn_graph *g) {
  j->params = calloc((size_t)j->map->total, sizeof(float));
  j->grads = calloc((size_t)j->map->total, sizeof(float));
  for (int i = 0; i < j->map->n; i++) {
    float *w = malloc((size_t)pn_shape_count(pn_graph_param(g, i)->shape) * sizeof *w);
    pn_graph_init_param(g, i, 21, w);
    assert_int_equal(pn_layout_pack(&j->map->slot[i].layout, w, j->params + j->map->slot[i].offset),
                     PN_OK);
    free(w);
  }
  pn_plan_bind(j->plan, j->params, j->grads);
}

static void job_make(job *j, const pn_graph *g, pn_device *d, int64_t batch, bool training,
                     const pn_param_map *map) {
  pn_plan_spec spec = {
      .graph = g, .device = d, .batch = batch, .training = training, .params = map};

  if (pn_plan_create(&spec, &j->plan) != PN_OK) fail_msg("%s", pn_last_error());
  j->map = pn_plan_param_map(j->plan);
  load_params(j, g);
}

static void job_free(job *j) {
  pn_plan_destroy(j->plan);
  free(j->params);
  free(j->grads);
}

/* Batch made of images first, first + 1, ... of an endless set. */
static void fill_batch(job *j, int64_t first, int64_t count) {
  int64_t pixels = 14 * 18;
  for (int64_t n = 0; n < count; n++) {
    pn_rng r = pn_rng_make(31, PN_RNG_TEST, (uint64_t)(first + n), 0);
    for (int64_t i = 0; i < pixels; i++)
      pn_plan_input(j->plan)[n * pixels + i] = (float)pn_rng_normal(&r);
    pn_plan_labels(j->plan)[n] = (int32_t)((first + n) % 2);
  }
}

static const uint64_t ids[] = {70, 71, 72, 73, 74, 75, 76};
static const float scales[] = {0.5f, 0.25f, 0.125f, 1.0f, 0.3f, 0.2f, 0.1f};

static pn_step_ctx context(void) {
  return (pn_step_ctx){.seed = 8, .epoch = 3, .sample_id = ids, .sample_scale = scales};
}

static void run(job *j) {
  pn_step_ctx ctx = context();
  assert_int_equal(pn_plan_forward(j->plan, &ctx, NULL), PN_OK);
  if (j->grads && j->plan->spec.training)
    assert_int_equal(pn_plan_backward(j->plan, &ctx, NULL), PN_OK);
}

static void assert_close(const float *a, const float *b, int64_t n, double tolerance) {
  for (int64_t i = 0; i < n; i++)
    if (!(fabs((double)a[i] - (double)b[i]) <= tolerance * (1 + fabs((double)b[i]))))
      fail_msg("[%lld]: %g and %g", (long long)i, (double)a[i], (double)b[i]);
}

/* Logits, losses and all gradients of two jobs in whatever layouts. */
static void assert_same(const job *a, const job *b, int64_t batch, double tolerance) {
  assert_close(pn_plan_logits(a->plan), pn_plan_logits(b->plan), batch, tolerance);
  assert_close(pn_plan_losses(a->plan), pn_plan_losses(b->plan), batch, tolerance);
  for (int i = 0; i < a->map->n; i++) {
    if (!a->map->slot[i].trainable) continue;
    const struct pn_slot *sa = &a->map->slot[i], *sb = &b->map->slot[i];
    int64_t n = pn_shape_count(sa->layout.shape);
    float *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)n * sizeof *y);
    double norm = 0;
    assert_int_equal(pn_layout_unpack(&sa->layout, a->grads + sa->offset, x), PN_OK);
    assert_int_equal(pn_layout_unpack(&sb->layout, b->grads + sb->offset, y), PN_OK);
    for (int64_t k = 0; k < n; k++) norm += fabs((double)x[k]);
    assert_true(norm > 0); /* nothing is trivially equal */
    assert_close(x, y, n, tolerance);
    free(x);
    free(y);
  }
}

#endif
