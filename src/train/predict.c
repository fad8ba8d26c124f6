/* predict.c -- image files through a saved model, by all ranks. */
#include "train/predict.h"

#include "data/augment.h"
#include "data/image_file.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/precision.h"
#include "train/probs.h"
#include "train/rank_device.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
  const pn_predict_job *job;
  pn_saved_run saved;
  pn_graph *graph;
  pn_device *device;
  pn_plan *plan;
  float *params;
  pn_image_file *files;
  pn_image_format format;
  int outputs;
  void *pixels;   /* of one file as ingest stores it */
  float *scratch; /* height * width */
  float *images;  /* [PN_EVAL_BATCH * pixels]: of a chunk as the network is given them */
  float *answers; /* [PN_EVAL_BATCH * outputs]: to the mirrored images of a chunk */
  float *mine;    /* [own files * outputs] */
  pn_reject *why; /* [own files] */
} predictor;

static void close_predictor(predictor *p) {
  pn_plan_destroy(p->plan);
  if (p->params) p->device->ops->free(p->device, p->params);
  pn_device_destroy(p->device);
  pn_graph_destroy(p->graph);
  pn_image_file_destroy(p->files);
  pn_saved_run_close(&p->saved);
  free(p->pixels);
  free(p->scratch);
  free(p->images);
  free(p->answers);
  free(p->mine);
  free(p->why);
}

/* How the pixels of the training came to be: from the manifest. */
static pn_status open_files(predictor *p) {
  const pn_model_config *m = &p->saved.config;
  const char *fit = NULL;
  int bits = 0;
  pn_resizer_format f = {.channels = m->channels, .height = m->size[0], .width = m->size[1]};

  if (json_unpack(p->saved.manifest, "{s:{s:i, s:s}}", "data", "bits", &bits, "fit", &fit) != 0 ||
      (bits != 8 && bits != 16) || !pn_fit_find(fit, &f.fit))
    return PN_FAIL(PN_ERR_FORMAT, "%s does not say how its images were made: train again",
                   p->saved.folder);
  f.bits = bits;
  p->format = (pn_image_format){.channels = f.channels,
                                .height = f.height,
                                .width = f.width,
                                .bits = bits,
                                .mean = m->input_mean,
                                .sd = m->input_sd};
  p->pixels = malloc((size_t)(f.channels * f.height * f.width) * (size_t)(bits / 8));
  p->scratch = malloc((size_t)(f.height * f.width) * sizeof *p->scratch);
  p->images = calloc((size_t)(PN_EVAL_BATCH * f.channels * f.height * f.width), sizeof *p->images);
  if (!p->pixels || !p->scratch || !p->images)
    return PN_FAIL(PN_ERR_NOMEM, "prediction: out of memory");
  return pn_image_file_create(&f, &p->files);
}

static pn_status open_plan(predictor *p) {
  pn_plan_spec spec = {.batch = PN_EVAL_BATCH};
  const pn_param_map *map;
  void *params = NULL;
  pn_status st = PN_OK;

  PN_TRY(pn_model_build(p->saved.model, &p->saved.config, &p->graph));
  PN_TRY(pn_precision_of(p->device, p->job->precision ? p->job->precision : p->saved.precision,
                         &spec.precision));
  spec.graph = p->graph;
  spec.device = p->device;
  PN_TRY(pn_plan_create(&spec, &p->plan));
  map = pn_plan_param_map(p->plan);
  PN_TRY(pn_device_alloc(p->device, (size_t)map->total * sizeof(float), &params));
  p->params = params;
  PN_TRY(pn_saved_run_load(&p->saved, p->graph, map, p->params));
  pn_plan_bind(p->plan, p->params, NULL);
  p->outputs = pn_graph_outputs(p->graph);
done:
  return st;
}

static int64_t chunk_files(int64_t n, int64_t chunk) {
  int64_t left = n - chunk * PN_EVAL_BATCH;
  return left < PN_EVAL_BATCH ? left : PN_EVAL_BATCH;
}

