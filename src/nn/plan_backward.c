/* plan_backward.c -- appends the backward steps: chains in reverse, in each chain the passes in
 * the order POST, WEIGHT, DATA, so that a gradient is ready as early as can be. */
#include "nn/plan_internal.h"

/* The device refuses one pass of a chain: it must not take the chain at all (its AUX is private);
 * lowering starts again with a shorter one. */
static pn_status refuse_chain(pn_plan *p, const pn_chain *c, pn_status st) {
  if (st != PN_ERR_UNSUPPORTED || c->device == p->host) return st;
  p->longest[c->node[0]] = c->n - 1;
  p->retry = true;
  return st;
}

static pn_status prepare_pass(pn_plan *p, const pn_chain *c, pn_pass pass, const pn_value *ddst,
                              pn_step *s) {
  *s = pn_step_begin(p, c, true);
  s->task = pn_task_begin(p, c, pass);
  if (ddst->n_copies) s->task.layout[PN_DDST] = ddst->copy[0].layout;
  if (pass != PN_BACKWARD_POST) s->flop = pn_op_flop(&p->op[c->node[0]]);
  return refuse_chain(p, c, c->device->ops->prepare(c->device, &s->task, &s->kernel));
}

/* A pass whose one result is a diff: POST -> DMID, DATA -> DSRC.  out stays empty where the device
 * has no POST kernel for this chain. */
static pn_status add_diff_pass(pn_plan *p, const pn_chain *c, pn_pass pass, pn_value *ddst,
                               pn_value *out) {
  pn_role role = pass == PN_BACKWARD_POST ? PN_DMID : PN_DSRC;
  pn_step s;
  pn_status st = prepare_pass(p, c, pass, ddst, &s);

  if (st != PN_OK) return st;
  if (!s.kernel.run) goto done;
  PN_TRY(pn_step_inputs(p, c, ddst, &s));
  PN_TRY(pn_buffer_add_layout(p, &s.task.layout[role], &s.operand[role]));
  PN_TRY(pn_step_add(p, &s));
  pn_value_set(out, &s.task.layout[role], s.operand[role]);
done:
  pn_kernel_destroy(&s.kernel);
  return st;
}

/* The gradient in the parameter's layout: written by the kernel, or by a reorder after it. */
static pn_status add_weight_step(pn_plan *p, pn_step *s, int weight, int bias) {
  const pn_layout *want = &p->weight[weight].copy[0].layout;
  pn_layout got = s->task.layout[PN_DWEIGHT];
  pn_operand grad = {AT_GRAD, weight};
  pn_step *last;
  pn_status st = PN_OK;

  if (pn_layout_equal(want, &got))
    s->operand[PN_DWEIGHT] = grad;
  else
    PN_TRY(pn_buffer_add_layout(p, &got, &s->operand[PN_DWEIGHT]));
  PN_TRY(pn_step_add(p, s));
  if (s->operand[PN_DWEIGHT].at == AT_BUFFER)
    PN_TRY(pn_reorder_add(p, s, &got, s->operand[PN_DWEIGHT], want, grad));
  last = &p->step[p->n_steps - 1];
  last->ready[0] = bias;
  last->ready[1] = weight;
done:
  return st;
}

static pn_status add_weight_pass(pn_plan *p, const pn_chain *c, pn_value *ddst) {
  const pn_node *node = pn_graph_node(p->spec.graph, c->node[0]);
  unsigned wanted = 1u << PN_DWEIGHT | (node->bias >= 0 ? 1u << PN_DBIAS : 0);
  pn_step s;
  pn_status st = prepare_pass(p, c, PN_BACKWARD_WEIGHT, ddst, &s);

  if (st != PN_OK) return st;
  if ((s.task.uses & wanted) != wanted) {
    st = PN_FAIL(PN_ERR_DEVICE, "%s: device %s leaves a gradient out", s.name, s.device->ops->name);
    goto done;
  }
  PN_TRY(pn_step_inputs(p, c, ddst, &s));
  if (node->bias >= 0) s.operand[PN_DBIAS] = (pn_operand){AT_GRAD, node->bias};
  st = add_weight_step(p, &s, node->weight, node->bias);
done:
  pn_kernel_destroy(&s.kernel);
  return st;
}

static pn_status lower_chain(pn_plan *p, const pn_chain *c) {
  int last = c->node[c->n - 1];
  pn_value mid = {.n_copies = 0}, *ddst = &p->diff[last];
  pn_status st = PN_OK;

  if (!p->needs_grad[last]) return PN_OK;
  if (c->n > 1) PN_TRY(add_diff_pass(p, c, PN_BACKWARD_POST, ddst, &mid));
  if (mid.n_copies) ddst = &mid;
  if (p->op[c->node[0]].weight.n_dims) PN_TRY(add_weight_pass(p, c, ddst));
  if (p->needs_grad[c->input])
    PN_TRY(add_diff_pass(p, c, PN_BACKWARD_DATA, ddst, &p->diff[c->input]));
done:
  return st;
}

pn_status pn_plan_lower_backward(pn_plan *p) {
  pn_status st = PN_OK;

  for (int k = p->n_chains - 1; k >= 0 && st == PN_OK; k--) st = lower_chain(p, &p->chain[k]);
  return st;
}
