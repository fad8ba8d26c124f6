/* prepare.c -- what all prepared kernels need: answers to the planner, launches, sums over rows. */
#include "cuda_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUM_THREADS = 1 << 17, SUM_ROWS = 8, FOLD = 64 };

uint32_t cu_channels(const pn_shape *s) {
  return (uint32_t)(s->n_dims > 1 ? s->dim[1] : s->dim[0]);
}

uint32_t cu_rows(const pn_shape *s) {
  return (uint32_t)(pn_shape_count(*s) / (s->n_dims > 1 ? s->dim[1] : s->dim[0]));
}

bool cu_wide(int64_t channels) {
  return channels % CU_LANES == 0;
}

unsigned cu_with_offers(const pn_task *t, unsigned uses, unsigned offers) {
  for (int r = 0; r < PN_ROLE_COUNT; r++)
    if (offers & CU_BIT(r) && t->layout[r].tag[0]) uses |= CU_BIT(r);
  return uses;
}

static void destroy(void *state) {
  cu_state *s = state;
  if (!s) return;
  if (s->call.destroy) s->call.destroy(s->call.plan);
  free(s);
}

/* Channels last; vectors and rows are plain. */
static pn_status set_layouts(pn_task *t, unsigned uses) {
  for (int r = 0; r < PN_ROLE_COUNT; r++) {
    pn_layout *l = &t->layout[r];
    if (!(uses & CU_BIT(r)) || r == PN_AUX || r == PN_SCRATCH) continue;
    if (pn_shape_count(l->shape) > INT32_MAX)
      return PN_FAIL(PN_ERR_UNSUPPORTED, "cuda: %s of %lld elements, at most 2^31 - 1",
                     pn_op_name(t->op[0]->kind), (long long)pn_shape_count(l->shape));
    if (l->shape.n_dims == 4)
      snprintf(l->tag, sizeof l->tag, "acdb");
    else
      *l = pn_layout_plain(l->shape);
  }
  return PN_OK;
}

pn_status cu_answer(pn_device *d, pn_task *t, unsigned uses, cu_run *run, pn_kernel *out,
                    cu_state **s) {
  pn_status st = set_layouts(t, uses);

  *out = (pn_kernel){.run = NULL};
  if (st != PN_OK) return st;
  if (!(*s = calloc(1, sizeof **s))) return PN_FAIL(PN_ERR_NOMEM, "cuda: kernel");
  (*s)->device = d->impl;
  (*s)->pass = t->pass;
  for (int i = 0; i < t->n_ops; i++) (*s)->op[i] = *t->op[i];
  (*s)->n_ops = t->n_ops;
  (*s)->training = t->training;
  (*s)->uses = t->uses = uses;
  if (t->pass == PN_FORWARD) t->aux_bytes = 0;
  t->scratch_bytes = 0;
  *out = (pn_kernel){.run = run, .destroy = destroy, .state = *s};
  snprintf(out->impl, sizeof out->impl, "own");
  return PN_OK;
}

pn_status cu_launch(const cu_state *s, cu_kernel k, bool wide, const void *args, int64_t n) {
  const cu_device *c = s->device;
  if (wide) n /= CU_LANES;
  return n > 0 ? c->backend->launch(c->impl, k, wide, args, (uint32_t)n) : PN_OK;
}

/* Enough threads to fill a GPU, each with some rows. */
uint32_t cu_sum_parts(uint32_t rows, uint32_t channels) {
  uint32_t groups = cu_wide(channels) ? channels / CU_LANES : channels;
  uint32_t parts = SUM_THREADS / groups, most = (rows + SUM_ROWS - 1) / SUM_ROWS;
  if (parts > most) parts = most;
  return parts ? parts : 1;
}

static uint32_t folded(uint32_t parts) {
  return (parts + FOLD - 1) / FOLD;
}

size_t cu_sum_bytes(uint32_t rows, uint32_t channels) {
  uint32_t parts = cu_sum_parts(rows, channels);
  return ((size_t)parts + folded(parts)) * 2 * channels * sizeof(double);
}

/* Few parts are left for the last kernel, which has one thread per channel.  Two areas: all parts,
 * then the folded ones; a second fold goes back to the first. */
pn_status cu_sum_rows(const cu_state *s, cu_kernel k, cu_norm *args) {
  uint32_t groups, parts = cu_sum_parts(args->rows, args->channels);
  double *at = args->partial, *other = at + (size_t)parts * 2 * args->channels;
  bool wide = cu_wide(args->channels);
  pn_status st;

  groups = wide ? args->channels / CU_LANES : args->channels;
  args->parts = parts;
  st = cu_launch(s, k, wide, args, (int64_t)groups * parts * (wide ? CU_LANES : 1));
  while (st == PN_OK && parts > FOLD) {
    cu_fold fold = {
        .in = at, .out = other, .width = 2 * args->channels, .parts = parts, .group = FOLD};
    parts = folded(parts);
    st = cu_launch(s, CU_K_fold, false, &fold, (int64_t)fold.width * parts);
    other = at;
    at = fold.out;
  }
  args->partial = at;
  args->parts = parts;
  return st;
}

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

static pn_status reorder_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  cu_permute a = s->args.permute;
  (void)ctx;

  a.x = ptr[PN_SRC];
  a.out = ptr[PN_DST];
  return cu_launch(s, CU_K_permute, false, &a, (int64_t)a.dim[0] * a.dim[1] * a.dim[2] * a.dim[3]);
}

/* Between permutations of the dimensions.  UNSUPPORTED: blocked layouts, which only CPUs have. */
pn_status cu_reorder(pn_device *d, const pn_layout *from, const pn_layout *to, pn_kernel *out) {
  uint32_t source[4], target[4];
  int n = to->shape.n_dims;
  cu_state *s;

  *out = (pn_kernel){.run = NULL};
  if (!pn_shape_equal(from->shape, to->shape))
    return PN_FAIL(PN_ERR_ARG, "cuda: reorder between different shapes");
  if (!strides_of(from, source) || !strides_of(to, target))
    return PN_FAIL(PN_ERR_UNSUPPORTED, "cuda: reorder of %s to %s", from->tag, to->tag);
  if (!(s = calloc(1, sizeof *s))) return PN_FAIL(PN_ERR_NOMEM, "cuda: reorder");
  s->device = d->impl;
  for (int k = 0; k < 4; k++) {
    int dim = k < n ? to->tag[k] - 'a' : 0; /* in memory order; missing ones have length 1 */
    s->args.permute.dim[k] = k < n ? (uint32_t)to->shape.dim[dim] : 1;
    s->args.permute.stride[k] = k < n ? source[dim] : 0;
  }
  *out = (pn_kernel){.run = reorder_run, .destroy = destroy, .state = s};
  snprintf(out->impl, sizeof out->impl, "own");
  return PN_OK;
}
