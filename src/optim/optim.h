/* optim.h -- optimizers over flat f32 ranges; they do not know tensors.  Formulas: PyTorch's. */
#ifndef PN_OPTIM_OPTIM_H
#define PN_OPTIM_OPTIM_H

#include "base/status.h"

#include <stdint.h>

typedef struct {
  char name[16]; /* "sgd", "adam" */
  double lr, momentum, beta1, beta2, eps, weight_decay;
  bool nesterov;
} pn_optim_config;

void pn_optim_defaults(pn_optim_config *c); /* adam, lr 1e-3, betas 0.9 0.999, eps 1e-8 */

typedef struct pn_optim pn_optim;
/* Errors: ARG (unknown name, lists those there are). */
pn_status pn_optim_create(const pn_optim_config *c, pn_optim **out);
void pn_optim_destroy(pn_optim *o);
int pn_optim_n_states(const pn_optim *o); /* f32 per parameter: sgd 0 or 1 (momentum), adam 2 */
const char *pn_optim_state_name(const pn_optim *o, int i); /* "exp_avg", ... (PyTorch's names) */

/* One update of `count` elements; t = 1, 2, ... counts steps; lr replaces the configured one;
 * decay: apply weight decay to this range.  state: n_states pointers to `count` elements each.
 * Elementwise: padding (zero parameter and gradient) stays zero.  Runs with `threads` threads. */
typedef struct {
  float *param, *state[2];
  const float *grad;
  int64_t count;
  bool decay;
} pn_optim_range;
void pn_optim_update(const pn_optim *o, int64_t t, double lr, const pn_optim_range *r, int threads);

#endif
