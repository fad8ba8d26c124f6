/* evaluate.c -- scores of a split over all ranks, put back into index order. */
#include "train/evaluate.h"

#include "train/probs.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pn_evaluator {
  pn_eval_spec spec;
  pn_plan *plan;
  pn_eval_feed *feed;
  int outputs; /* logits per image */
};

/* One rank's scores, or everybody's: n images in the order of chunks. */
typedef struct {
  int64_t n;
  float *probs;    /* [n * outputs] */
  float *losses;   /* [n] */
  int32_t *labels; /* [n] */
} scores;

static void scores_free(scores *s) {
  free(s->probs);
  free(s->losses);
  free(s->labels);
  *s = (scores){0};
}

static pn_status scores_alloc(int64_t n, int outputs, scores *s) {
  size_t rows = (size_t)n + 1; /* never 0 bytes */

  *s = (scores){.n = n};
  s->probs = malloc(rows * (size_t)outputs * sizeof *s->probs);
  s->losses = malloc(rows * sizeof *s->losses);
  s->labels = malloc(rows * sizeof *s->labels);
  if (s->probs && s->losses && s->labels) return PN_OK;
  scores_free(s);
  return PN_FAIL(PN_ERR_NOMEM, "scores of %lld images: out of memory", (long long)n);
}

pn_status pn_evaluator_create(const pn_eval_spec *spec, pn_evaluator **out) {
  pn_plan_spec plan = {.graph = spec->graph,
                       .device = spec->device,
                       .batch = PN_EVAL_BATCH,
                       .params = spec->map,
                       .precision = spec->precision};
  pn_evaluator *e = calloc(1, sizeof *e);
  pn_status st = PN_OK;

  *out = NULL;
  if (!e) return PN_FAIL(PN_ERR_NOMEM, "evaluation: out of memory");
  e->spec = *spec;
  e->outputs = pn_graph_outputs(spec->graph);
  if (e->outputs < 1 || e->outputs > PN_MAX_CLASSES) {
    st = PN_FAIL(PN_ERR_UNSUPPORTED, "evaluation: the network has %d outputs, expected 1 to %d",
                 e->outputs, PN_MAX_CLASSES);
    goto done;
  }
  PN_TRY(pn_eval_feed_create(spec->data, spec->model, spec->device, &e->feed));
  PN_TRY(pn_plan_create(&plan, &e->plan));
  *out = e;
  e = NULL;
done:
  pn_evaluator_destroy(e);
  return st;
}

void pn_evaluator_destroy(pn_evaluator *e) {
  if (!e) return;
  pn_eval_feed_destroy(e->feed);
  pn_plan_destroy(e->plan);
  free(e);
}

const pn_param_map *pn_evaluator_map(const pn_evaluator *e) {
  return pn_plan_param_map(e->plan);
}

void pn_evaluator_bind(pn_evaluator *e, float *params, const pn_far_places *far) {
  pn_plan_bind(e->plan, params, NULL);
  pn_plan_bind_far(e->plan, far);
}

pn_plan_memory pn_evaluator_memory(const pn_evaluator *e) {
  return pn_plan_memory_use(e->plan);
}

pn_eval_feed *pn_evaluator_feed(pn_evaluator *e) {
  return e->feed;
}

static int64_t images_of_rank(int64_t n, int rank, int size) {
  int64_t sum = 0;
  for (int64_t j = rank; j * PN_EVAL_BATCH < n; j += size) sum += pn_eval_chunk_images(n, j);
  return sum;
}

/* Networks whose answers are no numbers have no metrics. */
static pn_status check_finite(pn_evaluator *e, pn_split split, const uint64_t *id, int64_t n) {
  char where[PN_NAME_BYTES + 32] = "";

  for (int64_t i = 0; i < n; i++) {
    if (isfinite(pn_plan_losses(e->plan)[i])) continue;
    pn_plan_find_nonfinite(e->plan, where, sizeof where);
    return PN_FAIL(
        PN_ERR_NUMERIC,
        "evaluation on %s: the loss of image %llu is not finite%s%s: the weights are too "
        "large to compute with",
        pn_split_name(split), (unsigned long long)id[i], where[0] ? ", first seen in " : "", where);
  }
  return PN_OK;
}

/* The feed's next pass, over n images; their scores become rows `at`, `at` + 1, ... of `s`. */
static pn_status pass_chunk(pn_evaluator *e, pn_split split, int64_t n, scores *s, int64_t at) {
  float scale[PN_EVAL_BATCH] = {0};
  pn_eval_batch batch;
  pn_step_ctx ctx = {.sample_scale = scale};
  pn_status st = PN_OK;

  PN_TRY(pn_eval_feed_load(e->feed, e->plan, &batch));
  ctx.sample_id = batch.id;
  PN_TRY(pn_plan_forward(e->plan, &ctx, NULL));
  PN_TRY(check_finite(e, split, batch.id, n));
  pn_probs(pn_plan_logits(e->plan), n, e->outputs, s->probs + at * e->outputs);
  memcpy(s->losses + at, pn_plan_losses(e->plan), (size_t)n * sizeof *s->losses);
  memcpy(s->labels + at, batch.label, (size_t)n * sizeof *s->labels);
done:
  return st;
}

/* Twice: as the images are, and mirrored; `s` becomes the mean. */
static pn_status run_chunk(pn_evaluator *e, pn_split split, int64_t n, scores *s, int64_t at) {
  float *probs = s->probs + at * e->outputs, *losses = s->losses + at;
  scores mirrored = {0};
  pn_status st = PN_OK;

  PN_TRY(pass_chunk(e, split, n, s, at));
  if (!e->spec.flip) return st;
  PN_TRY(scores_alloc(n, e->outputs, &mirrored));
  PN_TRY(pass_chunk(e, split, n, &mirrored, 0));
  pn_probs_mean(probs, mirrored.probs, n * e->outputs);
  pn_losses_mean(losses, mirrored.losses, n);
done:
  scores_free(&mirrored);
  return st;
}

