/* test_plan.c -- lowering, memory, hooks and runs of plans, on `ref` and on a device made to be
 * difficult (picky_device.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "picky_device.h"
#include "plan_job.h"

/* No two buffers that live together share a byte; lifetimes cover every use. */
static void check_memory(const pn_plan *p) {
  for (int i = 0; i < p->n_steps; i++)
    for (int r = 0; r < PN_ROLE_COUNT; r++) {
      const pn_operand *o = &p->step[i].operand[r];
      if (o->at != AT_BUFFER) continue;
      assert_true(p->buffer[o->index].first <= i && i <= p->buffer[o->index].last);
    }
  for (int i = 0; i < p->n_buffers; i++)
    for (int k = 0; k < i; k++) {
      const pn_buffer *a = &p->buffer[i], *b = &p->buffer[k];
      assert_int_equal(a->offset % 64, 0);
      assert_true(a->offset + a->bytes <= p->arena_bytes);
      if (a->first > b->last || b->first > a->last) continue;
      assert_true(a->offset + a->bytes <= b->offset || b->offset + b->bytes <= a->offset);
    }
}

static void test_memory(void **state) {
  pn_graph *g = small_net(0.3f, 0);
  pn_plan_memory m;
  job j;
  (void)state;

  job_make(&j, g, ref, BATCH, true, NULL);
  check_memory(j.plan);
  m = pn_plan_memory_use(j.plan);
  assert_true(m.arena < m.activations + m.workspace);
  assert_true(m.arena > 0 && m.workspace > 0);
  for (int i = 0; i < j.map->n; i++) assert_int_equal(j.map->slot[i].offset % 16, 0);
  job_free(&j);
  job_make(&j, g, ref, BATCH, false, NULL);
  check_memory(j.plan);
  assert_true(pn_plan_memory_use(j.plan).arena < m.arena);
  job_free(&j);
  pn_graph_destroy(g);
}

struct trace {
  char text[512];
};

static pn_status note(void *ctx, const char *what, int i) {
  struct trace *t = ctx;
  size_t used = strlen(t->text);
  snprintf(t->text + used, sizeof t->text - used, "%s%d ", what, i);
  return PN_OK;
}
static pn_status on_enter(void *ctx, int unit) {
  return note(ctx, "in", unit);
}
static pn_status on_leave(void *ctx, int unit) {
  return note(ctx, "out", unit);
}
static pn_status on_back(void *ctx, int unit) {
  return note(ctx, "back", unit);
}
static pn_status on_grad(void *ctx, int param) {
  return note(ctx, "g", param);
}
static pn_status on_tick(void *ctx) {
  ((struct trace *)ctx)->text[511]++;
  return PN_OK;
}
static pn_status on_error(void *ctx, int param) {
  (void)ctx;
  return param == 5 ? PN_FAIL(PN_ERR_COMM, "stop") : PN_OK;
}

static void test_hooks(void **state) {
  pn_graph *g = small_net(0, 0);
  struct trace t = {""};
  pn_plan_hooks h = {&t, on_enter, on_leave, on_back, on_grad, on_tick}, bad = {0};
  pn_step_ctx ctx = context();
  job j;
  (void)state;

  job_make(&j, g, ref, BATCH, true, NULL);
  fill_batch(&j, 0, BATCH);
  assert_int_equal(pn_plan_forward(j.plan, &ctx, &h), PN_OK);
  assert_string_equal(t.text, "in0 out0 in1 out1 in2 out2 ");
  t.text[0] = '\0';
  assert_int_equal(pn_plan_backward(j.plan, &ctx, &h), PN_OK);
  assert_string_equal(t.text, "back2 g7 g6 g5 g4 back1 g3 g2 back0 g1 g0 ");
  assert_int_equal(t.text[511], j.plan->n_steps - j.plan->n_forward);
  bad.grad_ready = on_error;
  assert_int_equal(pn_plan_backward(j.plan, &ctx, &bad), PN_ERR_COMM);
  job_free(&j);
  pn_graph_destroy(g);
}

