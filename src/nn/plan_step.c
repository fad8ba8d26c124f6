/* plan_step.c -- the parts that forward and backward lowering share. */
#include "nn/plan_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

pn_role pn_src_role(int k) {
  return k == 0 ? PN_SRC : (pn_role)(PN_SRC1 + k - 1);
}

pn_role pn_dsrc_role(int k) {
  return k == 0 ? PN_DSRC : (pn_role)(PN_DSRC1 + k - 1);
}

static void weight_layouts(const pn_plan *p, const pn_chain *c, pn_layout *l) {
  const pn_op_desc *op = &p->op[c->node[0]];
  int weight = pn_graph_node(p->spec.graph, c->node[0])->weight;

  if (weight < 0) return;
  l[PN_WEIGHT] =
      p->weight[weight].n_copies ? p->weight[weight].copy[0].layout : pn_layout_any(op->weight);
  l[PN_DWEIGHT] = l[PN_WEIGHT];
  l[PN_BIAS] = l[PN_DBIAS] = pn_layout_plain(pn_shape1(op->weight.dim[0]));
}

static pn_layout any_of(pn_shape shape, pn_dtype type) {
  pn_layout l = pn_layout_any(shape);
  l.type = type;
  return l;
}

/* To make, or made by the convolution before. */
static bool stats_offered(const pn_plan *p, const pn_chain *c) {
  return p->value[c->input[0]].stats.at != AT_NOWHERE || pn_chain_feeds_norm(p, c);
}

/* Layouts as the kernel would find them: empty tags where it may choose. */
pn_task pn_task_begin(const pn_plan *p, const pn_chain *c, pn_pass pass) {
  pn_task t = {
      .pass = pass, .n_ops = c->n, .training = p->spec.training, .precision = p->spec.precision};
  const pn_op_desc *first = &p->op[c->node[0]], *last = &p->op[c->node[c->n - 1]];
  const pn_value *dst = &p->value[c->node[c->n - 1]];

  for (int i = 0; i < c->n; i++) t.op[i] = &p->op[c->node[i]];
  t.aux_bytes = pass == PN_FORWARD ? 0 : c->aux_bytes;
  for (int k = 0; k < c->n_in; k++) {
    t.layout[pn_src_role(k)] = p->value[c->input[k]].copy[0].layout;
    t.layout[pn_dsrc_role(k)] =
        any_of(t.layout[pn_src_role(k)].shape, t.layout[pn_src_role(k)].type);
  }
  t.layout[PN_DST] = dst->n_copies ? dst->copy[0].layout : any_of(last->out, t.precision);
  t.layout[PN_DDST] = any_of(last->out, t.precision);
  t.layout[PN_DMID] = any_of(first->out, t.precision);
  t.layout[PN_LABEL] = pn_layout_plain(pn_shape1(p->spec.batch));
  weight_layouts(p, c, t.layout);
  for (int r = PN_GAMMA; r <= PN_DBETA && c->norm >= 0; r++)
    t.layout[r] = pn_layout_plain(pn_shape1(p->op[c->norm].in.dim[1]));
  if (pass == PN_FORWARD && stats_offered(p, c))
    t.layout[PN_STATS] = pn_layout_plain(pn_shape2(2, first->out.dim[1]));
  return t;
}

/* "conv1+relu1+pool1", cut where it does not fit. */
static void chain_name(const pn_plan *p, const pn_chain *c, char *out) {
  size_t used = 0;

  for (int i = 0; i < c->n && used < PN_NAME_BYTES; i++) {
    const char *name = pn_graph_node(p->spec.graph, c->node[i])->name;
    int n = snprintf(out + used, PN_NAME_BYTES - used, "%s%s", i ? "+" : "", name);
    used += n > 0 ? (size_t)n : 0;
  }
}

pn_step pn_step_begin(const pn_plan *p, const pn_chain *c, bool backward) {
  pn_step s = {.device = c->device, .backward = backward};

  s.unit = pn_graph_node(p->spec.graph, c->node[0])->unit;
  chain_name(p, c, s.name);
  return s;
}

void pn_kernel_destroy(pn_kernel *k) {
  if (k->destroy) k->destroy(k->state);
  memset(k, 0, sizeof *k);
}

static pn_status grow_steps(pn_plan *p) {
  int wanted = p->steps_room ? 2 * p->steps_room : 64;
  pn_step *bigger;

  if (p->n_steps < p->steps_room) return PN_OK;
  if (!(bigger = realloc(p->step, (size_t)wanted * sizeof *bigger)))
    return PN_FAIL(PN_ERR_NOMEM, "plan: out of memory");
  p->step = bigger;
  p->steps_room = wanted;
  return PN_OK;
}

pn_status pn_step_add(pn_plan *p, pn_step *s) {
  pn_status st = grow_steps(p);
  int buffer = -1;

  if (st == PN_OK && (s->task.uses & 1u << PN_SCRATCH)) {
    st = pn_buffer_add(p, s->task.scratch_bytes, true, &buffer);
    s->operand[PN_SCRATCH] = (pn_operand){AT_BUFFER, buffer};
  }
  if (st != PN_OK) {
    pn_kernel_destroy(&s->kernel);
    return st;
  }
  p->step[p->n_steps++] = *s;
  memset(&s->kernel, 0, sizeof s->kernel);
  return PN_OK;
}

