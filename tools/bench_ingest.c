/* bench_ingest.c -- speed of the ingest of RSNA-like JPEG DICOM, 1024 x 1024 to 256 x 256, with all
 * that belongs to it (list, checks, digests, shards, fsync, index), beside a bare chain without any
 * of that and beside pydicom + Pillow, all on one core, rounds in turn; 2 ranks beside 1; memory
 * for 4 times the files.  Usage: bench_ingest [--images N] [--rounds N] [--json] [--python PROGRAM]
 * from the root of the sources. */
#include "base/log.h"
#include "data/ingest.h"
#include "data/synth.h"
#include "peer_process.h"
#include "prof/stats.h"

#include <dirent.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { SIDE = 256, MAX_ROUNDS = 31, MORE = 4 };

/* What one run of one side took. */
struct taken {
  double wall_s, cpu_s;
  int64_t peak_bytes;
};

/* The four things that are timed; a side that is absent has no rounds. */
enum { BARE, PYTHON, ONE, ONE_OF_MPI, TWO_OF_MPI, SIDES };
static const char *const side_names[SIDES] = {"bare chain", "pydicom + Pillow", "pneuma, 1 core",
                                              "pneuma, 1 rank", "pneuma, 2 ranks"};

struct bench {
  int images, rounds;
  bool json;
  const char *python, *pneuma, *mpiexec;
  char work[64], here[PATH_MAX];
  peer_process bare, peer;
  char bare_text[128], peer_text[128];
  double wall[SIDES][MAX_ROUNDS], cpu[SIDES][MAX_ROUNDS];
  int n[SIDES];
  int64_t peak[2]; /* for images / MORE and for all files */
};

static int fail(const char *what) {
  fprintf(stderr, "bench_ingest: %s\n", what);
  return 1;
}

static double clock_s(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Phantoms for `images` files in work/NAME; drawn in a child, so that its memory is not ours. */
static bool make_phantoms(const char *folder, int images) {
  int status = 1;
  pid_t pid = fork();

  if (pid == 0) {
    pn_synth_config cfg;
    pn_synth_result r;
    pn_comm *self = NULL;
    cfg = pn_synth_defaults();
    cfg.out = folder;
    cfg.images = images;
    _exit(pn_comm_self(&self) != PN_OK || pn_synth_run(&cfg, self, &r) != PN_OK);
  }
  return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static void remove_folder(const char *path) {
  char command[PATH_MAX + 16];
  snprintf(command, sizeof command, "rm -rf '%s'", path);
  if (system(command) != 0) fail(path);
}

static struct taken ingest_here(const char *in, const char *out) {
  struct taken t = {.wall_s = -1};
  double wall = clock_s(CLOCK_MONOTONIC), cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID);
  pn_ingest_config cfg;
  pn_ingest_result r;
  pn_comm *self = NULL;

  pn_ingest_config_init(&cfg);
  cfg.in = in;
  cfg.out = out;
  cfg.height = cfg.width = SIDE;
  if (pn_comm_self(&self) != PN_OK || pn_ingest_run(&cfg, self, &r) != PN_OK) return t;
  t.wall_s = clock_s(CLOCK_MONOTONIC) - wall;
  t.cpu_s = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  t.peak_bytes = r.peak_bytes;
  return t;
}

/* One ingest in a fresh process without MPI. */
static bool ingest_in_child(const char *in, const char *out, struct taken *t) {
  int ends[2], status = 1;
  bool good;
  pid_t pid;

  remove_folder(out);
  if (pipe(ends) != 0) return false;
  if ((pid = fork()) == 0) {
    struct taken mine = ingest_here(in, out);
    if (mine.wall_s < 0) fprintf(stderr, "%s\n", pn_last_error());
    _exit(mine.wall_s < 0 || write(ends[1], &mine, sizeof mine) != (ssize_t)sizeof mine);
  }
  close(ends[1]);
  good = read(ends[0], t, sizeof *t) == (ssize_t)sizeof *t;
  close(ends[0]);
  return waitpid(pid, &status, 0) == pid && status == 0 && good;
}

/* By mpirun; the time is that of the ingest, not of the start of MPI. */
static bool ingest_by_mpi(struct bench *b, int ranks, const char *in, struct taken *t) {
  char command[4 * PATH_MAX], out[PATH_MAX];
  json_t *answer;
  FILE *f;

  snprintf(out, sizeof out, "%s/out", b->work);
  remove_folder(out);
  snprintf(command, sizeof command, "'%s' -n %d '%s' ingest '%s' '%s' --size %d --json --quiet",
           b->mpiexec, ranks, b->pneuma, in, out, SIDE);
  if (!(f = popen(command, "r"))) return false;
  answer = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL);
  t->wall_s = json_number_value(json_object_get(answer, "seconds"));
  t->cpu_s = 0;
  json_decref(answer);
  return pclose(f) == 0 && t->wall_s > 0;
}

