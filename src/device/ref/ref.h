/* ref.h -- inside the ref device: one table row per op, plain layouts, one thread. */
#ifndef PN_DEVICE_REF_REF_H
#define PN_DEVICE_REF_REF_H

#include "device/device.h"

#define REF_BIT(role) (1u << (role))

/* State of every ref kernel. */
typedef struct {
  pn_op_desc op;
  bool training;
} ref_state;

typedef pn_status ref_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx);

/* What an op does in each pass; run == NULL: no such pass. */
typedef struct {
  struct {
    ref_run *run;
    unsigned uses;
  } pass[PN_PASS_COUNT];
  size_t (*aux_bytes)(const pn_op_desc *op);     /* NULL: none */
  size_t (*scratch_bytes)(const pn_op_desc *op); /* NULL: none */
} ref_op;

extern const ref_op ref_conv, ref_dense, ref_relu, ref_maxpool, ref_dropout, ref_bce,
    ref_softmax_ce, ref_norm, ref_add, ref_concat, ref_gap, ref_avgpool, ref_zeropad, ref_upsample,
    ref_sigmoid, ref_silu, ref_softmax;

#endif
