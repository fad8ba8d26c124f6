/* layout.h -- how a logical tensor lies in memory, f32, bf16 or fp16.
 *
 * A layout is a logical shape plus a tag in oneDNN's notation, one letter per dimension (a =
 * first): "abcd" is plain row-major NCHW, "acdb" is NHWC, "aBcd16b" is NCHW with channels in blocks
 * of 16 (dimension b is padded up to a multiple of 16, padding is zero), "ABcd16b16a" blocks two.
 * Layouts are values: copied freely, compared with pn_layout_equal.  The empty tag means "not
 * chosen yet".  The storage of a parameter, its gradient and its optimizer state share one layout.
 */
#ifndef PN_TENSOR_LAYOUT_H
#define PN_TENSOR_LAYOUT_H

#include "base/status.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

enum { PN_TAG_BYTES = 32 };

typedef struct {
  pn_shape shape; /* logical */
  char tag[PN_TAG_BYTES];
  pn_dtype type; /* PN_F32, PN_BF16 or PN_FP16 */
} pn_layout;

pn_layout pn_layout_plain(pn_shape s); /* "a", "ab", "abc" or "abcd" */
pn_layout pn_layout_any(pn_shape s);   /* empty tag: the device chooses */
bool pn_layout_is_plain(const pn_layout *l);
bool pn_layout_equal(const pn_layout *a, const pn_layout *b);

/* Elements in memory, padding included. Errors: ARG (tag does not parse or does not fit the shape).
 */
pn_status pn_layout_count(const pn_layout *l, int64_t *count);
pn_status pn_layout_bytes(const pn_layout *l, size_t *bytes);

/* Copy between plain row-major f32 `logical` (pn_shape_count elements) and `stored`
 * (pn_layout_bytes).  pack rounds where the layout is not f32, and writes zeros into the padding.
 * Slow path: start-up, checkpoints, hashes. */
pn_status pn_layout_pack(const pn_layout *l, const float *logical, void *stored);
pn_status pn_layout_unpack(const pn_layout *l, const void *stored, float *logical);

#endif
