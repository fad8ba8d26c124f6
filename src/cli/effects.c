/* effects.c -- options that would have no effect beside the others: refused, not ignored. */
#include "cli/train_setup.h"

#include <stdio.h>
#include <string.h>

/* Is `word` one of the words of "a|b|c"? */
static bool among(const char *word, const char *list) {
  size_t n = strlen(word);
  for (const char *p = list; (p = strstr(p, word)) != NULL; p += n)
    if ((p == list || p[-1] == '|') && (p[n] == '|' || !p[n])) return true;
  return false;
}

static bool from_command_line(const pn_options *o, const char *key) {
  return strcmp(pn_options_origin(o, key), "command line") == 0;
}

static bool of_all_rows(const pn_options *o, const pn_row_options *rows, const char *key) {
  return rows && strcmp(pn_options_origin(o, key), pn_options_origin(rows->all, key)) == 0;
}

typedef struct {
  const char *key, *by, *values; /* key is of use where `by` is one of values */
} effect;

/* The first message that applies; PN_OK: the option has its use, or is left of an overridden file.
 */
static pn_status check_effect(const pn_options *o, const pn_row_options *rows, const effect *e) {
  const char *value = pn_options_text(o, e->by);

  if (!pn_options_given(o, e->key) || among(value, e->values)) return PN_OK;
  if (from_command_line(o, e->by) && !from_command_line(o, e->key)) return PN_OK;
  for (int i = 0; of_all_rows(o, rows, e->key) && i < rows->n; i++)
    if (among(pn_options_text(rows->row[i], e->by), e->values)) return PN_OK;
  return PN_FAIL(PN_ERR_ARG, "%s has no effect with %s=%s: leave it out, or set %s=%s", e->key,
                 e->by, value, e->by, e->values);
}

/* "custom_cnn|cifar_cnn": models that use an option. */
static void users_of(const char *name, char *out, size_t out_bytes) {
  int n;
  const pn_model *m = pn_model_table(&n);
  size_t used = 0;

  for (int i = 0; i < n && used < out_bytes; i++)
    if (!among(name, m[i].ignores))
      used += (size_t)snprintf(out + used, out_bytes - used, "%s%s", used ? "|" : "", m[i].name);
}

pn_status pn_model_effects_check(const pn_options *o, const pn_row_options *rows) {
  static const char section[] = "model.";
  char users[256];
  int n;
  const pn_option *row = pn_option_table(&n);
  pn_status st = PN_OK;

  for (int i = 0; i < n && st == PN_OK; i++) {
    if (strncmp(row[i].key, section, strlen(section)) != 0 || strcmp(row[i].key, "model.name") == 0)
      continue;
    users_of(row[i].key + strlen(section), users, sizeof users);
    st = check_effect(o, rows, &(effect){row[i].key, "model.name", users});
  }
  return st;
}

static pn_status check_choices(const pn_options *o, const pn_row_options *rows) {
  static const effect used_by[] = {
      {"train.bucket_mb", "train.strategy", "auto|ddp|zero1"},
      {"train.reshard", "train.strategy", "auto|fsdp"},
      {"optim.momentum", "optim.name", "sgd|lars"},
      {"optim.nesterov", "optim.name", "sgd|lars"},
      {"optim.beta1", "optim.name", "adam|adamw"},
      {"optim.beta2", "optim.name", "adam|adamw"},
      {"optim.eps", "optim.name", "adam|adamw"},
      {"optim.trust", "optim.name", "lars"},
      {"optim.scale_batch", "optim.scale", "linear|sqrt"},
      {"schedule.warmup", "schedule.name", "constant|step|cosine|plateau"},
      {"schedule.warmup_start", "schedule.name", "constant|step|cosine|plateau"},
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

  pn_status st = PN_OK;

  for (size_t i = 0; i < sizeof used_by / sizeof *used_by && st == PN_OK; i++)
    st = check_effect(o, rows, &used_by[i]);
  return st;
}

/* Options that go with another one: a text that is set, or a number above 0. */
static pn_status check_companions(const pn_options *o, const pn_row_options *rows) {
  const struct {
    const char *key, *needs;
    bool there;
  } rules[] = {
      {"train.weights_skip", "train.weights=FILE", *pn_options_text(o, "train.weights") != '\0'},
      {"train.weights_missing", "train.weights=FILE", *pn_options_text(o, "train.weights") != '\0'},
      {"schedule.warmup_start", "schedule.warmup=EPOCHS",
       pn_options_float(o, "schedule.warmup") > 0},
      {"optim.decay_all", "optim.weight_decay=FACTOR",
       pn_options_float(o, "optim.weight_decay") > 0}};

  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
    if (!rules[i].there && pn_options_given(o, rules[i].key) && !of_all_rows(o, rows, rules[i].key))
      return PN_FAIL(PN_ERR_ARG, "%s has no effect without %s: leave it out, or set that too",
                     rules[i].key, rules[i].needs);
  return PN_OK;
}

pn_status pn_effects_check(const pn_options *o, const pn_row_options *rows) {
  pn_status st = PN_OK;

  PN_TRY(pn_model_effects_check(o, rows));
  PN_TRY(check_choices(o, rows));
  PN_TRY(check_companions(o, rows));
  if (pn_options_bool(o, "optim.nesterov") && pn_options_float(o, "optim.momentum") <= 0)
    st = PN_FAIL(PN_ERR_ARG, "optim.nesterov=true needs optim.momentum > 0, e.g. 0.9");
done:
  return st;
}
