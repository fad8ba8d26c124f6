/* optim.h -- optimizers over flat f32 ranges; they do not know tensors.  Formulas: PyTorch's, LARS
 * as in SimCLR (small_cnns 3.1, 3.3). */
#ifndef PN_OPTIM_OPTIM_H
#define PN_OPTIM_OPTIM_H

#include "base/exact_sum.h"
#include "base/status.h"
#include "device/flat_update.h"

#include <stdint.h>

typedef struct {
  char name[16]; /* "sgd", "adam", "adamw", "lars" */
  double lr, momentum, beta1, beta2, eps, weight_decay;
  double trust; /* lars: eta */
  bool nesterov;
} pn_optim_config;

/* adam, lr 1e-3, betas 0.9 0.999, eps 1e-8, trust 1e-3 */
void pn_optim_defaults(pn_optim_config *c);

typedef struct pn_optim pn_optim;
/* Errors: ARG (unknown name, lists those there are). */
pn_status pn_optim_create(const pn_optim_config *c, pn_optim **out);
void pn_optim_destroy(pn_optim *o);
int pn_optim_n_states(const pn_optim *o); /* f32 per parameter: sgd 0 or 1 (momentum), adam 2 */
const char *pn_optim_state_name(const pn_optim *o, int i); /* "exp_avg", ... (PyTorch's names) */

/* One update of `count` elements; t = 1, 2, ... counts steps; lr replaces the configured one.
 * state: n_states pointers to `count` elements each.  Elementwise: padding (zero parameter and
 * gradient) stays zero.  Runs with `threads` threads. */
typedef struct {
  float *param, *state[2];
  const float *grad;
  int64_t count;
  double decay;      /* factor on the configured weight decay: 0 = none, 1 = all */
  double grad_scale; /* the gradient is multiplied by it first: 1, or less to clip it */
} pn_optim_range;
/* The same as numbers, for devices with memory of their own. */
pn_flat_update pn_optim_describe(const pn_optim *o, int64_t t, double lr, const pn_optim_range *r);
void pn_optim_update(const pn_optim *o, int64_t t, double lr, const pn_optim_range *r, int threads);
/* Elements [at, at + n) of what pn_optim_describe gave, with their gradients at `grad`. */
void pn_optim_apply(const pn_optim *o, const pn_flat_update *u, int64_t at, int64_t n,
                    const float *grad);

/* Rules that adapt the learning rate to each tensor (lars) need its norms before its update. */
bool pn_optim_wants_norms(const pn_optim *o);
/* Sum of squares of the parameter and of grad_scale * gradient + decay * parameter, in double; the
 * same bits for any number of threads. */
typedef struct {
  double param, grad;
} pn_optim_squares;
pn_optim_squares pn_optim_sum_squares(const pn_optim *o, const pn_optim_range *r, int threads);
/* The same, added without rounding. */
void pn_optim_add_squares(const pn_optim *o, const pn_optim_range *r, pn_exact_sum *param,
                          pn_exact_sum *grad);
double pn_optim_weight_decay(const pn_optim *o, const pn_optim_range *r); /* of the range */
double pn_optim_trust(const pn_optim *o);                                 /* lars: eta */
/* Factor on the learning rate of a tensor with these norms. */
double pn_optim_trust_ratio(const pn_optim *o, pn_optim_squares s);

/* average += (1 - decay) * (param - average), which rounds at the size of the change and so keeps
 * the scale of the weights at any decay (PyTorch's lerp).  At t = 1 a copy, of an average of
 * zeros. */
typedef struct {
  float *average;
  const float *param;
  int64_t count;
  double decay;
} pn_ema_range;
float pn_ema_factor(double decay, int64_t t); /* on the change */
void pn_ema_update(const pn_ema_range *r, int64_t t, int threads);

#endif
