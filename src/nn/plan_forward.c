/* plan_forward.c -- cuts the graph into chains and appends the forward steps. */
#include "nn/plan_internal.h"

#include <string.h>

/* Prepare the forward kernel of the longest chain from `start` that a device takes. */
static pn_status prepare_chain(pn_plan *p, int start, pn_chain *c, pn_step *s) {
  for (;;) {
    pn_status st;
    pn_chain_match(p, start, c);
    c->device = p->longest[start] > 0 ? p->spec.device : p->host;
    *s = pn_step_begin(p, c, false);
    s->task = pn_task_begin(p, c, PN_FORWARD);
    if (c->node[c->n - 1] == p->logits || start == p->loss)
      s->task.layout[PN_DST] = pn_layout_plain(s->task.layout[PN_DST].shape);
    st = c->device->ops->prepare(c->device, &s->task, &s->kernel);
    if (st != PN_ERR_UNSUPPORTED || p->longest[start] == 0) return st;
    if (c->n == 1 && c->device->ops->far) return st; /* `ref` cannot reach its memory */
    memset(&s->kernel, 0, sizeof s->kernel);
    p->longest[start] = c->n - 1;
  }
}

static pn_status add_outputs(pn_plan *p, pn_chain *c, pn_step *s) {
  pn_value *dst = &p->value[c->node[c->n - 1]];
  pn_status st = pn_buffer_add_layout(p, &s->task.layout[PN_DST], &s->operand[PN_DST]);

  if (st != PN_OK) return st;
  pn_value_set(dst, &s->task.layout[PN_DST], s->operand[PN_DST]);
  c->aux = -1;
  c->aux_bytes = s->task.aux_bytes;
  if (s->task.uses & 1u << PN_AUX) st = pn_buffer_add(p, c->aux_bytes, true, &c->aux);
  return st;
}

/* A convolution makes them for its value's reader. */
static pn_status place_stats(pn_plan *p, const pn_chain *c, pn_step *s) {
  const pn_operand *made = &p->value[c->input[0]].stats;
  pn_operand *make = &p->value[c->node[0]].stats;
  pn_status st = PN_OK;

  if (!pn_step_uses(s, PN_STATS)) return PN_OK;
  if (made->at == AT_NOWHERE) st = pn_buffer_add_layout(p, &s->task.layout[PN_STATS], make);
  s->operand[PN_STATS] = made->at == AT_NOWHERE ? *make : *made;
  return st;
}

/* The first answer fixes the storage, unless the caller has. */
static void fix_weight_layout(pn_plan *p, const pn_chain *c, const pn_step *s) {
  int weight = pn_graph_node(p->spec.graph, c->node[0])->weight;
  pn_layout stored;

  if (weight < 0 || p->weight[weight].n_copies) return;
  stored = s->task.layout[s->task.layout[PN_DWEIGHT].tag[0] ? PN_DWEIGHT : PN_WEIGHT];
  stored.type = PN_F32;
  pn_value_set(&p->weight[weight], &stored, (pn_operand){AT_PARAM, weight});
}

static pn_status lower_chain(pn_plan *p, int start) {
  pn_chain *c = &p->chain[p->n_chains];
  pn_step s;
  pn_status st;

  if ((st = prepare_chain(p, start, c, &s)) != PN_OK) return st;
  for (int i = 0; i < c->n; i++) s.flop += pn_op_flop(&p->op[c->node[i]]);
  fix_weight_layout(p, c, &s);
  PN_TRY(add_outputs(p, c, &s));
  PN_TRY(place_stats(p, c, &s));
  PN_TRY(pn_step_inputs(p, c, &s));
  PN_TRY(pn_step_add(p, &s));
  for (int i = 0; i < c->n; i++) p->lowered[c->node[i]] = true;
  p->n_chains++;
done:
  pn_kernel_destroy(&s.kernel);
  return st;
}

/* A buffer the caller sees: in the plain layout, alive all the time. */
static pn_status expose(pn_plan *p, int node, int *buffer) {
  pn_layout plain = pn_layout_plain(p->op[node].out);
  pn_operand where = {AT_NOWHERE, 0};
  pn_status st = pn_value_in(p, &p->step[p->n_steps - 1], &p->value[node], &plain, &where);

  if (st != PN_OK) return st;
  *buffer = where.index;
  p->buffer[where.index].pinned = true;
  return PN_OK;
}

static pn_status add_input(pn_plan *p) {
  pn_layout l = pn_layout_plain(p->op[0].out);
  pn_operand where;
  pn_status st = pn_buffer_add_layout(p, &l, &where);

  if (st != PN_OK) return st;
  pn_value_set(&p->value[0], &l, where);
  p->input_buffer = where.index;
  p->buffer[where.index].pinned = true;
  st = pn_buffer_add(p, (size_t)p->spec.batch * sizeof(int32_t), false, &p->label_buffer);
  if (st == PN_OK) p->buffer[p->label_buffer].pinned = true;
  return st;
}

static bool inputs_made(const pn_plan *p, const pn_chain *c) {
  for (int k = 0; k < c->n_in; k++)
    if (p->value[c->input[k]].n_copies == 0) return false;
  return true;
}

/* Two branches may each claim the sum at their end and wait for the other: the later one gives it
 * up. */
static bool break_tie(pn_plan *p) {
  for (int i = p->n_nodes - 1; i > 0; i--) {
    pn_chain c;
    if (!p->live[i] || p->source[i] != i || p->lowered[i]) continue;
    pn_chain_match(p, i, &c);
    if (c.n < 2 || p->value[c.input[0]].n_copies == 0) continue;
    for (int k = 1; k < c.n; k++)
      if (p->op[c.node[k]].kind == PN_OP_ADD) {
        p->longest[i] = k;
        return true;
      }
  }
  return false;
}

/* The first node whose chain has all its inputs; -1: none.  A chain with a sum inside may have to
 * wait for the other branch. */
static int next_start(pn_plan *p) {
  do
    for (int i = 1; i < p->n_nodes; i++) {
      pn_chain c;
      if (!p->live[i] || p->source[i] != i || p->lowered[i]) continue;
      pn_chain_match(p, i, &c);
      if (inputs_made(p, &c)) return i;
    }
  while (break_tie(p));
  return -1;
}

pn_status pn_plan_lower_forward(pn_plan *p) {
  pn_status st = add_input(p);
  int start;

  while (st == PN_OK && (start = next_start(p)) >= 0) {
    const pn_chain *c = &p->chain[p->n_chains];
    st = lower_chain(p, start);
    if (st == PN_OK && c->node[c->n - 1] == p->logits) st = expose(p, p->logits, &p->logits_buffer);
  }
  if (st == PN_OK) st = expose(p, p->loss, &p->loss_buffer);
  p->n_forward = p->n_steps;
  return st;
}
