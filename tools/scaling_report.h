/* scaling_report.h -- what bench_scaling measures, and what it makes of it.  Included by
 * bench_scaling.c. */
#ifndef PN_TOOLS_SCALING_REPORT_H
#define PN_TOOLS_SCALING_REPORT_H

#include "peer_process.h"
#include "scaling_job.h"

#include <jansson.h>

enum { MAX_REPS = 101, MIN_REPS = 3 };

struct options {
  const char *model, *mpiexec, *python, *script;
  int batch, reps, steps, limit;
  bool no_peer, json, help, worker;
  int core; /* of a worker alone; -1: by rank */
  const char *self, *fifo;
  int cores[N_CORES];
};

/* Who runs, and what.  The pair of processes that know nothing of each other is the ceiling. */
enum side { ALONE, BESIDE, RANKS, TORCH, TORCH_RANKS, N_SIDES };
static const struct row {
  const char *name, *strategy;
  enum side side;
  int share;       /* images per rank are batch * share */
  int base;        /* row it is compared with, -1: it is one */
  int work;        /* images per step, in images of the base's */
  double goal[2];  /* of the efficiency: custom_cnn, resnet18; 0: none */
  const char *how; /* "weak", "strong" */
} rows[] = {
    {"1 rank", "single", ALONE, 1, -1, 1, {0, 0}, ""},
    {"1 rank, twice the images", "single", ALONE, 2, -1, 1, {0, 0}, ""},
    {"2 jobs without communication", "single", BESIDE, 1, 0, 2, {0, 0}, "ceiling"},
    {"ddp", "ddp", RANKS, 1, 0, 2, {0.95, 0.95}, "weak"},
    {"ddp", "ddp", RANKS, 1, 1, 1, {0.92, 0.92}, "strong"},
    {"zero1", "zero1", RANKS, 1, 1, 1, {0.95, 0.95}, "strong"},
    {"fsdp", "fsdp", RANKS, 1, 1, 1, {0.90, 0.90}, "strong"},
    {"PyTorch 1 rank", "single", TORCH, 1, -1, 1, {0, 0}, ""},
    {"PyTorch 1 rank, twice the images", "single", TORCH, 2, -1, 1, {0, 0}, ""},
    {"PyTorch DDP gloo", "ddp", TORCH_RANKS, 1, 7, 2, {0, 0}, "weak"},
    {"PyTorch DDP gloo", "ddp", TORCH_RANKS, 1, 8, 1, {0, 0}, "strong"},
};
enum { N_ROWS = sizeof rows / sizeof *rows, CEILING = 2, FIRST_TORCH = 7 };

struct bench {
  const struct options *o;
  peer_process side[N_SIDES];
  char torch[32]; /* version; "" = there is none */
  const struct network *net;
  int batch, steps, reps;               /* of this network; reps: done */
  struct timing time[N_ROWS][MAX_REPS]; /* of one step */
};

static inline bool is_torch(const struct row *r) {
  return r->side == TORCH || r->side == TORCH_RANKS;
}

static inline int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Median and quartiles. */
struct spread {
  double low, median, high;
};

static inline struct spread spread_of(double *x, int n) {
  qsort(x, (size_t)n, sizeof *x, by_value);
  return (struct spread){x[(n - 1) / 4], n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]),
                         x[n - 1 - (n - 1) / 4]};
}

/* What is made of one row, repetition by repetition. */
struct figures {
  struct spread step_ms, efficiency, of_ceiling, exposed, late; /* shares of the step */
};

static inline struct figures figures_of(const struct bench *b, int k) {
  double x[5][MAX_REPS];
  struct spread s[5];

  for (int r = 0; r < b->reps; r++) {
    const struct timing *t = &b->time[k][r];
    double base = rows[k].base >= 0 ? b->time[rows[k].base][r].total : t->total;
    x[0][r] = 1e3 * t->total;
    x[1][r] = base * rows[k].work / (N_CORES * t->total);
    x[2][r] = b->time[CEILING][r].total / t->total;
    x[3][r] = t->exposed / t->total;
    x[4][r] = t->late / t->total;
  }
  for (int i = 0; i < 5; i++) s[i] = spread_of(x[i], b->reps);
  return (struct figures){s[0], s[1], s[2], s[3], s[4]};
}

static inline double goal_of(const struct bench *b, const struct row *r) {
  return r->goal[b->net - networks];
}

static inline void print_row(const struct bench *b, int k) {
  const struct row *r = &rows[k];
  struct figures f = figures_of(b, k);
  double goal = goal_of(b, r);

  printf("%-33s %-7s %7.1f (%.1f-%.1f)", r->name, r->how, f.step_ms.median, f.step_ms.low,
         f.step_ms.high);
  if (r->base >= 0)
    printf("  efficiency %.3f (%.3f-%.3f)", f.efficiency.median, f.efficiency.low,
           f.efficiency.high);
  if (r->side == RANKS)
    printf(", %.3f of the ceiling; exposed %.1f %%, of it for a late rank %.1f %%",
           f.of_ceiling.median, 100 * f.exposed.median, 100 * f.late.median);
  if (goal > 0) printf("; goal %.2f: %s", goal, f.efficiency.median >= goal ? "met" : "NOT met");
  printf("\n");
}

static inline void print_text(const struct bench *b) {
  printf("%s, %d images per rank (strong: %d in all), %s, f32, 1 thread per rank, cores %d and %d; "
         "%d x %d steps; ms per step, median (quartiles)\n",
         b->net->name, b->batch, N_CORES * b->batch, b->net->optim, b->o->cores[0], b->o->cores[1],
         b->reps, b->steps);
  for (int k = 0; k < N_ROWS; k++)
    if (b->torch[0] || !is_torch(&rows[k])) print_row(b, k);
  printf("\n");
}

static inline json_t *spread_json(struct spread s) {
  return json_pack("{s:f, s:[f,f]}", "median", s.median, "quartiles", s.low, s.high);
}

static inline json_t *row_json(const struct bench *b, int k) {
  const struct row *r = &rows[k];
  struct figures f = figures_of(b, k);
  int ranks = r->side == ALONE || r->side == TORCH ? 1 : N_CORES;
  json_t *j =
      json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:o}", "model", b->net->name, "name", r->name,
                "strategy", r->strategy, "scaling", r->how, "ranks", ranks, "threads", 1,
                "global_batch", b->batch * r->share * ranks, "step_ms", spread_json(f.step_ms));

  if (r->base >= 0) json_object_set_new(j, "efficiency", spread_json(f.efficiency));
  if (r->side == RANKS) {
    json_object_set_new(j, "efficiency_of_ceiling", spread_json(f.of_ceiling));
    json_object_set_new(j, "comm_exposed_share", spread_json(f.exposed));
    json_object_set_new(j, "comm_late_share", spread_json(f.late));
  }
  if (goal_of(b, r) > 0) json_object_set_new(j, "goal", json_real(goal_of(b, r)));
  return j;
}

static inline void add_json(const struct bench *b, json_t *list) {
  for (int k = 0; k < N_ROWS; k++)
    if (b->torch[0] || !is_torch(&rows[k])) json_array_append_new(list, row_json(b, k));
}

#endif
