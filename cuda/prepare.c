/* prepare.c -- what all prepared kernels need: answers to the planner, launches, sums over rows. */
#include "cuda_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Threads along a row: a warp's accesses of 16 bytes.  Three blocks of each of an H100's 132
 * multiprocessors, but of threads with neither too few rows to be worth it nor too many to be added
 * in f32. */
enum { ACROSS = 32, SUM_BLOCKS = 396, LEAST_ROWS = 16, MOST_ROWS = 256 };

static uint32_t ratio_up(uint32_t a, uint32_t b) {
  return (a + b - 1) / b;
}

static void deal(const cu_state *s, cu_norm *a) {
  uint32_t groups =
      cu_wide_rows(s, a->channels) ? a->channels / (uint32_t)cu_lanes(s->form) : a->channels;

  a->tiles = ratio_up(groups, ACROSS);
  a->across = ratio_up(groups, a->tiles);
  a->down = CU_BLOCK / a->across;
}

void cu_deal_sums(const cu_state *s, cu_norm *a) {
  uint32_t least, most;

  deal(s, a);
  least = ratio_up(a->rows, a->down * MOST_ROWS);
  most = ratio_up(a->rows, a->down * LEAST_ROWS);
  a->parts = SUM_BLOCKS / a->tiles;
  if (a->parts > most) a->parts = most;
  if (a->parts < least) a->parts = least;
}

static pn_status launch_blocks(const cu_state *s, cu_kernel k, int form, const void *a,
                               uint32_t blocks) {
  return s->device->backend->launch(s->device->impl, k, form, a, blocks * CU_BLOCK);
}

static int form_of_rows(const cu_state *s, const cu_norm *a) {
  return s->form | (cu_wide_rows(s, a->channels) ? CU_WIDE : 0);
}

size_t cu_sum_bytes(const cu_state *s, uint32_t rows, uint32_t channels) {
  cu_norm a = {.rows = rows, .channels = channels};
  cu_deal_sums(s, &a);
  return (size_t)a.parts * 2 * channels * sizeof(double);
}

pn_status cu_sum_launch(const cu_state *s, cu_kernel k, const cu_norm *dealt, const void *args) {
  return launch_blocks(s, k, form_of_rows(s, dealt), args, dealt->tiles * dealt->parts);
}

pn_status cu_sum_rows(const cu_state *s, cu_kernel k, cu_norm *args) {
  cu_deal_sums(s, args);
  return cu_sum_launch(s, k, args, args);
}

pn_status cu_total_rows(const cu_state *s, cu_kernel k, cu_norm *args) {
  if (!args->partial) args->parts = 0;
  return launch_blocks(s, k, CU_F32, args, ratio_up(args->channels, CU_TOTALS));
}

pn_status cu_map_rows(const cu_state *s, cu_kernel k, cu_norm *args) {
  deal(s, args);
  return launch_blocks(s, k, form_of_rows(s, args), args,
                       args->tiles * ratio_up(args->rows, args->down * CU_ROWS));
}
