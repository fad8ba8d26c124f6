/* plan_backward.c -- appends the backward steps: chains in reverse, in each chain the passes in
 * the order POST, WEIGHT, DATA, so that a gradient is ready as early as can be. */
#include "nn/plan_internal.h"

/* The device refuses one pass of a chain: it must not take the chain at all (its AUX is private);
 * lowering starts again with a shorter one. */
static pn_status refuse_chain(pn_plan *p, const pn_chain *c, pn_status st) {
  if (st != PN_ERR_UNSUPPORTED || c->device == p->host) return st;
  if (c->n == 1 && p->spec.device->ops->far) return st; /* `ref` cannot reach its memory */
  p->longest[c->node[0]] = c->n - 1;
  p->retry = true;
  return st;
}

/* The diff of SRC as it stands, where a kernel may add to it. */
static pn_diff *diff_to_join(pn_plan *p, const pn_chain *c, pn_pass pass) {
  pn_diff *d = &p->diff[c->input[0]];
  return pass == PN_BACKWARD_DATA && c->n_in == 1 && d->n > 0 ? d : NULL;
}

static pn_status prepare_pass(pn_plan *p, const pn_chain *c, pn_pass pass, const pn_diff *diff,
                              pn_step *s) {
  const pn_diff *join = diff_to_join(p, c, pass);

  *s = pn_step_begin(p, c, true);
  s->task = pn_task_begin(p, c, pass);
  if (diff->n > 0) s->task.layout[PN_DDST] = diff->term[0].copy[0].layout;
  if (diff->n > 1) s->task.layout[PN_DDST1] = diff->term[1].copy[0].layout;
  if (join) s->task.layout[PN_DADD] = join->term[join->n - 1].copy[0].layout;
  if (pass != PN_BACKWARD_POST) s->flop = pn_op_flop(&p->op[c->node[0]]);
  return refuse_chain(p, c, c->device->ops->prepare(c->device, &s->task, &s->kernel));
}

/* Diffs among the operands of a pass. */
static pn_status diff_inputs(pn_plan *p, const pn_chain *c, pn_diff *diff, pn_step *s) {
  pn_diff *join = diff_to_join(p, c, s->task.pass);
  const pn_layout *l = s->task.layout;
  pn_status st = PN_OK;

  if (pn_step_uses(s, PN_DDST))
    PN_TRY(pn_value_in(p, s, &diff->term[0], &l[PN_DDST], &s->operand[PN_DDST]));
  if (pn_step_uses(s, PN_DDST1))
    PN_TRY(pn_value_in(p, s, &diff->term[1], &l[PN_DDST1], &s->operand[PN_DDST1]));
  if (join && pn_step_uses(s, PN_DADD)) {
    PN_TRY(pn_value_in(p, s, &join->term[join->n - 1], &l[PN_DADD], &s->operand[PN_DADD]));
    join->n--; /* is part of this step's DSRC now */
  }
done:
  return st;
}

/* Kernel and operands it reads.  A kernel that takes one diff of several gets their sum. */
static pn_status begin_pass(pn_plan *p, const pn_chain *c, pn_pass pass, pn_diff *diff,
                            pn_step *s) {
  pn_status st;

  *s = pn_step_begin(p, c, true);
  PN_TRY(pn_diff_sum(p, s, diff, 2));
  PN_TRY(prepare_pass(p, c, pass, diff, s));
  if (s->kernel.run && diff->n > 1 && !pn_step_uses(s, PN_DDST1)) {
    pn_kernel_destroy(&s->kernel);
    PN_TRY(pn_diff_sum(p, s, diff, 1));
    PN_TRY(prepare_pass(p, c, pass, diff, s));
  }
  if (!s->kernel.run) return PN_OK;
  PN_TRY(pn_step_inputs(p, c, s));
  PN_TRY(diff_inputs(p, c, diff, s));
done:
  return st;
}

