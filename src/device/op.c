/* op.c -- names and costs of operations. */
#include "device/op.h"

const char *pn_op_name(pn_op_kind k) {
  static const char *const name[PN_OP_COUNT] = {
      [PN_OP_INPUT] = "input",       [PN_OP_CONV] = "conv",       [PN_OP_DENSE] = "dense",
      [PN_OP_RELU] = "relu",         [PN_OP_MAXPOOL] = "maxpool", [PN_OP_DROPOUT] = "dropout",
      [PN_OP_NORM] = "norm",         [PN_OP_ADD] = "add",         [PN_OP_CONCAT] = "concat",
      [PN_OP_GAP] = "gap",           [PN_OP_AVGPOOL] = "avgpool", [PN_OP_ZEROPAD] = "zeropad",
      [PN_OP_UPSAMPLE] = "upsample", [PN_OP_SIGMOID] = "sigmoid", [PN_OP_SILU] = "silu",
      [PN_OP_SOFTMAX] = "softmax",   [PN_OP_BCE] = "bce",         [PN_OP_SOFTMAX_CE] = "softmax_ce",
  };
  return (unsigned)k < PN_OP_COUNT ? name[k] : "unknown";
}

/* As everybody counts: the multiply-adds of the weights; elementwise work and biases are left out.
 */
int64_t pn_op_flop(const pn_op_desc *op) {
  int64_t per_output = 1;

  if (op->weight.n_dims == 0) return 0;
  for (int i = 1; i < op->weight.n_dims; i++) per_output *= op->weight.dim[i];
  return 2 * pn_shape_count(op->out) * per_output;
}
