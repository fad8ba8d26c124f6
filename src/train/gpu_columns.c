/* gpu_columns.c -- samples at both ends of each step, summed over the ranks once per epoch. */
#include "train/gpu_columns.h"

#include "base/log.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_BYTES = 128 };
enum { SUM_GPUS, SUM_UTILIZATION, SUM_POWER, SUM_ENERGY, SUMS }; /* of a step, over the ranks */
enum { MOST_MEMORY, MOST_SLOWNESS, MOSTS };                      /* slowness: minus the clock */
static const double every_s = 0.1;

struct pn_gpu_columns {
  pn_gpu_watch *watch; /* NULL: another rank does it, or this one has no GPU; owned */
  pn_gpu_sample begin;
  double *sum, *most; /* [steps][SUMS], [steps][MOSTS]; owned */
};

typedef struct {
  char text[NAME_BYTES]; /* "host bus", "": no GPU */
} gpu_name;

static bool is_first(const gpu_name *all, int rank) {
  for (int r = 0; r < rank; r++)
    if (strcmp(all[r].text, all[rank].text) == 0) return false;
  return all[rank].text[0] != '\0';
}

static pn_status make(const char *bus, bool watches, int64_t steps, pn_gpu_columns **out) {
  pn_gpu_columns *g = *out = calloc(1, sizeof *g);

  if (g) g->sum = calloc((size_t)steps * SUMS, sizeof *g->sum);
  if (g) g->most = calloc((size_t)steps * MOSTS, sizeof *g->most);
  if (!g || !g->sum || !g->most) return PN_FAIL(PN_ERR_NOMEM, "figures of GPUs: out of memory");
  return watches ? pn_gpu_watch_start(bus, every_s, &g->watch) : PN_OK;
}

pn_status pn_gpu_columns_create(pn_comm *c, const char *bus, int64_t steps, pn_gpu_columns **out) {
  int size = pn_comm_size(c), rank = pn_comm_rank(c), watchers = 0;
  gpu_name own = {""}, *all = calloc((size_t)size, sizeof *all);
  char host[64] = "";
  pn_status st = PN_OK;

  *out = NULL;
  PN_TRY(pn_agree(c, all ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "GPUs of %d ranks", size)));
  gethostname(host, sizeof host - 1);
  if (bus[0]) snprintf(own.text, sizeof own.text, "%s %.32s", host, bus);
  PN_TRY(pn_allgather(c, "GPUs to watch", &own, all, sizeof own, PN_U8));
  for (int r = 0; r < size; r++) watchers += is_first(all, r);
  if (watchers == 0) goto done;
  st = pn_agree(c, make(bus, is_first(all, rank), steps, out));
  if (st == PN_OK) goto done;
  if (rank == 0) pn_warn("steps.csv without figures of the GPU: %s", pn_last_error());
  pn_gpu_columns_destroy(*out);
  *out = NULL;
  st = PN_OK;
done:
  free(all);
  return st;
}

void pn_gpu_columns_destroy(pn_gpu_columns *g) {
  if (!g) return;
  pn_gpu_watch_stop(g->watch);
  free(g->sum);
  free(g->most);
  free(g);
}

void pn_gpu_columns_begin(pn_gpu_columns *g) {
  if (g && g->watch) pn_gpu_watch_now(g->watch, &g->begin);
}

/* A figure that is not told: NAN makes every sum NAN, and INFINITY the largest of all. */
static double or_infinity(double x) {
  return isnan(x) ? INFINITY : x;
}

void pn_gpu_columns_end(pn_gpu_columns *g, int64_t k) {
  double *sum = g ? g->sum + k * SUMS : NULL, *most = g ? g->most + k * MOSTS : NULL;
  pn_gpu_sample s;

  if (!g) return;
  memset(sum, 0, SUMS * sizeof *sum);
  most[MOST_MEMORY] = most[MOST_SLOWNESS] = -INFINITY;
  if (!g->watch) return;
  pn_gpu_watch_now(g->watch, &s);
  sum[SUM_GPUS] = 1;
  sum[SUM_UTILIZATION] = s.value[PN_GPU_UTILIZATION];
  sum[SUM_POWER] = s.value[PN_GPU_POWER];
  sum[SUM_ENERGY] = s.value[PN_GPU_ENERGY] - g->begin.value[PN_GPU_ENERGY];
  if (sum[SUM_ENERGY] < 0) sum[SUM_ENERGY] = 0; /* what was carried on by the power was too much */
  most[MOST_MEMORY] = or_infinity(s.value[PN_GPU_MEMORY]);
  most[MOST_SLOWNESS] = or_infinity(-s.value[PN_GPU_CLOCK]);
}

pn_status pn_gpu_columns_reduce(pn_gpu_columns *g, pn_comm *c, int64_t n) {
  pn_status st = pn_allreduce(c, "figures of the GPUs", g->sum, n * SUMS, PN_F64, PN_SUM);
  if (st != PN_OK) return st;
  return pn_allreduce(c, "extremes of the GPUs", g->most, n * MOSTS, PN_F64, PN_MAX);
}

static double or_nan(double x) {
  return isfinite(x) ? x : NAN;
}

void pn_gpu_columns_row(const pn_gpu_columns *g, int64_t k, double out[PN_GPU_FIGURES]) {
  const double *sum = g->sum + k * SUMS, *most = g->most + k * MOSTS;

  out[PN_GPU_UTILIZATION] = sum[SUM_UTILIZATION] / sum[SUM_GPUS];
  out[PN_GPU_POWER] = sum[SUM_POWER];
  out[PN_GPU_ENERGY] = sum[SUM_ENERGY];
  out[PN_GPU_MEMORY] = or_nan(most[MOST_MEMORY]);
  out[PN_GPU_CLOCK] = or_nan(-most[MOST_SLOWNESS]);
}

void pn_gpu_part_add(pn_gpu_part *p, const double row[PN_GPU_FIGURES], double seconds) {
  p->sum[PN_GPU_UTILIZATION] += row[PN_GPU_UTILIZATION] * seconds;
  p->sum[PN_GPU_POWER] += row[PN_GPU_POWER] * seconds;
  p->sum[PN_GPU_CLOCK] += row[PN_GPU_CLOCK] * seconds;
  p->sum[PN_GPU_ENERGY] += row[PN_GPU_ENERGY];
  if (!(p->sum[PN_GPU_MEMORY] >= row[PN_GPU_MEMORY])) p->sum[PN_GPU_MEMORY] = row[PN_GPU_MEMORY];
  p->seconds += seconds;
}

void pn_gpu_part_figures(const pn_gpu_part *p, double out[PN_GPU_FIGURES]) {
  memcpy(out, p->sum, sizeof p->sum);
  out[PN_GPU_UTILIZATION] /= p->seconds;
  out[PN_GPU_POWER] /= p->seconds;
  out[PN_GPU_CLOCK] /= p->seconds;
}