static pn_status output(pn_plan *p, pn_step *s, pn_role role, pn_value *out) {
  pn_status st = pn_buffer_add_layout(p, &s->task.layout[role], &s->operand[role]);
  if (st == PN_OK) pn_value_set(out, &s->task.layout[role], s->operand[role]);
  return st;
}

/* Diff of the first op's output into `mid`, which stays empty where the device has no such kernel:
 * the other passes then take the chain's diff. */
static pn_status add_post_pass(pn_plan *p, const pn_chain *c, pn_diff *diff, pn_diff *mid) {
  pn_step s;
  pn_status st = begin_pass(p, c, PN_BACKWARD_POST, diff, &s);

  if (st != PN_OK || !s.kernel.run) goto done;
  PN_TRY(output(p, &s, PN_DMID, &mid->term[0]));
  PN_TRY(pn_step_add(p, &s));
  mid->n = 1;
done:
  pn_kernel_destroy(&s.kernel);
  return st;
}

static pn_status add_data_pass(pn_plan *p, const pn_chain *c, int n_out, pn_diff *diff) {
  pn_value result[PN_MAX_INPUTS] = {{.n_copies = 0}};
  pn_step s;
  pn_status st = begin_pass(p, c, PN_BACKWARD_DATA, diff, &s);

  if (st != PN_OK) goto done;
  for (int k = 0; k < n_out; k++) PN_TRY(output(p, &s, pn_dsrc_role(k), &result[k]));
  PN_TRY(pn_step_add(p, &s));
  for (int k = 0; k < n_out; k++)
    if (p->needs_grad[c->input[k]]) PN_TRY(pn_diff_push(p, &s, &p->diff[c->input[k]], &result[k]));
done:
  pn_kernel_destroy(&s.kernel);
  return st;
}

/* Where a gradient goes: its place in the arena, or a buffer that nobody reads (frozen). */
static pn_status gradient_operand(pn_plan *p, int param, const pn_layout *l, pn_operand *out) {
  *out = (pn_operand){AT_GRAD, param};
  return pn_graph_param(p->spec.graph, param)->trainable ? PN_OK : pn_buffer_add_layout(p, l, out);
}

struct gradients {
  pn_role role;
  int param;
};
enum { N_GRADIENTS = 4 };

static void gradients_of(const pn_plan *p, const pn_chain *c, struct gradients g[N_GRADIENTS]) {
  const pn_node *first = pn_graph_node(p->spec.graph, c->node[0]);
  const pn_node *norm = c->norm >= 0 ? pn_graph_node(p->spec.graph, c->norm) : NULL;

  g[0] = (struct gradients){PN_DWEIGHT, first->weight};
  g[1] = (struct gradients){PN_DBIAS, first->bias};
  g[2] = (struct gradients){PN_DGAMMA, norm ? norm->gamma : -1};
  g[3] = (struct gradients){PN_DBETA, norm ? norm->beta : -1};
}

/* A norm of batch statistics needs its sums for DATA, trained or not. */
static bool has_weight_pass(const pn_plan *p, const pn_chain *c) {
  struct gradients g[N_GRADIENTS];

  if (c->norm >= 0 && !p->op[c->norm].norm.frozen) return true;
  gradients_of(p, c, g);
  for (int i = 0; i < N_GRADIENTS; i++)
    if (g[i].param >= 0 && pn_graph_param(p->spec.graph, g[i].param)->trainable) return true;
  return false;
}

/* The gradient in the parameter's layout: written by the kernel, or by a reorder after it. */
static pn_status add_gradient(pn_plan *p, pn_step *s, const struct gradients *g) {
  const pn_layout *want = &p->weight[g->param].copy[0].layout;

  if (!pn_step_uses(s, g->role))
    return PN_FAIL(PN_ERR_DEVICE, "%s: device %s leaves a gradient out", s->name,
                   s->device->ops->name);
  if (pn_layout_equal(want, &s->task.layout[g->role]))
    return gradient_operand(p, g->param, want, &s->operand[g->role]);
  return pn_buffer_add_layout(p, &s->task.layout[g->role], &s->operand[g->role]);
}

