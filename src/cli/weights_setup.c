/* weights_setup.c -- see weights_setup.h. */
#include "cli/weights_setup.h"

#include "base/log.h"
#include "train/class_names.h"

#include <string.h>

/* A last layer that learned another order of classes starts from answers that are all wrong. */
static void warn_of_classes(const pn_weights_setup *w) {
  const json_t *names = pn_initial_classes(w->initial);
  pn_class_lists lists;

  if (!names || pn_class_names_agree(names, w->data, &lists)) return;
  pn_warn("%s learned the classes %s, the data has %s, and its last layer is kept: name that layer "
          "in train.weights_skip to start it afresh",
          w->path, lists.trained, lists.data);
}

static pn_status open_weights(void *ctx, const pn_graph *g) {
  pn_weights_setup *w = ctx;
  pn_status st = pn_initial_open(w->path, g, w->rules, &w->initial);

  if (st != PN_OK) return st;
  pn_initial_print(w->initial);
  warn_of_classes(w);
  return PN_OK;
}

static pn_status value(void *ctx, int param, float *logical, bool *found) {
  pn_weights_setup *w = ctx;
  return pn_initial_value(w->initial, param, logical, found);
}

static json_t *describe(void *ctx) {
  pn_weights_setup *w = ctx;
  return pn_initial_json(w->initial);
}

const pn_train_weights *pn_weights_prepare(const pn_options *o, const pn_dataset *d,
                                           pn_weights_setup *w) {
  const char *missing = pn_options_text(o, "train.weights_missing");

  *w = (pn_weights_setup){.path = pn_options_text(o, "train.weights"), .data = d};
  w->rules.skip = pn_options_text(o, "train.weights_skip");
  w->rules.may_miss = strcmp(missing, "none") == 0  ? PN_MAY_MISS_NONE
                      : strcmp(missing, "any") == 0 ? PN_MAY_MISS_ANY
                                                    : PN_MAY_MISS_HEAD;
  w->source = (pn_train_weights){w, open_weights, value, describe};
  return *w->path ? &w->source : NULL;
}

void pn_weights_release(pn_weights_setup *w) {
  pn_initial_close(w->initial);
  w->initial = NULL;
}
