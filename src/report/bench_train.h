/* bench_train.h -- training steps as `pneuma train` does them, on random images in memory. */
#ifndef PN_REPORT_BENCH_TRAIN_H
#define PN_REPORT_BENCH_TRAIN_H

#include "nn/plan.h"
#include "optim/optim.h"
#include "parallel/strategy.h"
#include "prof/phases.h"
#include "prof/stats.h"

/* All borrowed for the life of the benchmark. */
typedef struct {
  pn_comm *world;
  pn_comm *data; /* gradients travel here */
  const pn_graph *graph;
  pn_device *device;
  pn_plan *plan; /* for training; bound by this */
  pn_optim *optim;
  const char *strategy;
  int64_t batch; /* of a rank */
  int64_t bucket_bytes;
  bool keep_whole;
  int64_t steps; /* that are timed, after warm-up */
  double lr;
  double loss_scale; /* fp16: of the loss; 0: none */
} pn_train_bench_spec;

typedef struct pn_train_bench pn_train_bench;

/* Collective, agreed.  *out owned by the caller. */
pn_status pn_train_bench_create(const pn_train_bench_spec *s, pn_train_bench **out);
void pn_train_bench_destroy(pn_train_bench *b);

/* One whole step; timed and kept unless it warms up.  Collective; a failure of one rank is not
 * agreed upon: end the job. */
pn_status pn_train_bench_step(pn_train_bench *b, bool warm_up);

/* Of the steps kept: milliseconds of the slowest rank in each.  Collective. */
typedef struct {
  pn_stats step_ms;
  double phase_ms[PN_PHASE_COUNT]; /* medians */
  bool far;                        /* the arenas are on a device with memory of its own */
  bool whole;                      /* steps of pn_plan_step, on a device; then: */
  bool graph;                      /* they were one graph each */
  double host_us, idle_percent;    /* means: the host's work for a step; the device's time between
                                    * steps, by its events; of the worst rank */
  const char *no_graph;            /* why not; static; NULL */
} pn_train_bench_times;
pn_status pn_train_bench_reduce(pn_train_bench *b, pn_train_bench_times *out);

#endif
