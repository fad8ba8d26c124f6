/* scaling_job.h -- one rank of bench_scaling: training jobs with a batch in memory, opened when
 * they are first asked for, so that repetitions of all of them can alternate.  Included by
 * bench_scaling.c. */
#ifndef PN_TOOLS_SCALING_JOB_H
#define PN_TOOLS_SCALING_JOB_H

#include "base/clock.h"
#include "base/log.h"
#include "models/models.h"
#include "parallel/strategy.h"
#include "report/bench_batch.h"
#include "train/plan_set.h"

#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_JOBS = 8, WARM_UP = 2, N_CORES = 2, LINE = 256 };

/* As peer_train.py's table. */
static const struct network {
  const char *name;
  int64_t size, channels, classes;
  int batch;       /* default: images per rank and step */
  int steps, reps; /* defaults: of a repetition, 2 s or so, as the first steps find the other jobs'
                    * data in the caches; repetitions */
  const char *optim;
} networks[] = {{"custom_cnn", 128, 1, 2, 32, 24, 7, "adam"},
                {"resnet18", 224, 3, 1000, 8, 1, 7, "sgd"}};
enum { N_NETWORKS = sizeof networks / sizeof *networks };

static inline const struct network *find_network(const char *name) {
  for (int i = 0; i < N_NETWORKS; i++)
    if (strcmp(networks[i].name, name) == 0) return &networks[i];
  return NULL;
}

struct job {
  const struct network *net;
  char strategy_name[16];
  int batch; /* images of this rank */
  pn_graph *graph;
  pn_device *device;
  pn_optim *optim;
  pn_plan_set plans;
  pn_strategy *strategy;
  float *images; /* [batch][C][H][W] */
  uint64_t *id;
  float *scale;
  int64_t step;
};

struct worker {
  pn_comm *world, *bulk;
  FILE *lines; /* the first rank's way to the second, which sleeps in it; NULL: alone */
  struct job job[MAX_JOBS];
  int n;
};

/* What a repetition took, seconds. */
struct timing {
  double total, exposed, late; /* late: of exposed, waiting for a rank that had not come yet */
};

static inline void job_close(struct job *j) {
  pn_plan_set_free(&j->plans);
  pn_strategy_destroy(j->strategy);
  pn_optim_destroy(j->optim);
  pn_device_destroy(j->device);
  pn_graph_destroy(j->graph);
  free(j->images);
  free(j->id);
  free(j->scale);
  *j = (struct job){.batch = 0};
}

static inline int64_t job_pixels(const struct job *j) {
  return j->net->size * j->net->size * j->net->channels * j->batch;
}

static inline pn_status job_engine(struct job *j) {
  pn_model_config cfg;
  pn_optim_config optim;
  int64_t sizes[PN_MAX_PLANS] = {j->batch};
  pn_status st = PN_OK;

  pn_model_defaults(&cfg);
  pn_optim_defaults(&optim);
  snprintf(optim.name, sizeof optim.name, "%s", j->net->optim);
  optim.momentum = strcmp(j->net->optim, "sgd") == 0 ? 0.9 : 0;
  cfg.size[0] = cfg.size[1] = j->net->size;
  cfg.channels = j->net->channels;
  cfg.classes = j->net->classes;
  cfg.softmax = cfg.classes > 2;
  PN_TRY(pn_model_build(j->net->name, &cfg, &j->graph));
  PN_TRY(pn_device_create("cpu", 1, &j->device));
  PN_TRY(pn_optim_create(&optim, &j->optim));
  const pn_plan_spec like = {
      .graph = j->graph, .device = j->device, .batch = j->batch, .training = true};
  PN_TRY(pn_plan_set_create(&like, sizes, &j->plans));
  j->images = malloc((size_t)job_pixels(j) * sizeof *j->images);
  j->id = calloc((size_t)j->batch, sizeof *j->id);
  j->scale = calloc((size_t)j->batch, sizeof *j->scale);
  if (!j->images || !j->id || !j->scale) st = PN_FAIL(PN_ERR_NOMEM, "batch: out of memory");
done:
  return st;
}