/* Odd layouts, fused chains, refusals: the numbers stay those of `ref`. */
static void test_picky(void **state) {
  pn_graph *g = small_net(0.25f, 0);
  job want, got;
  (void)state;

  job_make(&want, g, ref, BATCH, true, NULL);
  fill_batch(&want, 0, BATCH);
  run(&want);
  for (int bits = 0; bits < 8; bits++) {
    picky p = {ref, bits & 1, bits & 2, bits & 4};
    pn_device d = {.ops = &picky_ops, .threads = 1, .impl = &p};
    pn_step_info info;
    job_make(&got, g, &d, BATCH, true, NULL);
    check_memory(got.plan);
    fill_batch(&got, 0, BATCH);
    run(&got);
    assert_same(&got, &want, BATCH, 1e-6);
    assert_string_equal(got.map->slot[0].layout.tag, "ABcd8b8a");
    pn_plan_step_info(got.plan, 1, &info); /* after the reorder of the input */
    assert_string_equal(info.name, p.refuse_fused_weight ? "conv1" : "conv1+relu1");
    assert_string_equal(info.layout, "acdb -> aBcd8b");
    job_free(&got);
  }
  job_free(&want);
  pn_graph_destroy(g);
}

/* An evaluation plan and another batch size share the training plan's parameters. */
static void test_shared_params(void **state) {
  pn_graph *g = small_net(0.5f, 0);
  picky p = {.ref = ref};
  pn_device d = {.ops = &picky_ops, .threads = 1, .impl = &p};
  job train, eval;
  pn_step_ctx none = {0};
  (void)state;

  job_make(&train, g, &d, BATCH, true, NULL);
  job_make(&eval, g, ref, BATCH - 2, false, train.map); /* ref must unpack the blocked weights */
  assert_int_equal(eval.map->total, train.map->total);
  pn_plan_bind(eval.plan, train.params, NULL);
  fill_batch(&eval, 0, BATCH - 2);
  for (int i = 0; i < pn_plan_n_steps(eval.plan); i++) {
    pn_step_info info;
    pn_plan_step_info(eval.plan, i, &info);
    assert_string_not_equal(info.name, "dropout");
  }
  assert_int_equal(pn_plan_forward(eval.plan, &none, NULL), PN_OK);
  job_free(&train);
  pn_graph_destroy(g);

  g = small_net(0, 0); /* the same network without dropout, trained */
  job_make(&train, g, ref, BATCH, true, NULL);
  fill_batch(&train, 0, BATCH);
  run(&train);
  assert_close(pn_plan_logits(eval.plan), pn_plan_logits(train.plan), BATCH - 2, 1e-6);
  job_free(&train);
  job_free(&eval);
  pn_graph_destroy(g);
}

/* A sample of scale 0 is not there: gradients of 4 samples in a batch of 6. */
static void test_padding_samples(void **state) {
  pn_graph *g = small_net(0, 2);
  static const float cut[] = {0.5f, 0.25f, 0.125f, 1.0f, 0, 0};
  pn_step_ctx ctx = context();
  job four, six;
  (void)state;

  job_make(&four, g, ref, 4, true, NULL);
  job_make(&six, g, ref, 6, true, NULL);
  fill_batch(&four, 0, 4);
  fill_batch(&six, 0, 6);
  run(&four);
  ctx.sample_scale = cut;
  assert_int_equal(pn_plan_forward(six.plan, &ctx, NULL), PN_OK);
  assert_int_equal(pn_plan_backward(six.plan, &ctx, NULL), PN_OK);
  assert_same(&four, &six, 4, 1e-6);
  job_free(&four);
  job_free(&six);
  pn_graph_destroy(g);
}

