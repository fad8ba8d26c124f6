/* test_oracle_recipe.c -- optimizers, clipping, schedules, averages and smoothed losses against
 * PyTorch's on small fixed inputs; LARS against its definition in double. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/device.h"
#include "optim/optim.h"
#include "optim/schedule.h"
#include "oracle/recipe_values.h"

#include <math.h>
#include <string.h>

enum { STEPS = 6, N = 7 };

static void start(float p[N]) {
  for (int i = 0; i < N; i++) p[i] = (float)sin(1.0 + i);
}

static void gradient(int t, float g[N]) {
  for (int i = 0; i < N; i++) g[i] = (float)cos(0.7 * t + 1.3 * i);
}

static void close_to(const float *is, const double *want, int n) {
  for (int i = 0; i < n; i++)
    if (!(fabs((double)is[i] - want[i]) < 2e-6 * (1 + fabs(want[i]))))
      fail_msg("value %d is %.9g, PyTorch has %.9g", i, (double)is[i], want[i]);
}

static void check_rule(pn_optim_config c, double clip, const double *want) {
  float p[N], g[N], s[2][N] = {{0}};
  pn_optim_range r = {.param = p, .grad = g, .state = {s[0], s[1]}, .count = N, .decay = 1};
  pn_optim *o;

  assert_int_equal(pn_optim_create(&c, &o), PN_OK);
  start(p);
  for (int t = 1; t <= STEPS; t++) {
    pn_optim_range bare = r;
    gradient(t, g);
    bare.decay = 0;
    bare.grad_scale = r.grad_scale = 1;
    if (clip > 0) {
      double norm = sqrt(pn_optim_sum_squares(o, &bare, 1).grad);
      r.grad_scale = fmin(1, clip / (norm + 1e-6));
    }
    pn_optim_update(o, t, 0.05 / t, &r, 1);
  }
  close_to(p, want, N);
  pn_optim_destroy(o);
}

static pn_optim_config rule(const char *name, double momentum, double decay) {
  pn_optim_config c;
  pn_optim_defaults(&c);
  strcpy(c.name, name);
  c.momentum = momentum;
  c.weight_decay = decay;
  return c;
}

static void test_optimizers(void **state) {
  pn_optim_config nesterov = rule("sgd", 0.9, 0);
  (void)state;
  nesterov.nesterov = true;
  check_rule(rule("sgd", 0, 0.1), 0, sgd_plain);
  check_rule(rule("sgd", 0.9, 0.1), 0, sgd_momentum);
  check_rule(nesterov, 0, sgd_nesterov);
  check_rule(rule("adam", 0, 0.1), 0, adam);
  check_rule(rule("adamw", 0, 0.1), 0, adamw);
  check_rule(rule("adamw", 0, 0.1), 0.5, adamw_clipped);
}

/* small_cnns 3.3, SimCLR: g' = g + wd w; v = mu v + lr ratio g'; w -= v. */
static void test_lars(void **state) {
  pn_optim_config c = rule("lars", 0.9, 0.1);
  float p[N], g[N], s[N] = {0};
  double w[N], v[N] = {0};
  pn_optim_range r = {.param = p, .grad = g, .state = {s}, .count = N, .decay = 1, .grad_scale = 1};
  pn_optim *o;

  (void)state;
  c.trust = 0.02;
  assert_int_equal(pn_optim_create(&c, &o), PN_OK);
  assert_true(pn_optim_wants_norms(o));
  start(p);
  for (int i = 0; i < N; i++) w[i] = sin(1.0 + i);
  for (int t = 1; t <= STEPS; t++) {
    double ww = 0, gg = 0, d[N], ratio;
    gradient(t, g);
    for (int i = 0; i < N; i++) {
      d[i] = cos(0.7 * t + 1.3 * i) + 0.1 * w[i];
      ww += w[i] * w[i];
      gg += d[i] * d[i];
    }
    ratio = 0.02 * sqrt(ww) / sqrt(gg);
    for (int i = 0; i < N; i++) {
      v[i] = 0.9 * v[i] + 0.5 * ratio * d[i];
      w[i] -= v[i];
    }
    pn_optim_update(o, t, 0.5 * pn_optim_trust_ratio(o, pn_optim_sum_squares(o, &r, 1)), &r, 1);
  }
  close_to(p, w, N);
  assert_true(pn_optim_trust_ratio(o, (pn_optim_squares){0, 1}) == 1);
  pn_optim_destroy(o);
}

