/* run_setup.c -- from a configuration and a data set to everything that the step loop needs. */
#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "train/precision.h"
#include "train/rank_device.h"
#include "train/run.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pn_status check_config(const pn_train_config *c, const pn_dataset *d) {
  if (c->epochs <= 0 && c->steps <= 0)
    return PN_FAIL(PN_ERR_ARG, "train.epochs and train.steps are both 0: nothing to do");
  if (c->batch < 1)
    return PN_FAIL(PN_ERR_ARG, "train.batch=%lld: expected at least 1", (long long)c->batch);
  if (c->leaves > 0 && (!c->batch_global || c->accumulate > 1))
    return PN_FAIL(PN_ERR_ARG,
                   "train.exact=true cuts the images of a step into train.leaves parts, on any "
                   "number of ranks: it needs train.batch_rule=global and train.accumulate=1");
  if (pn_dataset_count(d, PN_TRAIN) < 1)
    return PN_FAIL(
        PN_ERR_ARG,
        "the data set has no images in its training split: ingest with smaller ingest.val and "
        "ingest.test, or another fold");
  return PN_OK;
}

/* All ranks must see the same images: their number decides how many steps there are. */
static pn_status check_same_data(pn_comm *c, const pn_dataset *d) {
  const char *digest = pn_dataset_digest(d);
  int64_t crc = pn_crc32c(0, digest, strlen(digest)), v[2] = {crc, -crc};
  pn_status st = pn_allreduce(c, "check of the data set", v, 2, PN_I64, PN_MAX);

  if (st != PN_OK || v[0] == -v[1]) return st;
  st = PN_FAIL(PN_ERR_FORMAT, "the ranks see different data sets under data.path");
  return pn_agree(c, st);
}

static void count_steps(pn_run *r) {
  const pn_train_config *c = r->cfg;
  int size = pn_comm_size(r->comm);
  int64_t epoch_steps;

  r->batches = pn_batches_make(pn_dataset_count(r->data, PN_TRAIN),
                               c->batch_global ? c->batch : c->batch * size, c->last_batch,
                               pn_comm_rank(r->comm), size);
  if (c->accumulate > 1) r->batches.parts = c->accumulate;
  r->batches.leaves = c->leaves;
  epoch_steps = c->epochs * r->batches.steps;
  r->n_steps = c->epochs > 0 ? epoch_steps : c->steps;
  if (c->steps > 0 && c->steps < r->n_steps) r->n_steps = c->steps;
  r->schedule_steps = r->n_steps > c->only_steps ? r->n_steps : c->only_steps;
  if (c->only_steps > 0) r->n_steps = c->only_steps;
}

static pn_status make_model(pn_run *r) {
  pn_model_config *m = &r->model;

  *m = r->cfg->model_config;
  pn_dataset_shape(r->data, &m->channels, &m->size[0], &m->size[1]);
  m->classes = pn_dataset_n_classes(r->data);
  return pn_model_build(r->cfg->model, m, &r->graph);
}

static bool has_norm(const pn_graph *g) {
  for (int i = 0; i < pn_graph_n_nodes(g); i++)
    if (pn_graph_node(g, i)->op.kind == PN_OP_NORM) return true;
  return false;
}

/* Running statistics take the same share of every step: also of one with hardly any images. */
static void tell_last_batch(const pn_run *r) {
  const pn_batches *b = &r->batches;
  int64_t used = b->steps * b->global, rest = b->n % b->global;

  if (b->last == PN_LAST_DROP && used < b->n)
    pn_info("%-12s %lld of %lld images have no part in an epoch (train.last_batch=drop), others in "
            "each",
            "last batch", (long long)(b->n - used), (long long)b->n);
  if (b->last == PN_LAST_SHORT && rest > 0 && 4 * rest < b->global && b->steps > 1 &&
      has_norm(r->graph))
    pn_warn("the last step of each epoch has %lld of %lld images, and the running statistics of "
            "batch norm follow it like any other step: train.last_batch=even (or drop) avoids that",
            (long long)rest, (long long)b->global);
}

