/* eval_run.c -- evaluate what a training run left behind. */
#include "train/checkpoint.h"
#include "train/class_names.h"
#include "train/evaluate.h"
#include "train/precision.h"
#include "train/rank_device.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
  pn_saved_run saved;
  pn_dataset *data;
  pn_graph *graph;
  pn_device *device;
  pn_evaluator *eval;
  float *params;
} eval_run;

static void close_run(eval_run *r) {
  pn_evaluator_destroy(r->eval);
  if (r->params) r->device->ops->free(r->device, r->params);
  pn_device_destroy(r->device);
  pn_graph_destroy(r->graph);
  pn_dataset_close(r->data);
  pn_saved_run_close(&r->saved);
}

/* The data must have the images that the model was made for. */
static pn_status check_data(const eval_run *r, const char *run_path, const char *data_path) {
  const pn_model_config *m = &r->saved.config;
  int64_t c, h, w;
  int classes = pn_dataset_n_classes(r->data);

  pn_dataset_shape(r->data, &c, &h, &w);
  if (c == m->channels && h == m->size[0] && w == m->size[1] && classes == m->classes) return PN_OK;
  return PN_FAIL(PN_ERR_ARG,
                 "%s was trained on %lldx%lldx%lld images of %lld classes, %s has %lldx%lldx%lld "
                 "of %d",
                 run_path, (long long)m->channels, (long long)m->size[0], (long long)m->size[1],
                 (long long)m->classes, data_path, (long long)c, (long long)h, (long long)w,
                 classes);
}

/* And the same classes in its order: an answer means the class of its place in the list. */
static pn_status check_classes(const eval_run *r, const char *run_path, const char *data_path) {
  pn_class_lists lists;

  if (pn_class_names_agree(pn_saved_run_classes(&r->saved), r->data, &lists)) return PN_OK;
  return PN_FAIL(PN_ERR_ARG,
                 "%s was trained on the classes %s, %s has %s: ingest the data with the same names "
                 "in the same order (folders or labels of these names, ingest.only=%s)",
                 run_path, lists.trained, data_path, lists.data, lists.trained);
}

static pn_status check_split(const eval_run *r, const pn_eval_job *job) {
  if (pn_dataset_count(r->data, job->split) > 0) return PN_OK;
  return PN_FAIL(
      PN_ERR_ARG,
      "%s has no images in its split %s (train %lld, val %lld, test %lld): choose "
      "another by eval.split",
      job->data_path, pn_split_name(job->split), (long long)pn_dataset_count(r->data, PN_TRAIN),
      (long long)pn_dataset_count(r->data, PN_VAL), (long long)pn_dataset_count(r->data, PN_TEST));
}

static pn_status load_params(eval_run *r) {
  const pn_param_map *map = pn_evaluator_map(r->eval);
  void *p = NULL;
  pn_status st = PN_OK;

  PN_TRY(pn_device_alloc(r->device, (size_t)map->total * sizeof(float), &p));
  r->params = p;
  PN_TRY(pn_saved_run_load(&r->saved, r->graph, map, r->params));
  pn_evaluator_bind(r->eval, r->params, NULL);
done:
  return st;
}

static pn_status feed_split(eval_run *r, const pn_eval_job *job) {
  pn_eval_feed *f = pn_evaluator_feed(r->eval);
  pn_eval_images how = {.where = job->images,
                        .once = true,
                        .threads = job->threads,
                        .reserve = pn_evaluator_map(r->eval)->total * (int64_t)sizeof(float),
                        .sharing = 1};
  pn_status st = pn_eval_feed_on_device(f, job->split, &how);

  if (st == PN_OK) pn_image_decision_tell("images", pn_eval_feed_decision(f, job->split));
  return st;
}

static pn_status open_run(eval_run *r, const pn_eval_job *job, pn_comm *c) {
  pn_eval_spec spec = {.comm = c, .scores_path = job->scores_path, .flip = job->flip};
  pn_status st = PN_OK;

  PN_TRY(pn_saved_run_open(job->run_path, job->checkpoint ? job->checkpoint : "auto", &r->saved));
  PN_TRY(pn_dataset_open(job->data_path, &r->data));
  PN_TRY(check_data(r, job->run_path, job->data_path));
  PN_TRY(check_classes(r, job->run_path, job->data_path));
  PN_TRY(check_split(r, job));
  PN_TRY(pn_model_build(r->saved.model, &r->saved.config, &r->graph));
  PN_TRY(pn_precision_of(r->device, job->precision ? job->precision : r->saved.precision,
                         &spec.precision));
  spec.graph = r->graph;
  spec.device = r->device;
  spec.data = r->data;
  spec.model = &r->saved.config;
  PN_TRY(pn_evaluator_create(&spec, &r->eval));
  PN_TRY(load_params(r));
  PN_TRY(feed_split(r, job));
done:
  return st;
}

pn_status pn_eval_run(const pn_eval_job *job, pn_comm *c, pn_metrics *out) {
  eval_run r = {.data = NULL};
  pn_device_spec device = {.name = job->device ? job->device : "auto", .threads = job->threads};
  pn_status st = PN_OK;

  *out = (pn_metrics){0};
  PN_TRY(pn_rank_device(c, &device, true, &r.device));
  PN_TRY(pn_agree(c, open_run(&r, job, c)));
  PN_TRY(pn_evaluator_run(r.eval, job->split, out));
done:
  close_run(&r);
  return st;
}
