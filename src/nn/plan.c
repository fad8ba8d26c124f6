/* plan.c -- life of a plan: analyse, lower, place. */
#include "nn/plan_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void pn_param_map_free(pn_param_map *m) {
  if (!m) return;
  free(m->slot);
  *m = (pn_param_map){0};
}

static pn_status check_spec(const pn_plan_spec *spec) {
  const pn_param_map *m = spec->params;
  pn_status st;

  if (!spec->graph || !spec->device) return PN_FAIL(PN_ERR_ARG, "plan: graph or device is missing");
  if (spec->batch < 1) return PN_FAIL(PN_ERR_ARG, "plan: batch %" PRId64, spec->batch);
  if ((st = pn_device_check_precision(spec->device, spec->precision)) != PN_OK || !m) return st;
  if (m->n != pn_graph_n_params(spec->graph))
    return PN_FAIL(PN_ERR_ARG, "plan: map of %d parameters, graph %s has %d", m->n,
                   pn_graph_name(spec->graph), pn_graph_n_params(spec->graph));
  for (int i = 0; i < m->n; i++)
    /* not the shapes: a dense layer's storage may split O I into O C H W */
    if (pn_shape_count(m->slot[i].layout.shape) !=
        pn_shape_count(pn_graph_param(spec->graph, i)->shape))
      return PN_FAIL(PN_ERR_ARG, "plan: parameter %s has another size in the map",
                     pn_graph_param(spec->graph, i)->name);
  return PN_OK;
}

static pn_status allocate(pn_plan *p) {
  size_t n = (size_t)p->n_nodes, params = (size_t)p->n_params + 1, batch = (size_t)p->spec.batch;

  p->op = calloc(n, sizeof *p->op);
  p->source = calloc(n, sizeof *p->source);
  p->consumers = calloc(n, sizeof *p->consumers);
  p->needs_grad = calloc(n, sizeof *p->needs_grad);
  p->live = calloc(n, sizeof *p->live);
  p->lowered = calloc(n, sizeof *p->lowered);
  p->longest = calloc(n, sizeof *p->longest);
  p->chain = calloc(n, sizeof *p->chain);
  p->value = calloc(n, sizeof *p->value);
  p->diff = calloc(n, sizeof *p->diff);
  p->weight = calloc(params, sizeof *p->weight);
  p->ready = calloc(params, sizeof *p->ready);
  p->map.slot = calloc(params, sizeof *p->map.slot);
  p->last_id = calloc(batch, sizeof *p->last_id);
  p->last_scale = calloc(batch, sizeof *p->last_scale);
  p->last_label2 = calloc(batch, sizeof *p->last_label2);
  p->last_mix = calloc(batch, sizeof *p->last_mix);
  if (!p->op || !p->source || !p->consumers || !p->needs_grad || !p->live || !p->lowered ||
      !p->longest || !p->chain || !p->value || !p->diff || !p->weight || !p->ready ||
      !p->map.slot || !p->last_id || !p->last_scale || !p->last_label2 || !p->last_mix)
    return PN_FAIL(PN_ERR_NOMEM, "plan: out of memory");
  return PN_OK;
}

static void copy_ops(pn_plan *p) {
  for (int i = 0; i < p->n_nodes; i++) {
    p->op[i] = pn_graph_node(p->spec.graph, i)->op;
    p->op[i].in.dim[0] = p->op[i].out.dim[0] = p->spec.batch;
    for (int k = 0; k < p->op[i].n_more; k++) p->op[i].more[k].dim[0] = p->spec.batch;
  }
}

static void forget_steps(pn_plan *p) {
  for (int i = 0; i < p->n_steps; i++) pn_kernel_destroy(&p->step[i].kernel);
  p->n_steps = p->n_forward = p->n_buffers = p->n_chains = 0;
}

/* Start of a lowering: nothing made yet but the parameters whose layout the caller fixed. */
static void reset(pn_plan *p) {
  forget_steps(p);
  p->retry = false;
  memset(p->lowered, 0, (size_t)p->n_nodes * sizeof *p->lowered);
  memset(p->value, 0, (size_t)p->n_nodes * sizeof *p->value);
  memset(p->diff, 0, (size_t)p->n_nodes * sizeof *p->diff);
  memset(p->weight, 0, (size_t)p->n_params * sizeof *p->weight);
  for (int i = 0; i < p->n_params; i++) {
    pn_layout plain = pn_layout_plain(pn_graph_param(p->spec.graph, i)->shape);
    const pn_layout *fixed = p->spec.params ? &p->spec.params->slot[i].layout : &plain;
    if (p->spec.params || plain.shape.n_dims == 1)
      pn_value_set(&p->weight[i], fixed, (pn_operand){AT_PARAM, i});
  }
}

