/* flat_update.h -- one optimizer update of a flat f32 range, with its coefficients rounded: what
 * the rules of src/optim compute once per step, and the loops of the CPU and the kernels of a GPU
 * take. */
#ifndef PN_DEVICE_FLAT_UPDATE_H
#define PN_DEVICE_FLAT_UPDATE_H

#include <stdint.h>

typedef enum { PN_FLAT_SGD, PN_FLAT_ADAM, PN_FLAT_LARS, PN_FLAT_EMA } pn_flat_rule;

typedef struct {
  pn_flat_rule rule;
  float *param, *state[2]; /* EMA: state[0] is the average */
  const float *grad;
  int64_t count;
  float scale, decay; /* the gradient is scale * grad + decay * param */
  float lr;
  float momentum, keep; /* SGD: of the buffer; Adam: of the parameter; EMA: of the average */
  float direct, through, ahead; /* of gradient and buffer: classic and Nesterov momentum */
  float step, inverse_root; /* Adam: lr / (1 - beta1^t), 1 / sqrt(1 - beta2^t); EMA: 1 - decay */
  float beta1, rest1, beta2, rest2, eps;
} pn_flat_update;

#endif
