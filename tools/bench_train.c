/* bench_train.c -- training speed of the networks beside PyTorch, in one run: repetitions of both
 * alternate on the same cores, data in memory.  Usage: bench_train --help. */
#include "report/bench_train.h"
#include "base/clock.h"
#include "models/models.h"
#include "nn/plan.h"
#include "optim/optim.h"
#include "pn_version.h"
#include "prof/memory.h"
#include "report/bench_batch.h"
#include "train_peer.h"

#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_REPS = 101, MEMORY_STEPS = 3 };

/* As peer_train.py's table; the batches of the issue that sets the goals. */
static const struct network networks[] = {{"custom_cnn", 128, 1, 2, 32, 4, "adam"},
                                          {"cifar_cnn", 32, 3, 10, 128, 2, "adam"},
                                          {"resnet18", 224, 3, 1000, 16, 1, "sgd"},
                                          {"resnet50v2", 224, 3, 2, 16, 1, "sgd"}};
enum { N_NETWORKS = sizeof networks / sizeof *networks };

/* Seconds per repetition: of the clock, and of this process's computing, which does not count
 * those in which others had the core. */
struct series {
  double s[MAX_REPS], cpu[MAX_REPS];
  int n;
};

/* Our side: one training job. */
struct job {
  pn_device *device;
  pn_graph *graph;
  pn_plan *plan;
  pn_optim *optim;
  pn_comm *comm;
  pn_train_bench *bench;
};

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double quantile_of(const double *x, int n, double q) {
  double s[MAX_REPS];
  memcpy(s, x, (size_t)n * sizeof *s);
  qsort(s, (size_t)n, sizeof *s, by_value);
  return s[(int)(q * (n - 1) + 0.5)];
}

static double quantile(const struct series *t, double q) {
  return quantile_of(t->s, t->n, q);
}

static double cpu_median(const struct series *t) {
  return quantile_of(t->cpu, t->n, 0.5);
}

static double rate(const struct options *o, double seconds) {
  return (double)(o->batch * o->steps) / seconds;
}

/* ---- our side ---- */

static void job_destroy(struct job *j) {
  pn_train_bench_destroy(j->bench);
  pn_optim_destroy(j->optim);
  pn_plan_destroy(j->plan);
  pn_graph_destroy(j->graph);
  pn_device_destroy(j->device);
  pn_comm_destroy(j->comm);
}

static pn_status job_create(const struct options *o, struct job *j) {
  pn_model_config cfg;
  pn_optim_config optim;
  bool bf16 = strcmp(o->precision, "bf16") == 0;
  pn_plan_spec plan = {.batch = o->batch, .training = true, .precision = bf16 ? PN_BF16 : PN_F32};
  pn_train_bench_spec spec = {
      .strategy = "single", .batch = o->batch, .steps = 1, .lr = PN_BENCH_LR};
  pn_status st;

  pn_model_defaults(&cfg);
  pn_optim_defaults(&optim);
  snprintf(optim.name, sizeof optim.name, "%s", o->net->optim);
  optim.momentum = strcmp(o->net->optim, "sgd") == 0 ? 0.9 : 0;
  cfg.size[0] = cfg.size[1] = o->net->size;
  cfg.channels = o->net->channels;
  cfg.classes = o->net->classes;
  cfg.softmax = cfg.classes > 2;
  PN_TRY(pn_comm_self(&j->comm));
  PN_TRY(pn_model_build(o->net->name, &cfg, &j->graph));
  PN_TRY(pn_device_create(o->device, o->threads, &j->device));
  PN_TRY(pn_device_check_precision(j->device, plan.precision));
  plan.graph = j->graph;
  plan.device = j->device;
  PN_TRY(pn_plan_create(&plan, &j->plan));
  PN_TRY(pn_optim_create(&optim, &j->optim));
  spec.world = spec.data = j->comm;
  spec.graph = j->graph;
  spec.device = j->device;
  spec.plan = j->plan;
  spec.optim = j->optim;
  PN_TRY(pn_train_bench_create(&spec, &j->bench));
done:
  return st;
}

static pn_status run_ours(const struct options *o, struct job *j, double seconds[2]) {
  double start = pn_now(), cpu = pn_cpu_now();
  for (int i = 0; i < o->steps; i++) {
    pn_status st = pn_train_bench_step(j->bench, true);
    if (st != PN_OK) return st;
  }
  seconds[0] = pn_now() - start;
  seconds[1] = pn_cpu_now() - cpu;
  return PN_OK;
}