pn_status pn_buffer_add(pn_plan *p, size_t bytes, bool workspace, int *out) {
  if (p->n_buffers == p->buffers_room) {
    int wanted = p->buffers_room ? 2 * p->buffers_room : 64;
    pn_buffer *bigger = realloc(p->buffer, (size_t)wanted * sizeof *bigger);
    if (!bigger) return PN_FAIL(PN_ERR_NOMEM, "plan: out of memory");
    p->buffer = bigger;
    p->buffers_room = wanted;
  }
  *out = p->n_buffers++;
  p->buffer[*out] = (pn_buffer){.bytes = bytes, .first = -1, .workspace = workspace};
  return PN_OK;
}

pn_status pn_buffer_add_layout(pn_plan *p, const pn_layout *l, pn_operand *out) {
  size_t bytes;
  pn_status st = pn_layout_bytes(l, &bytes);

  if (st != PN_OK) return st;
  out->at = AT_BUFFER;
  return pn_buffer_add(p, bytes, false, &out->index);
}

void pn_value_set(pn_value *v, const pn_layout *l, pn_operand where) {
  v->copy[0].layout = *l;
  v->copy[0].where = where;
  v->n_copies = 1;
}

/* "convert conv1.weight", where the type changes; else "reorder". */
static void reorder_name(const pn_plan *p, const pn_layout *from, pn_operand src,
                         const pn_layout *to, char name[PN_NAME_BYTES]) {
  const char *param = src.at == AT_PARAM ? pn_graph_param(p->spec.graph, src.index)->name : "";

  if (from->type == to->type)
    snprintf(name, PN_NAME_BYTES, "reorder");
  else
    snprintf(name, PN_NAME_BYTES, "convert%s%.48s", *param ? " " : "", param);
}

pn_status pn_reorder_add(pn_plan *p, const pn_step *like, const pn_layout *from, pn_operand src,
                         const pn_layout *to, pn_operand dst) {
  pn_step s = {.device = p->spec.device, .unit = like->unit};
  pn_status st;

  s.backward = like->backward;
  reorder_name(p, from, src, to, s.name);
  s.task.uses = 1u << PN_SRC | 1u << PN_DST;
  s.task.layout[PN_SRC] = *from;
  s.task.layout[PN_DST] = *to;
  s.operand[PN_SRC] = src;
  s.operand[PN_DST] = dst;
  st = s.device->ops->reorder(s.device, from, to, &s.kernel);
  if (st == PN_ERR_UNSUPPORTED && !s.device->ops->far) {
    s.device = p->host;
    st = s.device->ops->reorder(s.device, from, to, &s.kernel);
  }
  return st != PN_OK ? st : pn_step_add(p, &s);
}

pn_status pn_value_in(pn_plan *p, const pn_step *like, pn_value *v, const pn_layout *want,
                      pn_operand *out) {
  pn_status st;

  if (v->n_copies == 0)
    return PN_FAIL(PN_ERR_DEVICE, "%s: a kernel of device %s reads a value that does not exist",
                   like->name, like->device->ops->name);
  for (int i = 0; i < v->n_copies; i++)
    if (pn_layout_equal(&v->copy[i].layout, want)) {
      *out = v->copy[i].where;
      return PN_OK;
    }
  if ((st = pn_buffer_add_layout(p, want, out)) != PN_OK) return st;
  st = pn_reorder_add(p, like, &v->copy[0].layout, v->copy[0].where, want, *out);
  if (st == PN_OK && v->n_copies < MAX_COPIES) {
    v->copy[v->n_copies].layout = *want;
    v->copy[v->n_copies++].where = *out;
  }
  return st;
}

bool pn_step_uses(const pn_step *s, pn_role role) {
  return s->task.uses & 1u << role;
}

/* Vectors of a channel, read where they lie. */
static void parameter_inputs(const pn_plan *p, const pn_chain *c, pn_step *s) {
  const pn_node *first = pn_graph_node(p->spec.graph, c->node[0]);
  const pn_node *norm = c->norm >= 0 ? pn_graph_node(p->spec.graph, c->norm) : NULL;
  const struct {
    pn_role role;
    int param;
  } rows[] = {{PN_BIAS, first->bias},
              {PN_GAMMA, norm ? norm->gamma : -1},
              {PN_BETA, norm ? norm->beta : -1},
              {PN_MEAN, norm ? norm->mean : -1},
              {PN_VAR, norm ? norm->var : -1}};

  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (pn_step_uses(s, rows[i].role) && rows[i].param >= 0)
      s->operand[rows[i].role] = (pn_operand){AT_PARAM, rows[i].param};
}

pn_status pn_step_inputs(pn_plan *p, const pn_chain *c, pn_step *s) {
  int weight = pn_graph_node(p->spec.graph, c->node[0])->weight;
  const pn_layout *l = s->task.layout;
  pn_status st = PN_OK;

  for (int k = 0; k < c->n_in; k++) {
    pn_role r = pn_src_role(k);
    if (pn_step_uses(s, r))
      PN_TRY(pn_value_in(p, s, &p->value[c->input[k]], &l[r], &s->operand[r]));
  }
  if (pn_step_uses(s, PN_WEIGHT) && weight >= 0)
    PN_TRY(pn_value_in(p, s, &p->weight[weight], &l[PN_WEIGHT], &s->operand[PN_WEIGHT]));
  parameter_inputs(p, c, s);
  if (pn_step_uses(s, PN_LABEL)) s->operand[PN_LABEL] = (pn_operand){AT_BUFFER, p->label_buffer};
  if (pn_step_uses(s, PN_AUX)) s->operand[PN_AUX] = (pn_operand){AT_BUFFER, c->aux};
  if (s->backward && pn_step_uses(s, PN_DST))
    PN_TRY(pn_value_in(p, s, &p->value[c->node[c->n - 1]], &l[PN_DST], &s->operand[PN_DST]));
done:
  return st;
}
