/* bench_train.c -- training speed of the networks beside PyTorch, in one run: repetitions of both
 * alternate on the same cores, data in memory.  Usage: bench_train --help. */
#include "base/clock.h"
#include "models/models.h"
#include "nn/plan.h"
#include "optim/optim.h"
#include "peer_process.h"
#include "pn_version.h"

#include <inttypes.h>
#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MAX_REPS = 101, MAX_MODES = 6, MODE_BYTES = 24 };

/* As peer_train.py's table; the batches of the issue that sets the goals. */
static const struct network {
  const char *name;
  int64_t size, channels, classes;
  int batch, steps;
  const char *optim;
} networks[] = {{"custom_cnn", 128, 1, 2, 32, 4, "adam"},
                {"cifar_cnn", 32, 3, 10, 128, 2, "adam"},
                {"resnet18", 224, 3, 1000, 16, 1, "sgd"},
                {"resnet50v2", 224, 3, 2, 16, 1, "sgd"}};
enum { N_NETWORKS = sizeof networks / sizeof *networks };

struct options {
  const struct network *net;
  const char *model;
  int threads, batch, reps, steps;
  const char *python, *script, *device;
  bool no_peer, json, help;
};

/* Seconds per repetition. */
struct series {
  double s[MAX_REPS];
  int n;
};

/* Our side: one training job. */
struct job {
  pn_device *device;
  pn_graph *graph;
  pn_plan *plan;
  pn_optim *optim;
  float *arena[4]; /* parameters, gradients, two moments; from the device */
  float *images;   /* [batch][C][H][W] */
  uint64_t *id;
  float *scale;
  int64_t step;
};

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double quantile(const struct series *t, double q) {
  double s[MAX_REPS];
  memcpy(s, t->s, sizeof s);
  qsort(s, (size_t)t->n, sizeof *s, by_value);
  return s[(int)(q * (t->n - 1) + 0.5)];
}

static double rate(const struct options *o, double seconds) {
  return (double)(o->batch * o->steps) / seconds;
}

/* ---- our side ---- */

static void job_destroy(struct job *j) {
  for (int i = 0; i < 4; i++)
    if (j->arena[i]) j->device->ops->free(j->device, j->arena[i]);
  free(j->images);
  free(j->id);
  free(j->scale);
  pn_optim_destroy(j->optim);
  pn_plan_destroy(j->plan);
  pn_graph_destroy(j->graph);
  pn_device_destroy(j->device);
}

static pn_status init_params(struct job *j) {
  const pn_param_map *m = pn_plan_param_map(j->plan);
  pn_status st = PN_OK;
  for (int i = 0; i < m->n && st == PN_OK; i++) {
    int64_t n = pn_shape_count(pn_graph_param(j->graph, i)->shape);
    float *logical = malloc((size_t)n * sizeof *logical);
    if (!logical) return PN_FAIL(PN_ERR_NOMEM, "parameter %d", i);
    pn_graph_init_param(j->graph, i, 1, logical);
    st = pn_layout_pack(&m->slot[i].layout, logical, j->arena[0] + m->slot[i].offset);
    free(logical);
  }
  return st;
}

static pn_status make_batch(const struct options *o, struct job *j) {
  int64_t pixels = pn_shape_count(pn_graph_node(j->graph, 0)->op.out) * o->batch;
  j->images = malloc((size_t)pixels * sizeof *j->images);
  j->id = calloc((size_t)o->batch, sizeof *j->id);
  j->scale = calloc((size_t)o->batch, sizeof *j->scale);
  if (!j->images || !j->id || !j->scale) return PN_FAIL(PN_ERR_NOMEM, "batch");
  srand(1);
  for (int64_t i = 0; i < pixels; i++) j->images[i] = (float)rand() / (float)RAND_MAX;
  for (int64_t i = 0; i < o->batch; i++) {
    j->id[i] = (uint64_t)i;
    j->scale[i] = 1.0f / (float)o->batch;
  }
  return PN_OK;
}

static pn_status job_create(const struct options *o, struct job *j) {
  pn_model_config cfg;
  pn_optim_config optim;
  pn_plan_spec spec = {.batch = o->batch, .training = true};
  pn_status st;

  pn_model_defaults(&cfg);
  pn_optim_defaults(&optim);
  snprintf(optim.name, sizeof optim.name, "%s", o->net->optim);
  optim.momentum = strcmp(o->net->optim, "sgd") == 0 ? 0.9 : 0;
  cfg.size[0] = cfg.size[1] = o->net->size;
  cfg.channels = o->net->channels;
  cfg.classes = o->net->classes;
  cfg.softmax = cfg.classes > 2;
  PN_TRY(pn_model_build(o->net->name, &cfg, &j->graph));
  PN_TRY(pn_device_create(o->device, o->threads, &j->device));
  spec.graph = j->graph;
  spec.device = j->device;
  PN_TRY(pn_plan_create(&spec, &j->plan));
  PN_TRY(pn_optim_create(&optim, &j->optim));
  for (int i = 0; i < 4; i++) {
    size_t bytes = (size_t)pn_plan_param_map(j->plan)->total * sizeof(float);
    void *arena = NULL;
    PN_TRY(j->device->ops->alloc(j->device, bytes, &arena));
    j->arena[i] = arena;
  }
  PN_TRY(init_params(j));
  pn_plan_bind(j->plan, j->arena[0], j->arena[1]);
  PN_TRY(make_batch(o, j));
done:
  return st;
}

