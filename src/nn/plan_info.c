/* plan_info.c -- what a plan tells about itself. */
#include "nn/plan_internal.h"

#include "base/bf16.h"
#include "base/fp16.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int pn_plan_n_steps(const pn_plan *p) {
  return p->n_steps;
}

static bool uses(const pn_step *s, int role) {
  return s->task.uses & 1u << role;
}

static size_t operand_bytes(const pn_plan *p, const pn_operand *o) {
  if (o->at == AT_BUFFER) return p->buffer[o->index].bytes;
  if (o->at == AT_NOWHERE) return 0;
  return (size_t)p->map.slot[o->index].count * sizeof(float);
}

/* The first of `roles` (ended by PN_ROLE_COUNT) that the step uses. */
static pn_layout first_layout(const pn_step *s, const pn_role *roles) {
  for (; *roles < PN_ROLE_COUNT; roles++)
    if (uses(s, (int)*roles)) return s->task.layout[*roles];
  return (pn_layout){.tag = "-"};
}

static void layout_text(const pn_step *s, char *out, size_t out_bytes) {
  static const pn_role in_fwd[] = {PN_SRC, PN_ROLE_COUNT}, out_fwd[] = {PN_DST, PN_ROLE_COUNT};
  static const pn_role in_bwd[] = {PN_DDST, PN_SRC, PN_ROLE_COUNT};
  static const pn_role out_bwd[] = {PN_DMID, PN_DSRC, PN_DWEIGHT, PN_DGAMMA, PN_DST, PN_ROLE_COUNT};

  pn_layout from = first_layout(s, s->backward ? in_bwd : in_fwd);
  pn_layout to = first_layout(s, s->backward ? out_bwd : out_fwd);
  bool convert = from.type != to.type, half = to.type != PN_F32;

  snprintf(out, out_bytes, "%s%s%s -> %s%s%s", from.tag, convert && !half ? " " : "",
           convert && !half ? pn_dtype_name(from.type) : "", to.tag, half ? " " : "",
           half ? pn_dtype_name(to.type) : "");
}

void pn_plan_step_info(const pn_plan *p, int i, pn_step_info *out) {
  const pn_step *s = &p->step[i];

  *out = (pn_step_info){.pass = s->backward ? "backward" : "forward"};
  snprintf(out->name, sizeof out->name, "%s", s->name);
  out->device = s->device->ops->name;
  out->impl = s->kernel.impl;
  out->flop = s->flop;
  layout_text(s, out->layout, sizeof out->layout);
  for (int r = 0; r < PN_ROLE_COUNT; r++)
    if (uses(s, r) && r != PN_SCRATCH) out->bytes += operand_bytes(p, &s->operand[r]);
}

pn_plan_memory pn_plan_memory_use(const pn_plan *p) {
  pn_plan_memory m = {.arena = p->arena_bytes};

  for (int i = 0; i < p->n_buffers; i++)
    *(p->buffer[i].workspace ? &m.workspace : &m.activations) += p->buffer[i].bytes;
  return m;
}

static bool all_finite(const float *x, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!isfinite(x[i])) return false;
  return true;
}

static bool operand_finite(const void *x, size_t bytes, pn_dtype type) {
  const uint16_t *half = x;

  if (type == PN_F32) return all_finite(x, bytes / sizeof(float));
  for (size_t i = 0; i < bytes / sizeof *half; i++)
    if (!isfinite(type == PN_BF16 ? pn_bf16_to_f32(half[i]) : pn_fp16_to_f32(half[i])))
      return false;
  return true;
}

/* An operand that cannot be read counts as finite: the error itself is told elsewhere. */
static bool peek_finite(const pn_plan *p, const void *at, size_t bytes, pn_dtype type) {
  void *host = NULL;
  bool finite;

  if (!p->far) return operand_finite(at, bytes, type);
  finite = pn_plan_peek(p, at, bytes, &host) != PN_OK || operand_finite(host, bytes, type);
  free(host);
  return finite;
}

static bool param_finite(const pn_plan *p, int i) {
  const struct pn_slot *s = &p->map.slot[i];
  const float *at = p->far ? pn_plan_far_param(p, i) : p->params + s->offset;

  return !at || peek_finite(p, at, (size_t)s->count * sizeof(float), PN_F32);
}

static bool input_finite(pn_plan *p) {
  size_t n = (size_t)pn_shape_count(p->op[0].out);
  int32_t *labels;

  if (!pn_plan_far_filled(p)) return all_finite(pn_plan_input(p), n);
  return peek_finite(p, pn_plan_far_input(p, &labels), n * sizeof(float), PN_F32);
}

static bool result_finite(const pn_plan *p, int i) {
  static const int results[] = {PN_DST,   PN_DMID,    PN_DSRC,  PN_DSRC1,  PN_DSRC2,
                                PN_DSRC3, PN_DWEIGHT, PN_DBIAS, PN_DGAMMA, PN_DBETA};
  const pn_step *s = &p->step[i];

  for (size_t k = 0; k < sizeof results / sizeof *results; k++) {
    int r = results[k];
    size_t bytes = operand_bytes(p, &s->operand[r]);
    if (!uses(s, r) || (r == PN_DST && s->backward && s->operand[PN_DDST].at != AT_NOWHERE))
      continue; /* backward reads DST, but a reorder writes it */
    if (!peek_finite(p, p->bound[i].ptr[r], bytes, s->task.layout[r].type)) return false;
  }
  return true;
}

/* The arena is shared by lifetime, so the results are gone after a run: run the batch again, step
 * by step.  Parameters are looked at first: a NaN there spoils everything after. */
void pn_plan_find_nonfinite(pn_plan *p, char *out, size_t out_bytes) {
  int end = p->ran_backward ? p->n_steps : p->n_forward;
  pn_step_ctx far, *ctx = &p->last;

  if (out_bytes) out[0] = '\0';
  if (!p->params) return;
  for (int i = 0; i < p->map.n; i++)
    if (!param_finite(p, i)) {
      snprintf(out, out_bytes, "parameter %s", pn_graph_param(p->spec.graph, i)->name);
      return;
    }
  if (!input_finite(p)) {
    snprintf(out, out_bytes, "input");
    return;
  }
  if (p->far) {
    if (pn_plan_far_context(p, ctx, &far) != PN_OK) return;
    ctx = &far;
  }
  for (int i = 0; i < end; i++)
    if (p->bound[i].run(p->bound[i].state, p->bound[i].ptr, ctx) != PN_OK || !result_finite(p, i)) {
      snprintf(out, out_bytes, "%s (%s)", p->step[i].name,
               p->step[i].backward ? "backward" : "forward");
      return;
    }
}

/* Whether the bytes of forward step i's result are still its own when the forward pass is over. */
static bool is_kept(const pn_plan *p, int i) {
  const pn_operand *o = &p->step[i].operand[PN_DST];
  return uses(&p->step[i], PN_DST) && o->at == AT_BUFFER &&
         p->buffer[o->index].last >= p->n_forward;
}

void pn_plan_find_kept_nonfinite(const pn_plan *p, char *out, size_t out_bytes) {
  if (out_bytes) out[0] = '\0';
  for (int i = 0; i < p->n_forward; i++) {
    const pn_step *s = &p->step[i];
    if (!is_kept(p, i) ||
        peek_finite(p, p->bound[i].ptr[PN_DST], operand_bytes(p, &s->operand[PN_DST]),
                    s->task.layout[PN_DST].type))
      continue;
    snprintf(out, out_bytes, "%s (forward)", s->name);
    return;
  }
}