static int64_t files_of_rank(int64_t n, int rank, int size) {
  int64_t sum = 0;
  for (int64_t j = rank; j * PN_EVAL_BATCH < n; j += size) sum += chunk_files(n, j);
  return sum;
}

static int64_t pixels_of(const predictor *p) {
  return p->format.channels * p->format.height * p->format.width;
}

/* The first n of p->images through the plan. */
static pn_status answer(predictor *p, int64_t n, float *probs) {
  size_t floats = (size_t)(PN_EVAL_BATCH * pixels_of(p));
  uint64_t id[PN_EVAL_BATCH] = {0};
  float scale[PN_EVAL_BATCH] = {0};
  pn_step_ctx ctx = {.sample_id = id, .sample_scale = scale};
  pn_status st;

  memcpy(pn_plan_input(p->plan), p->images, floats * sizeof *p->images);
  memset(pn_plan_labels(p->plan), 0, PN_EVAL_BATCH * sizeof(int32_t));
  st = pn_plan_forward(p->plan, &ctx, NULL);
  if (st == PN_OK) pn_probs(pn_plan_logits(p->plan), n, p->outputs, probs);
  return st;
}

/* Files [first, first + n) through the plan, answers into rows `at`, `at` + 1, ... */
static pn_status run_chunk(predictor *p, int64_t first, int64_t n, int64_t at) {
  int64_t pixels = pixels_of(p);
  float *probs = p->mine + at * p->outputs;
  pn_status st = PN_OK;

  memset(p->images, 0, (size_t)(PN_EVAL_BATCH * pixels) * sizeof *p->images);
  for (int64_t i = 0; i < n; i++) {
    PN_TRY(pn_image_file_read(p->files, p->job->file[first + i], p->pixels, &p->why[at + i]));
    if (p->why[at + i].reason[0]) continue;
    pn_augment_apply(NULL, NULL, &p->format, p->pixels, p->scratch, p->images + i * pixels);
  }
  PN_TRY(answer(p, n, probs));
  if (!p->job->flip) return st;
  for (int64_t i = 0; i < n; i++) pn_mirror(&p->format, p->images + i * pixels);
  PN_TRY(answer(p, n, p->answers));
  pn_probs_mean(probs, p->answers, n * p->outputs);
done:
  return st;
}

/* Everything that may fail on one rank alone. */
static pn_status run_own(predictor *p, pn_comm *c) {
  const char *which = p->job->checkpoint ? p->job->checkpoint : "auto";
  int rank = pn_comm_rank(c), size = pn_comm_size(c);
  int64_t n = p->job->n, own = files_of_rank(n, rank, size), at = 0;
  pn_status st = PN_OK;

  PN_TRY(pn_saved_run_open(p->job->run_path, which, &p->saved));
  PN_TRY(open_files(p));
  PN_TRY(open_plan(p));
  p->mine = calloc((size_t)(own + 1) * (size_t)p->outputs, sizeof *p->mine);
  p->answers = calloc((size_t)(PN_EVAL_BATCH * p->outputs), sizeof *p->answers);
  p->why = calloc((size_t)own + 1, sizeof *p->why);
  if (!p->mine || !p->answers || !p->why)
    PN_TRY(PN_FAIL(PN_ERR_NOMEM, "prediction: out of memory"));
  for (int64_t j = rank; j * PN_EVAL_BATCH < n; j += size) {
    PN_TRY(run_chunk(p, j * PN_EVAL_BATCH, chunk_files(n, j), at));
    at += chunk_files(n, j);
  }
done:
  return st;
}

static pn_status take_classes(const predictor *p, pn_predictions *out) {
  const json_t *names = pn_saved_run_classes(&p->saved), *name;
  size_t i;

  out->n_classes = (int)json_array_size(names);
  if (out->n_classes != (p->outputs == 1 ? 2 : p->outputs))
    return PN_FAIL(PN_ERR_FORMAT, "%s names %d classes, the network has %d outputs",
                   p->saved.folder, out->n_classes, p->outputs);
  memcpy(out->folder, p->saved.folder, sizeof out->folder);
  if (!(out->class_name = calloc((size_t)out->n_classes, sizeof *out->class_name)))
    return PN_FAIL(PN_ERR_NOMEM, "prediction: out of memory");
  json_array_foreach(
      names, i, name) if (!(out->class_name[i] =
                                strdup(json_string_value(name)
                                           ? json_string_value(name)
                                           : "?"))) return PN_FAIL(PN_ERR_NOMEM,
                                                                   "prediction: out of memory");
  return PN_OK;
}

