/* reorder.c -- between permutations of the dimensions, and between types. */
#include "cuda_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Strides of a tag that permutes the plain order; false for others. */
static bool strides_of(const pn_layout *l, uint32_t stride[4]) {
  uint32_t step = 1;
  int n = l->shape.n_dims;

  if (n > 4 || (int)strlen(l->tag) != n) return false;
  for (int k = n - 1; k >= 0; k--) {
    int dim = l->tag[k] - 'a';
    if (dim < 0 || dim >= n) return false;
    stride[dim] = step;
    step *= (uint32_t)l->shape.dim[dim];
  }
  return true;
}

/* The same order: nothing but the type changes. */
static pn_status convert_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  cu_convert a = {.x = ptr[PN_SRC], .out = ptr[PN_DST], .to_f32 = s->args.permute.to_f32};
  (void)ctx;

  return cu_launch(s, CU_K_convert, s->convert % cu_lanes(s->form) == 0, &a, s->convert);
}

static pn_status reorder_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  cu_permute a = s->args.permute;
  (void)ctx;

  a.x = ptr[PN_SRC];
  a.out = ptr[PN_DST];
  return cu_launch(s, CU_K_permute, false, &a, (int64_t)a.dim[0] * a.dim[1] * a.dim[2] * a.dim[3]);
}

/* The batch as it is made, to how it is taken. */
static pn_status images_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  const cu_permute *p = &s->args.permute;
  cu_interleave a = {.x = ptr[PN_SRC], .out = ptr[PN_DST], .channels = p->dim[3]};
  (void)ctx;

  a.plane = p->dim[1] * p->dim[2];
  return cu_launch(s, CU_K_interleave, cu_wide_rows(s, (int64_t)a.channels * a.plane), &a,
                   (int64_t)p->dim[0] * a.channels * a.plane);
}

/* Does what is in memory order stay so, but for dimensions of length 1? */
static bool same_order(const pn_layout *from, const pn_layout *to) {
  const char *a = from->tag, *b = to->tag;

  while (*a || *b)
    if (*a && from->shape.dim[*a - 'a'] == 1)
      a++;
    else if (*b && to->shape.dim[*b - 'a'] == 1)
      b++;
    else if (*a++ != *b++)
      return false;
  return true;
}

/* Between permutations of the dimensions.  UNSUPPORTED: blocked layouts, which only CPUs have. */
pn_status cu_reorder(pn_device *d, const pn_layout *from, const pn_layout *to, pn_kernel *out) {
  uint32_t source[4], target[4];
  int n = to->shape.n_dims;
  bool images;
  cu_state *s;

  *out = (pn_kernel){.run = NULL};
  if (!pn_shape_equal(from->shape, to->shape))
    return PN_FAIL(PN_ERR_ARG, "cuda: reorder between different shapes");
  if (!strides_of(from, source) || !strides_of(to, target))
    return PN_FAIL(PN_ERR_UNSUPPORTED, "cuda: reorder of %s to %s", from->tag, to->tag);
  if (from->type != to->type && from->type != PN_F32 && to->type != PN_F32)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "cuda: reorder of bf16 to fp16");
  if (!(s = calloc(1, sizeof *s))) return PN_FAIL(PN_ERR_NOMEM, "cuda: reorder");
  s->device = d->impl;
  s->form = cu_form_of(from->type == PN_F32 ? to->type : from->type);
  s->args.permute.from_f32 = from->type == PN_F32;
  s->args.permute.to_f32 = to->type == PN_F32;
  if (same_order(from, to) && (from->type == PN_F32 || to->type == PN_F32))
    s->convert = pn_shape_count(to->shape);
  for (int k = 0; k < 4; k++) {
    int dim = k < n ? to->tag[k] - 'a' : 0; /* in memory order; missing ones have length 1 */
    s->args.permute.dim[k] = k < n ? (uint32_t)to->shape.dim[dim] : 1;
    s->args.permute.stride[k] = k < n ? source[dim] : 0;
  }
  images = from->type == PN_F32 && strcmp(from->tag, "abcd") == 0 && strcmp(to->tag, "acdb") == 0;
  *out = (pn_kernel){.run = s->convert ? convert_run
                            : images   ? images_run
                                       : reorder_run,
                     .destroy = cu_state_destroy,
                     .state = s};
  snprintf(out->impl, sizeof out->impl, "own");
  return PN_OK;
}
