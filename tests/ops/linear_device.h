/* linear_device.h -- the device emulated with a library for its convolutions and dense layers, in
 * memory that the host may touch: what tests put in the place of cuDNN and cuBLASLt. */
#ifndef PN_TESTS_LINEAR_DEVICE_H
#define PN_TESTS_LINEAR_DEVICE_H

#include "op_run.h"

#include "../../cuda/cuda_device.h"

static cu_backend linear_backend; /* the emulated one; conv and dense are the test's */

static inline pn_status linear_create(pn_device *d, const pn_device_spec *spec) {
  return cu_create(d, &linear_backend, spec);
}

static const pn_device_ops linear_ops = {
    .name = "emulated", .create = linear_create, CU_DEVICE_TABLE};

static inline pn_device *linear_open(void) {
  pn_device_spec spec = {.name = "emulated", .threads = 1};
  pn_device *d = calloc(1, sizeof *d);

  assert_non_null(d);
  d->ops = &linear_ops;
  d->threads = 1;
  setenv("PN_EMULATED_OPEN", "1", 1);
  assert_int_equal(linear_create(d, &spec), PN_OK);
  unsetenv("PN_EMULATED_OPEN");
  return d;
}

static inline bool is_dense(const op_case *c) {
  return c->op[0] == PN_OP_DENSE;
}

static inline bool is_linear(const op_case *c) {
  return is_dense(c) || c->op[0] == PN_OP_CONV;
}

static inline float get(const void *x, pn_dtype type, size_t i) {
  const uint16_t *half = x;

  if (type == PN_F32) return ((const float *)x)[i];
  return type == PN_BF16 ? pn_bf16_to_f32(half[i]) : pn_fp16_to_f32(half[i]);
}

static inline void put(void *x, pn_dtype type, size_t i, double value) {
  uint16_t *half = x;

  if (type == PN_F32)
    ((float *)x)[i] = (float)value;
  else
    half[i] = type == PN_BF16 ? pn_bf16_of((float)value) : pn_fp16_of((float)value);
}

#endif
