/* dtype.c -- sizes and names of element types. */
#include "tensor/dtype.h"

#include <stdint.h>

static const struct {
  const char *name;
  size_t bytes;
} types[PN_DTYPE_COUNT] = {
    [PN_U8] = {"u8", 1},
    [PN_I32] = {"i32", sizeof(int32_t)},
    [PN_I64] = {"i64", sizeof(int64_t)},
    [PN_F32] = {"f32", sizeof(float)},
    [PN_BF16] = {"bf16", sizeof(uint16_t)},
    [PN_FP16] = {"fp16", sizeof(uint16_t)},
    [PN_F64] = {"f64", sizeof(double)},
};

size_t pn_dtype_bytes(pn_dtype t) {
  return types[t].bytes;
}

const char *pn_dtype_name(pn_dtype t) {
  return types[t].name;
}
