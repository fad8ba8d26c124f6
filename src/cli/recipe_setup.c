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

/* Is `word` one of the words of "a|b|c"? */
static bool among(const char *word, const char *list) {
  size_t n = strlen(word);
  for (const char *p = list; (p = strstr(p, word)) != NULL; p += n)
    if ((p == list || p[-1] == '|') && (p[n] == '|' || !p[n])) return true;
  return false;
}

pn_status pn_recipe_check(const pn_options *o) {
  static const struct {
    const char *key, *by, *values;
  } used_by[] = {{"optim.momentum", "optim.name", "sgd|lars"},
                 {"optim.nesterov", "optim.name", "sgd|lars"},
                 {"optim.beta1", "optim.name", "adam|adamw"},
                 {"optim.beta2", "optim.name", "adam|adamw"},
                 {"optim.eps", "optim.name", "adam|adamw"},
                 {"optim.trust", "optim.name", "lars"},
                 {"optim.scale_batch", "optim.scale", "linear|sqrt"},
                 {"schedule.warmup", "schedule.name", "constant|step|cosine|plateau"},
                 {"schedule.every", "schedule.name", "step"},
                 {"schedule.gamma", "schedule.name", "step"},
                 {"schedule.floor", "schedule.name", "cosine|plateau"},
                 {"schedule.rise", "schedule.name", "onecycle"},
                 {"schedule.div", "schedule.name", "onecycle"},
                 {"schedule.final_div", "schedule.name", "onecycle"},
                 {"schedule.factor", "schedule.name", "plateau"},
                 {"schedule.patience", "schedule.name", "plateau"},
                 {"schedule.threshold", "schedule.name", "plateau"},
                 {"schedule.cooldown", "schedule.name", "plateau"}};

  for (size_t i = 0; i < sizeof used_by / sizeof *used_by; i++) {
    const char *value = pn_options_text(o, used_by[i].by);
    if (pn_options_given(o, used_by[i].key) && !among(value, used_by[i].values))
      return PN_FAIL(PN_ERR_ARG, "%s has no effect with %s=%s: leave it out, or set %s=%s",
                     used_by[i].key, used_by[i].by, value, used_by[i].by, used_by[i].values);
  }
  if (pn_options_bool(o, "optim.nesterov") && pn_options_float(o, "optim.momentum") <= 0)
    return PN_FAIL(PN_ERR_ARG, "optim.nesterov=true needs optim.momentum > 0, e.g. 0.9");
  return PN_OK;
}