static inline void job_fill(struct job *j, int rank, int size) {
  for (int64_t i = 0; i < job_pixels(j); i++) j->images[i] = (float)rand() / (float)RAND_MAX;
  for (int i = 0; i < j->batch; i++) {
    j->id[i] = (uint64_t)(rank * j->batch + i);
    j->scale[i] = 1.0f / (float)(j->batch * size);
  }
}

static inline pn_status job_step(struct job *j) {
  pn_plan *plan = pn_plan_set_get(&j->plans, j->batch);
  pn_plan_hooks hooks = pn_strategy_hooks(j->strategy, true);
  pn_step_ctx ctx = {.seed = 1, .epoch = 1, .sample_id = j->id, .sample_scale = j->scale};
  pn_status st = PN_OK;

  memcpy(pn_plan_input(plan), j->images, (size_t)job_pixels(j) * sizeof *j->images);
  for (int i = 0; i < j->batch; i++) pn_plan_labels(plan)[i] = (int32_t)(i % 2);
  PN_TRY(pn_plan_forward(plan, &ctx, &hooks));
  j->strategy->fed++;
  PN_TRY(pn_plan_backward(plan, &ctx, &hooks));
  PN_TRY(pn_strategy_update(j->strategy, ++j->step, PN_BENCH_LR, NULL));
done:
  return st;
}

/* Collective. */
static inline pn_status job_open(struct worker *w, struct job *j) {
  pn_strategy_spec spec = {.graph = j->graph, .seed = 1};
  pn_status st = pn_agree(w->world, job_engine(j));

  PN_TRY(st);
  job_fill(j, pn_comm_rank(w->world), pn_comm_size(w->world));
  spec.graph = j->graph;
  spec.map = &j->plans.map;
  spec.optim = j->optim;
  spec.data = w->bulk;
  spec.device = j->device;
  PN_TRY(pn_strategy_create(j->strategy_name, &spec, &j->strategy));
  pn_plan_set_bind(&j->plans, j->strategy->params, j->strategy->grads);
  for (int i = 0; i < WARM_UP; i++) PN_TRY(job_step(j));
done:
  return st;
}

/* The job of this name, made if there is none yet.  Collective. */
static inline pn_status worker_job(struct worker *w, const char *net, const char *strategy,
                                   int batch, struct job **out) {
  struct job *j = w->job;

  for (; j < w->job + w->n; j++)
    if (strcmp(j->net->name, net) == 0 && strcmp(j->strategy_name, strategy) == 0 &&
        j->batch == batch)
      break;
  *out = j;
  if (j < w->job + w->n) return PN_OK;
  if (w->n == MAX_JOBS || batch < 1 || !find_network(net))
    return PN_FAIL(PN_ERR_ARG, "no job %s, %s, %d images", net, strategy, batch);
  *j = (struct job){.net = find_network(net), .batch = batch};
  snprintf(j->strategy_name, sizeof j->strategy_name, "%s", strategy);
  w->n++;
  return job_open(w, j);
}

/* Largest times over the ranks.  Collective. */
static inline pn_status worker_run(struct worker *w, struct job *j, int steps, struct timing *out) {
  double t[3] = {0}, start, late;
  pn_status st = PN_OK;

  PN_TRY(pn_barrier(w->world, "start of a repetition"));
  j->strategy->comm_exposed_s = j->strategy->comm_total_s = 0;
  late = pn_comm_late_s(w->bulk);
  start = pn_now();
  for (int i = 0; i < steps; i++) PN_TRY(job_step(j));
  t[0] = pn_now() - start;
  t[1] = j->strategy->comm_exposed_s;
  t[2] = t[1] - (pn_comm_late_s(w->bulk) - late);
  PN_TRY(pn_allreduce(w->world, "times", t, 3, PN_F64, PN_MAX));
  *out = (struct timing){.total = t[0], .exposed = t[1], .late = t[1] - t[2]};
done:
  return st;
}