/* Dropout follows the sample, not its place in the batch. */
static void test_dropout_by_sample(void **state) {
  pn_graph *g = small_net(0.5f, 0);
  pn_step_ctx ctx = context();
  float first[BATCH];
  job j;
  (void)state;

  job_make(&j, g, ref, BATCH, true, NULL);
  fill_batch(&j, 0, BATCH);
  assert_int_equal(pn_plan_forward(j.plan, &ctx, NULL), PN_OK);
  memcpy(first, pn_plan_losses(j.plan), sizeof first);
  fill_batch(&j, 1, BATCH);
  ctx.sample_id = ids + 1;
  assert_int_equal(pn_plan_forward(j.plan, &ctx, NULL), PN_OK);
  assert_close(pn_plan_losses(j.plan), first + 1, BATCH - 1, 1e-6);
  ctx.epoch++;
  assert_int_equal(pn_plan_forward(j.plan, &ctx, NULL), PN_OK);
  assert_true(memcmp(pn_plan_losses(j.plan), first + 1, 5 * sizeof(float)) != 0);
  job_free(&j);
  pn_graph_destroy(g);
}

static void test_nonfinite(void **state) {
  pn_graph *g = small_net(0, 0);
  char where[128];
  pn_step_ctx ctx;
  job j;
  (void)state;

  job_make(&j, g, ref, BATCH, true, NULL);
  fill_batch(&j, 0, BATCH);
  run(&j);
  pn_plan_find_nonfinite(j.plan, where, sizeof where);
  assert_string_equal(where, "");
  ctx = context();
  assert_int_equal(pn_plan_forward(j.plan, &ctx, NULL), PN_OK);
  pn_plan_find_kept_nonfinite(j.plan, where, sizeof where);
  assert_string_equal(where, "");
  pn_plan_input(j.plan)[20] = 3e38f; /* finite: the convolution overflows */
  j.params[0] = 1e6f;
  run(&j);
  pn_plan_find_nonfinite(j.plan, where, sizeof where);
  assert_string_equal(where, "conv1 (forward)");
  assert_int_equal(pn_plan_forward(j.plan, &ctx, NULL), PN_OK);
  pn_plan_find_kept_nonfinite(j.plan, where, sizeof where);
  assert_non_null(strstr(where, "(forward)"));
  pn_plan_input(j.plan)[20] = NAN;
  pn_plan_find_nonfinite(j.plan, where, sizeof where);
  assert_string_equal(where, "input");
  j.params[j.map->slot[4].offset] = INFINITY;
  pn_plan_find_nonfinite(j.plan, where, sizeof where);
  assert_string_equal(where, "parameter fc1.weight");
  job_free(&j);
  pn_graph_destroy(g);
}

/* Fan-out, sums (of one value with itself too), concat, a norm, and a branch that leads nowhere. */
static pn_graph *fork_net(void) {
  const pn_window same = {{3, 3}, {1, 1}, {1, 1}, {1, 1}}, dot = {{1, 1}, {1, 1}, {0, 0}, {0, 0}};
  const pn_norm norm = {.eps = 1e-2f, .update = 0.1f};
  int x, a, b, join[4];
  pn_graph *g;

  assert_int_equal(pn_graph_create("fork", &g), PN_OK);
  assert_int_equal(pn_graph_input(g, 1, 14, 18, &x), PN_OK);
  assert_int_equal(pn_graph_conv(g, "stem", x, 4, same, &x), PN_OK);
  pn_graph_next_unit(g);
  assert_int_equal(pn_graph_conv_bare(g, "left", x, 4, same, &a), PN_OK);
  assert_int_equal(pn_graph_norm(g, "norm", a, norm, &a), PN_OK);
  assert_int_equal(pn_graph_conv(g, "right", x, 4, dot, &b), PN_OK);
  assert_int_equal(pn_graph_relu(g, "nowhere", x, &join[0]), PN_OK);
  assert_int_equal(pn_graph_add(g, "sum", a, b, &a), PN_OK);
  assert_int_equal(pn_graph_simple(g, "silu", a, PN_OP_SILU, &a), PN_OK);
  assert_int_equal(pn_graph_add(g, "again", a, x, &join[0]), PN_OK);
  assert_int_equal(pn_graph_add(g, "twice", x, x, &join[1]), PN_OK);
  join[2] = x;
  join[3] = b;
  assert_int_equal(pn_graph_concat(g, "concat", join, 4, &x), PN_OK);
  pn_graph_next_unit(g);
  assert_int_equal(pn_graph_simple(g, "gap", x, PN_OP_GAP, &x), PN_OK);
  assert_int_equal(pn_graph_dense(g, "fc", x, 1, &x), PN_OK);
  assert_int_equal(pn_graph_loss(g, "loss", x, PN_OP_BCE, &x), PN_OK);
  return g;
}

