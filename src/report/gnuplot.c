/* gnuplot.c -- see gnuplot.h. */
#include "report/gnuplot.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

pn_status pn_gnuplot_run(const char *dir, const char *script, int *rc) {
  char *const argv[] = {(char *)"gnuplot", (char *)script, NULL};
  posix_spawn_file_actions_t actions;
  pid_t pid;
  int status = 0, e;

  *rc = -1;
  if (posix_spawn_file_actions_init(&actions) != 0)
    return PN_FAIL(PN_ERR_NOMEM, "gnuplot: out of memory");
  e = posix_spawn_file_actions_addchdir_np(&actions, dir);
  if (!e) e = posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  if (!e) e = posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  if (!e) e = posix_spawnp(&pid, "gnuplot", &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (e == ENOENT) return PN_OK;
  if (e) return PN_FAIL(PN_ERR_IO, "cannot start gnuplot: %s", strerror(e));
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return PN_FAIL(PN_ERR_IO, "waiting for gnuplot: %s", strerror(errno));
  *rc = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  if (*rc == 127) *rc = -1; /* a shell-like report of "not found" */
  return PN_OK;
}