static inline void worker_drop(struct worker *w) {
  while (w->n > 0) job_close(&w->job[--w->n]);
}

static inline pn_status worker_bind(int core) {
  cpu_set_t set;

  CPU_ZERO(&set);
  CPU_SET((size_t)core, &set);
  if (sched_setaffinity(0, sizeof set, &set) == 0) return PN_OK;
  return PN_FAIL(PN_ERR_IO, "cannot bind to core %d", core);
}

/* The next line, on both ranks.  No MPI: a rank that waits must not take time of its core. */
static inline void worker_line(struct worker *w, char line[LINE]) {
  bool first = pn_comm_rank(w->world) == 0;

  if (!fgets(line, LINE, first ? stdin : w->lines)) strcpy(line, "quit\n");
  if (first && w->lines && (fputs(line, w->lines) < 0 || fflush(w->lines) != 0))
    strcpy(line, "quit\n");
}

static inline pn_status worker_answer(struct worker *w, const char *line) {
  char net[32], strategy[16];
  int batch, steps;
  struct job *j = NULL;
  struct timing t;
  pn_status st = PN_OK;

  if (strncmp(line, "drop", 4) == 0) {
    worker_drop(w);
  } else if (sscanf(line, "run %31s %15s %d %d", net, strategy, &batch, &steps) == 4) {
    PN_TRY(worker_job(w, net, strategy, batch, &j));
    PN_TRY(worker_run(w, j, steps, &t));
  } else {
    return PN_FAIL(PN_ERR_ARG, "unknown line '%s'", line);
  }
  if (pn_comm_rank(w->world) > 0) return PN_OK;
  if (j)
    printf("%.9f %.9f %.9f\n", t.total, t.exposed, t.late);
  else
    printf("ok\n");
  fflush(stdout);
done:
  return st;
}

static inline pn_status worker_serve(struct worker *w) {
  char line[LINE] = "";
  pn_status st = PN_OK;

  PN_TRY(pn_comm_data(w->world, "auto", &w->bulk));
  if (pn_comm_rank(w->world) == 0) printf("ready %d\n", pn_comm_size(w->world));
  fflush(stdout);
  for (;;) {
    worker_line(w, line);
    if (strncmp(line, "quit", 4) == 0) break;
    PN_TRY(worker_answer(w, line));
  }
done:
  worker_drop(w);
  pn_comm_destroy(w->bulk);
  return st;
}

static inline pn_status worker_open(struct worker *w, int core, const char *fifo) {
  if (core >= 0) return pn_comm_self(&w->world);
  pn_status st = pn_comm_world(300, &w->world);
  if (st != PN_OK) return st;
  w->lines = fopen(fifo, pn_comm_rank(w->world) == 0 ? "w" : "r");
  return w->lines ? PN_OK : PN_FAIL(PN_ERR_IO, "cannot open %s", fifo);
}

/* core >= 0: alone, no MPI at all; else one of the ranks, with a FIFO between them.  The cores are
 * chosen before MPI starts, which looks at them. */
static inline int worker_main(int core, const int cores[N_CORES], const char *fifo) {
  const char *rank = getenv("OMPI_COMM_WORLD_RANK");
  struct worker w = {.n = 0};
  int level;
  pn_status st = worker_bind(core >= 0 ? core : cores[rank ? atoi(rank) % N_CORES : 0]);

  pn_log_init(rank ? atoi(rank) : 0, true);
  pn_comm_prepare();
  if (st == PN_OK && core < 0 &&
      MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS)
    return 3;
  if (st == PN_OK) st = worker_open(&w, core, fifo);
  if (st == PN_OK) st = worker_serve(&w);
  if (st != PN_OK) fprintf(stderr, "bench_scaling, a rank: %s\n", pn_last_error());
  if (w.lines) fclose(w.lines);
  pn_comm_destroy(w.world);
  if (core < 0 && st != PN_OK) pn_comm_abort(1);
  if (core < 0) pn_comm_leave(0);
  return st != PN_OK;
}

#endif
