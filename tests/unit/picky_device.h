/* picky_device.h -- a device for planner tests: `ref` behind odd private layouts, a fused pattern,
 * and passes that it refuses.  What it computes is right, so a plan on it must agree with `ref`. */
#ifndef PN_TESTS_PICKY_DEVICE_H
#define PN_TESTS_PICKY_DEVICE_H

#include "device/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  pn_device *ref;
  bool refuse_fused_weight; /* BACKWARD_WEIGHT of conv+relu: UNSUPPORTED */
  bool refuse_reorder;
  bool refuse_dense; /* all passes */
} picky;

/* Inner kernels run in plain layouts between unpack and pack. */
typedef struct {
  pn_kernel inner[2];
  pn_task task;
  float *plain[PN_ROLE_COUNT];
  float *between; /* conv -> relu */
} picky_state;

static void picky_free_state(void *state) {
  picky_state *s = state;
  for (int i = 0; i < 2; i++)
    if (s->inner[i].destroy) s->inner[i].destroy(s->inner[i].state);
  for (int r = 0; r < PN_ROLE_COUNT; r++) free(s->plain[r]);
  free(s->between);
  free(s);
}

static bool picky_writes(int r) {
  static const unsigned written = 1u << PN_DST | 1u << PN_DSRC | 1u << PN_DMID | 1u << PN_DWEIGHT |
                                  1u << PN_DBIAS | 1u << PN_DSRC1 | 1u << PN_DSRC2 |
                                  1u << PN_DSRC3 | 1u << PN_DGAMMA | 1u << PN_DBETA |
                                  1u << PN_MEAN | 1u << PN_VAR;
  return written & 1u << r;
}

/* Running statistics are read, changed and written. */
static bool picky_reads(const pn_task *t, int r) {
  return !picky_writes(r) || t->pass != PN_FORWARD || r == PN_MEAN || r == PN_VAR;
}

static bool picky_is_tensor(int r) {
  return r != PN_LABEL && r != PN_AUX && r != PN_SCRATCH;
}

static pn_status picky_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  picky_state *s = state;
  void *at[PN_ROLE_COUNT];
  pn_status st = PN_OK;

  for (int r = 0; r < PN_ROLE_COUNT; r++) {
    bool used = s->task.uses & 1u << r;
    at[r] = used && picky_is_tensor(r) ? (void *)s->plain[r] : ptr[r];
    if (used && picky_is_tensor(r) && picky_reads(&s->task, r))
      pn_layout_unpack(&s->task.layout[r], ptr[r], s->plain[r]);
  }
  if (s->task.pass == PN_BACKWARD_POST) at[PN_DSRC] = s->plain[PN_DMID];
  if (s->inner[1].run) { /* conv+relu forward */
    at[PN_DST] = s->between;
    st = s->inner[0].run(s->inner[0].state, at, ctx);
    at[PN_SRC] = s->between;
    at[PN_DST] = s->plain[PN_DST];
    if (st == PN_OK) st = s->inner[1].run(s->inner[1].state, at, ctx);
  } else
    st = s->inner[0].run(s->inner[0].state, at, ctx);
  for (int r = 0; r < PN_ROLE_COUNT; r++)
    if (s->task.uses & 1u << r && picky_writes(r))
      pn_layout_pack(&s->task.layout[r], s->plain[r], ptr[r]);
  return st;
}

static void picky_layouts(pn_task *t) {
  static const char *const images[PN_ROLE_COUNT] = {
      [PN_SRC] = "acdb",  [PN_DST] = "aBcd8b",      [PN_DSRC] = "aBcd4b",   [PN_DDST] = "acdb",
      [PN_DMID] = "cabd", [PN_WEIGHT] = "ABcd8b8a", [PN_DWEIGHT] = "Acdb4a"};

  for (int r = 0; r < PN_ROLE_COUNT; r++)
    if (images[r] && t->uses & 1u << r && t->layout[r].shape.n_dims == 4)
      strcpy(t->layout[r].tag, images[r]);
}

/* The ref tasks behind one of ours. */
static pn_status picky_inner(picky *p, pn_task *task, picky_state *s) {
  pn_task one = *task, relu = *task;
  pn_status st;
  bool fused = task->n_ops == 2;

  one.n_ops = 1;
  if (fused && task->pass == PN_BACKWARD_POST) { /* relu's backward: its DSRC is our DMID */
    one.op[0] = task->op[1];
    one.pass = PN_BACKWARD_DATA;
  }
  st = p->ref->ops->prepare(p->ref, &one, &s->inner[0]);
  if (st != PN_OK) return st;
  memcpy(task->layout, one.layout, sizeof task->layout);
  task->uses = one.uses;
  task->scratch_bytes = one.scratch_bytes;
  if (task->pass == PN_FORWARD) task->aux_bytes = one.aux_bytes;
  if (!fused || task->pass != PN_FORWARD) return PN_OK;
  relu.n_ops = 1;
  relu.op[0] = task->op[1];
  s->between = malloc((size_t)pn_shape_count(task->op[0]->out) * sizeof(float));
  return p->ref->ops->prepare(p->ref, &relu, &s->inner[1]);
}

static pn_status picky_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  picky *p = d->impl;
  picky_state *s;
  pn_status st;

  *out = (pn_kernel){.run = NULL};
  if (p->refuse_dense && t->op[0]->kind == PN_OP_DENSE) return PN_ERR_UNSUPPORTED;
  if (t->n_ops == 2 && t->pass == PN_BACKWARD_WEIGHT && p->refuse_fused_weight)
    return PN_ERR_UNSUPPORTED;
  s = calloc(1, sizeof *s);
  st = picky_inner(p, t, s);
  if (t->pass == PN_BACKWARD_POST) t->uses = 1u << PN_DST | 1u << PN_DDST | 1u << PN_DMID;
  if (st != PN_OK) {
    picky_free_state(s);
    return st;
  }
  picky_layouts(t);
  s->task = *t;
  for (int r = 0; r < PN_ROLE_COUNT; r++)
    if (t->uses & 1u << r && picky_is_tensor(r))
      s->plain[r] = calloc((size_t)pn_shape_count(t->layout[r].shape), sizeof(float));
  *out = (pn_kernel){.run = picky_run, .destroy = picky_free_state, .state = s};
  snprintf(out->impl, sizeof out->impl, "picky%d", t->n_ops);
  return PN_OK;
}

static pn_status picky_reorder(pn_device *d, const pn_layout *from, const pn_layout *to,
                               pn_kernel *out) {
  picky *p = d->impl;
  *out = (pn_kernel){.run = NULL};
  return p->refuse_reorder ? PN_ERR_UNSUPPORTED : p->ref->ops->reorder(p->ref, from, to, out);
}

static pn_status picky_alloc(pn_device *d, size_t bytes, void **out) {
  picky *p = d->impl;
  return p->ref->ops->alloc(p->ref, bytes, out);
}

static void picky_release(pn_device *d, void *ptr) {
  picky *p = d->impl;
  p->ref->ops->free(p->ref, ptr);
}

static const struct pn_chain_pattern picky_patterns[] = {{2, {PN_OP_CONV, PN_OP_RELU}, false},
                                                         {0, {PN_OP_INPUT}, false}};

static const pn_device_ops picky_ops = {.name = "picky",
                                        .fuse = picky_patterns,
                                        .prepare = picky_prepare,
                                        .reorder = picky_reorder,
                                        .alloc = picky_alloc,
                                        .free = picky_release};

#endif