/* The child that measures our memory: its one line of output. */
static pn_status tell_memory(const struct options *o) {
  struct memory m = {.before = pn_memory_now()};
  struct job job = {.device = NULL};
  pn_status st = PN_OK;

  PN_TRY(job_create(o, &job));
  for (int i = 0; i < MEMORY_STEPS; i++) PN_TRY(pn_train_bench_step(job.bench, true));
  m.peak = pn_memory_peak();
  printf("%" PRId64 " %" PRId64 "\n", m.before, m.peak);
done:
  job_destroy(&job);
  return st;
}

/* ---- the measurement ---- */

static void keep(struct series *t, const double seconds[2]) {
  t->s[t->n] = seconds[0];
  t->cpu[t->n++] = seconds[1];
}

/* One warm-up repetition, then `reps`, both sides in turn. */
static pn_status measure(const struct options *o, struct job *j, struct peer *p,
                         struct series *ours, struct series peers[MAX_MODES]) {
  char line[64];
  pn_status st = PN_OK;
  for (int r = -1; r < o->reps; r++) {
    double seconds[1 + MAX_MODES][2] = {{0}};
    PN_TRY(run_ours(o, j, seconds[0]));
    for (int m = 0; p->process.pid && m < p->n_modes; m++)
      PN_TRY(run_peer(o, p, p->mode[m], seconds[1 + m]));
    if (r < 0) continue;
    keep(ours, seconds[0]);
    for (int m = 0; m < p->n_modes; m++) keep(&peers[m], seconds[1 + m]);
  }
  if (p->process.pid && peer_ask(&p->process, "peak", line, sizeof line))
    p->peak = strtoll(line, NULL, 10);
done:
  return st;
}

struct results {
  struct series ours, peers[MAX_MODES];
  struct memory our_memory, peer_memory[MAX_MODES];
};

/* The fastest; a mode that was not measured has no samples. */
static int best_mode(const struct series peers[MAX_MODES]) {
  int best = 0;
  for (int m = 1; m < MAX_MODES; m++)
    if (peers[m].n > 0 && quantile(&peers[m], 0.5) < quantile(&peers[best], 0.5)) best = m;
  return best;
}

static void print_row(const struct options *o, const char *name, const struct series *t) {
  printf("%-44s %8.1f img/s   (%.1f to %.1f)\n", name, rate(o, quantile(t, 0.5)),
         rate(o, quantile(t, 1.0)), rate(o, quantile(t, 0.0)));
}

static void print_text(const struct options *o, const struct peer *p, const struct series *ours,
                       const struct series peers[MAX_MODES]) {
  char name[64];
  print_row(o, "pneuma " PN_VERSION, ours);
  if (!p->process.pid) return;
  for (int m = 0; m < p->n_modes; m++) {
    snprintf(name, sizeof name, "PyTorch %s %s", p->version, p->mode[m]);
    print_row(o, name, &peers[m]);
  }
  printf("ratio to the best of them: %.2f",
         quantile(&peers[best_mode(peers)], 0.5) / quantile(ours, 0.5));
  if (o->threads == 1)
    printf("; of the cores' time: %.2f", cpu_median(&peers[best_mode(peers)]) / cpu_median(ours));
  printf("\n");
}

static int64_t used(const struct memory *m) {
  return m->peak - m->before;
}

/* The peer's mode that needs least; zeros: not measured. */
static int least_memory(const struct memory peers[MAX_MODES]) {
  int best = 0;
  for (int m = 1; m < MAX_MODES; m++)
    if (peers[m].peak > 0 && used(&peers[m]) < used(&peers[best])) best = m;
  return best;
}

static void print_memory(const char *name, const struct memory *m) {
  printf("%-44s %8.1f MiB     (peak %.1f, before the model %.1f)\n", name,
         (double)used(m) / (1 << 20), (double)m->peak / (1 << 20), (double)m->before / (1 << 20));
}

static void print_memories(const struct peer *p, const struct results *r) {
  const struct memory *ours = &r->our_memory, *peers = r->peer_memory;
  char name[64];
  print_memory("memory of steps: pneuma", ours);
  if (!p->process.pid) return;
  for (int m = 0; m < p->n_modes; m++) {
    snprintf(name, sizeof name, "  PyTorch %s", p->mode[m]);
    print_memory(name, &peers[m]);
  }
  printf("memory, ratio to the best of them: %.2f\n",
         (double)used(ours) / (double)used(&peers[least_memory(peers)]));
}

