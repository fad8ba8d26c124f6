/* plan_set.c -- training plans by batch size. */
#include "train/plan_set.h"

#include <stdlib.h>
#include <string.h>

static pn_status copy_map(const pn_param_map *in, pn_param_map *out) {
  *out = (pn_param_map){.n = in->n, .total = in->total, .trainable = in->trainable};
  out->slot = malloc((size_t)(in->n + 1) * sizeof *out->slot);
  if (!out->slot) return PN_FAIL(PN_ERR_NOMEM, "parameter map: out of memory");
  memcpy(out->slot, in->slot, (size_t)in->n * sizeof *out->slot);
  return PN_OK;
}

pn_plan *pn_plan_set_get(const pn_plan_set *s, int64_t batch) {
  for (int i = 0; i < s->n; i++)
    if (s->batch[i] == batch) return s->plan[i];
  return NULL;
}

static void keep(pn_plan_set *s, pn_plan *p, int64_t batch) {
  s->plan[s->n] = p;
  s->batch[s->n++] = batch;
}

pn_status pn_plan_set_create(const pn_plan_spec *like, const int64_t sizes[PN_MAX_PLANS],
                             pn_plan_set *out) {
  pn_plan_spec spec = *like;
  pn_plan *first = NULL;
  pn_status st = PN_OK;

  *out = (pn_plan_set){0};
  PN_TRY(pn_plan_create(&spec, &first));
  PN_TRY(copy_map(pn_plan_param_map(first), &out->map));
  spec.params = &out->map;
  for (int i = 0; i < PN_MAX_PLANS; i++) {
    pn_plan *p = NULL;
    if (sizes[i] == 0 || pn_plan_set_get(out, sizes[i])) continue;
    spec.batch = sizes[i];
    if (sizes[i] == like->batch) {
      p = first;
      first = NULL;
    } else {
      PN_TRY(pn_plan_create(&spec, &p));
    }
    keep(out, p, sizes[i]);
  }
done:
  pn_plan_destroy(first);
  return st;
}

void pn_plan_set_free(pn_plan_set *s) {
  for (int i = 0; i < s->n; i++) pn_plan_destroy(s->plan[i]);
  pn_param_map_free(&s->map);
  *s = (pn_plan_set){0};
}

void pn_plan_set_bind(pn_plan_set *s, float *params, float *grads) {
  for (int i = 0; i < s->n; i++) pn_plan_bind(s->plan[i], params, grads);
}

void pn_plan_set_bind_far(pn_plan_set *s, const pn_far_places *where) {
  for (int i = 0; where && i < s->n; i++) pn_plan_bind_far(s->plan[i], where);
}