static pn_status lower(pn_plan *p) {
  pn_status st;

  do {
    reset(p);
    st = pn_plan_lower_forward(p);
    if (st == PN_OK && p->spec.training) st = pn_plan_lower_backward(p);
  } while (st != PN_OK && p->retry);
  return st;
}

/* The slots of the trainable parameters, or of the others, follow each other. */
static pn_status place_slots(pn_plan *p, bool trainable) {
  enum { SLOT_ALIGN = 16 };

  for (int i = 0; i < p->n_params; i++) {
    struct pn_slot *s = &p->map.slot[i];
    pn_status st;
    if (pn_graph_param(p->spec.graph, i)->trainable != trainable) continue;
    s->trainable = trainable;
    if (p->weight[i].n_copies == 0) /* of a node that leads nowhere */
      s->layout = pn_layout_plain(pn_graph_param(p->spec.graph, i)->shape);
    else
      s->layout = p->weight[i].copy[0].layout;
    s->offset = p->map.total;
    if ((st = pn_layout_count(&s->layout, &s->count)) != PN_OK) return st;
    p->map.total += (s->count + SLOT_ALIGN - 1) / SLOT_ALIGN * SLOT_ALIGN;
  }
  return PN_OK;
}

static pn_status make_map(pn_plan *p) {
  pn_status st;

  p->map.n = p->n_params;
  PN_TRY(place_slots(p, true));
  p->map.trainable = p->map.total;
  PN_TRY(place_slots(p, false));
done:
  return st;
}

/* Where the run enters and leaves a unit. */
static void mark_units(pn_plan *p) {
  for (int i = 0; i < p->n_steps; i++) {
    pn_step *s = &p->step[i];
    bool first = i == 0 || i == p->n_forward, last = i + 1 == p->n_forward || i + 1 == p->n_steps;
    s->enter_unit = first || s[-1].unit != s->unit;
    s->leave_unit = last || s[1].unit != s->unit;
  }
}

static pn_status build(pn_plan *p) {
  pn_status st;

  PN_TRY(pn_device_create("ref", p->spec.device->threads, &p->host));
  PN_TRY(allocate(p));
  copy_ops(p);
  PN_TRY(pn_plan_analyse(p));
  PN_TRY(lower(p));
  PN_TRY(make_map(p));
  mark_units(p);
  PN_TRY(pn_plan_place(p));
  if (p->spec.device->ops->far) PN_TRY(pn_plan_far_create(p));
  p->bound = calloc((size_t)p->n_steps, sizeof *p->bound);
  if (!p->bound) st = PN_FAIL(PN_ERR_NOMEM, "plan: out of memory");
done:
  return st;
}

pn_status pn_plan_create(const pn_plan_spec *spec, pn_plan **out) {
  pn_status st = check_spec(spec);
  pn_plan *p;

  *out = NULL;
  if (st != PN_OK) return st;
  if (!(p = calloc(1, sizeof *p))) return PN_FAIL(PN_ERR_NOMEM, "plan: out of memory");
  p->spec = *spec;
  p->n_nodes = pn_graph_n_nodes(spec->graph);
  p->n_params = pn_graph_n_params(spec->graph);
  if ((st = build(p)) != PN_OK) {
    pn_plan_destroy(p);
    return st;
  }
  p->spec.params = NULL; /* was only borrowed for this call: p->map is the copy */
  *out = p;
  return PN_OK;
}

void pn_plan_destroy(pn_plan *p) {
  if (!p) return;
  forget_steps(p);
  if (p->arena && p->spec.device->ops->far)
    p->spec.device->ops->far->free(p->spec.device, p->arena);
  else if (p->arena)
    p->spec.device->ops->free(p->spec.device, p->arena);
  pn_plan_far_destroy(p);
  pn_device_destroy(p->host);
  pn_param_map_free(&p->map);
  void *owned[] = {p->op,      p->source,     p->consumers,   p->needs_grad, p->live,
                   p->lowered, p->longest,    p->chain,       p->value,      p->diff,
                   p->weight,  p->ready,      p->step,        p->buffer,     p->bound,
                   p->last_id, p->last_scale, p->last_label2, p->last_mix};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
  free(p);
}

const pn_param_map *pn_plan_param_map(const pn_plan *p) {
  return &p->map;
}