static pn_status run_own_chunks(pn_evaluator *e, pn_split split, int64_t n, scores *s) {
  int rank = pn_comm_rank(e->spec.comm), size = pn_comm_size(e->spec.comm);
  pn_eval_passes passes = {.split = split, .first = rank, .stride = size, .mirror = e->spec.flip};
  int64_t at = 0;
  pn_status st = scores_alloc(images_of_rank(n, rank, size), e->outputs, s);

  pn_eval_feed_start(e->feed, &passes);
  for (int64_t j = rank; st == PN_OK && j * PN_EVAL_BATCH < n; j += size) {
    st = run_chunk(e, split, pn_eval_chunk_images(n, j), s, at);
    at += pn_eval_chunk_images(n, j);
  }
  return st;
}

/* Rank order -> index order. */
static void sort_chunks(const scores *in, int outputs, int size, scores *out) {
  int64_t at = 0;

  for (int rank = 0; rank < size; rank++)
    for (int64_t j = rank; j * PN_EVAL_BATCH < in->n; j += size) {
      int64_t to = j * PN_EVAL_BATCH;
      size_t n = (size_t)pn_eval_chunk_images(in->n, j);
      memcpy(out->probs + to * outputs, in->probs + at * outputs,
             n * (size_t)outputs * sizeof *out->probs);
      memcpy(out->losses + to, in->losses + at, n * sizeof *out->losses);
      memcpy(out->labels + to, in->labels + at, n * sizeof *out->labels);
      at += (int64_t)n;
    }
}

/* Collective: everybody's scores to everybody. */
static pn_status gather(pn_evaluator *e, const scores *mine, int64_t *counts, scores *all) {
  pn_comm *c = e->spec.comm;
  int size = pn_comm_size(c);
  pn_status st = PN_OK;

  for (int r = 0; r < size; r++) counts[r] = images_of_rank(all->n, r, size);
  PN_TRY(pn_allgatherv(c, "losses of the evaluation", mine->losses, all->losses, counts, PN_F32));
  PN_TRY(pn_allgatherv(c, "labels of the evaluation", mine->labels, all->labels, counts, PN_I32));
  for (int r = 0; r < size; r++) counts[r] *= e->outputs;
  PN_TRY(pn_allgatherv(c, "scores of the evaluation", mine->probs, all->probs, counts, PN_F32));
done:
  return st;
}

/* One line per image: its number in the data set, class, probability of each class. */
static pn_status write_scores(const pn_evaluator *e, pn_split split, const scores *s) {
  const pn_dataset *d = e->spec.data;
  FILE *f = fopen(e->spec.scores_path, "w");
  int bad;

  if (!f) return PN_FAIL(PN_ERR_IO, "cannot create %s: %s", e->spec.scores_path, strerror(errno));
  fputs("image,class", f);
  for (int c = 0; c < pn_dataset_n_classes(d); c++)
    fprintf(f, ",p_%s", pn_dataset_class_name(d, c));
  fputc('\n', f);
  for (int64_t i = 0; i < s->n; i++) {
    const float *p = s->probs + i * e->outputs;
    fprintf(f, "%llu,%s", (unsigned long long)pn_dataset_id(d, split, i),
            pn_dataset_class_name(d, s->labels[i]));
    if (e->outputs == 1) fprintf(f, ",%.7g", (double)(1 - p[0]));
    for (int c = 0; c < e->outputs; c++) fprintf(f, ",%.7g", (double)p[c]);
    fputc('\n', f);
  }
  bad = ferror(f);
  if (fclose(f) == 0 && !bad) return PN_OK;
  return PN_FAIL(PN_ERR_IO, "cannot write %s: %s", e->spec.scores_path, strerror(errno));
}

/* Everything that may fail on one rank alone, before the ranks talk. */
static pn_status local_part(pn_evaluator *e, pn_split split, scores s[3], int64_t **counts) {
  int64_t n = pn_dataset_count(e->spec.data, split);
  pn_status st = PN_OK;

  *counts = calloc((size_t)pn_comm_size(e->spec.comm), sizeof **counts);
  if (!*counts) return PN_FAIL(PN_ERR_NOMEM, "evaluation: out of memory");
  PN_TRY(scores_alloc(n, e->outputs, &s[1]));
  PN_TRY(scores_alloc(n, e->outputs, &s[2]));
  PN_TRY(run_own_chunks(e, split, n, &s[0]));
done:
  return st;
}

pn_status pn_evaluator_run(pn_evaluator *e, pn_split split, pn_metrics *out) {
  scores s[3] = {{0}}; /* mine; all in rank order; all in index order */
  int64_t *counts = NULL;
  pn_status st = PN_OK;

  *out = (pn_metrics){0};
  PN_TRY(pn_agree(e->spec.comm, local_part(e, split, s, &counts)));
  PN_TRY(gather(e, &s[0], counts, &s[1]));
  sort_chunks(&s[1], e->outputs, pn_comm_size(e->spec.comm), &s[2]);
  if (e->spec.scores_path && pn_comm_rank(e->spec.comm) == 0) st = write_scores(e, split, &s[2]);
  PN_TRY(pn_agree(e->spec.comm, st));
  st = pn_metrics_compute(s[2].probs, s[2].losses, s[2].labels, s[2].n, e->outputs, out);
  PN_TRY(pn_agree(e->spec.comm, st));
done:
  if (st != PN_OK) pn_metrics_free(out);
  for (int i = 0; i < 3; i++) scores_free(&s[i]);
  free(counts);
  return st;
}