/* The first norm that learns its statistics from one value per image and channel; NULL: none. */
static const pn_node *narrow_norm(const pn_graph *g) {
  for (int i = 0; i < pn_graph_n_nodes(g); i++) {
    const pn_node *n = pn_graph_node(g, i);
    const pn_shape *in = &n->op.in;
    if (n->op.kind == PN_OP_NORM && !n->op.norm.frozen &&
        pn_shape_count(*in) == in->dim[0] * in->dim[1])
      return n;
  }
  return NULL;
}

static int64_t last_step(const pn_run *r) {
  return (r->n_steps < r->batches.steps ? r->n_steps : r->batches.steps) - 1;
}

/* A single value has no variance: what comes out is beta, nothing before it gets a gradient, and
 * the running variance goes to 0. */
static pn_status check_norms(const pn_run *r) {
  const pn_node *norm = narrow_norm(r->graph);
  int64_t full[2], last[2];

  if (!norm) return PN_OK;
  pn_batches_sizes(&r->batches, 0, full);
  pn_batches_sizes(&r->batches, last_step(r), last);
  if (full[1] == 1)
    return PN_FAIL(
        PN_ERR_ARG,
        "batch norm %s has one value per image and channel, and a part of a step here is "
        "one image: it needs two at least. Give a larger train.batch, smaller "
        "train.accumulate or train.leaves, fewer ranks, or larger images",
        norm->name);
  if (last[1] == 1)
    pn_warn("the last step of each epoch has a part of one image, of which batch norm %s learns "
            "nothing but wrong statistics: train.last_batch=even (or drop) avoids that",
            norm->name);
  return PN_OK;
}

static pn_status make_plans(pn_run *r) {
  const pn_batches *b = &r->batches;
  int64_t last = last_step(r);
  int64_t sizes[PN_MAX_PLANS];
  pn_plan_spec like = {.graph = r->graph,
                       .device = r->device,
                       .batch = pn_batches_largest(b),
                       .training = true,
                       .precision = r->precision};

  pn_batches_sizes(b, 0, sizes); /* of a full step, of the last */
  pn_batches_sizes(b, last, sizes + 2);
  return pn_plan_set_create(&like, sizes, &r->plans);
}

/* Nothing here talks to other ranks. */
static pn_status setup_engine(pn_run *r) {
  pn_status st = PN_OK;

  PN_TRY(check_config(r->cfg, r->data));
  count_steps(r);
  PN_TRY(make_model(r));
  tell_last_batch(r);
  if (r->cfg->weights) PN_TRY(r->cfg->weights->open(r->cfg->weights->ctx, r->graph));
  PN_TRY(pn_optim_create(&r->cfg->optim, &r->optim));
  PN_TRY(pn_run_groups(r)); /* freezes */
  PN_TRY(check_norms(r));
  PN_TRY(make_plans(r));
  PN_TRY(pn_run_recipe(r));
done:
  return st;
}

static pn_status make_device(pn_run *r) {
  const pn_train_config *c = r->cfg;
  pn_device_spec spec = {
      .name = c->device, .threads = c->threads, .tf32 = c->tf32, .loose = c->loose};
  pn_status st = pn_rank_device(r->comm, &spec, c->share_gpu, &r->device);

  if (st != PN_OK) return st;
  return pn_precision_agree(r->comm, r->device, c->precision, c->precision_fallback, &r->precision);
}

static pn_status make_strategy(pn_run *r) {
  const pn_train_weights *w = r->cfg->weights;
  pn_initial_source initial = {w ? w->ctx : NULL, w ? w->value : NULL};
  pn_strategy_spec spec = {.graph = r->graph,
                           .map = &r->plans.map,
                           .optim = r->optim,
                           .data = r->bulk,
                           .device = r->device,
                           .bucket_bytes = (int64_t)(r->cfg->bucket_mb * (1 << 20)),
                           .seed = r->cfg->seed,
                           .initial = w ? &initial : NULL,
                           .groups = r->groups,
                           .clip_norm = r->cfg->clip_norm,
                           .micro_batches = (int)r->batches.parts,
                           .keep_whole = !r->cfg->reshard,
                           .ema = r->cfg->ema,
                           .loss_scaling = r->precision == PN_FP16,
                           .leaves = r->batches.leaves};
  return pn_strategy_create(r->cfg->strategy, &spec, &r->strategy);
}

