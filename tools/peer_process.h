/* peer_process.h -- another program beside which a benchmark measures: a child that answers one
 * line to each line.  Included by one bench_*.c each. */
#ifndef PN_TOOLS_PEER_PROCESS_H
#define PN_TOOLS_PEER_PROCESS_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
  pid_t pid; /* 0: not running */
  FILE *to, *from;
} peer_process;

static inline void peer_exec(char *const argv[], const int in[2], const int out[2]) {
  if (dup2(in[0], STDIN_FILENO) < 0 || dup2(out[1], STDOUT_FILENO) < 0) _exit(126);
  close(in[0]);
  close(in[1]);
  close(out[0]);
  close(out[1]);
  execvp(argv[0], argv);
  _exit(127);
}

/* Ends the child; a peer that does not run is allowed. */
static inline void peer_end(peer_process *p) {
  if (p->to) {
    fprintf(p->to, "quit\n");
    fclose(p->to);
  }
  if (p->from) fclose(p->from);
  if (p->pid > 0) waitpid(p->pid, NULL, 0);
  *p = (peer_process){.pid = 0};
}

/* Starts argv (ended by NULL) and reads its first line; false where it gives none. */
static inline bool peer_start(char *const argv[], peer_process *p, char *line, size_t bytes) {
  int in[2], out[2];

  *p = (peer_process){.pid = 0};
  if (pipe(in) != 0) return false;
  if (pipe(out) != 0) {
    close(in[0]);
    close(in[1]);
    return false;
  }
  signal(SIGPIPE, SIG_IGN); /* a child that dies is an answer, not our end */
  p->pid = fork();
  if (p->pid == 0) peer_exec(argv, in, out);
  close(in[0]);
  close(out[1]);
  p->to = fdopen(in[1], "w");
  p->from = fdopen(out[0], "r");
  if (p->pid > 0 && p->to && p->from && fgets(line, (int)bytes, p->from)) return true;
  peer_end(p);
  return false;
}

/* One question, one answer. */
static inline bool peer_ask(peer_process *p, const char *question, char *line, size_t bytes) {
  return fprintf(p->to, "%s\n", question) > 0 && fflush(p->to) == 0 &&
         fgets(line, (int)bytes, p->from) != NULL;
}

#endif
