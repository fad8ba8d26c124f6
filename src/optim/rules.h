/* rules.h -- one update rule per file, for optim.c only. */
#ifndef PN_OPTIM_RULES_H
#define PN_OPTIM_RULES_H

#include "base/simd.h"
#include "optim/optim.h"

const pn_optim_config *pn_optim_settings(const pn_optim *o);

/* Pointers, count and gradient scale of the range; the rest is 0. */
pn_flat_update pn_optim_flat(pn_flat_rule rule, const pn_optim_range *r);

/* One row of the table: what pn_optim_* answer for this rule. */
typedef struct {
  const char *name;
  int (*n_states)(const pn_optim_config *c);
  const char *state_name[2];
  bool wants_norms; /* the caller multiplies lr by pn_optim_trust_ratio */
  /* The step's coefficients, once; then elements [at, at + n) of the range. */
  pn_flat_update (*describe)(const pn_optim_config *c, int64_t t, double lr,
                             const pn_optim_range *r);
  void (*update)(const pn_flat_update *u, int64_t at, int64_t n);
} pn_optim_rule;

extern const pn_optim_rule pn_optim_sgd, pn_optim_adam, pn_optim_adamw, pn_optim_lars;

#endif
