/* post.c -- BACKWARD_POST: the diff of a chain's first op from that of its output, through a ReLU,
 * or a ReLU and a pool.  The sums that WEIGHT needs of the result (of a bias, of gamma and beta)
 * are made on the way and left in AUX, for the result is large and would have to be read again. */
#include "cuda_device.h"

enum { AUX_ALIGN = 16 };

static bool has_pool(const pn_op_desc *op, int n_ops) {
  return op->kind == PN_OP_CONV && n_ops == 3;
}

static bool has_sums(const pn_op_desc *op, int n_ops, bool training) {
  if (!training || n_ops == 1) return false;
  if (op->kind == PN_OP_NORM) return n_ops == 3 && !op->norm.frozen;
  return op->kind == PN_OP_CONV && op->bias;
}

bool cu_post_sums(const cu_state *s) {
  return has_sums(&s->op[0], s->n_ops, s->training);
}

/* Cells of a pool: windows, and what is left at the right and lower edge. */
static uint32_t cells(const pn_op_desc *pool, int dim) {
  return (uint32_t)((pool->in.dim[2 + dim] + pool->window.kernel[dim] - 1) /
                    pool->window.kernel[dim]);
}

static uint32_t post_rows(const cu_state *s) {
  if (!has_pool(&s->op[0], s->n_ops)) return cu_rows(&s->op[0].out);
  return (uint32_t)s->op[0].out.dim[0] * cells(&s->op[2], 0) * cells(&s->op[2], 1);
}

static size_t behind(size_t own) {
  return (own + AUX_ALIGN - 1) / AUX_ALIGN * AUX_ALIGN;
}

/* What forward leaves in AUX of its own. */
static size_t own_aux(const cu_state *s) {
  if (s->op[0].kind == PN_OP_NORM)
    return CU_NORM_ARRAYS * (size_t)cu_channels(&s->op[0].in) * sizeof(float);
  return has_pool(&s->op[0], s->n_ops) ? (size_t)pn_shape_count(s->op[2].out) : 0;
}

size_t cu_post_aux(const cu_state *s) {
  if (!cu_post_sums(s)) return own_aux(s);
  return behind(own_aux(s)) + cu_sum_bytes(s, post_rows(s), cu_channels(&s->op[0].out));
}

cu_norm cu_post_rows(const cu_state *s, void *aux) {
  cu_norm a = {.rows = post_rows(s), .channels = cu_channels(&s->op[0].out)};

  if (cu_post_sums(s)) a.partial = (double *)(void *)((char *)aux + behind(own_aux(s)));
  cu_deal_sums(s, &a);
  return a;
}

static pn_status undo_relu(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  bool norm = s->op[0].kind == PN_OP_NORM;
  cu_norm a = cu_post_rows(s, ptr[PN_AUX]);
  (void)ctx;

  a.d = ptr[PN_DDST];
  a.d1 = s->uses & CU_BIT(PN_DDST1) ? ptr[PN_DDST1] : NULL;
  a.y = ptr[PN_DST];
  a.out = ptr[PN_DMID];
  a.x = norm ? ptr[PN_SRC] : NULL;
  a.aux = norm ? ptr[PN_AUX] : NULL;
  return cu_sum_launch(s, CU_K_norm_post, &a, &a);
}

static pn_status undo_pool(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  const cu_state *s = state;
  const pn_op_desc *pool = &s->op[2];
  cu_pool_post a = {.rows = cu_post_rows(s, ptr[PN_AUX])};
  (void)ctx;

  a.rows.d = ptr[PN_DDST];
  a.rows.d1 = s->uses & CU_BIT(PN_DDST1) ? ptr[PN_DDST1] : NULL;
  a.rows.out = ptr[PN_DMID];
  a.where = ptr[PN_AUX];
  a.h = (uint32_t)pool->in.dim[2];
  a.w = (uint32_t)pool->in.dim[3];
  a.oh = (uint32_t)pool->out.dim[2];
  a.ow = (uint32_t)pool->out.dim[3];
  for (int i = 0; i < 2; i++) {
    a.cells[i] = cells(pool, i);
    a.kernel[i] = (uint32_t)pool->window.kernel[i];
  }
  return cu_sum_launch(s, CU_K_pool_post, &a.rows, &a);
}

pn_status cu_post_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  const pn_op_desc *op = t->op[0];
  bool pool = has_pool(op, t->n_ops), norm = op->kind == PN_OP_NORM;
  unsigned uses = CU_BIT(PN_DDST) | CU_BIT(PN_DMID) | CU_BIT(PN_AUX);
  cu_state *s;

  if (!pool && !has_sums(op, t->n_ops, t->training)) return cu_relu_post(d, t, out);
  if (!pool) uses |= CU_BIT(PN_DST);
  if (norm) uses |= CU_BIT(PN_SRC);
  return cu_answer(d, t, cu_with_offers(t, uses, CU_BIT(PN_DDST1)), pool ? undo_pool : undo_relu,
                   out, &s);
}
