/* test_no_ref.c -- no step of any model's plan on the oneDNN device may run reference code, under
 * any limit of the instruction set.  The limit is read when the library starts, so the program runs
 * itself once per limit. */
#include "models/models.h"
#include "nn/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIPPED = 77 };

static bool is_reference(const char *impl) {
  return strncmp(impl, "ref", 3) == 0 || strstr(impl, ":ref") || strstr(impl, "+ref");
}

/* The loss works on N x K numbers: `ref` may do it. */
static int count_reference(const pn_plan *plan, const char *model, const char *mode) {
  int bad = 0;
  for (int i = 0; i < pn_plan_n_steps(plan); i++) {
    pn_step_info s;
    pn_plan_step_info(plan, i, &s);
    if (strcmp(s.name, "loss") == 0) continue;
    if (!is_reference(s.impl) && strcmp(s.device, "ref") != 0) continue;
    fprintf(stderr, "%s, %s, %s: step %d %s (%s, %s) runs %s on %s\n", pn_device_isa(), model, mode,
            i, s.name, s.pass, s.layout, s.impl, s.device);
    bad++;
  }
  return bad;
}

/* Training plan, then the evaluation plan that takes its parameters as they lie. */
static int check_graph(const char *model, const pn_graph *graph, pn_device *device) {
  pn_plan_spec spec = {.graph = graph, .device = device, .batch = 8, .training = true};
  pn_plan *train = NULL, *eval = NULL;
  pn_status st = PN_OK;
  int bad = 1;

  PN_TRY(pn_plan_create(&spec, &train));
  spec.training = false;
  spec.params = pn_plan_param_map(train);
  PN_TRY(pn_plan_create(&spec, &eval));
  bad = count_reference(train, model, "training") + count_reference(eval, model, "evaluation");
done:
  if (st != PN_OK) fprintf(stderr, "%s: %s\n", model, pn_last_error());
  pn_plan_destroy(eval);
  pn_plan_destroy(train);
  return bad;
}

static int check_model(const pn_model *model, float dropout, pn_device *device) {
  pn_model_config cfg;
  pn_graph *graph = NULL;
  int bad = 1;

  pn_model_defaults(&cfg);
  cfg.dropout = dropout;
  if (pn_model_build(model->name, &cfg, &graph) == PN_OK)
    bad = check_graph(model->name, graph, device);
  else
    fprintf(stderr, "%s: %s\n", model->name, pn_last_error());
  pn_graph_destroy(graph);
  return bad;
}

/* Norms, sums and activations of residual blocks are part of the convolutions in evaluation. */
static int check_fused(pn_device *device) {
  pn_model_config cfg;
  pn_plan_spec spec = {.device = device, .batch = 2, .training = true};
  pn_plan *train = NULL, *eval = NULL;
  pn_graph *graph = NULL;
  pn_status st = PN_OK;
  int bad = 1;

  pn_model_defaults(&cfg);
  PN_TRY(pn_model_build("resnet18", &cfg, &graph));
  spec.graph = graph;
  PN_TRY(pn_plan_create(&spec, &train));
  spec.training = false;
  spec.params = pn_plan_param_map(train);
  PN_TRY(pn_plan_create(&spec, &eval));
  bad = pn_plan_n_steps(eval) != 20 + 4; /* convolutions; pools, dense, loss */
  if (bad) fprintf(stderr, "%s: %d steps\n", pn_device_isa(), pn_plan_n_steps(eval));
done:
  pn_plan_destroy(eval);
  pn_plan_destroy(train);
  pn_graph_destroy(graph);
  return bad;
}

static bool has_vectors(void) {
  return strncmp(pn_device_isa(), "avx2", 4) == 0 || strncmp(pn_device_isa(), "avx512", 6) == 0;
}

/* In the child, under one limit: exit status 0 or 1. */
static int check_all_models(void) {
  int count, bad = 0;
  const pn_model *table = pn_model_table(&count);
  pn_device *device = NULL;
  pn_status st = pn_device_create("onednn", 1, &device);

  if (st == PN_ERR_UNSUPPORTED) return SKIPPED;
  if (st != PN_OK) {
    fprintf(stderr, "%s\n", pn_last_error());
    return 1;
  }
  for (int i = 0; i < count; i++)
    bad += check_model(&table[i], 0.0f, device) + check_model(&table[i], 0.5f, device);
  if (has_vectors()) bad += check_fused(device);
  pn_device_destroy(device);
  return bad != 0;
}

static const char *self; /* argv[0]: in a bundle /proc/self/exe is the loader */

/* This program again, with the limit in the environment. */
static int run_limited(const char *isa) {
  int status = -1;
  pid_t child = fork();
  if (child == 0) {
    setenv("DNNL_MAX_CPU_ISA", isa, 1);
    setenv("ONEDNN_MAX_CPU_ISA", isa, 1);
    execl(self, self, "--child", (char *)NULL);
    _exit(127);
  }
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

static void test_limit(void **state) {
  int rc = run_limited(*state);
  if (rc == SKIPPED) skip();
  assert_int_equal(rc, 0);
}

int main(int argc, char **argv) {
  static char *const isa[] = {"SSE41", "AVX", "AVX2", "AVX512_CORE", "ALL"};
  const struct CMUnitTest tests[] = {
      {"SSE41", test_limit, NULL, NULL, isa[0]},    {"AVX", test_limit, NULL, NULL, isa[1]},
      {"AVX2", test_limit, NULL, NULL, isa[2]},     {"AVX512_CORE", test_limit, NULL, NULL, isa[3]},
      {"no limit", test_limit, NULL, NULL, isa[4]},
  };
  self = argv[0];
  if (argc > 1 && strcmp(argv[1], "--child") == 0) return check_all_models();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