static bool ask(peer_process *p, struct taken *t) {
  char line[128];
  return peer_ask(p, "run", line, sizeof line) &&
         sscanf(line, "%lf %lf", &t->wall_s, &t->cpu_s) == 2;
}

/* argv of a peer: `head`, SIDE, the files.  The texts live until the end of the program. */
static char **peer_argv(const struct bench *b, const char *const *head, int n_head) {
  char folder[PATH_MAX], **argv = calloc((size_t)(b->images + n_head + 2), sizeof *argv);
  struct dirent *e;
  int n = 0;
  DIR *d;

  snprintf(folder, sizeof folder, "%s/in/stage_2_train_images", b->work);
  if (!argv || !(d = opendir(folder))) return NULL;
  for (; n < n_head; n++) argv[n] = strdup(head[n]);
  if (asprintf(&argv[n++], "%d", SIDE) < 0) return NULL;
  while ((e = readdir(d)) != NULL && n < b->images + n_head + 1)
    if (strstr(e->d_name, ".dcm") && asprintf(&argv[n++], "%s/%s", folder, e->d_name) < 0)
      return NULL;
  closedir(d);
  return argv;
}

static bool start_peers(struct bench *b) {
  char program[PATH_MAX + 32];
  const char *const bare[] = {program}, *const python[] = {b->python, "tools/peer_ingest.py"};
  char **argv;

  snprintf(program, sizeof program, "%s/bare_ingest", b->here);
  if (!(argv = peer_argv(b, bare, 1)) ||
      !peer_start(argv, &b->bare, b->bare_text, sizeof b->bare_text))
    return false;
  if (!(argv = peer_argv(b, python, 2))) return false;
  if (!peer_start(argv, &b->peer, b->peer_text, sizeof b->peer_text))
    fprintf(stderr, "bench_ingest: no pydicom and Pillow behind %s: that side is left out\n",
            b->python);
  return true;
}

static void note(struct bench *b, int side, const struct taken *t) {
  b->wall[side][b->n[side]] = t->wall_s;
  b->cpu[side][b->n[side]++] = t->cpu_s;
}

static bool one_round(struct bench *b, bool keep) {
  char in[PATH_MAX], out[PATH_MAX];
  struct taken t[SIDES] = {{0}};
  bool has_peer = b->peer.pid > 0;

  snprintf(in, sizeof in, "%s/in", b->work);
  snprintf(out, sizeof out, "%s/out", b->work);
  if (!ask(&b->bare, &t[BARE]) || !ingest_in_child(in, out, &t[ONE]) ||
      (has_peer && !ask(&b->peer, &t[PYTHON])) || !ingest_by_mpi(b, 1, in, &t[ONE_OF_MPI]) ||
      !ingest_by_mpi(b, 2, in, &t[TWO_OF_MPI]))
    return false;
  for (int s = 0; keep && s < SIDES; s++)
    if (s != PYTHON || has_peer) note(b, s, &t[s]);
  b->peak[1] = t[ONE].peak_bytes;
  return true;
}

static int by_value(const void *a, const void *b) {
  const double *x = a, *y = b;
  return (*x > *y) - (*x < *y);
}

static double median(const double *v, int n) {
  double copy[MAX_ROUNDS];
  memcpy(copy, v, (size_t)n * sizeof *v);
  qsort(copy, (size_t)n, sizeof *copy, by_value);
  return n > 0 ? pn_median(copy, n) : 0;
}

static double ratio(double v[SIDES][MAX_ROUNDS], const struct bench *b, int slow, int fast) {
  double below = median(v[fast], b->n[fast]);
  return below > 0 ? median(v[slow], b->n[slow]) / below : 0;
}

static void print_text(struct bench *b) {
  printf("%d files of 1024 x 1024 to %d x %d, %d rounds in turn, medians; %s; %s\n", b->images,
         SIDE, SIDE, b->rounds, b->bare_text, b->peer_text);
  for (int s = 0; s < SIDES; s++)
    if (b->n[s] > 0)
      printf("  %-18s %8.3f s wall  %8.3f s cpu  %8.1f images/s\n", side_names[s],
             median(b->wall[s], b->n[s]), median(b->cpu[s], b->n[s]),
             b->images / median(b->wall[s], b->n[s]));
  printf("  of the bare chain   %.2f by wall, %.2f by cpu time (goal 0.9)\n",
         ratio(b->wall, b, BARE, ONE), ratio(b->cpu, b, BARE, ONE));
  if (b->n[PYTHON] > 0)
    printf("  pydicom + Pillow x  %.2f by wall, %.2f by cpu time (goal 2.5)\n",
           ratio(b->wall, b, PYTHON, ONE), ratio(b->cpu, b, PYTHON, ONE));
  printf("  2 ranks             %.2f x 1 rank (goal 1.9)\n",
         ratio(b->wall, b, ONE_OF_MPI, TWO_OF_MPI));
  printf("  peak memory         %.1f MB for %d files, %.1f MB for %d\n", (double)b->peak[0] / 1e6,
         b->images / MORE, (double)b->peak[1] / 1e6, b->images);
}

