/* op.h -- what an operation is: kind and attributes.  No memory, no device. */
#ifndef PN_DEVICE_OP_H
#define PN_DEVICE_OP_H

#include "tensor/shape.h"

/* Sources of the formulas: specs of PyTorch's modules of the same name; losses by small_cnns 3.4.
 */
typedef enum {
  PN_OP_INPUT, /* the batch */
  PN_OP_CONV,  /* cross-correlation + bias; weight O I KH KW */
  PN_OP_DENSE, /* y = x W^T + b; weight O I; a 4-D input is flattened in C H W order */
  PN_OP_RELU,
  PN_OP_MAXPOOL,    /* padding counts as -inf; floor */
  PN_OP_DROPOUT,    /* inverted: kept units scaled by 1/(1-rate); identity in evaluation */
  PN_OP_BCE,        /* loss: binary cross-entropy with logits, N x 1 */
  PN_OP_SOFTMAX_CE, /* loss: softmax cross-entropy, N x K */
  PN_OP_COUNT
} pn_op_kind;

typedef struct {
  int64_t kernel[2], stride[2], pad_before[2], pad_after[2]; /* height, width */
} pn_window;

/* One operation with its shapes, batch included. */
typedef struct {
  pn_op_kind kind;
  int id;           /* node index in the graph; keys the dropout stream */
  pn_shape in, out; /* logical: N C H W or N F; a loss has out = N */
  pn_shape weight;  /* n_dims 0: none */
  bool bias;        /* CONV, DENSE; shape [O] */
  pn_window window; /* CONV, MAXPOOL */
  float rate;       /* DROPOUT, [0, 1) */
} pn_op_desc;

const char *pn_op_name(pn_op_kind k);     /* "conv", "maxpool", ... */
int64_t pn_op_flop(const pn_op_desc *op); /* forward; multiply and add count as two */

#endif
