/* rules.h -- one update rule per file, for optim.c only. */
#ifndef PN_OPTIM_RULES_H
#define PN_OPTIM_RULES_H

#include "optim/optim.h"

/* One row of the table: what pn_optim_* answer for this rule. */
typedef struct {
  const char *name;
  int (*n_states)(const pn_optim_config *c);
  const char *state_name[2];
  void (*update)(const pn_optim_config *c, int64_t t, double lr, const pn_optim_range *r,
                 int threads);
} pn_optim_rule;

extern const pn_optim_rule pn_optim_sgd, pn_optim_adam;

/* The loops are elementwise: let the CPU choose the width.  (The resolver that this needs runs
 * before the sanitizers are ready.) */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PN_ANY_SIMD __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define PN_ANY_SIMD
#endif

#endif