static void check_rates(const pn_schedule_config *c, const double *want, int n) {
  pn_schedule s;
  assert_int_equal(pn_schedule_make(c, 24, 4, &s), PN_OK);
  for (int i = 0; i < n; i++)
    if (fabs(pn_schedule_factor(&s, i) - want[i]) > 1e-12)
      fail_msg("%s: step %d is %.15g, PyTorch has %.15g", c->name, i, pn_schedule_factor(&s, i),
               want[i]);
}
#define COUNT(x) ((int)(sizeof(x) / sizeof *(x)))

static void test_schedules(void **state) {
  pn_schedule_config c;
  (void)state;

  pn_schedule_defaults(&c);
  strcpy(c.name, "step");
  c.every = 2;
  c.gamma = 0.5;
  check_rates(&c, rate_step, COUNT(rate_step));
  strcpy(c.name, "cosine");
  c.floor = 0.05;
  check_rates(&c, rate_cosine, COUNT(rate_cosine));
  c.floor = 0;
  c.warmup = 1.5;
  check_rates(&c, rate_warm_cosine, COUNT(rate_warm_cosine));
  c.warmup = 0;
  strcpy(c.name, "onecycle");
  check_rates(&c, rate_onecycle, COUNT(rate_onecycle));
}

static void test_plateau(void **state) {
  pn_schedule_config c;
  pn_schedule s;
  (void)state;

  pn_schedule_defaults(&c);
  strcpy(c.name, "plateau");
  c.factor = 0.5;
  c.patience = c.cooldown = 1;
  c.threshold = 0.01;
  c.floor = 0.1;
  assert_int_equal(pn_schedule_make(&c, 24, 4, &s), PN_OK);
  for (int i = 0; i < COUNT(plateau_losses); i++) {
    pn_schedule_epoch(&s, plateau_losses[i]);
    assert_true(fabs(pn_schedule_factor(&s, i) - plateau_rates[i]) < 1e-12);
  }
}

static void test_bad_schedules(void **state) {
  pn_schedule_config c;
  pn_schedule s;
  (void)state;

  pn_schedule_defaults(&c);
  strcpy(c.name, "cosin");
  assert_int_equal(pn_schedule_make(&c, 24, 4, &s), PN_ERR_ARG);
  assert_non_null(strstr(pn_last_error(), "cosine"));
  strcpy(c.name, "cosine");
  c.warmup = 6;
  assert_int_equal(pn_schedule_make(&c, 24, 4, &s), PN_ERR_ARG);
  assert_true(pn_lr_scale("linear", 128, 32) == 4 && pn_lr_scale("sqrt", 128, 32) == 2);
  assert_true(pn_lr_scale("none", 128, 32) == 1);
}

static void test_ema(void **state) {
  float average[N] = {9}, p[N];
  pn_ema_range r = {.average = average, .param = p, .count = N, .decay = 0.8};
  (void)state;

  for (int t = 1; t <= STEPS; t++) {
    gradient(t, p);
    pn_ema_update(&r, t, 1);
  }
  close_to(average, ema_values, N);
}