static pn_status train_step(const struct options *o, struct job *j) {
  pn_step_ctx ctx = {.seed = 1, .epoch = 1, .sample_id = j->id, .sample_scale = j->scale};
  pn_optim_range range = {.param = j->arena[0],
                          .grad = j->arena[1],
                          .state = {j->arena[2], j->arena[3]},
                          .count = pn_plan_param_map(j->plan)->trainable,
                          .grad_scale = 1};
  int64_t pixels = pn_shape_count(pn_graph_node(j->graph, 0)->op.out) * o->batch;
  pn_status st;

  memcpy(pn_plan_input(j->plan), j->images, (size_t)pixels * sizeof *j->images);
  for (int64_t i = 0; i < o->batch; i++) pn_plan_labels(j->plan)[i] = (int32_t)(i % 2);
  if ((st = pn_plan_forward(j->plan, &ctx, NULL)) != PN_OK) return st;
  if ((st = pn_plan_backward(j->plan, &ctx, NULL)) != PN_OK) return st;
  pn_optim_update(j->optim, ++j->step, 1e-3, &range, o->threads);
  return PN_OK;
}

static pn_status run_ours(const struct options *o, struct job *j, double *seconds) {
  double start = pn_now();
  for (int i = 0; i < o->steps; i++) {
    pn_status st = train_step(o, j);
    if (st != PN_OK) return st;
  }
  *seconds = pn_now() - start;
  return PN_OK;
}

/* ---- PyTorch ---- */

struct peer {
  peer_process process;
  char version[32];
  char mode[MAX_MODES][MODE_BYTES]; /* ways of doing it: "channels-last"; the script says which */
  int n_modes;
  int64_t parameters;
  int64_t peak; /* bytes */
};

/* "ready VERSION PARAMETERS MODE..." */
static bool parse_ready(const char *line, struct peer *p) {
  int at = 0, n = 0;
  if (sscanf(line, "ready %31s %" SCNd64 "%n", p->version, &p->parameters, &at) != 2) return false;
  for (line += at; p->n_modes < MAX_MODES; line += n, p->n_modes++)
    if (sscanf(line, " %23s%n", p->mode[p->n_modes], &n) != 1) break;
  return p->n_modes > 0;
}

/* False where there is no PyTorch: the reason is on stderr, from the child. */
static bool start_pytorch(const struct options *o, struct peer *p) {
  char batch[16], threads[16], line[256];
  bool gpu = strcmp(o->device, "cuda") == 0;
  char *argv[] = {(char *)o->python,
                  (char *)o->script,
                  "--batch",
                  batch,
                  "--threads",
                  threads,
                  "--model",
                  (char *)o->net->name,
                  gpu ? "--device" : NULL,
                  "cuda",
                  NULL};
  snprintf(batch, sizeof batch, "%d", o->batch);
  snprintf(threads, sizeof threads, "%d", o->threads);
  setenv("OMP_NUM_THREADS", threads, 1);
  if (!peer_start(argv, &p->process, line, sizeof line)) return false;
  if (parse_ready(line, p)) return true;
  peer_end(&p->process);
  return false;
}

static pn_status run_peer(const struct options *o, struct peer *p, const char *mode,
                          double *seconds) {
  char question[64], line[128];
  snprintf(question, sizeof question, "run %s %d", mode, o->steps);
  if (!peer_ask(&p->process, question, line, sizeof line) || (*seconds = strtod(line, NULL)) <= 0.0)
    return PN_FAIL(PN_ERR_PEER, "PyTorch did not answer '%s'", question);
  return PN_OK;
}

/* ---- the measurement ---- */

/* One warm-up repetition, then `reps`, both sides in turn. */
static pn_status measure(const struct options *o, struct job *j, struct peer *p,
                         struct series *ours, struct series peers[MAX_MODES]) {
  char line[64];
  pn_status st = PN_OK;
  for (int r = -1; r < o->reps; r++) {
    double seconds[1 + MAX_MODES] = {0};
    PN_TRY(run_ours(o, j, &seconds[0]));
    for (int m = 0; p->process.pid && m < p->n_modes; m++)
      PN_TRY(run_peer(o, p, p->mode[m], &seconds[1 + m]));
    if (r < 0) continue;
    ours->s[ours->n++] = seconds[0];
    for (int m = 0; m < p->n_modes; m++) peers[m].s[peers[m].n++] = seconds[1 + m];
  }
  if (p->process.pid && peer_ask(&p->process, "peak", line, sizeof line))
    p->peak = strtoll(line, NULL, 10);
done:
  return st;
}

