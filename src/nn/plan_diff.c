/* plan_diff.c -- diffs of values that several nodes read: terms that are summed where a kernel does
 * not take them one by one. */
#include "nn/plan_internal.h"

#include <stdio.h>

/* The device's kernel for a + b, or `ref`'s. */
static pn_status prepare_sum(pn_plan *p, pn_step *s, const pn_layout *like) {
  pn_op_desc op = {.kind = PN_OP_ADD, .in = like->shape, .out = like->shape, .n_more = 1};
  pn_status st;

  op.more[0] = like->shape;
  s->task = (pn_task){.pass = PN_FORWARD, .n_ops = 1, .op = {&op}, .precision = like->type};
  s->task.layout[PN_SRC] = s->task.layout[PN_SRC1] = *like;
  s->task.layout[PN_DST] = pn_layout_any(like->shape);
  s->task.layout[PN_DST].type = like->type;
  st = s->device->ops->prepare(s->device, &s->task, &s->kernel);
  if (st == PN_ERR_UNSUPPORTED && !s->device->ops->far) {
    s->device = p->host;
    st = s->device->ops->prepare(s->device, &s->task, &s->kernel);
  }
  s->task.op[0] = NULL; /* was of this call only */
  return st;
}

/* The last two terms become one. */
static pn_status sum_two(pn_plan *p, const pn_step *like, pn_diff *d) {
  pn_value *a = &d->term[d->n - 2], *b = &d->term[d->n - 1];
  pn_step s = {.device = p->spec.device, .unit = like->unit, .backward = true};
  const pn_layout *l = s.task.layout;
  pn_status st;

  snprintf(s.name, sizeof s.name, "sum");
  PN_TRY(prepare_sum(p, &s, &a->copy[0].layout));
  PN_TRY(pn_value_in(p, &s, a, &l[PN_SRC], &s.operand[PN_SRC]));
  PN_TRY(pn_value_in(p, &s, b, &l[PN_SRC1], &s.operand[PN_SRC1]));
  PN_TRY(pn_buffer_add_layout(p, &l[PN_DST], &s.operand[PN_DST]));
  PN_TRY(pn_step_add(p, &s));
  pn_value_set(a, &l[PN_DST], s.operand[PN_DST]);
  d->n--;
done:
  pn_kernel_destroy(&s.kernel);
  return st;
}

pn_status pn_diff_sum(pn_plan *p, const pn_step *like, pn_diff *d, int most) {
  pn_status st = PN_OK;

  while (st == PN_OK && d->n > most) st = sum_two(p, like, d);
  return st;
}

pn_status pn_diff_push(pn_plan *p, const pn_step *like, pn_diff *d, const pn_value *term) {
  pn_status st = pn_diff_sum(p, like, d, MAX_TERMS - 1);

  if (st == PN_OK) d->term[d->n++] = *term;
  return st;
}