/* The loss kernel of `ref` alone: forward, then backward with scale 1 / n. */
static void run_loss(pn_op_desc op, const pn_step_ctx *ctx, void *ptr[PN_ROLE_COUNT]) {
  pn_device *d = NULL;
  static const pn_pass passes[] = {PN_FORWARD, PN_BACKWARD_DATA};

  assert_int_equal(pn_device_create("ref", 1, &d), PN_OK);
  for (int i = 0; i < 2; i++) {
    pn_task t = {.pass = passes[i], .op = {&op}, .n_ops = 1, .training = true};
    pn_kernel kernel = {0};
    t.layout[PN_SRC].shape = t.layout[PN_DSRC].shape = op.in;
    t.layout[PN_DST].shape = op.out;
    assert_int_equal(d->ops->prepare(d, &t, &kernel), PN_OK);
    assert_int_equal(kernel.run(kernel.state, ptr, ctx), PN_OK);
    if (kernel.destroy) kernel.destroy(kernel.state);
  }
  pn_device_destroy(d);
}

/* Five images; logits of four classes, or one logit. */
typedef struct {
  pn_op_desc op;
  float x[5 * 4], loss[5], d[5 * 4];
  int32_t label[5];
} loss_case;

static void loss_begin(loss_case *l, pn_op_kind kind) {
  static const int32_t many[5] = {3, 0, 0, 2, 1}, two[5] = {1, 0, 0, 1, 1};
  int classes = kind == PN_OP_BCE ? 1 : 4;

  l->op = (pn_op_desc){.kind = kind, .in = pn_shape2(5, classes), .out = pn_shape1(5)};
  memcpy(l->label, classes == 1 ? two : many, sizeof two);
  for (int n = 0; n < 5; n++)
    for (int k = 0; k < classes; k++) l->x[classes * n + k] = (float)(sin(2.0 * n + k) * 3);
}

static void loss_run(loss_case *l, const pn_step_ctx *ctx) {
  void *ptr[PN_ROLE_COUNT] = {
      [PN_SRC] = l->x, [PN_DST] = l->loss, [PN_DSRC] = l->d, [PN_LABEL] = l->label};
  run_loss(l->op, ctx, ptr);
}

static void test_smoothing(void **state) {
  static const float scale[5] = {0.2f, 0.2f, 0.2f, 0.2f, 0.2f};
  pn_step_ctx ctx = {.sample_scale = scale, .smoothing = 0.2f};
  loss_case l;
  (void)state;

  loss_begin(&l, PN_OP_SOFTMAX_CE);
  loss_run(&l, &ctx);
  close_to(l.loss, smooth_losses, 5);
  close_to(l.d, smooth_grads, 20);
  loss_begin(&l, PN_OP_BCE);
  loss_run(&l, &ctx);
  close_to(l.loss, smooth_bce_losses, 5);
  close_to(l.d, smooth_bce_grads, 5);
}

/* train.balance=weights scales image n by w[y_n] / sum of w[y]: the mean of PyTorch's
 * CrossEntropyLoss(weight=w). */
static void check_weighted(pn_op_kind kind, const double *want_loss, const double *want_d) {
  float scale[5], sum = 0, loss = 0;
  pn_step_ctx ctx = {.sample_scale = scale};
  loss_case l;

  loss_begin(&l, kind);
  for (int n = 0; n < 5; n++) sum += (float)class_weights[l.label[n]];
  for (int n = 0; n < 5; n++) scale[n] = (float)class_weights[l.label[n]] / sum;
  loss_run(&l, &ctx);
  for (int n = 0; n < 5; n++) loss += scale[n] * l.loss[n];
  close_to(&loss, want_loss, 1);
  close_to(l.d, want_d, kind == PN_OP_BCE ? 5 : 20);
}

static void test_class_weights(void **state) {
  (void)state;
  check_weighted(PN_OP_SOFTMAX_CE, weighted_loss, weighted_grads);
  check_weighted(PN_OP_BCE, weighted_bce_loss, weighted_bce_grads);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_optimizers),    cmocka_unit_test(test_lars),
      cmocka_unit_test(test_schedules),     cmocka_unit_test(test_plateau),
      cmocka_unit_test(test_bad_schedules), cmocka_unit_test(test_ema),
      cmocka_unit_test(test_smoothing),     cmocka_unit_test(test_class_weights),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
