/* test_optim.c -- the update rules against a direct transcription in double, and their edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "optim/optim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 40013, STEPS = 5 }; /* several pieces and a tail */

struct job {
  float *param, *grad, *state[2];
  double *p, *s0, *s1; /* the same in double */
};

static void job_make(struct job *j) {
  pn_rng r = pn_rng_make(3, PN_RNG_TEST, 0, 0);
  float **f[] = {&j->param, &j->grad, &j->state[0], &j->state[1]};
  double **d[] = {&j->p, &j->s0, &j->s1};

  for (int i = 0; i < 4; i++) *f[i] = calloc(N, sizeof(float));
  for (int i = 0; i < 3; i++) *d[i] = calloc(N, sizeof(double));
  for (int i = 0; i < N; i++) {
    j->param[i] = (float)pn_rng_normal(&r);
    j->p[i] = (double)j->param[i];
  }
}

static void job_free(struct job *j) {
  free(j->param);
  free(j->grad);
  free(j->state[0]);
  free(j->state[1]);
  free(j->p);
  free(j->s0);
  free(j->s1);
}

static void job_grads(struct job *j, int t) {
  pn_rng r = pn_rng_make(4, PN_RNG_TEST, (uint64_t)t, 0);
  for (int i = 0; i < N; i++) j->grad[i] = (float)pn_rng_normal(&r) * 0.1f;
}

static void sgd_by_hand(const pn_optim_config *c, struct job *j, int t, double lr, double wd) {
  for (int i = 0; i < N; i++) {
    double g = (double)j->grad[i] + wd * j->p[i], d = g;
    if (c->momentum != 0) {
      j->s0[i] = t == 1 ? g : c->momentum * j->s0[i] + g;
      d = c->nesterov ? g + c->momentum * j->s0[i] : j->s0[i];
    }
    j->p[i] -= lr * d;
  }
}

static void adam_by_hand(const pn_optim_config *c, struct job *j, int t, double lr, double wd) {
  double b1 = 1 - pow(c->beta1, t), b2 = 1 - pow(c->beta2, t);
  for (int i = 0; i < N; i++) {
    double g = (double)j->grad[i] + wd * j->p[i];
    j->s0[i] = c->beta1 * j->s0[i] + (1 - c->beta1) * g;
    j->s1[i] = c->beta2 * j->s1[i] + (1 - c->beta2) * g * g;
    j->p[i] -= lr / b1 * j->s0[i] / (sqrt(j->s1[i]) / sqrt(b2) + c->eps);
  }
}

static void check_rule(const pn_optim_config *c, bool decay) {
  struct job j;
  pn_optim *o;
  pn_optim_range r = {.count = N, .decay = decay, .grad_scale = 1};

  job_make(&j);
  assert_int_equal(pn_optim_create(c, &o), PN_OK);
  r.param = j.param;
  r.grad = j.grad;
  for (int i = 0; i < pn_optim_n_states(o); i++) r.state[i] = j.state[i];
  for (int t = 1; t <= STEPS; t++) {
    double lr = c->lr / t; /* a schedule */
    job_grads(&j, t);
    pn_optim_update(o, t, lr, &r, 1 + t % 2);
    if (strcmp(c->name, "adam") == 0)
      adam_by_hand(c, &j, t, lr, decay ? c->weight_decay : 0);
    else
      sgd_by_hand(c, &j, t, lr, decay ? c->weight_decay : 0);
  }
  for (int i = 0; i < N; i++)
    assert_true(fabs((double)j.param[i] - j.p[i]) < 1e-6 * (1 + fabs(j.p[i])));
  pn_optim_destroy(o);
  job_free(&j);
}