static pn_status make_buffers(pn_run *r) {
  size_t steps = (size_t)r->batches.steps;

  r->order = malloc((size_t)r->batches.n * sizeof *r->order);
  r->hidden = calloc(steps, sizeof *r->hidden);
  r->late = calloc(steps, sizeof *r->late);
  r->loss = calloc(steps, sizeof *r->loss);
  r->rate = calloc(steps, sizeof *r->rate);
  r->loss_scale = calloc(steps, sizeof *r->loss_scale);
  r->scaled = calloc((size_t)pn_batches_largest(&r->batches) + 1, sizeof *r->scaled);
  r->unscaled = calloc(2 * (size_t)pn_batches_largest(&r->batches) + 1, sizeof *r->unscaled);
  r->columns = calloc(steps * PN_COL_COUNT, sizeof *r->columns);
  r->leaf_loss = calloc(steps * (size_t)r->batches.leaves + 1, sizeof *r->leaf_loss);
  if (!r->leaf_loss || !r->order || !r->hidden || !r->late || !r->loss || !r->rate || !r->columns ||
      !r->loss_scale || !r->scaled || !r->unscaled)
    return PN_FAIL(PN_ERR_NOMEM, "training of %lld images: out of memory", (long long)r->batches.n);
  return pn_phases_create(r->batches.steps, &r->phases);
}

static pn_status open_record(pn_run *r) {
  pn_record_spec spec = {.folder = pn_comm_rank(r->comm) == 0 ? r->cfg->out_path : NULL,
                         .data = r->data,
                         .gpu = r->gpu != NULL,
                         .scaling = r->scaling.scale > 0,
                         .resume = r->cfg->resume,
                         .step = r->done,
                         .epoch = r->epoch,
                         .epochs = r->epochs_before};
  return pn_record_open(&spec, &r->record);
}

/* Mirrors of the host's arenas that plans make when they first run (nn/plan_far.c). */
static int64_t bytes_to_come(const pn_run *r) {
  const pn_param_map *m = &r->plans.map;
  int64_t plan = (m->total + m->trainable) * (int64_t)sizeof(float), bytes = 0;

  if (!r->strategy->far) bytes += r->plans.n * plan;
  if (r->cfg->validate && !r->strategy->far_evaluated) bytes += m->total * (int64_t)sizeof(float);
  return bytes;
}

static int ranks_of_device(const pn_run *r) {
  return r->cfg->share_gpu ? pn_comm_size(r->comm) : 1;
}

static pn_status feed_evaluation(pn_run *r) {
  pn_eval_feed *f = pn_evaluator_feed(r->eval);
  pn_eval_images how = {.where = r->cfg->images,
                        .threads = r->cfg->data_threads,
                        .reserve = bytes_to_come(r) + pn_eval_feed_least(f, PN_TEST),
                        .sharing = ranks_of_device(r)};
  pn_status st = PN_OK;

  PN_TRY(pn_eval_feed_on_device(f, PN_VAL, &how));
  how.once = true;
  PN_TRY(pn_eval_feed_on_device(f, PN_TEST, &how));
  pn_image_decision_tell("val images", pn_eval_feed_decision(f, PN_VAL));
  pn_image_decision_tell("test images", pn_eval_feed_decision(f, PN_TEST));
done:
  return st;
}

static int64_t evaluation_least(const pn_run *r) {
  const pn_eval_feed *f = r->eval ? pn_evaluator_feed(r->eval) : NULL;
  return f ? pn_eval_feed_least(f, PN_VAL) + pn_eval_feed_least(f, PN_TEST) : 0;
}

static pn_status make_feed(pn_run *r) {
  pn_feed_spec spec = {.device = r->device,
                       .where = r->cfg->images,
                       .reserve = bytes_to_come(r) + evaluation_least(r),
                       .sharing = ranks_of_device(r),
                       .data = r->data,
                       .model = &r->model,
                       .augment = &r->cfg->augment,
                       .batches = &r->batches,
                       .weight = r->weight,
                       .class_weight = r->class_weight,
                       .groups = r->drawn.n > 0 ? &r->drawn : NULL,
                       .threads = r->device->threads,
                       .ahead = r->cfg->prefetch,
                       .ahead_threads = r->cfg->data_threads};
  pn_status st;

  pn_dataset_set_check(r->data, r->cfg->check);
  st = pn_feed_create(&spec, &r->feed);
  if (st == PN_OK) pn_image_decision_tell("images", pn_feed_decision(r->feed));
  return st;
}