static double weighted_loss(job *j) {
  pn_step_ctx ctx = context();
  double sum = 0;
  assert_int_equal(pn_plan_forward(j->plan, &ctx, NULL), PN_OK);
  for (int i = 0; i < BATCH; i++) sum += (double)scales[i] * (double)pn_plan_losses(j->plan)[i];
  return sum;
}

/* Gradients of a branched network are slopes of its loss; reports come in descending order. */
static void test_branches(void **state) {
  pn_graph *g = fork_net();
  struct trace t = {""};
  pn_plan_hooks h = {.ctx = &t, .grad_ready = on_grad};
  pn_step_ctx ctx = context();
  job j;
  (void)state;

  job_make(&j, g, ref, BATCH, true, NULL);
  check_memory(j.plan);
  fill_batch(&j, 0, BATCH);
  assert_int_equal(pn_plan_forward(j.plan, &ctx, NULL), PN_OK);
  assert_int_equal(pn_plan_backward(j.plan, &ctx, &h), PN_OK);
  assert_string_equal(t.text, "g10 g9 g8 g7 g4 g3 g2 g1 g0 ");
  for (int i = 0; i < j.map->n; i++) {
    const struct pn_slot *s = &j.map->slot[i];
    if (!s->trainable) continue;
    for (int64_t k = 0; k < s->count; k += 3) {
      float *w = &j.params[s->offset + k], keep = *w;
      const float step = 0x1p-7f;
      double slope, want = (double)j.grads[s->offset + k];
      *w = keep + step;
      slope = weighted_loss(&j);
      *w = keep - step;
      slope = (slope - weighted_loss(&j)) / (2 * (double)step);
      *w = keep;
      if (!(fabs(slope - want) < 2e-4 + 2e-3 * fabs(want)))
        fail_msg("%s[%lld]: gradient %g, slope %g", pn_graph_param(g, i)->name, (long long)k, want,
                 slope);
    }
  }
  job_free(&j);
  pn_graph_destroy(g);
}

/* The same network on the difficult device, and in evaluation. */
static void test_branches_picky(void **state) {
  pn_graph *g = fork_net();
  picky p = {.ref = ref};
  pn_device d = {.ops = &picky_ops, .threads = 1, .impl = &p};
  job want, got, eval[2];
  (void)state;

  job_make(&want, g, ref, BATCH, true, NULL);
  job_make(&got, g, &d, BATCH, true, NULL);
  check_memory(got.plan);
  fill_batch(&want, 0, BATCH);
  fill_batch(&got, 0, BATCH);
  run(&want);
  run(&got);
  assert_same(&got, &want, BATCH, 1e-5);
  for (int i = 0; i < 2; i++) {
    job_make(&eval[i], g, i ? &d : ref, BATCH, false, NULL);
    fill_batch(&eval[i], 0, BATCH);
    run(&eval[i]);
  }
  assert_close(pn_plan_logits(eval[1].plan), pn_plan_logits(eval[0].plan), BATCH, 1e-5);
  for (int i = 0; i < 2; i++) job_free(&eval[i]);
  job_free(&want);
  job_free(&got);
  pn_graph_destroy(g);
}

