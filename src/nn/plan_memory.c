/* plan_memory.c -- one arena for all buffers: two share bytes when no step needs both. */
#include "nn/plan_internal.h"

#include <stdlib.h>

enum { ALIGN = 64 };

static void set_lifetimes(pn_plan *p) {
  for (int i = 0; i < p->n_steps; i++)
    for (int r = 0; r < PN_ROLE_COUNT; r++) {
      const pn_operand *o = &p->step[i].operand[r];
      if (o->at != AT_BUFFER) continue;
      pn_buffer *b = &p->buffer[o->index];
      if (b->first < 0) b->first = i;
      b->last = i;
    }
  for (int i = 0; i < p->n_buffers; i++)
    if (p->buffer[i].pinned) {
      p->buffer[i].first = 0;
      p->buffer[i].last = p->n_steps;
    }
}

static int larger_first(const void *a, const void *b) {
  const pn_buffer *x = *(pn_buffer *const *)a, *y = *(pn_buffer *const *)b;
  if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
  return x < y ? -1 : x > y;
}

static bool live_together(const pn_buffer *a, const pn_buffer *b) {
  return a->first <= b->last && b->first <= a->last;
}

static size_t end_of(const pn_buffer *b) {
  return (b->offset + b->bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* Move `b` to the lowest offset where it overlaps none of the placed buffers that live at the same
 * time. */
static void place_lowest(pn_buffer *b, pn_buffer *const *placed, int n_placed) {
  bool moved = true;

  b->offset = 0;
  while (moved) {
    moved = false;
    for (int i = 0; i < n_placed; i++) {
      const pn_buffer *o = placed[i];
      if (!live_together(o, b) || o->offset >= end_of(b) || b->offset >= end_of(o)) continue;
      b->offset = end_of(o);
      moved = true;
    }
  }
}

pn_status pn_plan_place(pn_plan *p) {
  pn_buffer **order = malloc((size_t)p->n_buffers * sizeof *order);
  int n = 0;
  void *arena = NULL;
  pn_status st;

  if (!order) return PN_FAIL(PN_ERR_NOMEM, "plan: out of memory");
  set_lifetimes(p);
  for (int i = 0; i < p->n_buffers; i++)
    if (p->buffer[i].first >= 0) order[n++] = &p->buffer[i];
  qsort(order, (size_t)n, sizeof *order, larger_first);
  p->arena_bytes = 0;
  for (int i = 0; i < n; i++) {
    place_lowest(order[i], order, i);
    if (end_of(order[i]) > p->arena_bytes) p->arena_bytes = end_of(order[i]);
  }
  free(order);
  st = p->spec.device->ops->far
           ? p->spec.device->ops->far->alloc(p->spec.device, "activations", p->arena_bytes, &arena)
           : pn_device_alloc(p->spec.device, p->arena_bytes, &arena);
  p->arena = arena;
  return st;
}