static pn_status setup_local(pn_run *r) {
  pn_eval_spec eval = {.graph = r->graph,
                       .device = r->device,
                       .precision = r->precision,
                       .map = &r->plans.map,
                       .comm = r->comm,
                       .data = r->data,
                       .model = &r->model};
  pn_status st = PN_OK;

  pn_plan_set_bind(&r->plans, r->strategy->params, r->strategy->grads);
  pn_plan_set_bind_far(&r->plans, r->strategy->far);
  PN_TRY(make_buffers(r));
  if (r->cfg->validate) PN_TRY(pn_evaluator_create(&eval, &r->eval));
  PN_TRY(make_feed(r)); /* last: images may take what the plans leave of the device's memory */
  if (r->eval) PN_TRY(feed_evaluation(r)); /* and those of the validation what is left then */
  PN_TRY(open_record(r));
done:
  return st;
}

/* The device's GPU; PN_WATCH_GPU: another one, for tests. */
static pn_status watch_gpus(pn_run *r) {
  const char *bus = getenv("PN_WATCH_GPU");
  return pn_gpu_columns_create(r->comm, bus ? bus : r->device->bus, r->batches.steps, &r->gpu);
}

/* auto: between GPUs where every rank has one. */
static pn_status make_bulk(pn_run *r) {
  const char *kind = r->cfg->comm[0] ? r->cfg->comm : "auto";
  int32_t gpu = r->device->bus[0] != '\0';
  pn_status st = PN_OK;

  PN_TRY(pn_allreduce(r->comm, "ranks with a GPU", &gpu, 1, PN_I32, PN_MIN));
  PN_TRY(pn_comm_data(r->comm, gpu && strcmp(kind, "auto") == 0 ? "gpu" : kind, &r->bulk));
done:
  return st;
}

pn_status pn_run_create(const pn_train_config *cfg, pn_comm *c, pn_dataset *data, pn_run **out) {
  pn_run *r = calloc(1, sizeof *r);
  pn_status st = PN_OK;

  *out = NULL;
  PN_TRY(pn_agree(c, r ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "training: out of memory")));
  r->cfg = cfg;
  r->comm = c;
  r->data = data;
  r->bad_step = INT64_MAX;
  r->to_beat = DBL_MAX;
  r->saved_step = r->best.step = -1;
  r->t_start_s = r->t_saved_s = pn_now();
  PN_TRY(check_same_data(c, data));
  PN_TRY(make_device(r)); /* first: the communicator may look for it */
  PN_TRY(make_bulk(r));
  pn_comm_overlap(r->bulk, !cfg->blocking);
  PN_TRY(pn_agree(c, setup_engine(r)));
  if (r->precision == PN_FP16)
    r->scaling = (pn_loss_scale){.scale = cfg->loss_scale, .interval = cfg->loss_scale_steps};
  PN_TRY(make_strategy(r));
  if (cfg->resume && cfg->out_path) PN_TRY(pn_run_resume(r));
  PN_TRY(watch_gpus(r));
  PN_TRY(pn_agree(c, setup_local(r)));
  *out = r;
  r = NULL;
done:
  pn_run_destroy(r);
  return st;
}

void pn_run_destroy(pn_run *r) {
  if (!r) return;
  pn_feed_destroy(r->feed);
  pn_record_close(&r->record);
  pn_evaluator_destroy(r->eval);
  pn_plan_set_free(&r->plans);
  pn_strategy_destroy(r->strategy);
  pn_comm_destroy(r->bulk);
  pn_optim_destroy(r->optim);
  pn_device_destroy(r->device);
  pn_graph_destroy(r->graph);
  pn_phases_destroy(r->phases);
  json_decref(r->epochs_before);
  pn_gpu_columns_destroy(r->gpu);
  free(r->groups);
  free(r->label);
  free(r->weight);
  pn_class_groups_free(&r->drawn);
  free(r->order);
  free(r->hidden);
  free(r->late);
  free(r->loss);
  free(r->leaf_loss);
  free(r->rate);
  free(r->loss_scale);
  free(r->scaled);
  free(r->unscaled);
  free(r->columns);
  free(r->rows);
  free(r);
}
