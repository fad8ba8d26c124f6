/* bench_scaling.c -- how training scales from one rank to two on two cores, beside PyTorch's DDP
 * over gloo in the same run: repetitions of all jobs alternate.  Usage: bench_scaling --help.
 *
 * The program starts itself as the ranks (--worker): they wait for lines on stdin. */
#include "pn_version.h"
#include "scaling_report.h"

#include <sys/stat.h>

/* ---- the measurement ---- */

static bool start_worker(char *const argv[], peer_process *p) {
  char line[LINE];
  return peer_start(argv, p, line, sizeof line) && strncmp(line, "ready", 5) == 0;
}

static bool start_alone(const struct options *o, int core, peer_process *p) {
  char at[16];
  char *argv[] = {(char *)o->self, "--worker", "--core", at, NULL};

  snprintf(at, sizeof at, "%d", core);
  return start_worker(argv, p);
}

/* Both have opened the FIFO when the first one is ready. */
static bool start_ranks(const struct options *o, peer_process *p) {
  char folder[] = "/tmp/bench_scaling.XXXXXX", fifo[64], cores[32];
  char *argv[] = {
      (char *)o->mpiexec, "-n",      "2",   "--oversubscribe", "--bind-to", "none", (char *)o->self,
      "--worker",         "--cores", cores, "--fifo",          fifo,        NULL};
  bool good = mkdtemp(folder) != NULL;

  snprintf(fifo, sizeof fifo, "%s/lines", folder);
  snprintf(cores, sizeof cores, "%d,%d", o->cores[0], o->cores[1]);
  good = good && mkfifo(fifo, 0600) == 0 && start_worker(argv, p);
  unlink(fifo);
  rmdir(folder);
  return good;
}

static bool start_torch(const struct options *o, int ranks, peer_process *p, char version[32]) {
  char line[LINE], n[8], both[32];
  char *argv[] = {(char *)o->python, (char *)o->script, "--ranks", n, "--cores", both, NULL};

  snprintf(n, sizeof n, "%d", ranks);
  snprintf(both, sizeof both, "%d,%d", o->cores[0], o->cores[1]);
  if (!peer_start(argv, p, line, sizeof line)) return false;
  if (sscanf(line, "ready %31s", version) == 1) return true;
  peer_end(p);
  return false;
}

static pn_status start_all(struct bench *b) {
  const struct options *o = b->o;

  if (!start_alone(o, o->cores[0], &b->side[ALONE]) ||
      !start_alone(o, o->cores[1], &b->side[BESIDE]) || !start_ranks(o, &b->side[RANKS]))
    return PN_FAIL(PN_ERR_PEER,
                   "the ranks do not start: see above; `%s -n 2` must work (as root: "
                   ". tools/env.sh)",
                   o->mpiexec);
  if (o->no_peer) return PN_OK;
  if (start_torch(o, 1, &b->side[TORCH], b->torch) &&
      start_torch(o, N_CORES, &b->side[TORCH_RANKS], b->torch))
    return PN_OK;
  fprintf(stderr, "no PyTorch with gloo from '%s': only our figures\n", o->python);
  b->torch[0] = '\0';
  return PN_OK;
}

static pn_status ask(struct bench *b, enum side s, const char *line) {
  if (fprintf(b->side[s].to, "%s\n", line) > 0 && fflush(b->side[s].to) == 0) return PN_OK;
  return PN_FAIL(PN_ERR_PEER, "side %d has gone", (int)s);
}

static pn_status hear(struct bench *b, enum side s, struct timing *t) {
  char line[LINE];

  *t = (struct timing){.total = 0};
  if (!fgets(line, sizeof line, b->side[s].from) ||
      sscanf(line, "%lf %lf %lf", &t->total, &t->exposed, &t->late) < 1)
    return PN_FAIL(PN_ERR_PEER, "side %d did not answer", (int)s);
  return PN_OK;
}

/* The row that ran the same job before: ddp's step is that of weak and of strong scaling. */
static int same_job(int k) {
  for (int i = 0; i < k; i++)
    if (rows[i].side == rows[k].side && rows[i].share == rows[k].share &&
        strcmp(rows[i].strategy, rows[k].strategy) == 0)
      return i;
  return k;
}