static json_t *peer_json(const struct options *o, const struct peer *p,
                         const struct series peers[MAX_MODES], const struct memory *memory) {
  char name[64];
  int m = best_mode(peers);
  if (!p->process.pid) return json_null();
  snprintf(name, sizeof name, "PyTorch %s %s", p->version, p->mode[m]);
  return json_pack("{s:s, s:f, s:I, s:I}", "name", name, "images_per_s",
                   rate(o, quantile(&peers[m], 0.5)), "peak_bytes",
                   (json_int_t)(on_gpu(o) ? p->peak : memory->peak), "step_bytes",
                   (json_int_t)used(memory));
}

/* What computes on our side. */
static const char *library_of(const struct options *o) {
  return on_gpu(o) ? o->device : pn_device_library();
}

static void print_json(const struct options *o, const struct peer *p, const struct results *r) {
  const struct memory *peer = &r->peer_memory[least_memory(r->peer_memory)];
  double seconds = quantile(&r->ours, 0.5), best = quantile(&r->peers[best_mode(r->peers)], 0.5);
  json_t *row = json_pack(
             "{s:s, s:s, s:i, s:I, s:f, s:I, s:I, s:o}", "model", o->net->name, "precision",
             o->precision, "threads", o->threads, "batch", (json_int_t)o->batch, "images_per_s",
             rate(o, seconds), "peak_bytes", (json_int_t)r->our_memory.peak, "step_bytes",
             (json_int_t)used(&r->our_memory), "peer", peer_json(o, p, r->peers, peer)),
         *root;

  if (p->process.pid) json_object_set_new(row, "ratio", json_real(best / seconds));
  if (p->process.pid && !on_gpu(o))
    json_object_set_new(row, "memory_ratio",
                        json_real((double)used(&r->our_memory) / (double)used(peer)));
  root = json_pack("{s:[o], s:s, s:s}", "rows", row, "library", library_of(o), "isa",
                   on_gpu(o) ? "" : pn_device_isa());
  json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
  printf("\n");
  json_decref(root);
}

/* Both sides inherit the first `threads` cores we may use; their list as text. */
static pn_status bind_cores(int threads, char *text, size_t bytes) {
  cpu_set_t allowed, mine;
  int taken = 0;
  size_t used = 0;

  CPU_ZERO(&mine);
  text[0] = '\0';
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
    return PN_FAIL(PN_ERR_IO, "cannot read the cores of this process");
  for (int c = 0; c < CPU_SETSIZE && taken < threads; c++) {
    if (!CPU_ISSET((size_t)c, &allowed)) continue;
    CPU_SET((size_t)c, &mine);
    taken++;
    if (used < bytes) used += (size_t)snprintf(text + used, bytes - used, " %d", c);
  }
  if (taken < threads)
    return PN_FAIL(PN_ERR_ARG, "--threads %d: this process may use %d cores", threads, taken);
  if (sched_setaffinity(0, sizeof mine, &mine) != 0)
    return PN_FAIL(PN_ERR_IO, "cannot bind to cores%s", text);
  return PN_OK;
}

static void tell_setup(const struct options *o, const struct job *job, const char *cores) {
  fprintf(stderr,
          "%s %" PRId64 "x%" PRId64 "x%" PRId64 ", %" PRId64
          " parameters, batch %d, %s, %s; %d x %d steps; threads %d on cores%s; %s, %s\n",
          o->net->name, o->net->size, o->net->size, o->net->channels,
          pn_graph_trainable_count(job->graph), o->batch, o->net->optim, o->precision, o->reps,
          o->steps, o->threads, cores, library_of(o), on_gpu(o) ? "" : pn_device_isa());
}

/* In processes of their own, one after the other; of the host only. */
static void measure_memories(const struct options *o, const struct peer *p, struct results *r) {
  if (on_gpu(o)) return;
  r->our_memory = measure_memory(o, NULL);
  for (int m = 0; m < p->n_modes; m++) r->peer_memory[m] = measure_memory(o, p->mode[m]);
}

