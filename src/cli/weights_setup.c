/* weights_setup.c -- see weights_setup.h. */
#include "cli/weights_setup.h"

#include <string.h>

static pn_status open_weights(void *ctx, const pn_graph *g) {
  pn_weights_setup *w = ctx;
  pn_status st = pn_initial_open(w->path, g, w->rules, &w->initial);

  if (st == PN_OK) pn_initial_print(w->initial);
  return st;
}

static pn_status value(void *ctx, int param, float *logical, bool *found) {
  pn_weights_setup *w = ctx;
  return pn_initial_value(w->initial, param, logical, found);
}

static json_t *describe(void *ctx) {
  pn_weights_setup *w = ctx;
  return pn_initial_json(w->initial);
}

const pn_train_weights *pn_weights_prepare(const pn_options *o, pn_weights_setup *w) {
  const char *missing = pn_options_text(o, "train.weights_missing");

  *w = (pn_weights_setup){.path = pn_options_text(o, "train.weights")};
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