static int best_mode(const struct peer *p, const struct series peers[MAX_MODES]) {
  int best = 0;
  for (int m = 1; m < p->n_modes; m++)
    if (quantile(&peers[m], 0.5) < quantile(&peers[best], 0.5)) best = m;
  return best;
}

static void print_row(const struct options *o, const char *name, const struct series *t) {
  printf("%-32s %8.1f img/s   (%.1f to %.1f)\n", name, rate(o, quantile(t, 0.5)),
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
  printf("ratio to the best of them: %.2f\n",
         quantile(&peers[best_mode(p, peers)], 0.5) / quantile(ours, 0.5));
}

static json_t *peer_json(const struct options *o, const struct peer *p,
                         const struct series peers[MAX_MODES]) {
  char name[64];
  int m = best_mode(p, peers);
  if (!p->process.pid) return json_null();
  snprintf(name, sizeof name, "PyTorch %s %s", p->version, p->mode[m]);
  return json_pack("{s:s, s:f, s:I}", "name", name, "images_per_s",
                   rate(o, quantile(&peers[m], 0.5)), "peak_bytes", (json_int_t)p->peak);
}

static void print_json(const struct options *o, const struct peer *p, const struct series *ours,
                       const struct series peers[MAX_MODES]) {
  struct rusage usage;
  double speed = rate(o, quantile(ours, 0.5));
  json_t *row, *root;

  getrusage(RUSAGE_SELF, &usage);
  row = json_pack("{s:s, s:s, s:i, s:I, s:f, s:I, s:o}", "model", o->net->name, "precision", "f32",
                  "threads", o->threads, "batch", (json_int_t)o->batch, "images_per_s", speed,
                  "peak_bytes", (json_int_t)usage.ru_maxrss * 1024, "peer", peer_json(o, p, peers));
  json_object_set_new(
      row, "ratio",
      p->process.pid ? json_real(quantile(&peers[best_mode(p, peers)], 0.5) / quantile(ours, 0.5))
                     : json_null());
  root = json_pack("{s:[o], s:s, s:s}", "rows", row, "library", pn_device_library(), "isa",
                   pn_device_isa());
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

static pn_status bench(const struct options *o) {
  struct job job = {.step = 0};
  struct peer peer = {.peak = 0};
  struct series ours = {.n = 0}, peers[MAX_MODES] = {{.n = 0}};
  char cores[256];
  pn_status st = PN_OK;

  PN_TRY(bind_cores(o->threads, cores, sizeof cores));
  PN_TRY(job_create(o, &job));
  fprintf(stderr,
          "%s %" PRId64 "x%" PRId64 "x%" PRId64 ", %" PRId64
          " parameters, batch %d, %s, f32; %d x %d steps; threads %d on cores%s; %s, %s\n",
          o->net->name, o->net->size, o->net->size, o->net->channels,
          pn_graph_trainable_count(job.graph), o->batch, o->net->optim, o->reps, o->steps,
          o->threads, cores, pn_device_library(), pn_device_isa());
  if (!o->no_peer && !start_pytorch(o, &peer))
    fprintf(stderr, "no PyTorch from '%s': only our figure\n", o->python);
  if (peer.process.pid && peer.parameters != pn_graph_trainable_count(job.graph)) {
    st = PN_FAIL(PN_ERR_PEER, "PyTorch's network has %" PRId64 " parameters", peer.parameters);
    goto done;
  }
  PN_TRY(measure(o, &job, &peer, &ours, peers));
  (o->json ? print_json : print_text)(o, &peer, &ours, peers);
done:
  peer_end(&peer.process);
  job_destroy(&job);
  return st;
}

static void usage(FILE *out) {
  fprintf(out,
          "usage: bench_train [--model NAME] [--threads N] [--batch N] [--reps N] [--steps N]\n"
          "                   [--device NAME] [--python PATH] [--script PATH]\n"
          "                   [--no-peer] [--json]\n"
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
  } rows[] = {{"--threads", &o->threads, NULL, NULL}, {"--batch", &o->batch, NULL, NULL},
              {"--reps", &o->reps, NULL, NULL},       {"--steps", &o->steps, NULL, NULL},
              {"--device", NULL, &o->device, NULL},   {"--python", NULL, &o->python, NULL},
              {"--script", NULL, &o->script, NULL},   {"--no-peer", NULL, NULL, &o->no_peer},
              {"--json", NULL, NULL, &o->json},       {"--model", NULL, &o->model, NULL},
              {"--help", NULL, NULL, &o->help}};
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
  o.python = access("/opt/peer/bin/python", X_OK) == 0 ? "/opt/peer/bin/python" : "python3";
  o.script = "tools/peer_train.py";
  if ((rc = parse(argc, argv, &o)) >= 0) return rc;
  if (bench(&o) == PN_OK) return 0;
  fprintf(stderr, "bench_train: %s\n", pn_last_error());
  return 1;
}
