/* optim.c -- the table of update rules. */
#include "optim/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const pn_optim_rule *const rules[] = {&pn_optim_sgd, &pn_optim_adam, &pn_optim_adamw,
                                             &pn_optim_lars};
enum { N_RULES = sizeof rules / sizeof *rules };

struct pn_optim {
  pn_optim_config config;
  const pn_optim_rule *rule;
};

void pn_optim_defaults(pn_optim_config *c) {
  *c = (pn_optim_config){
      .name = "adam", .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .trust = 1e-3};
}

static pn_status unknown_rule(const char *name) {
  char list[64] = "";

  for (int i = 0; i < N_RULES; i++) {
    size_t used = strlen(list);
    snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", rules[i]->name);
  }
  return PN_FAIL(PN_ERR_ARG, "unknown optimizer '%s': there are %s", name, list);
}

static pn_status check_config(const pn_optim_config *c) {
  if (c->nesterov && c->momentum == 0.0)
    return PN_FAIL(PN_ERR_ARG, "%s: nesterov needs a momentum above 0", c->name);
  if (!(c->beta1 >= 0 && c->beta1 < 1 && c->beta2 >= 0 && c->beta2 < 1))
    return PN_FAIL(PN_ERR_ARG, "%s: betas %g %g, expected [0, 1)", c->name, c->beta1, c->beta2);
  return PN_OK;
}

pn_status pn_optim_create(const pn_optim_config *c, pn_optim **out) {
  const pn_optim_rule *rule = NULL;
  pn_status st = check_config(c);

  *out = NULL;
  if (st != PN_OK) return st;
  for (int i = 0; i < N_RULES; i++)
    if (strcmp(c->name, rules[i]->name) == 0) rule = rules[i];
  if (!rule) return unknown_rule(c->name);
  if (!(*out = malloc(sizeof **out))) return PN_FAIL(PN_ERR_NOMEM, "optimizer %s", c->name);
  **out = (pn_optim){.config = *c, .rule = rule};
  return PN_OK;
}

void pn_optim_destroy(pn_optim *o) {
  free(o);
}

int pn_optim_n_states(const pn_optim *o) {
  return o->rule->n_states(&o->config);
}

const char *pn_optim_state_name(const pn_optim *o, int i) {
  return o->rule->state_name[i];
}

pn_flat_update pn_optim_flat(pn_flat_rule rule, const pn_optim_range *r) {
  return (pn_flat_update){.rule = rule,
                          .param = r->param,
                          .state = {r->state[0], r->state[1]},
                          .grad = r->grad,
                          .count = r->count,
                          .scale = (float)r->grad_scale};
}

pn_flat_update pn_optim_describe(const pn_optim *o, int64_t t, double lr, const pn_optim_range *r) {
  return o->rule->describe(&o->config, t, lr, r);
}

void pn_optim_update(const pn_optim *o, int64_t t, double lr, const pn_optim_range *r,
                     int threads) {
  const int64_t piece = 1 << 14;
  const pn_flat_update u = pn_optim_describe(o, t, lr, r);
  int64_t pieces = (r->count + piece - 1) / piece;

#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t k = 0; k < pieces; k++) {
    int64_t at = k * piece;
    o->rule->update(&u, at, r->count - at < piece ? r->count - at : piece);
  }
}

void pn_optim_apply(const pn_optim *o, const pn_flat_update *u, int64_t at, int64_t n,
                    const float *grad) {
  pn_flat_update part = *u;

  part.param += at;
  for (int k = 0; k < 2; k++)
    if (part.state[k]) part.state[k] += at;
  part.grad = grad;
  part.count = n;
  o->rule->update(&part, 0, n);
}

bool pn_optim_wants_norms(const pn_optim *o) {
  return o->rule->wants_norms;
}

const pn_optim_config *pn_optim_settings(const pn_optim *o) {
  return &o->config;
}
