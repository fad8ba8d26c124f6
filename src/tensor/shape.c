/* shape.c -- logical shapes. */
#include "tensor/shape.h"

#include <inttypes.h>
#include <stdio.h>

pn_shape pn_shape1(int64_t a) {
  return (pn_shape){1, {a}};
}

pn_shape pn_shape2(int64_t a, int64_t b) {
  return (pn_shape){2, {a, b}};
}

pn_shape pn_shape3(int64_t a, int64_t b, int64_t c) {
  return (pn_shape){3, {a, b, c}};
}

pn_shape pn_shape4(int64_t a, int64_t b, int64_t c, int64_t d) {
  return (pn_shape){4, {a, b, c, d}};
}

int64_t pn_shape_count(pn_shape s) {
  int64_t count = 1;
  for (int i = 0; i < s.n_dims; i++) count *= s.dim[i];
  return count;
}

bool pn_shape_equal(pn_shape a, pn_shape b) {
  if (a.n_dims != b.n_dims) return false;
  for (int i = 0; i < a.n_dims; i++)
    if (a.dim[i] != b.dim[i]) return false;
  return true;
}

void pn_shape_text(pn_shape s, char *out, size_t out_bytes) {
  size_t used = 0;

  if (out_bytes) out[0] = '\0';
  for (int i = 0; i < s.n_dims && used < out_bytes; i++) {
    int n = snprintf(out + used, out_bytes - used, "%s%" PRId64, i ? "x" : "", s.dim[i]);
    if (n < 0) return;
    used += (size_t)n;
  }
}
