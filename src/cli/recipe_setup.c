/* recipe_setup.c -- options of optimizer, schedule and recipe to a configuration. */
#include "cli/train_setup.h"

#include <stdio.h>
#include <string.h>

static void copy(char *out, size_t out_bytes, const char *text) {
  snprintf(out, out_bytes, "%s", text);
}

static void optim_setup(const pn_options *o, pn_optim_config *c) {
  pn_optim_defaults(c);
  copy(c->name, sizeof c->name, pn_options_text(o, "optim.name"));
  c->lr = pn_options_float(o, "optim.lr");
  c->momentum = pn_options_float(o, "optim.momentum");
  c->nesterov = pn_options_bool(o, "optim.nesterov");
  c->beta1 = pn_options_float(o, "optim.beta1");
  c->beta2 = pn_options_float(o, "optim.beta2");
  c->eps = pn_options_float(o, "optim.eps");
  c->weight_decay = pn_options_float(o, "optim.weight_decay");
  c->trust = pn_options_float(o, "optim.trust");
}

static void schedule_setup(const pn_options *o, pn_schedule_config *c) {
  copy(c->name, sizeof c->name, pn_options_text(o, "schedule.name"));
  c->warmup = pn_options_float(o, "schedule.warmup");
  c->warmup_start = pn_options_float(o, "schedule.warmup_start");
  c->every = pn_options_float(o, "schedule.every");
  c->gamma = pn_options_float(o, "schedule.gamma");
  c->floor = pn_options_float(o, "schedule.floor");
  c->rise = pn_options_float(o, "schedule.rise");
  c->div = pn_options_float(o, "schedule.div");
  c->final_div = pn_options_float(o, "schedule.final_div");
  c->factor = pn_options_float(o, "schedule.factor");
  c->threshold = pn_options_float(o, "schedule.threshold");
  c->patience = pn_options_int(o, "schedule.patience");
  c->cooldown = pn_options_int(o, "schedule.cooldown");
}

static pn_last_batch last_batch(const char *word) {
  return strcmp(word, "even") == 0   ? PN_LAST_EVEN
         : strcmp(word, "drop") == 0 ? PN_LAST_DROP
                                     : PN_LAST_SHORT;
}

void pn_recipe_setup(const pn_options *o, pn_train_config *cfg) {
  int64_t base = pn_options_int(o, "optim.scale_batch");

  optim_setup(o, &cfg->optim);
  schedule_setup(o, &cfg->schedule);
  copy(cfg->lr_scale, sizeof cfg->lr_scale, pn_options_text(o, "optim.scale"));
  cfg->lr_batch = base > 0 ? base : pn_options_int(o, "train.batch");
  copy(cfg->groups.freeze, PN_GROUP_TEXT, pn_options_text(o, "train.freeze"));
  copy(cfg->groups.groups, PN_GROUP_TEXT, pn_options_text(o, "optim.groups"));
  cfg->groups.decay_all = pn_options_bool(o, "optim.decay_all");
  cfg->clip_norm = pn_options_float(o, "optim.clip_norm");
  cfg->ema = pn_options_float(o, "optim.ema");
  cfg->label_smoothing = pn_options_float(o, "train.label_smoothing");
  cfg->last_batch = last_batch(pn_options_text(o, "train.last_batch"));
  cfg->accumulate = pn_options_int(o, "train.accumulate");
  if (pn_options_bool(o, "train.exact")) cfg->leaves = (int)pn_options_int(o, "train.leaves");
  copy(cfg->balance, sizeof cfg->balance, pn_options_text(o, "train.balance"));
  copy(cfg->monitor, sizeof cfg->monitor, pn_options_text(o, "train.monitor"));
  cfg->patience = pn_options_int(o, "train.patience");
  cfg->min_delta = pn_options_float(o, "train.min_delta");
  cfg->restore_best = pn_options_bool(o, "train.restore_best");
}
