/* recipe.c -- how a run learns: parameter groups, learning rate, weights of the classes. */
#include "base/log.h"
#include "train/run.h"

#include <stdlib.h>
#include <string.h>

pn_status pn_run_groups(pn_run *r) {
  int n = pn_graph_n_params(r->graph), frozen = 0;
  int64_t values = 0;
  pn_status st;

  if (!(r->groups = calloc((size_t)n + 1, sizeof *r->groups)))
    return PN_FAIL(PN_ERR_NOMEM, "parameter groups: out of memory");
  if ((st = pn_groups_make(r->graph, &r->cfg->groups, r->groups)) != PN_OK) return st;
  for (int i = 0; i < n; i++) {
    if (!r->groups[i].frozen) continue;
    pn_graph_freeze(r->graph, i);
    frozen++;
    values += pn_shape_count(pn_graph_param(r->graph, i)->shape);
  }
  if (frozen)
    pn_info("%-12s %d of %d parameter tensors (%lld values) stay as they are; %d norms take their "
            "running statistics",
            "frozen", frozen, n, (long long)values, pn_graph_frozen_norms(r->graph));
  return PN_OK;
}

/* Said whenever the rate is not the one that was given. */
static void scale_lr(pn_run *r) {
  const pn_train_config *c = r->cfg;
  double images = (double)r->batches.global, base = (double)(c->lr_batch > 0 ? c->lr_batch : 1);
  double scale = pn_lr_scale(c->lr_scale, images, base);

  r->base_lr = c->optim.lr * scale;
  if (c->lr_scale[0] && strcmp(c->lr_scale, "none") != 0)
    pn_info("%-12s %g = optim.lr %g x %g (optim.scale=%s: %g images per step, meant for %g)",
            "rate", r->base_lr, c->optim.lr, scale, c->lr_scale, images, base);
}

/* n / (classes * n of this class), as scikit-learn's "balanced". */
static pn_status weigh_images(pn_run *r, const int64_t count[256]) {
  int classes = pn_dataset_n_classes(r->data), present = 0;
  float *weight = r->class_weight;

  if (!(r->weight = malloc((size_t)r->batches.n * sizeof *r->weight)))
    return PN_FAIL(PN_ERR_NOMEM, "weights of %lld images: out of memory", (long long)r->batches.n);
  for (int c = 0; c < classes; c++) present += count[c] > 0;
  for (int c = 0; c < classes; c++) {
    if (count[c] == 0) continue;
    weight[c] = (float)((double)r->batches.n / ((double)present * (double)count[c]));
    pn_info("%-12s %s: %lld images, weight %.4g", "balance", pn_dataset_class_name(r->data, c),
            (long long)count[c], (double)weight[c]);
  }
  for (int64_t i = 0; i < r->batches.n; i++) r->weight[i] = weight[r->label[i]];
  return PN_OK;
}

static pn_status read_labels(pn_run *r) {
  int64_t count[256] = {0};
  pn_status st = PN_OK;

  if (!r->cfg->balance[0] || strcmp(r->cfg->balance, "none") == 0) return PN_OK;
  if (!(r->label = malloc((size_t)r->batches.n)))
    return PN_FAIL(PN_ERR_NOMEM, "labels of %lld images: out of memory", (long long)r->batches.n);
  for (int64_t i = 0; i < r->batches.n; i++) {
    int label;
    PN_TRY(pn_dataset_label(r->data, PN_TRAIN, i, &label));
    r->label[i] = (uint8_t)label;
    count[label & 255]++;
  }
  if (strcmp(r->cfg->balance, "weights") == 0) PN_TRY(weigh_images(r, count));
  if (strcmp(r->cfg->balance, "sampler") == 0) {
    pn_label_list labels = {r->label, r->batches.n, pn_dataset_n_classes(r->data)};
    PN_TRY(pn_class_groups_make(&labels, &r->drawn));
  }
done:
  return st;
}

/* What follows the validation needs one. */
static pn_status check_validation(const pn_run *r) {
  const pn_train_config *c = r->cfg;

  if (c->only_steps > 0 || (c->validate && pn_dataset_count(r->data, PN_VAL) > 0)) return PN_OK;
  if (strcmp(c->schedule.name, "plateau") == 0)
    return PN_FAIL(PN_ERR_ARG, "schedule.name=plateau follows the loss of the validation: it needs "
                               "validation images and train.validate=true");
  if ((c->patience == 0 && !c->restore_best) || !pn_run_needs_val(c)) return PN_OK;
  return PN_FAIL(PN_ERR_ARG,
                 "%s with train.monitor=%s needs validation images and train.validate=true; or set "
                 "train.monitor=loss",
                 c->patience > 0 ? "train.patience" : "train.restore_best", c->monitor);
}

pn_status pn_run_recipe(pn_run *r) {
  const pn_train_config *c = r->cfg;
  pn_status st = check_validation(r);

  if (st != PN_OK) return st;
  if (c->restore_best && !c->out_path)
    return PN_FAIL(PN_ERR_ARG, "train.restore_best needs a folder for checkpoints: set out.path");
  scale_lr(r);
  PN_TRY(pn_schedule_make(&c->schedule, r->schedule_steps, r->batches.steps, &r->schedule));
  PN_TRY(read_labels(r));
done:
  return st;
}

pn_status pn_run_order(pn_run *r, uint32_t epoch) {
  pn_label_list labels = {r->label, r->batches.n, pn_dataset_n_classes(r->data)};

  if (strcmp(r->cfg->balance, "sampler") == 0)
    return pn_sampler_balanced(&labels, r->cfg->seed, epoch, r->order);
  pn_sampler_permute(r->cfg->seed, epoch, r->batches.n, r->order);
  return PN_OK;
}

double pn_run_step_lr(const pn_run *r) {
  return r->base_lr * pn_schedule_factor(&r->schedule, r->done);
}

bool pn_run_validates(const pn_run *r) {
  return r->eval && pn_dataset_count(r->data, PN_VAL) > 0;
}
