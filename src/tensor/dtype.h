/* dtype.h -- element types shared by tensors, communication and files. */
#ifndef PN_TENSOR_DTYPE_H
#define PN_TENSOR_DTYPE_H

#include <stddef.h>

/* f32 is 0: what a layout is where nothing else is said.  bf16: the upper half of an f32; fp16:
 * IEEE 754's. */
typedef enum { PN_F32, PN_BF16, PN_FP16, PN_F64, PN_U8, PN_I32, PN_I64, PN_DTYPE_COUNT } pn_dtype;

size_t pn_dtype_bytes(pn_dtype t);     /* bytes of one element */
const char *pn_dtype_name(pn_dtype t); /* "u8", "i32", ... */

#endif