/* A training step moves the running statistics; an evaluation plan reads them. */
static void test_running_statistics(void **state) {
  pn_graph *g = fork_net();
  const struct pn_slot *mean;
  float logit;
  job j, eval;
  (void)state;

  job_make(&j, g, ref, BATCH, true, NULL);
  fill_batch(&j, 0, BATCH);
  mean = &j.map->slot[5];
  assert_string_equal(pn_graph_param(g, 5)->name, "norm.running_mean");
  assert_true(!mean->trainable && mean->offset >= j.map->trainable);
  assert_true(j.params[mean->offset] == 0.0f);
  run(&j);
  assert_true(j.params[mean->offset] != 0.0f);
  job_make(&eval, g, ref, BATCH, false, j.map);
  fill_batch(&eval, 0, BATCH);
  run(&eval);
  logit = pn_plan_logits(eval.plan)[0];
  memcpy(eval.params, j.params, (size_t)j.map->total * sizeof(float));
  run(&eval);
  assert_true(pn_plan_logits(eval.plan)[0] != logit);
  assert_memory_equal(eval.params, j.params, (size_t)j.map->total * sizeof(float));
  job_free(&eval);
  job_free(&j);
  pn_graph_destroy(g);
}

static void test_no_loss(void **state) {
  pn_plan_spec spec = {.device = ref, .batch = 2};
  pn_plan *p;
  int in;
  (void)state;

  assert_int_equal(pn_graph_create("short", (pn_graph **)&spec.graph), PN_OK);
  assert_int_equal(pn_graph_input((pn_graph *)spec.graph, 1, 4, 4, &in), PN_OK);
  assert_int_equal(pn_plan_create(&spec, &p), PN_ERR_ARG);
  assert_non_null(strstr(pn_last_error(), "no loss"));
  assert_int_equal(pn_graph_loss((pn_graph *)spec.graph, "l", in, PN_OP_SOFTMAX_CE, &in),
                   PN_ERR_ARG);
  pn_graph_destroy((pn_graph *)spec.graph);
}

static void test_misuse(void **state) {
  pn_graph *g = small_net(0, 0), *other = small_net(0, 3);
  pn_plan_spec spec = {.graph = g, .device = ref, .batch = 0};
  pn_step_ctx ctx = context();
  pn_plan *p;
  job j;
  (void)state;

  assert_int_equal(pn_plan_create(&spec, &p), PN_ERR_ARG);
  spec.batch = 1;
  assert_int_equal(pn_plan_create(&spec, &p), PN_OK);
  assert_int_equal(pn_plan_forward(p, &ctx, NULL), PN_ERR_ARG); /* not bound */
  pn_plan_destroy(p);
  job_make(&j, g, ref, 1, false, NULL);
  assert_int_equal(pn_plan_backward(j.plan, &ctx, NULL), PN_ERR_ARG);
  spec.graph = other;
  spec.params = j.map;
  assert_int_equal(pn_plan_create(&spec, &p), PN_ERR_ARG);
  assert_non_null(strstr(pn_last_error(), "fc2.weight"));
  job_free(&j);
  pn_plan_destroy(NULL);
  pn_graph_destroy(g);
  pn_graph_destroy(other);
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_memory),          cmocka_unit_test(test_hooks),
      cmocka_unit_test(test_picky),           cmocka_unit_test(test_shared_params),
      cmocka_unit_test(test_padding_samples), cmocka_unit_test(test_dropout_by_sample),
      cmocka_unit_test(test_nonfinite),       cmocka_unit_test(test_branches),
      cmocka_unit_test(test_branches_picky),  cmocka_unit_test(test_running_statistics),
      cmocka_unit_test(test_no_loss),         cmocka_unit_test(test_misuse),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
