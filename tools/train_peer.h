/* train_peer.h -- the children of bench_train.c: PyTorch (peer_train.py), and the processes in
 * which memory is measured.  Included by it alone. */
#ifndef PN_TOOLS_TRAIN_PEER_H
#define PN_TOOLS_TRAIN_PEER_H

#include "base/status.h"
#include "peer_process.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_MODES = 6, MODE_BYTES = 24 };

struct network {
  const char *name;
  int64_t size, channels, classes;
  int batch, steps;
  const char *optim;
};

struct options {
  const struct network *net;
  const char *model;
  int threads, batch, reps, steps;
  const char *python, *script, *device, *precision;
  bool no_peer, json, memory, compiled, help;
  const char *self;
};

/* Bytes resident before the model, and at most during training steps; in a process of its own. */
struct memory {
  int64_t before, peak;
};

struct peer {
  peer_process process;
  char version[32];
  char mode[MAX_MODES][MODE_BYTES]; /* ways of doing it: "channels-last"; the script says which */
  int n_modes;
  int64_t parameters;
  int64_t peak; /* bytes; on a GPU those that PyTorch allocated there */
};

/* "ready VERSION PARAMETERS MODE..." */
static bool parse_ready(const char *line, struct peer *p) {
  int at = 0, n = 0;
  if (sscanf(line, "ready %31s %" SCNd64 "%n", p->version, &p->parameters, &at) != 2) return false;
  for (line += at; p->n_modes < MAX_MODES; line += n, p->n_modes++)
    if (sscanf(line, " %23s%n", p->mode[p->n_modes], &n) != 1) break;
  return p->n_modes > 0;
}

static bool on_gpu(const struct options *o) {
  return strcmp(o->device, "cuda") == 0;
}

/* memory: the mode whose memory is wanted, NULL: all modes, to be run.  False where there is no
 * PyTorch: the reason is on stderr, from the child. */
static bool start_pytorch(const struct options *o, const char *memory, peer_process *p, char *line,
                          size_t bytes) {
  char batch[16], threads[16];
  char *argv[20] = {(char *)o->python, (char *)o->script,
                    "--batch",         batch,
                    "--threads",       threads,
                    "--model",         (char *)o->net->name,
                    "--precision",     (char *)o->precision};
  int n = 10;
  snprintf(batch, sizeof batch, "%d", o->batch);
  snprintf(threads, sizeof threads, "%d", o->threads);
  if (on_gpu(o)) argv[n++] = "--device", argv[n++] = "cuda";
  if (memory) argv[n++] = "--memory", argv[n++] = "--modes", argv[n++] = (char *)memory;
  if (!memory && o->compiled) argv[n++] = "--compiled";
  setenv("OMP_NUM_THREADS", threads, 1);
  return peer_start(argv, p, line, bytes);
}

static bool start_peer(const struct options *o, struct peer *p) {
  char line[256];
  if (!start_pytorch(o, NULL, &p->process, line, sizeof line)) return false;
  if (parse_ready(line, p)) return true;
  peer_end(&p->process);
  return false;
}

static bool start_ours(const struct options *o, peer_process *p, char *line, size_t bytes) {
  char batch[16], threads[16];
  char *argv[] = {
      (char *)o->self, "--memory",           "--model", (char *)o->net->name, "--batch",
      batch,           "--threads",          threads,   "--device",           (char *)o->device,
      "--precision",   (char *)o->precision, NULL};
  snprintf(batch, sizeof batch, "%d", o->batch);
  snprintf(threads, sizeof threads, "%d", o->threads);
  return peer_start(argv, p, line, bytes);
}

/* Of pneuma, or of PyTorch's mode; zeros where the child did not answer. */
static struct memory measure_memory(const struct options *o, const char *mode) {
  struct memory m = {0};
  peer_process p;
  char line[128];
  bool there =
      mode ? start_pytorch(o, mode, &p, line, sizeof line) : start_ours(o, &p, line, sizeof line);
  if (there && sscanf(line, "%" SCNd64 " %" SCNd64, &m.before, &m.peak) != 2)
    m = (struct memory){0};
  if (there) peer_end(&p);
  return m;
}

static pn_status run_peer(const struct options *o, struct peer *p, const char *mode,
                          double seconds[2]) {
  char question[64], line[128];
  snprintf(question, sizeof question, "run %s %d", mode, o->steps);
  if (!peer_ask(&p->process, question, line, sizeof line) ||
      sscanf(line, "%lf %lf", &seconds[0], &seconds[1]) != 2 || seconds[0] <= 0.0)
    return PN_FAIL(PN_ERR_PEER, "PyTorch did not answer '%s'", question);
  return PN_OK;
}

#endif
