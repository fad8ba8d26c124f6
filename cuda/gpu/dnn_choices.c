/* dnn_choices.c -- which engines of cuDNN can run a graph, and plans made of them. */
#include "dnn.h"

#include <string.h>

static bool has_note(const cudnnBackendNumericalNote_t *note, int64_t n,
                     cudnnBackendNumericalNote_t what) {
  for (int64_t i = 0; i < n && i < CUDNN_NUMERICAL_NOTE_TYPE_COUNT; i++)
    if (note[i] == what) return true;
  return false;
}

/* Kernels that are compiled at run time add their sums up atomically (seen in what cuDNN 9.19
 * makes), so that these differ from time to time; no numerical note says so. */
static pn_status sums_vary(const struct cu_dnn *d, cu_desc engine, bool *vary) {
  cudnnBackendBehaviorNote_t note[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT];
  int64_t n = 0;
  pn_status st =
      cu_dnn_check(d,
                   d->call.get(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE,
                               CUDNN_BEHAVIOR_NOTE_TYPE_COUNT, &n, note),
                   "notes on an engine");

  *vary = false;
  for (int64_t i = 0; st == PN_OK && i < n && i < CUDNN_BEHAVIOR_NOTE_TYPE_COUNT; i++)
    *vary |= note[i] == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
  return st;
}

/* The engine's number, -1: not one to take. */
static pn_status judge(const struct cu_dnn *d, cu_desc config, const cu_conv_job *job,
                       int *number) {
  cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
  int64_t n = 0, index = -1, got;
  bool full = job->type == PN_F32 && !d->tf32, vary = false;
  cu_desc engine = NULL;
  pn_status st;

  *number = -1;
  PN_TRY(cu_dnn_make(d, CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine));
  PN_TRY(cu_dnn_check(d,
                      d->call.get(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                  CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &got, &engine),
                      "engine"));
  PN_TRY(cu_dnn_check(
      d, d->call.get(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &got, &index),
      "number of an engine"));
  PN_TRY(
      cu_dnn_check(d,
                   d->call.get(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                               CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &n, note),
                   "notes on an engine"));
  if (job->stats) PN_TRY(sums_vary(d, engine, &vary));
  vary |= has_note(note, n, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
  if (!d->loose && vary) goto done;
  if (has_note(note, n, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) goto done;
  if (full && has_note(note, n, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) goto done;
  if (full && has_note(note, n, CUDNN_NUMERICAL_NOTE_TENSOR_CORE)) goto done;
  *number = (int)index;
done:
  if (engine) d->call.drop(engine);
  return st;
}

/* Those of config[0 .. n) that are to be taken go to the end of the list, the others away. */
static pn_status take(const struct cu_dnn *d, cu_desc *config, int64_t n, const cu_conv_job *job,
                      cu_dnn_choices *to) {
  pn_status st = PN_OK;
  int number;

  for (int64_t i = 0; i < n; i++) {
    if (st == PN_OK && (st = judge(d, config[i], job, &number)) == PN_OK && number >= 0 &&
        to->n < CU_DNN_CHOICES) {
      to->engine[to->n] = number;
      to->config[to->n++] = config[i];
    } else
      d->call.drop(config[i]);
    config[i] = NULL;
  }
  return st;
}

/* One list of the library's heuristics. */
static pn_status ask(const struct cu_dnn *d, cu_desc graph, cudnnBackendHeurMode_t mode,
                     const cu_conv_job *job, cu_dnn_choices *out) {
  enum { ASKED = 32 };
  cu_desc heuristics = NULL, config[ASKED] = {NULL};
  int64_t n = 0, rest = 0;
  pn_status st;

  PN_TRY(cu_dnn_make(d, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristics));
  PN_TRY(cu_dnn_set(d, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
                    CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &graph));
  PN_TRY(cu_dnn_set(d, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode));
  if (d->described)
    PN_TRY(cu_dnn_set(d, heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP,
                      CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &d->described));
  PN_TRY(cu_dnn_finish(d, heuristics, "heuristics"));
  for (; rest < ASKED; rest++)
    PN_TRY(cu_dnn_make(d, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &config[rest]));
  PN_TRY(cu_dnn_check(d,
                      d->call.get(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                  CUDNN_TYPE_BACKEND_DESCRIPTOR, ASKED, &n, config),
                      "engines"));
  PN_TRY(take(d, config, n < ASKED ? n : ASKED, job, out));
done:
  for (int64_t i = 0; i < rest; i++)
    if (config[i]) d->call.drop(config[i]);
  if (heuristics) d->call.drop(heuristics);
  return st;
}

pn_status cu_dnn_choices_find(const struct cu_dnn *d, cu_desc graph, const cu_conv_job *job,
                              cu_dnn_choices *out) {
  pn_status st;

  memset(out, 0, sizeof *out);
  st = ask(d, graph, CUDNN_HEUR_MODE_A, job, out);
  if (st == PN_OK || st == PN_ERR_UNSUPPORTED)
    st = ask(d, graph, CUDNN_HEUR_MODE_FALLBACK, job, out);
  if (st == PN_OK && out->n == 0) st = PN_FAIL(PN_ERR_UNSUPPORTED, "cuDNN: no engine");
  return st;
}

void cu_dnn_choices_free(const struct cu_dnn *d, cu_dnn_choices *c) {
  while (c->n > 0) d->call.drop(c->config[--c->n]);
}

pn_status cu_dnn_plan(const struct cu_dnn *d, cu_desc config, cu_desc *plan, size_t *bytes) {
  int64_t got, size = 0;
  pn_status st;

  *plan = NULL;
  PN_TRY(cu_dnn_make(d, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, plan));
  if (d->handle)
    PN_TRY(
        cu_dnn_set(d, *plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &d->handle));
  else
    PN_TRY(cu_dnn_set(d, *plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                      1, &d->described));
  PN_TRY(cu_dnn_set(d, *plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                    CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config));
  PN_TRY(cu_dnn_finish(d, *plan, "plan"));
  PN_TRY(cu_dnn_check(d,
                      d->call.get(*plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                                  1, &got, &size),
                      "workspace"));
  *bytes = (size_t)size;
done:
  if (st != PN_OK && *plan) d->call.drop(*plan);
  if (st != PN_OK) *plan = NULL;
  return st;
}
