/* buffers.c -- running statistics: one value for all ranks, when somebody looks at them. */
#include "parallel/resident.h"

#include <stdlib.h>

struct shares {
  int64_t *fed; /* [ranks] */
  float *all;   /* [ranks][n] */
};

static pn_status shares_alloc(struct shares *s, int ranks, int64_t n) {
  s->fed = calloc((size_t)ranks, sizeof *s->fed);
  s->all = malloc((size_t)(ranks * n) * sizeof *s->all);
  return s->fed && s->all ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "running statistics: out of memory");
}

static void mean(const struct shares *s, int ranks, int64_t n, int64_t fed, float *out) {
  for (int64_t i = 0; i < n; i++) {
    double sum = 0;
    for (int r = 0; r < ranks; r++) sum += (double)s->fed[r] * (double)s->all[r * n + i];
    out[i] = (float)(sum / (double)fed);
  }
}

/* Each of the arrays becomes its mean over the ranks. */
static pn_status average(pn_strategy *s, float *const *array, int arrays, int64_t n) {
  int ranks = pn_comm_size(s->spec.data);
  struct shares shares = {NULL};
  int64_t fed = 0;
  pn_status st = PN_OK;

  PN_TRY(pn_agree(s->spec.data, shares_alloc(&shares, ranks, n)));
  PN_TRY(pn_allgather(s->spec.data, "steps of running statistics", &s->fed, shares.fed, 1, PN_I64));
  for (int r = 0; r < ranks; r++) fed += shares.fed[r];
  for (int i = 0; i < arrays; i++) {
    PN_TRY(pn_allgather(s->spec.data, "running statistics", array[i], shares.all, n, PN_F32));
    if (fed > 0) mean(&shares, ranks, n, fed, array[i]);
  }
  s->fed = 0;
done:
  free(shares.fed);
  free(shares.all);
  return st;
}

pn_status pn_strategy_sync_buffers(pn_strategy *s) {
  const pn_param_map *map = s->spec.map;
  float *mine[] = {s->params + map->trainable, s->ema_rest};
  int arrays = s->ema ? 2 : 1;
  int64_t n = map->total - map->trainable;
  pn_status st = PN_OK;

  if (n == 0) return PN_OK;
  for (int i = 0; i < arrays && st == PN_OK; i++) st = pn_resident_fetch_part(s, mine[i], n);
  PN_TRY(pn_agree(s->spec.data, st));
  if (pn_comm_size(s->spec.data) > 1 && !s->exact) {
    PN_TRY(average(s, mine, arrays, n));
    for (int i = 0; i < arrays; i++) PN_TRY(pn_resident_push_part(s, mine[i], n));
  }
done:
  return st;
}
