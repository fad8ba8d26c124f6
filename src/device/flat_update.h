/* flat_update.h -- one optimizer update of a flat f32 range, with its coefficients rounded: what
 * the rules of src/optim compute once per step, and the loops of the CPU and the kernels of a GPU
 * take. */
#ifndef PN_DEVICE_FLAT_UPDATE_H
#define PN_DEVICE_FLAT_UPDATE_H

#include <stdint.h>

typedef enum { PN_FLAT_SGD, PN_FLAT_ADAM, PN_FLAT_LARS } pn_flat_rule;

typedef struct {
  pn_flat_rule rule;
  float *param, *state[2];
  const float *grad;
  int64_t count;
  float scale, decay; /* the gradient is scale * grad + decay * param */
  float lr;
  float momentum, keep;         /* SGD: of the buffer; Adam: of the parameter */
  float direct, through, ahead; /* of gradient and buffer: classic and Nesterov momentum */
  float step, inverse_root;     /* Adam: lr / (1 - beta1^t), 1 / sqrt(1 - beta2^t) */
  float beta1, rest1, beta2, rest2, eps;
} pn_flat_update;

/* The same for many ranges at once, all in a device's own memory, where two tables lie too: the
 * ranges, which stay what they are, and a few rows of coefficients, which each step writes anew. */
enum { PN_FLAT_LANES = 4 }; /* elements that a kernel takes at a time */

typedef struct {
  float *param, *state[2], *average; /* NULL: there is none */
  const float *grad;
  int64_t count;
  int64_t first;     /* of its groups of PN_FLAT_LANES elements, over all ranges */
  int32_t part, row; /* first of its partial sums, over all ranges; its coefficients */
  int32_t tensor;    /* that it is a part of; matters with pn_flat_list.shares */
  int32_t wide;      /* all pointers are multiples of 16 bytes */
} pn_flat_range;

typedef struct {
  pn_flat_update number;  /* pointers and count are those of the range */
  double rate, decay;     /* LARS: learning rate before the trust ratio; weight decay */
  float fresh;            /* of the average: average += fresh * (parameter - average) */
  int32_t frozen, adapts; /* adapts: has a trust ratio */
} pn_flat_row;

enum { PN_FLAT_NORM, PN_FLAT_CLIP, PN_FLAT_RESULTS }; /* places in `result` */

/* Ranges of ascending `first` and `part`. */
typedef struct {
  pn_flat_rule rule;
  int32_t n, parts;
  int64_t first, groups; /* of range[0]; of all */
  const pn_flat_range *range;
  const pn_flat_row *row;
  double *partial; /* [parts][2]: squares of the parameter (scaled only) and of the gradient */
  double *sums;    /* [n][2] */
  double *shares;  /* [ranks][stride]: of each tensor [2], by rank; NULL: nothing is cut */
  double *totals;  /* [tensors][2], with shares */
  double *trust;   /* [n]: factor on the learning rate; NULL: 1 */
  double *result;  /* [PN_FLAT_RESULTS]; NULL: nothing is clipped */
  const double *unscale;   /* [1]: of gradients, before all else; NULL: 1 */
  double clip_norm, eta;   /* largest norm, 0: any; of trust ratios */
  int32_t scaled, balance; /* norms: see pn_far_ops */
  int32_t skips;           /* update: changes nothing where the norm in `result` is not finite */
  int32_t tensors, rank, ranks, stride; /* of shares */
} pn_flat_list;

#endif