static pn_status run_row(struct bench *b, int k, struct timing *out) {
  const struct row *r = &rows[k];
  int batch = b->batch * r->share;
  char line[LINE];
  struct timing other = {.total = 0};
  pn_status st = PN_OK;

  if (is_torch(r))
    snprintf(line, sizeof line, "run %s %d %d", b->net->name, batch, b->steps);
  else
    snprintf(line, sizeof line, "run %s %s %d %d", b->net->name, r->strategy, batch, b->steps);
  PN_TRY(ask(b, r->side, line));
  if (r->side == BESIDE) PN_TRY(ask(b, ALONE, line));
  PN_TRY(hear(b, r->side, out));
  if (r->side == BESIDE) PN_TRY(hear(b, ALONE, &other));
  if (other.total > out->total) *out = other;
  out->total /= b->steps;
  out->exposed /= b->steps;
  out->late /= b->steps;
done:
  return st;
}

/* Our figures do not need it. */
static pn_status lose_torch(struct bench *b) {
  fprintf(stderr, "PyTorch has gone: only our figures from here on\n");
  b->torch[0] = '\0';
  peer_end(&b->side[TORCH]);
  peer_end(&b->side[TORCH_RANKS]);
  return PN_OK;
}

/* r < 0: a warm-up, which opens the jobs one after the other. */
static pn_status repetition(struct bench *b, int r) {
  struct timing t[N_ROWS];
  pn_status st = PN_OK;

  for (int k = 0; k < N_ROWS; k++) {
    if (is_torch(&rows[k]) && !b->torch[0]) continue;
    if (same_job(k) < k)
      t[k] = t[same_job(k)];
    else if ((st = run_row(b, k, &t[k])) != PN_OK && is_torch(&rows[k]))
      st = lose_torch(b);
    PN_TRY(st);
    if (r >= 0) b->time[k][r] = t[k];
  }
done:
  return st;
}

static pn_status drop(struct bench *b) {
  char line[LINE];

  for (int s = 0; s < N_SIDES; s++)
    if (b->side[s].pid && !peer_ask(&b->side[s], "drop", line, sizeof line))
      return PN_FAIL(PN_ERR_PEER, "side %d did not answer", s);
  return PN_OK;
}

static pn_status measure(struct bench *b) {
  const struct options *o = b->o;
  int wanted = o->reps ? o->reps : b->net->reps;
  double start = pn_now();
  pn_status st = PN_OK;

  b->batch = o->batch ? o->batch : b->net->batch;
  b->steps = o->steps ? o->steps : b->net->steps;
  for (b->reps = -1; b->reps < wanted; b->reps++) {
    if (b->reps >= MIN_REPS && pn_now() - start > o->limit) break;
    PN_TRY(repetition(b, b->reps));
  }
  fprintf(stderr, "%s: %d repetitions in %.0f s\n", b->net->name, b->reps, pn_now() - start);
  PN_TRY(drop(b));
done:
  return st;
}

static pn_status bench_all(const struct options *o) {
  struct bench *b = calloc(1, sizeof *b);
  json_t *list = json_array(), *root = NULL;
  pn_status st = b && list ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "out of memory");

  PN_TRY(st);
  b->o = o;
  PN_TRY(start_all(b));
  fprintf(stderr, "pneuma %s, %s, %s; PyTorch %s\n", PN_VERSION, pn_device_library(),
          pn_device_isa(), b->torch[0] ? b->torch : "none");
  for (int i = 0; i < N_NETWORKS; i++) {
    b->net = &networks[i];
    if (o->model && strcmp(o->model, b->net->name) != 0) continue;
    PN_TRY(measure(b));
    if (o->json)
      add_json(b, list);
    else
      print_text(b);
    fflush(stdout);
  }
  if (!o->json) goto done;
  root = json_pack("{s:O, s:s, s:s, s:s}", "rows", list, "library", pn_device_library(), "isa",
                   pn_device_isa(), "pytorch", b->torch);
  json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
  printf("\n");
done:
  for (int s = 0; b && s < N_SIDES; s++) peer_end(&b->side[s]);
  json_decref(root);
  json_decref(list);
  free(b);
  return st;
}

