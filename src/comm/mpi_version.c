/* mpi_version.c -- the name of the MPI library, short. */
#include "comm/comm.h"

#include <mpi.h>
#include <string.h>

const char *pn_comm_library(void) {
  static char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int n = 0;

  if (MPI_Get_library_version(text, &n) != MPI_SUCCESS) return "MPI";
  text[strcspn(text, ",\n")] = '\0'; /* "Open MPI v4.1.4, package: ..." */
  return text;
}
