/* main.c -- start MPI, run the command, leave in good order or take all ranks down. */
#include "base/status.h"
#include "cli/cli.h"
#include "comm/comm.h"

#include <mpi.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EXIT_NO_MPI = 3 };

static volatile bool starting;

/* In place of libc's: Open MPI ends the process itself, with a code of its own, where MPI_Init
 * fails.  Ours lets a script tell this from a failed run. */
void _exit(int code) {
  if (starting) {
    fputs("pneuma: MPI cannot start, see its message; try `mpirun -n 1 pneuma info`, under Slurm "
          "`srun -n1 --mpi=pmix pneuma info`\n",
          stderr);
    code = EXIT_NO_MPI;
  }
  for (;;) syscall(SYS_exit_group, code);
}

int main(int argc, char **argv) {
  int rc, level;

  pn_comm_prepare();
  starting = true; /* only the main thread calls MPI: reader and watchdog threads never do */
  if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS) _exit(EXIT_NO_MPI);
  starting = false;
  rc = pn_cli_main(argc, argv);
  pn_comm_leave(rc);
  return rc;
}
