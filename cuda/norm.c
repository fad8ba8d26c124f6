/* norm.c -- batch norm, alone or with ReLU, or with add and ReLU. */
#include "cuda_device.h"

#include <stdio.h>

/* Arguments without pointers of the run. */
static cu_norm describe(const cu_state *s) {
  const pn_op_desc *op = &s->op[0];
  cu_norm a = {.rows = cu_rows(&op->in), .channels = cu_channels(&op->in), .eps = op->norm.eps};

  a.update = op->norm.update;
  a.unbiased =
      op->norm.biased || a.rows < 2 ? 1.0f : (float)((double)a.rows / ((double)a.rows - 1));
  a.batch = s->training && !op->norm.frozen;
  return a;
}

/* Evaluation keeps mean and 1/sd in SCRATCH, behind the sums. */
static float *aux_of(const cu_state *s, void *const ptr[PN_ROLE_COUNT]) {
  if (s->uses & CU_BIT(PN_AUX)) return ptr[PN_AUX];
  return (float *)(void *)((char *)ptr[PN_SCRATCH] + s->sums);
}

static pn_status forward(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  cu_norm a = s->args.norm;
  pn_status st = PN_OK;
  (void)ctx;

  a.x = ptr[PN_SRC];
  a.z = s->uses & CU_BIT(PN_SRC1) ? ptr[PN_SRC1] : NULL;
  a.out = ptr[PN_DST];
  a.gamma = ptr[PN_GAMMA];
  a.beta = ptr[PN_BETA];
  a.running_mean = ptr[PN_MEAN];
  a.running_var = ptr[PN_VAR];
  a.stats = s->uses & CU_BIT(PN_STATS) ? ptr[PN_STATS] : NULL;
  a.partial = a.batch && !a.stats ? ptr[PN_SCRATCH] : NULL;
  a.aux = aux_of(s, ptr);
  a.shifted = a.partial != NULL;
  if (a.partial) PN_TRY(cu_sum_rows(s, CU_K_norm_statistics, &a));
  PN_TRY(cu_total_rows(s, CU_K_norm_settle, &a));
  PN_TRY(cu_map_rows(s, CU_K_norm_apply, &a));
done:
  return st;
}

static void diffs(const cu_state *s, void *const ptr[PN_ROLE_COUNT], cu_norm *a) {
  a->x = ptr[PN_SRC];
  a->d = ptr[PN_DDST];
  a->beta = s->uses & CU_BIT(PN_BETA) ? ptr[PN_BETA] : NULL;
  a->d1 = s->uses & CU_BIT(PN_DDST1) ? ptr[PN_DDST1] : NULL;
  a->add = s->uses & CU_BIT(PN_DADD) ? ptr[PN_DADD] : NULL;
  a->aux = ptr[PN_AUX];
}

static pn_status weight(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  cu_norm a = s->args.norm;
  pn_status st;
  (void)ctx;

  diffs(s, ptr, &a);
  a.dgamma = ptr[PN_DGAMMA];
  a.dbeta = ptr[PN_DBETA];
  if (cu_post_sums(s)) {
    cu_norm made = cu_post_rows(s, ptr[PN_AUX]);
    a.partial = made.partial;
    a.parts = made.parts;
  } else {
    a.partial = ptr[PN_SCRATCH];
    PN_TRY(cu_sum_rows(s, CU_K_norm_diffs, &a));
  }
  PN_TRY(cu_total_rows(s, CU_K_norm_gradients, &a));
done:
  return st;
}

static pn_status data(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  cu_norm a = s->args.norm;
  (void)ctx;

  diffs(s, ptr, &a);
  a.out = ptr[PN_DSRC];
  return cu_map_rows(s, CU_K_norm_data, &a);
}

static pn_status prepare_forward(pn_device *d, pn_task *t, pn_kernel *out, cu_state **s) {
  unsigned uses = CU_BIT(PN_SRC) | CU_BIT(PN_DST) | CU_BIT(PN_GAMMA) | CU_BIT(PN_BETA) |
                  CU_BIT(PN_MEAN) | CU_BIT(PN_VAR) | CU_BIT(PN_SCRATCH);
  size_t aux = CU_NORM_ARRAYS * (size_t)cu_channels(&t->op[0]->in) * sizeof(float);
  pn_status st;

  if (t->n_ops == 3) uses |= CU_BIT(PN_SRC1);
  if (t->training) uses |= CU_BIT(PN_AUX);
  uses = cu_with_offers(t, uses, CU_BIT(PN_STATS));
  if (uses & CU_BIT(PN_STATS)) uses &= ~CU_BIT(PN_SCRATCH); /* in training alone, with AUX */
  if ((st = cu_answer(d, t, uses, forward, out, s)) != PN_OK) return st;
  (*s)->sums = cu_sum_bytes(*s, cu_rows(&t->op[0]->in), cu_channels(&t->op[0]->in));
  if (uses & CU_BIT(PN_SCRATCH)) t->scratch_bytes = (*s)->sums + aux;
  if (t->training) t->aux_bytes = cu_post_aux(*s);
  if (uses & CU_BIT(PN_STATS)) snprintf(out->impl, sizeof out->impl, "own, sums given");
  return PN_OK;
}

/* With an add inside, POST undoes the ReLU for both branches; else each pass does it itself, by the
 * sign of what it computes again from the input: that saves the output's bytes. */
pn_status cu_norm_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  unsigned uses = CU_BIT(PN_SRC) | CU_BIT(PN_DDST) | CU_BIT(PN_AUX), offers = CU_BIT(PN_DADD);
  bool relu = t->n_ops == 2 || (t->n_ops == 3 && t->pass == PN_FORWARD);
  cu_state *s = NULL;
  pn_status st;

  *out = (pn_kernel){.run = NULL};
  if (t->pass == PN_BACKWARD_POST) return t->n_ops == 3 ? cu_post_prepare(d, t, out) : PN_OK;
  if (relu) uses |= CU_BIT(PN_BETA);
  if (t->n_ops < 3) offers |= CU_BIT(PN_DDST1);
  if (t->pass == PN_FORWARD)
    st = prepare_forward(d, t, out, &s);
  else if (t->pass == PN_BACKWARD_WEIGHT)
    st = cu_answer(d, t,
                   cu_with_offers(t,
                                  uses | CU_BIT(PN_DGAMMA) | CU_BIT(PN_DBETA) | CU_BIT(PN_SCRATCH),
                                  offers & CU_BIT(PN_DDST1)),
                   weight, out, &s);
  else
    st = cu_answer(d, t, cu_with_offers(t, uses | CU_BIT(PN_DSRC), offers), data, out, &s);
  if (st != PN_OK) return st;
  s->args.norm = describe(s);
  s->args.norm.relu = relu;
  if (t->pass == PN_BACKWARD_WEIGHT)
    t->scratch_bytes = cu_sum_bytes(s, s->args.norm.rows, s->args.norm.channels);
  return PN_OK;
}