static void test_rules(void **state) {
  pn_optim_config c;
  (void)state;

  pn_optim_defaults(&c);
  assert_string_equal(c.name, "adam");
  check_rule(&c, true);
  c.weight_decay = 0.1;
  check_rule(&c, true);
  check_rule(&c, false);
  c.lr = 0.1;
  strcpy(c.name, "sgd");
  check_rule(&c, true);
  c.momentum = 0.9;
  check_rule(&c, true);
  c.nesterov = true;
  check_rule(&c, true);
  check_rule(&c, false);
}

/* The bits do not depend on how a range is cut (buckets, shards) or on the threads. */
static void test_cut(void **state) {
  struct job a, b;
  pn_optim_config c;
  pn_optim *o;
  (void)state;

  pn_optim_defaults(&c);
  job_make(&a);
  job_make(&b);
  assert_int_equal(pn_optim_create(&c, &o), PN_OK);
  for (int t = 1; t <= 3; t++) {
    int64_t cut[] = {0, 16, 48, 20000, N};
    pn_optim_range whole = {a.param, {a.state[0], a.state[1]}, a.grad, N, 1, 1};
    job_grads(&a, t);
    job_grads(&b, t);
    pn_optim_update(o, t, 1e-3, &whole, 2);
    for (int k = 0; k < 4; k++) {
      int64_t at = cut[k];
      pn_optim_range part = {
          b.param + at, {b.state[0] + at, b.state[1] + at}, b.grad + at, cut[k + 1] - at, 1, 1};
      pn_optim_update(o, t, 1e-3, &part, 1);
    }
  }
  assert_memory_equal(a.param, b.param, N * sizeof(float));
  assert_memory_equal(a.state[1], b.state[1], N * sizeof(float));
  pn_optim_destroy(o);
  job_free(&a);
  job_free(&b);
}

/* Padding of blocked layouts: zero parameter and gradient stay zero. */
static void test_padding(void **state) {
  float p[3] = {0}, g[3] = {0}, m[3] = {0}, v[3] = {0};
  pn_optim_range r = {p, {m, v}, g, 3, 1, 1};
  pn_optim_config c;
  pn_optim *o;
  (void)state;

  pn_optim_defaults(&c);
  assert_int_equal(pn_optim_create(&c, &o), PN_OK);
  for (int t = 1; t < 4; t++) pn_optim_update(o, t, 1.0, &r, 1);
  for (int i = 0; i < 3; i++) assert_true(p[i] == 0 && m[i] == 0 && v[i] == 0);
  pn_optim_destroy(o);
}

static void test_config(void **state) {
  pn_optim_config c;
  pn_optim *o;
  (void)state;

  pn_optim_defaults(&c);
  assert_int_equal(pn_optim_create(&c, &o), PN_OK);
  assert_int_equal(pn_optim_n_states(o), 2);
  assert_string_equal(pn_optim_state_name(o, 0), "exp_avg");
  assert_string_equal(pn_optim_state_name(o, 1), "exp_avg_sq");
  pn_optim_destroy(o);
  strcpy(c.name, "sgd");
  assert_int_equal(pn_optim_create(&c, &o), PN_OK);
  assert_int_equal(pn_optim_n_states(o), 0);
  pn_optim_destroy(o);
  c.nesterov = true;
  assert_int_equal(pn_optim_create(&c, &o), PN_ERR_ARG);
  c.momentum = 0.9;
  assert_int_equal(pn_optim_create(&c, &o), PN_OK);
  assert_int_equal(pn_optim_n_states(o), 1);
  assert_string_equal(pn_optim_state_name(o, 0), "momentum_buffer");
  pn_optim_destroy(o);
  strcpy(c.name, "adem");
  assert_int_equal(pn_optim_create(&c, &o), PN_ERR_ARG);
  assert_non_null(strstr(pn_last_error(), "sgd, adam"));
  c.beta1 = 1.0;
  assert_int_equal(pn_optim_create(&c, &o), PN_ERR_ARG);
  pn_optim_destroy(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rules),
      cmocka_unit_test(test_cut),
      cmocka_unit_test(test_padding),
      cmocka_unit_test(test_config),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
