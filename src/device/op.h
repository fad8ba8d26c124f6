/* op.h -- what an operation is: kind and attributes.  No memory, no device. */
#ifndef PN_DEVICE_OP_H
#define PN_DEVICE_OP_H

#include "tensor/shape.h"

enum { PN_MAX_INPUTS = 4 };

/* Sources of the formulas: PyTorch's modules of the same name; losses by small_cnns 3.4, batch norm
 * by 3.5. */
typedef enum {
  PN_OP_INPUT, /* the batch */
  PN_OP_CONV,  /* cross-correlation + bias; weight O I KH KW */
  PN_OP_DENSE, /* y = x W^T + b; weight O I; a 4-D input is flattened in C H W order */
  PN_OP_RELU,
  PN_OP_MAXPOOL,  /* padding counts as -inf; floor */
  PN_OP_DROPOUT,  /* inverted: kept units scaled by 1/(1-rate); identity in evaluation */
  PN_OP_NORM,     /* batch norm over all but dimension 1; see pn_norm */
  PN_OP_ADD,      /* sum of two inputs of one shape */
  PN_OP_CONCAT,   /* 2 to PN_MAX_INPUTS inputs along dimension 1 */
  PN_OP_GAP,      /* global average pool: N C H W -> N C */
  PN_OP_AVGPOOL,  /* floor; padding counts as zeros where pad_counts, else not at all */
  PN_OP_ZEROPAD,  /* window.pad_before and pad_after */
  PN_OP_UPSAMPLE, /* nearest, twice the height and width */
  PN_OP_SIGMOID,
  PN_OP_SILU,       /* x * sigmoid(x) */
  PN_OP_SOFTMAX,    /* over dimension 1 */
  PN_OP_BCE,        /* loss: binary cross-entropy with logits, N x 1 */
  PN_OP_SOFTMAX_CE, /* loss: softmax cross-entropy, N x K */
  PN_OP_COUNT
} pn_op_kind;

typedef struct {
  int64_t kernel[2], stride[2], pad_before[2], pad_after[2]; /* height, width */
} pn_window;

/* Batch norm.  In training: batch mean and biased variance normalise, and
 * running = (1 - update) * running + update * batch.  Frozen, and in evaluation: running ones. */
typedef struct {
  float eps;
  float update; /* PyTorch's momentum (0.1); Keras's 0.99 is 0.01 here */
  bool biased; /* running variance from the biased batch variance (Keras), else N/(N-1) (PyTorch) */
  bool frozen; /* running statistics in training too, and not updated */
} pn_norm;

/* One operation with its shapes, batch included. */
typedef struct {
  pn_op_kind kind;
  int id;                           /* node index in the graph; keys the dropout stream */
  pn_shape in, out;                 /* logical: N C H W or N F; a loss has out = N */
  pn_shape more[PN_MAX_INPUTS - 1]; /* shapes of the inputs after the first */
  int n_more;
  pn_shape weight;  /* n_dims 0: none */
  bool bias;        /* CONV, DENSE; shape [O] */
  pn_window window; /* CONV, pools, ZEROPAD */
  float rate;       /* DROPOUT, [0, 1) */
  bool pad_counts;  /* AVGPOOL */
  pn_norm norm;     /* NORM */
} pn_op_desc;

const char *pn_op_name(pn_op_kind k);     /* "conv", "maxpool", ... */
int64_t pn_op_flop(const pn_op_desc *op); /* forward; multiply and add count as two */

#endif