static pn_status allocate(const predictor *p, pn_predictions *out) {
  size_t n = (size_t)p->job->n + 1;

  out->n = p->job->n;
  out->prob = calloc(n * (size_t)(p->outputs == 1 ? 2 : p->outputs), sizeof *out->prob);
  out->why = calloc(n, sizeof *out->why);
  if (!out->prob || !out->why)
    return PN_FAIL(PN_ERR_NOMEM, "answers for %lld files: out of memory", (long long)out->n);
  return take_classes(p, out);
}

/* Answers in rank order -> order of the files. */
static void sort_answers(const predictor *p, const float *probs, const pn_reject *why, int size,
                         pn_predictions *out) {
  int64_t at = 0;

  for (int rank = 0; rank < size; rank++)
    for (int64_t j = rank; j * PN_EVAL_BATCH < out->n; j += size)
      for (int64_t i = 0; i < chunk_files(out->n, j); i++, at++) {
        int64_t to = j * PN_EVAL_BATCH + i;
        float *prob = out->prob + to * out->n_classes;
        out->why[to] = why[at];
        out->rejected += why[at].reason[0] != '\0';
        if (why[at].reason[0]) continue;
        if (p->outputs == 1) {
          prob[1] = probs[at];
          prob[0] = 1 - probs[at];
        } else {
          memcpy(prob, probs + at * p->outputs, (size_t)p->outputs * sizeof *prob);
        }
      }
}

/* Collective: everybody's answers to everybody. */
static pn_status gather(const predictor *p, pn_comm *c, pn_predictions *out) {
  int size = pn_comm_size(c);
  int64_t *counts = calloc((size_t)size, sizeof *counts);
  float *probs = calloc((size_t)(out->n + 1) * (size_t)p->outputs, sizeof *probs);
  pn_reject *why = calloc((size_t)out->n + 1, sizeof *why);
  pn_status st = counts && probs && why ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "answers: out of memory");

  PN_TRY(pn_agree(c, st));
  for (int r = 0; r < size; r++) counts[r] = files_of_rank(out->n, r, size) * p->outputs;
  PN_TRY(pn_allgatherv(c, "answers", p->mine, probs, counts, PN_F32));
  for (int r = 0; r < size; r++) counts[r] = counts[r] / p->outputs * (int64_t)sizeof *why;
  PN_TRY(pn_allgatherv(c, "rejected files", p->why, why, counts, PN_U8));
  sort_answers(p, probs, why, size, out);
done:
  free(counts);
  free(probs);
  free(why);
  return st;
}

pn_status pn_predict(const pn_predict_job *job, pn_comm *c, pn_predictions *out) {
  predictor p = {.job = job};
  pn_device_spec device = {.name = job->device ? job->device : "auto", .threads = job->threads};
  pn_status st;

  *out = (pn_predictions){.n = 0};
  PN_TRY(pn_rank_device(c, &device, true, &p.device));
  st = run_own(&p, c);
  if (st == PN_OK) st = allocate(&p, out);
  PN_TRY(pn_agree(c, st));
  PN_TRY(gather(&p, c, out));
done:
  close_predictor(&p);
  if (st != PN_OK) pn_predictions_free(out);
  return st;
}

void pn_predictions_free(pn_predictions *p) {
  for (int i = 0; p->class_name && i < p->n_classes; i++) free(p->class_name[i]);
  free(p->class_name);
  free(p->prob);
  free(p->why);
  *p = (pn_predictions){.n = 0};
}

int pn_predictions_class(const pn_predictions *p, int64_t i) {
  const float *prob = p->prob + i * p->n_classes;
  int best = 0;

  for (int k = 1; k < p->n_classes; k++)
    if (prob[k] > prob[best]) best = k;
  return best;
}