/* ---- command line ---- */

static void usage(FILE *out) {
  fprintf(
      out,
      "usage: bench_scaling [--model custom_cnn|resnet18] [--batch N] [--reps N] [--steps N]\n"
      "                     [--limit SECONDS] [--cores A,B] [--mpiexec PATH]\n"
      "                     [--python PATH] [--script PATH] [--no-peer] [--json]\n"
      "One rank against two on two cores: weak scaling with N images per rank (32; resnet18 8),\n"
      "strong with 2 N in all, beside PyTorch's DDP (tools/peer_ddp.py).  After --limit seconds\n"
      "(150) a network gets no more than three repetitions.  As root: . tools/env.sh first.\n");
}

static bool parse_cores(const char *text, int cores[N_CORES]) {
  return sscanf(text, "%d,%d", &cores[0], &cores[1]) == N_CORES && cores[0] >= 0 && cores[1] >= 0 &&
         cores[0] != cores[1];
}

/* The first two that we may use. */
static bool find_cores(int cores[N_CORES]) {
  cpu_set_t allowed;
  int n = 0;

  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return false;
  for (int c = 0; c < CPU_SETSIZE && n < N_CORES; c++)
    if (CPU_ISSET((size_t)c, &allowed)) cores[n++] = c;
  return n == N_CORES;
}

/* "--name value" or "--name"; -1: go on, else the exit code. */
static int parse(int argc, char **argv, struct options *o) {
  const char *cores = NULL;
  const struct {
    const char *name;
    int *number;
    const char **text;
    bool *flag;
  } table[] = {{"--batch", &o->batch, NULL, NULL},     {"--reps", &o->reps, NULL, NULL},
               {"--steps", &o->steps, NULL, NULL},     {"--limit", &o->limit, NULL, NULL},
               {"--core", &o->core, NULL, NULL},       {"--cores", NULL, &cores, NULL},
               {"--model", NULL, &o->model, NULL},     {"--fifo", NULL, &o->fifo, NULL},
               {"--mpiexec", NULL, &o->mpiexec, NULL}, {"--python", NULL, &o->python, NULL},
               {"--script", NULL, &o->script, NULL},   {"--no-peer", NULL, NULL, &o->no_peer},
               {"--json", NULL, NULL, &o->json},       {"--worker", NULL, NULL, &o->worker},
               {"--help", NULL, NULL, &o->help}};
  bool good = true;

  for (int i = 1; i < argc && good; i++) {
    size_t k = 0;
    while (k < sizeof table / sizeof *table && strcmp(argv[i], table[k].name) != 0) k++;
    good = k < sizeof table / sizeof *table && (table[k].flag || i + 1 < argc);
    if (!good) break;
    if (table[k].flag) *table[k].flag = true;
    if (table[k].number) *table[k].number = atoi(argv[++i]);
    if (table[k].text) *table[k].text = argv[++i];
  }
  good = good && (!o->worker || o->core >= 0 || o->fifo) && (!o->model || find_network(o->model)) &&
         o->batch >= 0 && o->reps >= 0 && o->reps <= MAX_REPS && o->steps >= 0 && o->limit > 0 &&
         (!cores || parse_cores(cores, o->cores));
  if (good && !o->help && !o->worker && !cores && !find_cores(o->cores)) {
    fprintf(stderr, "bench_scaling: this process may use fewer than two cores\n");
    return 1;
  }
  if (good && !o->help) return -1;
  usage(good ? stdout : stderr);
  return good ? 0 : 2;
}

int main(int argc, char **argv) {
  struct options o = {.limit = 150, .core = -1, .mpiexec = "mpirun", .self = argv[0]};
  int rc;

  o.python = access("/opt/peer/bin/python", X_OK) == 0 ? "/opt/peer/bin/python" : "python3";
  o.script = "tools/peer_ddp.py";
  if ((rc = parse(argc, argv, &o)) >= 0) return rc;
  if (o.worker) return worker_main(o.core, o.cores, o.fifo);
  if (bench_all(&o) == PN_OK) return 0;
  fprintf(stderr, "bench_scaling: %s\n", pn_last_error());
  return 1;
}
