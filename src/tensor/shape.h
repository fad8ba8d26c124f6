/* shape.h -- logical shapes. Images are N C H W, features N F, weights O I H W or O I; row-major.
 */
#ifndef PN_TENSOR_SHAPE_H
#define PN_TENSOR_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PN_MAX_DIMS = 4 };

typedef struct {
  int n_dims;
  int64_t dim[PN_MAX_DIMS];
} pn_shape;

pn_shape pn_shape1(int64_t a);
pn_shape pn_shape2(int64_t a, int64_t b);
pn_shape pn_shape3(int64_t a, int64_t b, int64_t c);
pn_shape pn_shape4(int64_t a, int64_t b, int64_t c, int64_t d);
int64_t pn_shape_count(pn_shape s); /* product of the dimensions; 1 for n_dims 0 */
bool pn_shape_equal(pn_shape a, pn_shape b);
void pn_shape_text(pn_shape s, char *out, size_t out_bytes); /* "32x64x128x128" */

#endif