static pn_status bench(const struct options *o) {
  struct job job = {.device = NULL};
  struct peer peer = {.parameters = 0};
  struct results r = {.ours = {.n = 0}};
  char cores[256];
  pn_status st = PN_OK;

  if (o->memory) return tell_memory(o);
  PN_TRY(bind_cores(o->threads, cores, sizeof cores));
  PN_TRY(job_create(o, &job));
  tell_setup(o, &job, cores);
  if (!o->no_peer && !start_peer(o, &peer))
    fprintf(stderr, "no PyTorch from '%s': only our figure\n", o->python);
  if (peer.process.pid && peer.parameters != pn_graph_trainable_count(job.graph)) {
    st = PN_FAIL(PN_ERR_PEER, "PyTorch's network has %" PRId64 " parameters", peer.parameters);
    goto done;
  }
  measure_memories(o, &peer, &r);
  PN_TRY(measure(o, &job, &peer, &r.ours, r.peers));
  if (o->json) {
    print_json(o, &peer, &r);
  } else {
    print_text(o, &peer, &r.ours, r.peers);
    if (!on_gpu(o)) print_memories(&peer, &r);
  }
done:
  peer_end(&peer.process);
  job_destroy(&job);
  return st;
}

static void usage(FILE *out) {
  fprintf(
      out,
      "usage: bench_train [--model NAME] [--threads N] [--batch N] [--reps N] [--steps N]\n"
      "                   [--device NAME] [--precision f32|bf16] [--python PATH] [--script PATH]\n"
      "                   [--no-peer] [--json] [--memory: only our bytes before and at most]\n"
      "                   [--compiled: torch.compile too, which takes minutes]\n"
      "Trains custom_cnn, cifar_cnn, resnet18 or resnet50v2 beside PyTorch "
      "(tools/peer_train.py) on the same cores.\n");
}

/* "--name value" or "--name"; -1: go on, else the exit code. */
static int parse(int argc, char **argv, struct options *o) {
  const struct {
    const char *name;
    int *number;
    const char **text;
    bool *flag;
  } rows[] = {{"--threads", &o->threads, NULL, NULL},     {"--batch", &o->batch, NULL, NULL},
              {"--reps", &o->reps, NULL, NULL},           {"--steps", &o->steps, NULL, NULL},
              {"--device", NULL, &o->device, NULL},       {"--python", NULL, &o->python, NULL},
              {"--precision", NULL, &o->precision, NULL}, {"--script", NULL, &o->script, NULL},
              {"--no-peer", NULL, NULL, &o->no_peer},     {"--json", NULL, NULL, &o->json},
              {"--model", NULL, &o->model, NULL},         {"--memory", NULL, NULL, &o->memory},
              {"--compiled", NULL, NULL, &o->compiled},   {"--help", NULL, NULL, &o->help}};
  bool good = true;
  for (int i = 1; i < argc && good; i++) {
    size_t k = 0;
    while (k < sizeof rows / sizeof *rows && strcmp(argv[i], rows[k].name) != 0) k++;
    good = k < sizeof rows / sizeof *rows && (rows[k].flag || i + 1 < argc);
    if (!good) break;
    if (rows[k].flag) *rows[k].flag = true;
    if (rows[k].number) *rows[k].number = atoi(argv[++i]);
    if (rows[k].text) *rows[k].text = argv[++i];
  }
  for (int k = 0; good && k < N_NETWORKS; k++)
    if (strcmp(o->model, networks[k].name) == 0) o->net = &networks[k];
  if (good && o->net && o->batch == 0) o->batch = o->net->batch;
  if (good && o->net && o->steps == 0) o->steps = o->net->steps;
  if (strcmp(o->precision, "f32") != 0 && strcmp(o->precision, "bf16") != 0) good = false;
  good = good && o->net && o->threads > 0 && o->batch > 0 && o->reps > 0 && o->reps <= MAX_REPS &&
         o->steps > 0;
  if (good && !o->help) return -1;
  usage(good ? stdout : stderr);
  return good ? 0 : 2;
}

int main(int argc, char **argv) {
  struct options o = {.model = "custom_cnn", .threads = 1, .reps = 7};
  int rc;

  o.device = "cpu";
  o.precision = "f32";
  o.self = "/proc/self/exe";
  o.python = access("/opt/peer/bin/python", X_OK) == 0 ? "/opt/peer/bin/python" : "python3";
  o.script = "tools/peer_train.py";
  if ((rc = parse(argc, argv, &o)) >= 0) return rc;
  if (bench(&o) == PN_OK) return 0;
  fprintf(stderr, "bench_train: %s\n", pn_last_error());
  return 1;
}