static void print_json(struct bench *b) {
  json_t *rows = json_array();
  for (int s = 0; s < SIDES; s++)
    if (b->n[s] > 0)
      json_array_append_new(rows, json_pack("{s:s,s:f,s:f}", "side", side_names[s], "wall_s",
                                            median(b->wall[s], b->n[s]), "cpu_s",
                                            median(b->cpu[s], b->n[s])));
  json_t *all =
      json_pack("{s:i,s:i,s:o,s:f,s:f,s:f,s:f,s:f,s:I,s:I}", "images", b->images, "rounds",
                b->rounds, "rows", rows, "of_bare_wall", ratio(b->wall, b, BARE, ONE),
                "of_bare_cpu", ratio(b->cpu, b, BARE, ONE), "times_python_wall",
                ratio(b->wall, b, PYTHON, ONE), "times_python_cpu", ratio(b->cpu, b, PYTHON, ONE),
                "two_ranks", ratio(b->wall, b, ONE_OF_MPI, TWO_OF_MPI), "peak_bytes_quarter",
                (json_int_t)b->peak[0], "peak_bytes", (json_int_t)b->peak[1]);
  json_dumpf(all, stdout, JSON_INDENT(1));
  putchar('\n');
  json_decref(all);
}

/* One file in MORE of them. */
static bool make_few(const struct bench *b) {
  char command[512];
  snprintf(command, sizeof command,
           "cp -al '%s/in' '%s/few' && cd '%s/few/stage_2_train_images' && "
           "ls | awk 'NR %% %d != 0' | xargs rm",
           b->work, b->work, b->work, MORE);
  return system(command) == 0;
}

static int measure(struct bench *b) {
  char in[PATH_MAX], out[PATH_MAX];
  struct taken few = {0};

  snprintf(in, sizeof in, "%s/in", b->work);
  if (!make_phantoms(in, b->images) || !start_peers(b)) return fail("cannot start");
  for (int r = -1; r < b->rounds; r++) /* the first warms the page cache */
    if (!one_round(b, r >= 0)) return fail("a round failed");
  snprintf(in, sizeof in, "%s/few", b->work);
  snprintf(out, sizeof out, "%s/out", b->work);
  if (!make_few(b) || !ingest_in_child(in, out, &few)) return fail("the smaller set failed");
  b->peak[0] = few.peak_bytes;
  if (b->json)
    print_json(b);
  else
    print_text(b);
  return 0;
}

static bool parse(struct bench *b, int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    bool more = i + 1 < argc;
    if (strcmp(argv[i], "--json") == 0)
      b->json = true;
    else if (more && strcmp(argv[i], "--images") == 0)
      b->images = atoi(argv[++i]);
    else if (more && strcmp(argv[i], "--rounds") == 0)
      b->rounds = atoi(argv[++i]);
    else if (more && strcmp(argv[i], "--python") == 0)
      b->python = argv[++i];
    else
      return false;
  }
  return b->images >= 8 && b->images <= 5000 && b->rounds >= 1 && b->rounds <= MAX_ROUNDS;
}

int main(int argc, char **argv) {
  static struct bench b = {.images = 1000, .rounds = 5, .python = "/opt/peer/bin/python"};
  char pneuma[PATH_MAX + 16], *slash;
  ssize_t n = readlink("/proc/self/exe", b.here, sizeof b.here - 1);
  int rc;

  if (!parse(&b, argc, argv) || n <= 0)
    return fail("usage: bench_ingest [--images 8..5000] [--rounds 1..31] [--json] [--python FILE]");
  if ((slash = strrchr(b.here, '/')) != NULL) *slash = 0;
  snprintf(pneuma, sizeof pneuma, "%s/pneuma", b.here);
  b.pneuma = pneuma;
  b.mpiexec = getenv("MPIEXEC") ? getenv("MPIEXEC") : "mpirun";
  snprintf(b.work, sizeof b.work, "bench_ingest.%ld", (long)getpid());
  pn_log_init(0, true);
  rc = measure(&b);
  peer_end(&b.bare);
  peer_end(&b.peer);
  remove_folder(b.work);
  return rc;
}
