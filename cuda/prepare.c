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

int cu_lanes(int form) {
  return form & (CU_BF16 | CU_FP16) ? CU_HALF_LANES : CU_LANES;
}

bool cu_wide(int64_t channels) {
  return channels % CU_LANES == 0;
}

bool cu_wide_rows(const cu_state *s, int64_t channels) {
  return channels % cu_lanes(s->form) == 0;
}

unsigned cu_with_offers(const pn_task *t, unsigned uses, unsigned offers) {
  for (int r = 0; r < PN_ROLE_COUNT; r++)
    if (offers & CU_BIT(r) && t->layout[r].tag[0]) uses |= CU_BIT(r);
  return uses;
}

int cu_form_of(pn_dtype type) {
  return type == PN_BF16 ? CU_BF16 : type == PN_FP16 ? CU_FP16 : CU_F32;
}

void cu_state_destroy(void *state) {
  cu_state *s = state;
  if (!s) return;
  if (s->call.destroy) s->call.destroy(s->call.plan);
  free(s);
}

static bool is_activation(int role) {
  return role == PN_SRC || role == PN_DST || (role >= PN_DSRC && role <= PN_DMID) ||
         (role >= PN_SRC1 && role <= PN_DADD);
}

/* What the kernel's activations, and its weight, are. */
static pn_dtype type_of(const pn_task *t) {
  pn_op_kind k = t->op[0]->kind;
  bool full = k == PN_OP_BCE || k == PN_OP_SOFTMAX_CE || k == PN_OP_SOFTMAX;
  return full ? PN_F32 : t->precision;
}

/* Logits are wished, and made, in f32. */
static bool keeps_type(const pn_task *t, int role) {
  return role == PN_DST && t->pass == PN_FORWARD && t->n_ops == 1 && t->op[0]->kind == PN_OP_DENSE;
}

/* Channels last; vectors and rows are plain. */
static pn_status set_layouts(pn_task *t, unsigned uses) {
  for (int r = 0; r < PN_ROLE_COUNT; r++) {
    pn_layout *l = &t->layout[r];
    pn_dtype type = is_activation(r) || r == PN_WEIGHT ? type_of(t) : PN_F32;
    if (!(uses & CU_BIT(r)) || r == PN_AUX || r == PN_SCRATCH) continue;
    if (keeps_type(t, r)) type = l->type;
    if (pn_shape_count(l->shape) > INT32_MAX)
      return PN_FAIL(PN_ERR_UNSUPPORTED, "cuda: %s of %lld elements, at most 2^31 - 1",
                     pn_op_name(t->op[0]->kind), (long long)pn_shape_count(l->shape));
    if (l->shape.n_dims == 4)
      snprintf(l->tag, sizeof l->tag, "acdb");
    else
      *l = pn_layout_plain(l->shape);
    l->type = type;
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
  (*s)->form = cu_form_of(type_of(t));
  (*s)->uses = t->uses = uses;
  if (t->pass == PN_FORWARD) t->aux_bytes = 0;
  t->scratch_bytes = 0;
  *out = (pn_kernel){.run = run, .destroy = cu_state_destroy, .state = *s};
  snprintf(out->impl, sizeof out->impl, "own");
  return PN_OK;
}

pn_status cu_launch(const cu_state *s, cu_kernel k, bool wide, const void *args, int64_t n) {
  const cu_device *c = s->device;
  int form = k < CU_TYPED_COUNT ? s->form : CU_F32;

  if (wide) n /= cu_lanes(form);
  if (wide) form |= CU_WIDE;
  return n > 0 ? c->backend->launch(c->impl, k, form, args, (uint32_t)n) : PN_OK;
}

/* Enough threads to fill a GPU, each with some rows. */
uint32_t cu_sum_parts(const cu_state *s, uint32_t rows, uint32_t channels) {
  uint32_t groups = cu_wide_rows(s, channels) ? channels / (uint32_t)cu_lanes(s->form) : channels;
  uint32_t parts = SUM_THREADS / groups, most = (rows + SUM_ROWS - 1) / SUM_ROWS;
  if (parts > most) parts = most;
  return parts ? parts : 1;
}

static uint32_t folded(uint32_t parts) {
  return (parts + FOLD - 1) / FOLD;
}

size_t cu_sum_bytes(const cu_state *s, uint32_t rows, uint32_t channels) {
  uint32_t parts = cu_sum_parts(s, rows, channels);
  return ((size_t)parts + folded(parts)) * 2 * channels * sizeof(double);
}

/* Few parts are left for the last kernel, which has one thread per channel.  Two areas: all parts,
 * then the folded ones; a second fold goes back to the first. */
pn_status cu_sum_rows(const cu_state *s, cu_kernel k, cu_norm *args) {
  uint32_t parts = cu_sum_parts(s, args->rows, args->channels);
  double *at = args->partial, *other = at + (size_t)parts * 2 * args->channels;
  bool wide = cu_wide_rows(s, args->channels);
  pn_status st;

  args->parts = parts;
  st = cu_launch(s, k, wide, args, (int64_t)args->channels * parts);
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