static pn_status settle_gradient(pn_plan *p, const pn_step *s, const struct gradients *g) {
  pn_operand to, from = s->operand[g->role];
  const pn_layout *want = &p->weight[g->param].copy[0].layout, *got = &s->task.layout[g->role];
  pn_status st = PN_OK;

  if (!pn_graph_param(p->spec.graph, g->param)->trainable) return PN_OK;
  if (from.at == AT_BUFFER) {
    PN_TRY(gradient_operand(p, g->param, want, &to));
    PN_TRY(pn_reorder_add(p, s, got, from, want, to));
  }
  p->ready[g->param] = p->n_steps - 1;
done:
  return st;
}

static pn_status add_weight_pass(pn_plan *p, const pn_chain *c, pn_diff *diff) {
  struct gradients g[N_GRADIENTS];
  pn_step s;
  pn_status st = begin_pass(p, c, PN_BACKWARD_WEIGHT, diff, &s);

  if (st != PN_OK) goto done;
  gradients_of(p, c, g);
  for (int i = 0; i < N_GRADIENTS; i++)
    if (g[i].param >= 0) PN_TRY(add_gradient(p, &s, &g[i]));
  PN_TRY(pn_step_add(p, &s));
  for (int i = 0; i < N_GRADIENTS; i++)
    if (g[i].param >= 0) PN_TRY(settle_gradient(p, &s, &g[i]));
done:
  pn_kernel_destroy(&s.kernel);
  return st;
}

/* The diff of a sum is that of its inputs: no kernel. */
static pn_status share_diff(pn_plan *p, const pn_chain *c, int first, pn_diff *diff) {
  pn_step like = pn_step_begin(p, c, true);
  pn_status st = pn_diff_sum(p, &like, diff, 1);

  for (int k = first; k < c->n_in && st == PN_OK; k++)
    if (p->needs_grad[c->input[k]])
      st = pn_diff_push(p, &like, &p->diff[c->input[k]], &diff->term[0]);
  return st;
}

static pn_status lower_chain(pn_plan *p, const pn_chain *c) {
  int last = c->node[c->n - 1];
  bool sum = p->op[c->node[0]].kind == PN_OP_ADD, concat = p->op[c->node[0]].kind == PN_OP_CONCAT;
  int n_out = concat ? c->n_in : 1;
  pn_diff mid = {.n = 0}, *diff = &p->diff[last];
  pn_status st = PN_OK;

  if (!p->needs_grad[last]) return PN_OK;
  if (pn_is_loss(p->op[last].kind)) return add_data_pass(p, c, 1, &mid);
  if (c->n > 1) PN_TRY(add_post_pass(p, c, diff, &mid));
  if (mid.n) diff = &mid;
  if (sum) return share_diff(p, c, 0, diff);
  if (!concat && c->n_in > 1) PN_TRY(share_diff(p, c, 1, diff));
  if (has_weight_pass(p, c)) PN_TRY(add_weight_pass(p, c, diff));
  if (p->needs_grad[c->input[0]] || n_out > 1) PN_TRY(add_data_pass(p, c, n_out, diff));
done:
  return st;
}

/* Parameters are reported in descending order: each waits for those after it. */
static void order_ready(pn_plan *p) {
  int latest = p->n_forward;

  for (int i = p->n_params - 1; i >= 0; i--) {
    if (p->ready[i] < latest) p->ready[i] = latest;
    latest = p->ready[i];
  }
}

pn_status pn_plan_lower_backward(pn_plan *p) {
  pn_status st = PN_OK;

  for (int i = 0; i < p->n_params; i++) p->ready[i] = -1;
  for (int k = p->n_chains - 1; k >= 0 && st == PN_OK; k--) st = lower_chain(p, &p->chain[k]);
  order_ready(p);
  return st;
}
